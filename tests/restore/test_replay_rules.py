"""What replay will do up to a stop, what its own files say of a backup, and what there is to say of the WAL on the way.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from choosing import find, lived
from made_archive import MadeArchive
from support.restoring import backup, plan
from support.stored import store
from test_fit_rules import Shelf

from pgvault.engine.restore.choose import Choice
from pgvault.engine.restore.prepared import named_prepared, read_replay
from pgvault.engine.restore.recovery_path import RecoveryPaths
from pgvault.engine.restore.replay import creations_in, replay_of, space_names
from pgvault.engine.restore.settings import HEADING
from pgvault.engine.restore.timelines import follow_promotion, reserve_timeline
from pgvault.io.local_host import LocalHost
from pgvault.model.backup import Backup, Tablespace
from pgvault.model.check import Outcome
from pgvault.model.errors import PgvaultError
from pgvault.model.event import Event, Level, Noted
from pgvault.model.lsn import Lsn
from pgvault.model.prepared import Prepared
from pgvault.model.replay import Effect, PreparedTransaction, TablespaceCreated
from pgvault.model.restore_plan import Precondition
from pgvault.model.segment import Segment
from pgvault.model.target import AtLsn, AtXid, EndOfWal, Immediate
from pgvault.vault import catalog, recoveries
from pgvault.vault.layout import ServerVault, Vault
from pgvault.vault.manifest import ManifestWriter
from pgvault.vault.names import DatabaseName, RoleName
from pgvault.vault.names import RelationName as Named
from pgvault.vault.recoveries import Recovery
from pgvault.vault.wal_rows import Row
from pgvault.wal.versions import FORMATS

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def created(segment: int, offset: int = 0x10, oid: int = 17000) -> TablespaceCreated:
    lsn = segment << 20 | offset
    return TablespaceCreated(oid, f"/mnt/{oid}", Lsn(lsn), 1, segment, Lsn(lsn + 48))


def prepared(segment: int, xid: int = 9, **facts: Any) -> PreparedTransaction:
    return PreparedTransaction(xid, f"g{xid}", 5, 10, NOON, Lsn(segment << 20 | 0x100), **facts)


@pytest.fixture
def server(tmp_path: Path) -> ServerVault:
    vault = Vault.open_or_create(tmp_path / "vault").server("main")
    vault.prepare()
    return vault


class Exact(Shelf):
    """With a segment whose prepared transactions the index does not have: it is read again."""

    def effects_within(self, row: Row) -> list[Effect]:
        assert row.number == 5
        assert not row.problem
        return [created(5, 0x20, 18000), created(5, 0x200, 18001)]


def chosen(search: MadeArchive, target: Any, backups: Sequence[Backup] | None = None) -> Choice:
    found = find(search, target, None, backups)
    assert isinstance(found, Choice)
    return found


# Up to the stop


@pytest.mark.parametrize(("target", "oids"), [
    (Immediate(), []), (AtXid(702), [17003]), (AtLsn(Lsn(0x500010)), [17003, 17004, 17005]),
    (AtLsn(Lsn(0x500010), inclusive=False), [17003, 17004]), (AtLsn(Lsn(0x500018)), [17003, 17004, 17005]),
    (EndOfWal(), [17003, 17004, 17005])])
def test_what_lies_before_the_backup_or_behind_the_stop_is_not_replayed(target: Any, oids: list[int]) -> None:
    search = Shelf(lived(), made=tuple(created(number, oid=17000 + number) for number in (2, 3, 4, 5)))
    choice = chosen(search, target, search.backups[:1])
    assert [each.oid for each in replay_of(choice).created] == oids
    named = replay_of(choice, names={17003: "three"})
    assert [each.name for each in named.created] == ["three", None, None][:len(oids)]


def test_the_segment_of_the_stop_is_read_again_where_transactions_came_and_went_in_it() -> None:
    search = Exact(lived(), made=(created(4, oid=17004), created(5, oid=17005)))
    search.rows[Segment(1, 5)] = search.rows[Segment(1, 5)]._replace(passed=1)
    found = replay_of(chosen(search, AtLsn(Lsn(0x500028)), search.backups[:1]))
    assert [each.oid for each in found.created] == [17004, 18000]
    search.rows[Segment(1, 5)] = search.rows[Segment(1, 5)]._replace(problem="it is damaged")
    unread = replay_of(chosen(search, EndOfWal(), search.backups[:1]))
    assert [each.oid for each in unread.created] == [17004]
    assert unread.unread == ("000000010000000000000005",)


def test_what_was_prepared_before_the_backup_counts_as_far_as_wal_goes_back_without_a_gap() -> None:
    search = Shelf(lived(), made=(prepared(2, 1), prepared(3, 2), prepared(4, 3)))
    second = chosen(search, EndOfWal(), search.backups[1:])
    assert [each.xid for each in replay_of(second).pending] == [1, 2, 3]
    assert [each.xid for each in replay_of(second, held=[prepared(0, 7)]).pending] == [7, 1, 2, 3]
    gap = Shelf(lived(), frozenset([Segment(1, 3)]), made=search.made)
    assert [each.xid for each in replay_of(chosen(gap, EndOfWal(), gap.backups[1:])).pending] == [3]


def test_where_segments_create_tablespaces() -> None:
    """Behind the stop too: a person may let recovery go on."""
    search = Shelf(lived(), made=(created(3), created(4), prepared(4), created(5)))
    rows = [search.rows[Segment(1, number)] for number in (4, 5)]
    assert creations_in(RecoveryPaths(search).to(1), rows) == (created(4).lsn, created(5).lsn)


def test_tablespaces_are_called_what_any_backup_calls_them() -> None:
    assert space_names([backup(tablespaces=(Tablespace(1, "a", "/a"),)), backup(
        tablespaces=(Tablespace(1, "b", "/a"), Tablespace(2, "c", "/c")))]) == {1: "b", 2: "c"}


# What a backup's own files say


def two_phase(xid: int, gid: str) -> bytes:
    """A file of pg_twophase, of PostgreSQL 17."""
    name = gid.encode() + b"\0"
    head = FORMATS[17].two_phase_header.pack(0x57F94534, 0, xid, 5, 0, 10, *[0] * 6, 0, len(name), 0, 0)
    return head + name + bytes(-len(name) % 8) + struct.pack("<IBxH", 0, 0, 0)


def named(writer: ManifestWriter) -> None:
    writer.add_databases([DatabaseName(5, "shop")])
    writer.add_roles([RoleName(10, "joe")])
    writer.add_relations([Named(5, 20000, 20000, "public", "Orders", "r"), Named(5, 20001, 20001, "public", "i", "i"),
                          Named(5, 20002, 20002, "pg_toast", "t", "t"), Named(5, 20003, 20003, "public", "s", "S")])


def test_files_of_prepared_transactions_are_read_and_what_cannot_be_is_told(server: ServerVault) -> None:
    search = Shelf(lived())
    first = store(server, search.backups[0], {
        "pg_twophase": None, "pg_twophase/00000007": two_phase(7, "seven"), "pg_twophase/00000008": b"short",
        "pg_twophase_other": b"x"}, named)
    catalog.write(server, replace(first, tablespaces=(Tablespace(17000, "made", "/mnt/made"),), server_version="17.1"))
    search.server.backups[0] = catalog.read(server, first.id)
    found, flaws = read_replay(server, chosen(Shelf(search.server, made=(created(3),)), EndOfWal(),
                                              search.server.backups[:1]))
    assert [(each.xid, each.gid) for each in found.pending] == [(7, "seven")]
    assert [each.name for each in found.created] == ["made"]
    assert flaws == (Precondition("prepared transactions", Outcome.WARNING,
                                  "pg_twophase/00000008 in the backup cannot be read.",
                                  "Look at pg_prepared_xacts once the server runs."),)


def test_those_that_are_pending_are_told_in_names(server: ServerVault) -> None:
    search = Shelf(lived())
    store(server, search.backups[0], {"PG_VERSION": b"17"}, named)
    choice = chosen(search, EndOfWal())
    assert named_prepared(server, choice, []) == ()
    locks = ((5, 20003, 1), (5, 20000, 8), (5, 20001, 8), (5, 20002, 8), (5, 20009, 3), (6, 20000, 8), (5, 1259, 3),
             (5, 16384, 3), (5, 20000, 2))
    assert named_prepared(server, choice, [prepared(3, locks=locks)]) == (Prepared(
        "g9", "joe", "shop", NOON, ("RowExclusiveLock on the relation 16384",
                                    'RowShareLock on public."Orders"', 'AccessExclusiveLock on public."Orders"',
                                    "RowExclusiveLock on the relation 20009")),)
    unknown = PreparedTransaction(1, "g", 99, 98, NOON, Lsn(0))
    assert named_prepared(server, choice, [unknown]) == (Prepared("g", "OID 98", "OID 99", NOON, ()),)


# The timeline that a recovery takes


def test_a_timeline_is_reserved_also_where_it_cannot_be_noted(server: ServerVault,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[Event] = []
    wanted = plan(timeline=3)
    assert reserve_timeline(server, wanted, "J1", events.append) == Recovery(4, 3, "J1", "box", "/srv/data")
    assert recoveries.find(server, 4) == Recovery(4, 3, "J1", "box", "/srv/data")
    assert events == []

    def full(*_: object) -> Recovery:
        raise PgvaultError("the disk is full")

    monkeypatch.setattr(recoveries, "reserve", full)
    assert reserve_timeline(server, wanted, "J2", events.append) == Recovery(5, 3, "J2", "box", "/srv/data")
    assert [(each.text, each.level, each.code) for each in events if isinstance(each, Noted)] == [(
        "the vault cannot note that this recovery takes timeline 5 (the disk is full); a later one may take the same",
        Level.WARNING, "timeline")]


@pytest.fixture
def promoted(tmp_path: Path) -> Path:
    """The data directory of a server that left its recovery."""
    data = tmp_path / "data"
    (data / "pg_wal").mkdir(parents=True)
    (data / "pg_wal/00000004.history").write_text("3\t0/5000000\tno recovery target specified\n")
    (data / "postgresql.auto.conf").write_text(f"# {HEADING} backup B\nhot_standby = 'on'\nport = '7'\n")
    return data


def follow(server: ServerVault, data: Path, timeline: int | None) -> list[tuple[str, Level, str]]:
    events: list[Event] = []
    asyncio.run(follow_promotion(LocalHost(), str(data), server, Recovery(4, 3, "J1"), timeline, events.append))
    return [(each.text, each.level, each.code) for each in events if isinstance(each, Noted)]


TAKEN_OUT = ("the recovery settings are taken out of postgresql.auto.conf again; until the server is restarted, as for "
             "archive_mode it must be, it mentions them at each reload", Level.INFO, "")


@pytest.mark.parametrize("timeline", [None, 4])
def test_after_a_promotion_the_server_needs_no_recovery_and_the_vault_keeps_its_history(
        server: ServerVault, promoted: Path, timeline: int | None) -> None:
    assert follow(server, promoted, timeline) == [TAKEN_OUT, (
        "the vault keeps 00000004.history: it joins the archive of main with the first WAL of this timeline",
        Level.INFO, "timeline")]
    assert (promoted / "postgresql.auto.conf").read_text() == f"# {HEADING} backup B\nport = '7'\n"
    noted = recoveries.find(server, 4)
    assert noted is not None
    assert (noted.job, noted.history) == ("J1", "3\t0/5000000\tno recovery target specified\n")


def test_the_timeline_that_the_server_reports_is_the_one_that_it_has(server: ServerVault, promoted: Path) -> None:
    (promoted / "pg_wal/00000005.history").write_text("3\t0/5000000\tx\n")
    assert follow(server, promoted, 5)[1][2] == "timeline"
    noted = recoveries.find(server, 5)
    assert noted is not None
    assert noted.history == "3\t0/5000000\tx\n"


def test_a_full_disk_is_told_in_words(server: ServerVault, promoted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(recoveries, "note_history", full)
    assert "in the vault: No space left on device; before" in follow(server, promoted, 4)[1][0]


def test_what_cannot_be_done_after_it_is_told_with_what_to_do(server: ServerVault, promoted: Path) -> None:
    (promoted / "postgresql.auto.conf").unlink()
    path = promoted / "pg_wal/00000005.history"
    settings, history = follow(server, promoted, 5)
    assert settings[0].startswith(f"could not take the recovery settings out of {promoted}/postgresql.auto.conf: ")
    assert settings[0].endswith("; do so before you make a standby of this server")
    assert settings[1:] == (Level.WARNING, "")
    assert history[0].startswith("could not note the history of timeline 5 in the vault: ")
    bring = f"pgvault put-wal main 00000005.history < {path}"
    assert history[0].endswith(f"; before this server archives, bring it: {bring}")
    assert history[1:] == (Level.WARNING, "timeline")
    path.write_bytes(b"\xff")
    assert "in the vault: 'utf-8' codec can't decode" in follow(server, promoted, 5)[1][0]
