"""WAL that real servers wrote, beside what PostgreSQL's own pg_waldump says of it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from support.account import account
from support.postgres import Server

from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment
from pgvault.wal.record import TRANSACTION, Record
from pgvault.wal.records import follow

SIZE = 1 << 20
"""The smallest segments, so that a few megabytes of WAL have many borders and some records cross several."""

_LINE = re.compile(
    r"rmgr: (?P<rmgr>\S+)\s+len \(rec/tot\):\s*(?P<plain>\d+)/\s*(?P<total>\d+), tx:\s*(?P<xid>\d+), "
    r"lsn: (?P<lsn>\S+), prev (?P<prev>\S+), desc: (?P<text>.*)"
)


@dataclass(frozen=True)
class Listed:
    """One line of pg_waldump."""

    rmgr: str
    plain: int
    """Length without page images."""
    total: int
    xid: int
    lsn: Lsn
    prev: Lsn
    text: str


@dataclass(frozen=True)
class History:
    """The WAL of one cluster from its first segment to its shutdown."""

    major: int
    system_identifier: int
    segments: tuple[tuple[Segment, bytes], ...]
    dumped: str
    facts: dict[str, object]
    """What the writer knows of it."""
    server: Server
    """Stopped; its pg_wal is still there."""

    @cached_property
    def pieces(self) -> list[tuple[Lsn, bytes]]:
        return [(segment.start(SIZE), data) for segment, data in self.segments]

    @cached_property
    def listed(self) -> list[Listed]:
        return list(_listed(self.dumped))

    @cached_property
    def samples(self) -> list[Record]:
        """A few records of every kind and many ends of transactions."""
        found = [r for r in follow(self.pieces) if 24 < len(r.data) < 20_000]
        kinds = {(r.rmid, r.info): r for r in found}
        return [*kinds.values(), *[r for r in found if r.rmid == TRANSACTION][::10]]

    def listed_between(self, start: Lsn, end: Lsn) -> list[Listed]:
        return list(_listed(_dump(self.server, start, end)))


def _listed(dumped: str) -> Iterator[Listed]:
    for match in filter(None, map(_LINE.match, dumped.splitlines())):
        f = match.groupdict()
        yield Listed(f["rmgr"], int(f["plain"]), int(f["total"]), int(f["xid"]), Lsn.parse(f["lsn"]),
                     Lsn.parse(f["prev"]), f["text"])


def _dump(server: Server, start: Lsn, end: Lsn) -> str:
    """pg_waldump's list, in UTC."""
    argv = [server.installation.program("pg_waldump"), "-p", server.wal, "-s", str(start), "-e", str(end)]
    done = subprocess.run(argv, cwd="/", env=account().environment({"TZ": "UTC"}), capture_output=True, text=True,
                          **account().popen_options())
    nothing_begins_there = "could not find a valid record" in done.stderr
    assert done.returncode == 0 or nothing_begins_there, done.stderr
    return done.stdout


def _write(server: Server) -> dict[str, object]:
    """Everything that makes WAL hard to read, once."""
    sql, facts = server.sql, {}
    sql("create table small (id int primary key, t text); create table wide (t text); "
        "alter table wide alter t set storage external")
    with server.connect() as one:
        for i in range(300):
            one.execute(f"insert into small values ({i}, repeat('x', {i % 90}))")
        one.execute("begin; savepoint a; insert into small values (1001); savepoint b; "
                    "insert into small values (1002); release b; release a; "
                    "savepoint c; insert into small values (1003); rollback to c; commit")
        one.execute("begin")
        one.execute("insert into small values (2000)")
        facts["aborted xid"] = one.execute("select txid_current()::text::int").fetchone()[0]
        one.execute("rollback")
        for gid, end in (
            ("it's prepared", "commit prepared 'it''s prepared'"), ("undone", "rollback prepared 'undone'")
        ):
            one.execute("begin")
            one.execute("savepoint s")
            one.execute("create table dropped_later (id int)" if gid == "undone" else "insert into small values (3000)")
            one.execute("release s")
            facts[gid] = one.execute("select txid_current()::text::int").fetchone()[0]
            one.execute("prepare transaction '" + gid.replace("'", "''") + "'")
            one.execute("select txid_current()")
            one.execute(end)
        for name in ("it's", "before the flood", "naïve ☕"):
            facts[f"point {name}"] = one.execute("select pg_create_restore_point(%s)::text", [name]).fetchone()[0]
        one.execute("insert into wide select repeat(md5(g::text), 300) from generate_series(1, 100) g")
        one.execute("create table many as select g as id, md5(g::text) as t from generate_series(1, 20000) g")
        one.execute("create index on many (t)")
        one.execute("checkpoint")
        one.execute("set wal_compression = on")
        one.execute("update many set t = t || 'y' where id % 7 = 0")
        one.execute("checkpoint")
        for method in ("lz4", "zstd"):
            if server.major >= 15 and method in one.execute(
                    "select enumvals::text from pg_settings where name = 'wal_compression'").fetchone()[0]:
                one.execute(f"set wal_compression = {method}")
                one.execute("update many set t = t || 'z' where id % 11 = 0")
                one.execute("checkpoint")
        one.execute("set wal_compression = off")
        one.execute("delete from many where id % 5 = 0")
        # Subtransactions by the hundred: a commit record longer than a page.
        one.execute("do $$ begin for i in 1..3000 loop begin insert into small values (100000 + i); "
                    "exception when others then null; end; end loop; end $$")
        one.execute("select pg_switch_wal()")
        # One record longer than three segments, and its commit.
        one.execute("select pg_logical_emit_message(true, 'x', repeat('x', 3300000))")
        one.execute("select pg_logical_emit_message(false, 'x', repeat('y', 1048000 + g)) from generate_series(1, 3) g")
        one.execute("begin")
        for i in range(1500):
            one.execute(f"create table t{i} (id int)")
        one.execute("commit")
        # A commit record of more than a hundred kilobytes: 1500 relations, their statistics and invalidations.
        one.execute("begin")
        for i in range(1500):
            one.execute(f"drop table t{i}")
        one.execute("commit")
        one.execute("truncate wide")
        one.execute("create database other")
        one.execute("drop database other")
        one.execute("select pg_replication_origin_create('elsewhere')")
        one.execute("select pg_replication_origin_session_setup('elsewhere')")
        one.execute("begin")
        one.execute("select pg_replication_origin_xact_setup('0/ABCDEF', '2020-02-02 02:02:02+00')")
        one.execute("insert into small values (5000)")
        one.execute("commit")
    return facts


def record_history(server: Server) -> History:
    server.start()
    facts = _write(server)
    system_identifier = server.system_identifier()
    server.stop()
    names = sorted(path.name for path in server.wal.iterdir() if re.fullmatch("[0-9A-F]{24}", path.name))
    segments = [(Segment.parse(name, SIZE), (server.wal / name).read_bytes()) for name in names]
    # Files made or recycled for later use carry names of the future; pg_waldump stumbles over those of zeros.
    written = [(s, data) for s, data in segments if data[8:16] == s.start(SIZE).to_bytes(8, "little")]
    for name in set(names) - {segment.name(SIZE) for segment, _ in written}:
        (server.wal / name).unlink()
    start, last = written[0][0].start(SIZE), Lsn.parse(server.controldata()["Latest checkpoint location"])
    dumped = _dump(server, start, _after_checkpoint(last, server.major))
    return History(server.major, system_identifier, tuple(written), dumped, facts, server)


def _after_checkpoint(lsn: Lsn, major: int) -> Lsn:
    """The end of a checkpoint's record, 114 bytes or on 19 122, each aligned to 8, and of page headers on the way."""
    length = 128 if major >= 19 else 120
    inside = lsn % 8192 + length > 8192
    header = 40 if (lsn + length) // SIZE > lsn // SIZE else 24
    return Lsn(lsn + length + inside * header)
