"""What replay does beyond data files, read from the WAL of real servers and compared with their own catalogs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from support.fleet import Fleet, Shape
from support.installation import MAJORS, installation
from support.postgres import Server
from wal_history import SIZE

from pgvault.model.lsn import Lsn
from pgvault.model.replay import (
    Limits,
    ParameterChange,
    PreparedEnded,
    PreparedTransaction,
    TablespaceCreated,
    TablespaceDropped,
)
from pgvault.model.segment import Segment
from pgvault.wal.bodies import main_data
from pgvault.wal.effects import read_two_phase
from pgvault.wal.facts import SegmentFacts, skim
from pgvault.wal.record import TABLESPACE
from pgvault.wal.records import follow

_EXCLUSIVE, _ACCESS_EXCLUSIVE = 3, 8


@dataclass(frozen=True)
class Life:
    server: Server
    pieces: list[tuple[Lsn, bytes]]
    facts: list[SegmentFacts]
    locations: dict[str, str]
    known: dict[str, int]
    files: dict[int, bytes]
    """The content of pg_twophase at the end, by xid."""

    def found(self, kind: type) -> list:
        return [each for facts in self.facts for each in facts.effects if isinstance(each, kind)]


@pytest.fixture(scope="module", params=[
    pytest.param(major, marks=[pytest.mark.xdist_group(f"wal-{major}"), pytest.mark.server], id=f"pg{major}")
    for major in MAJORS])
def life(request: pytest.FixtureRequest) -> Iterator[Life]:
    """A server that makes tablespaces, changes its limits and prepares transactions, a few of which stay."""
    fleet = Fleet()
    try:
        server = fleet.make(installation(request.param), Shape(wal_segsize=1), {
            "max_prepared_transactions": 5, "wal_keep_size": "1GB", "min_wal_size": "2MB"})
        server.start()
        yield _lived(server)
    finally:
        fleet.close()


def _lived(server: Server) -> Life:
    sql, known = server.sql, {}
    sql("checkpoint")  # the row's page is written whole
    locations = {"fast_disk": str(server.new_tablespace("fast_disk"))}
    sql("create table kept (id int primary key); create table spare (id int); create table doomed (id int)")
    locations["second"] = str(server.new_tablespace("second"))  # and now the row alone
    sql('drop tablespace "second"')
    for compression in ("on", *(("lz4", "zstd") if server.major >= 15 else ())):
        if server.major < 15 or compression == "on" or compression in str(
                sql("select enumvals from pg_settings where name = 'wal_compression'")):
            sql(f"alter system set wal_compression = '{compression}'")
            server.reload()
            sql("checkpoint")
            locations[f"with_{compression}"] = str(server.new_tablespace(f"with_{compression}"))
    with server.connect() as one:
        one.execute("begin; insert into kept values (1); lock table kept in exclusive mode")
        known["kept"] = one.execute("select 'kept'::regclass::oid::int8").fetchone()[0]
        known["waiting"] = one.execute("select txid_current()").fetchone()[0]
        one.execute("prepare transaction 'waits ☕'")
        one.execute("begin; savepoint s; insert into spare values (2); release s; drop table doomed; "
                    "create table made (id int)")
        known["ended"] = one.execute("select txid_current()").fetchone()[0]
        one.execute("prepare transaction 'ended elsewhere'")
        one.execute("begin; insert into spare values (3); prepare transaction 'within'")
        one.execute("commit prepared 'within'")
        known["owner"] = one.execute("select oid::int8 from pg_roles where rolname = current_user").fetchone()[0]
        known["database"] = one.execute(
            "select oid::int8 from pg_database where datname = current_database()").fetchone()[0]
        one.execute("select pg_switch_wal()")
        one.execute("rollback prepared 'ended elsewhere'")
    for name, value in (("max_connections", 77), ("max_worker_processes", 9), ("max_wal_senders", 6),
                        ("max_prepared_transactions", 7), ("max_locks_per_transaction", 99)):
        sql(f"alter system set {name} = {value}")
    server.restart()
    sql("checkpoint")
    files = {int(path.name, 16): path.read_bytes() for path in (server.data / "pg_twophase").iterdir()}
    server.stop()
    pieces = [(Segment.parse(path.name, SIZE).start(SIZE), path.read_bytes())
              for path in sorted(server.wal.iterdir()) if len(path.name) == 24]
    facts, carry = [], None
    for start, data in pieces:
        if data[8:16] == start.to_bytes(8, "little"):
            facts.append(skim(data, start, carry))
            carry = facts[-1].carry
    return Life(server, pieces, facts, locations, known, files)


def test_tablespaces_are_known_by_path_and_by_name(life: Life) -> None:
    found = life.found(TablespaceCreated)
    assert {each.path: each.name or _compressed(each, life) for each in found} == {
        path: name for name, path in life.locations.items()}
    assert len({each.oid for each in found}) == len(found)
    second = next(each for each in found if each.name == "second")
    assert [(each.oid, each.lsn > second.lsn) for each in life.found(TablespaceDropped)] == [(second.oid, True)]
    for record in follow(life.pieces):
        if record.rmid == TABLESPACE and record.info & 0xF0 == 0:
            each = next(each for each in found if each.lsn == record.lsn)
            assert (each.end_lsn, each.segment, each.timeline) == (record.end_lsn, record.lsn // SIZE, 1)
            assert main_data(record.data) == each.oid.to_bytes(4, "little") + each.path.encode() + b"\0"


def _compressed(each: TablespaceCreated, life: Life) -> str:
    """Its name, where the row may stand in a page image that is compressed: that is not read."""
    return next(name for name, path in life.locations.items() if path == each.path and name.startswith("with_"))


def test_new_limits_are_known(life: Life) -> None:
    last = life.found(ParameterChange)[-1]
    assert last.limits == Limits(77, 9, 6, 7, 99)
    assert last.wal_level == 1
    assert life.server.controldata()["max_connections setting"] == "77"


def test_prepared_transactions_are_known_with_their_owner_and_locks(life: Life) -> None:
    found = {each.gid: each for each in life.found(PreparedTransaction)}
    assert found.keys() == {"waits ☕", "ended elsewhere"}
    waiting, known = found["waits ☕"], life.known
    assert (waiting.xid, waiting.owner, waiting.database) == (known["waiting"], known["owner"], known["database"])
    assert {(known["database"], known["kept"], _EXCLUSIVE), (known["database"], known["kept"], 7)} <= set(waiting.locks)
    assert any(mode == _ACCESS_EXCLUSIVE for _, _, mode in found["ended elsewhere"].locks)
    assert [each.xid for each in life.found(PreparedEnded)] == [known["ended"]]
    assert sum(each.passed for each in life.facts) == 1


def test_the_file_of_a_prepared_transaction_says_the_same(life: Life) -> None:
    waiting = next(each for each in life.found(PreparedTransaction) if each.gid == "waits ☕")
    (state,) = life.files.values()
    assert list(life.files) == [waiting.xid]
    from_file = read_two_phase(state, life.server.major)
    assert (from_file.gid, from_file.prepared_at, from_file.locks) == (
        waiting.gid, waiting.prepared_at, waiting.locks)


def test_a_prepared_state_that_is_cut_short_is_no_state(life: Life) -> None:
    (state,) = life.files.values()
    for length in range(0, len(state) - 12, 4):
        with pytest.raises(ValueError, match=r"truncated|magic|fit"):
            read_two_phase(state[:length], life.server.major)
