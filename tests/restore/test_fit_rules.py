"""What `restore --choices` answers of a made-up archive: the choice, every backup judged, the windows, the spaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from choosing import FIRST, REACH, SECOND, at, branched, lived
from made_archive import MadeArchive, Server
from support.objects import backup_directory

from pgvault.engine.restore.bounds import Bound, Bounds
from pgvault.engine.restore.choices import Choices, Fit, Question
from pgvault.engine.restore.nearest import When
from pgvault.engine.restore.recovery_path import Archive
from pgvault.engine.restore.stop import Stop
from pgvault.model.backup import BackupStatus, Tablespace
from pgvault.model.lsn import Lsn
from pgvault.model.replay import Effect, TablespaceCreated
from pgvault.model.restore_plan import TablespacePlace
from pgvault.model.restore_request import RestoreRequest
from pgvault.model.segment import Segment
from pgvault.model.target import AtLsn, AtTime, AtXid, EndOfWal, Immediate
from pgvault.model.timeline import History
from pgvault.vault import catalog
from pgvault.vault.layout import ServerVault, Vault
from pgvault.vault.wal_facts import microseconds
from pgvault.vault.wal_rows import Row

LOST = "20261101T120002Z"


@dataclass(frozen=True, slots=True)
class Shelf(MadeArchive):
    """With what a plan asks beside: effects, and an unfinished segment behind the last one, where there is one."""

    made: tuple[Effect, ...] = ()
    begun_row: Row | None = None
    counts: bool = False
    segments: dict[int, list[Row]] = field(default_factory=dict)

    def with_unfinished(self) -> Shelf:
        return self if self.begun_row is None or self.counts else replace(self, counts=True)

    def begun(self, history: History, number: int) -> Row | None:
        return self.begun_row if self.counts and self.begun_row and self.begun_row.number == number else None

    def effects(self, history: History, row: Row) -> list[tuple[int, Effect]]:
        return [(each.lsn // self.size, each) for each in self.made if each.lsn // self.size <= row.number]

    def numbers(self, history: History) -> list[int]:
        return [segment.number for segment in self.rows]


@pytest.fixture
def vault(tmp_path: Path) -> ServerVault:
    server = Vault.open_or_create(tmp_path / "vault").server("main")
    server.prepare()
    return server


def ask(vault: ServerVault, search: Any, change: Any = None, **asked: Any) -> Choices:
    """Of the archive's backups, each as `change` makes it."""
    for backup in search.backups:
        catalog.create(vault, change(backup) if change else backup)
    archive = cast("Archive", SimpleNamespace(server=vault, search=lambda partial: (
        search.with_unfinished() if partial else search)))
    return Question(archive, RestoreRequest("main", **asked)).answer()


def of(found: Choices) -> dict[str, str]:
    return {each.backup: each.reason for each in found.fits}


def test_a_choice_with_all_that_is_said_of_it(vault: ServerVault) -> None:
    found = ask(vault, Shelf(lived()), target=AtXid(703))
    assert found == Choices(
        "main", AtXid(703), None, SECOND, Stop(1, Lsn(0x500028), True, Lsn(0x500068), at(12, 3, 12.5)), 1, "", (),
        (Fit(SECOND, True, True, "is proposed, replays 2 segments", 2, 2000),
         Fit(FIRST, True, False, "would fit too, replays 2 segments more", 4, 4000)),
        (Bounds(1, Bound(at(12, 0, 1.25), Lsn(0x2000A8), 1), Bound(at(12, 3, 12.5), Lsn(0x600000), 1),
                (FIRST, SECOND)),))


def test_no_choice_with_what_is_nearest(vault: ServerVault) -> None:
    found = ask(vault, Shelf(lived()), target=AtTime(at(17)))
    assert (found.backup, found.stop, found.followed) == (None, None, None)
    assert found.reason == f"On timeline 1 the archived WAL reaches to 0/600000, {REACH}."
    assert [(each.when, each.stop.time) for each in found.nearest] == [(When.EARLIER, at(12, 3, 12.5))]
    assert found.fits == (Fit(SECOND, False, False, f"reaches only to 0/600000, {REACH}"),
                          Fit(FIRST, False, False, f"reaches only to 0/600000, {REACH}"))
    assert [(each.timeline, each.backups) for each in found.windows] == [(1, (FIRST, SECOND))]


@pytest.mark.parametrize(("status", "error", "told"), [
    (BackupStatus.WAITING_FOR_WALS, "", "waits for WAL that is not archived yet"),
    (BackupStatus.STARTED, "", "was begun and never completed"), (BackupStatus.FAILED, "", "failed"),
    (BackupStatus.FAILED, "disk full", "failed: disk full")])
def test_a_backup_that_is_not_whole(vault: ServerVault, status: BackupStatus, error: str, told: str) -> None:
    def unfinished(backup: Any) -> Any:
        end = None if status is BackupStatus.STARTED else backup.end_lsn
        return replace(backup, status=status, error=error, end_lsn=end) if backup.id == SECOND else backup

    found = ask(vault, Shelf(lived()), unfinished, target=EndOfWal())
    assert found.fits == (Fit(SECOND, False, False, told), Fit(FIRST, True, True, "is proposed, replays 4 segments", 4,
                                                                4000))


def test_one_that_cannot_be_read_is_named_too(vault: ServerVault) -> None:
    search = Shelf(lived())
    lost = backup_directory(vault, LOST)
    lost.mkdir(parents=True)
    (lost / "backup.toml").write_text("=")
    found = ask(vault, search, target=EndOfWal())
    assert [each.backup for each in found.fits] == [LOST, SECOND, FIRST]
    [unreadable] = catalog.read_all(vault).unreadable
    assert found.fits[0] == Fit(LOST, False, False, f"cannot be read: {unreadable.reason}")


def corrupt(*pages: str, backups: Sequence[str]) -> Any:
    return lambda backup: replace(backup, corrupt_pages=pages) if backup.id in backups else backup


@pytest.mark.parametrize(("change", "first", "second"), [
    (corrupt("base/1/2", backups=[SECOND]), "is proposed, replays 4 segments",
     "would fit too, but the server reported corrupt pages in base/1/2"),
    (corrupt("base/1/2", "base/1/3", backups=[FIRST, SECOND]),
     "would fit too, but the server reported corrupt pages in 2 of its files",
     "is proposed, replays 2 segments; the server reported corrupt pages in 2 of its files, but no whole one fits"),
])  # fmt: skip
def test_corrupt_pages_are_told(vault: ServerVault, change: Any, first: str, second: str) -> None:
    assert of(ask(vault, Shelf(lived()), change, target=EndOfWal())) == {FIRST: first, SECOND: second}


@pytest.mark.parametrize(("target", "first", "second"), [
    (AtXid(701), "is proposed, replays 2 segments", "has no such target in the WAL behind it"),
    (AtLsn(Lsn(0x2000A8)), "is proposed, replays 1 segment", "ends after the target, at 2026-11-01 12:02:12.5+00"),
    (Immediate(), "would stop at another place, 0/2000A8 of 2026-11-01 12:00:01.25+00",
     "is proposed, replays 1 segment"),
])  # fmt: skip
def test_how_each_fits(vault: ServerVault, target: Any, first: str, second: str) -> None:
    assert of(ask(vault, Shelf(lived()), target=target)) == {FIRST: first, SECOND: second}


def test_one_that_replays_a_segment_more(vault: ServerVault) -> None:
    server = Server()
    server.backup()
    server.backup()
    found = of(ask(vault, Shelf(server), target=EndOfWal()))
    assert found == {FIRST: "would fit too, replays 1 segment more", SECOND: "is proposed, replays 1 segment"}


def test_another_place_of_no_known_time(vault: ServerVault) -> None:
    found = ask(vault, Shelf(lived()), lambda each: replace(each, finished_at=None), target=Immediate())
    assert of(found)[FIRST] == "would stop at another place, 0/2000A8"


def test_two_that_replay_equally_much(vault: ServerVault) -> None:
    """Both begin in one segment."""
    server = Server()
    server.backup()
    server.position = Lsn(0x200200)
    server.backup()
    server.commit()
    found = of(ask(vault, Shelf(server), target=EndOfWal()))
    assert found == {FIRST: "would fit too", SECOND: "is proposed, replays 2 segments"}


def test_on_which_timelines_a_named_backup_would_have_reached(vault: ServerVault) -> None:
    archive = Shelf(branched().server)
    found = ask(vault, archive, target=EndOfWal())
    assert of(found) == {FIRST: "reaches the target on timeline 1 and 2", SECOND: "reaches the target on timeline 1"}
    assert found.timeline is None
    assert [each.reading.timeline for each in found.nearest] == [1, 2]


def test_one_on_another_branch(vault: ServerVault) -> None:
    found = ask(vault, Shelf(branched().server), target=EndOfWal(), timeline=2)
    assert of(found) == {FIRST: "is proposed, replays 2 segments", SECOND: "lies on another branch, timeline 1"}
    assert (found.timeline, found.followed, found.backup) == (2, 2, FIRST)


def test_one_that_cannot_be_judged(vault: ServerVault) -> None:
    search = Shelf(lived())
    search.rows[Segment(1, 3)] = search.rows[Segment(1, 3)]._replace(
        problem="it is damaged", earliest=None, latest=None, oldest_xid=None, newest_xid=None, last_at=None)
    found = ask(vault, search, target=AtXid(703))
    assert of(found)[FIRST] == "cannot be judged: segment 000000010000000000000003 was not read"
    assert found.unread == ()
    whole = Question(cast("Archive", SimpleNamespace(server=vault, search=lambda partial: search)),
                     RestoreRequest("main", FIRST)).answer()
    assert whole.unread == ("000000010000000000000003",)


def test_a_named_backup_that_failed(vault: ServerVault) -> None:
    found = ask(vault, Shelf(lived()), lambda each: replace(each, status=BackupStatus.FAILED, error="disk full")
                if each.id == SECOND else each, backup=SECOND)
    assert found.reason == f"Backup {SECOND} is FAILED, it cannot be restored: disk full."
    assert [(each.when, each.reading.backup, each.reading.reason) for each in found.nearest] == [
        (When.AT, FIRST, "from another backup")]


def test_a_named_backup_that_failed_and_nobody_knows_why(vault: ServerVault) -> None:
    found = ask(vault, Shelf(lived()), lambda each: replace(each, status=BackupStatus.FAILED), backup=FIRST)
    assert found.reason == f"Backup {FIRST} is FAILED, it cannot be restored."
    assert found.nearest == ()


def test_tablespaces_that_need_a_place_are_named_with_what_is_known_of_them(vault: ServerVault) -> None:
    made = (TablespaceCreated(17000, "/mnt/made", Lsn(0x300030), 1, 3, Lsn(0x300060)),
            TablespaceCreated(17001, "/mnt/later", Lsn(0x500030), 1, 5, Lsn(0x500060)))
    spaces = (Tablespace(16400, "fast", "/mnt/fast"), Tablespace(16500, "inside", "pg_tblspc/16500"))

    def with_spaces(backup: Any) -> Any:
        named = (*spaces, Tablespace(17000, "made", "/mnt/made")) if backup.id == SECOND else spaces
        return replace(backup, tablespaces=named)

    found = ask(vault, Shelf(lived(), made=made), with_spaces, target=AtXid(702))
    assert found.spaces == (TablespacePlace(16400, "fast", "/mnt/fast", "", 0),
                            TablespacePlace(17000, "made", "/mnt/made", "", 0, is_new=True))


# The unfinished segment


def begun(**facts: Any) -> Row:
    times = microseconds(at(12, 10))
    return Shelf(lived()).rows[Segment(1, 5)]._replace(**{
        "number": 6, "name": Segment(1, 6).name(1 << 20), "earliest": times, "latest": times, "stops": True,
        "end_at": 0x600100, "last_at": 0x6000C0, "whole": 0x600100,
        "unfinished": SimpleNamespace(part=None, facts=None), **facts})


@pytest.mark.parametrize(("row", "partial", "latest"), [
    (begun(), False, Bound(at(12, 3, 12.5), Lsn(0x600000), 1)),
    (begun(), True, Bound(at(12, 10), Lsn(0x600100), 1)),
    (begun(latest=None, earliest=None), True, Bound(at(12, 3, 12.5), Lsn(0x600100), 1)),
])  # fmt: skip
def test_the_window_reaches_into_the_unfinished_segment_when_it_is_used(vault: ServerVault, row: Row, partial: bool,
                                                                       latest: Bound) -> None:
    found = ask(vault, Shelf(lived(), begun_row=row), target=Immediate(), partial=partial)
    assert [each.latest for each in found.windows] == [latest]


def test_a_window_in_which_nothing_was_committed_has_no_latest_time(vault: ServerVault) -> None:
    server = Server()
    server.backup()
    behind = begun(number=3, latest=None, earliest=None, end_at=0x300100, whole=0x300100)
    found = ask(vault, Shelf(server, begun_row=behind), target=Immediate(), partial=True)
    assert [each.latest for each in found.windows] == [Bound(None, Lsn(0x300100), 1)]


def test_what_the_unfinished_segment_would_reach_is_offered(vault: ServerVault) -> None:
    found = ask(vault, Shelf(lived(), begun_row=begun()), target=AtLsn(Lsn(0x6000C0)))
    assert [(each.when, each.reading.partial, each.stop.lsn) for each in found.nearest] == [
        (When.AT, True, Lsn(0x6000C0)), (When.EARLIER, False, Lsn(0x500028))]
    assert found.nearest[0].reading.reason == (
        "with the unfinished last segment, which is used only when asked for")
