"""What is chosen for a target, where recovery stops for it, and what is offered in its place, on a made-up archive."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest
from choosing import FIRST, REACH, SECOND, archive_without, at, branched, find, lived, refusal
from made_archive import MadeArchive

from pgvault.engine.restore.choose import Choice, NoChoice, Reading, needed
from pgvault.engine.restore.nearest import When, nearest
from pgvault.engine.restore.recovery_path import RecoveryPaths
from pgvault.engine.restore.stop import NoStop, NoStopCause, Stop, find_stop
from pgvault.model.backup import Backup
from pgvault.model.errors import Refused
from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment
from pgvault.model.target import AtLsn, AtName, AtTime, AtXid, EndOfWal, Immediate, Target
from pgvault.vault.wal_facts import microseconds
from pgvault.vault.wal_rows import Row

# Which backup


def test_one_with_corrupt_pages_is_the_last_resort() -> None:
    archive = archive_without()
    first, second = archive.backups
    corrupt = replace(second, corrupt_pages=("base/1/2",))
    for backups, chosen in (([first, second], SECOND), ([first, corrupt], FIRST), ([corrupt], SECOND)):
        found = find(archive, EndOfWal(), None, backups)
        assert isinstance(found, Choice)
        assert found.backup.id == chosen


def test_the_wal_that_is_needed() -> None:
    archive = archive_without()
    found = find(archive, AtXid(701))
    assert isinstance(found, Choice)
    part = needed(found.path, found.backup, found.stop)
    assert [row.number for row in part.rows] == [2, 3]
    assert (part.segments, part.stored) == (2, 2000)


def test_no_backup_lies_on_the_way() -> None:
    archive = branched()
    found = refusal(archive, EndOfWal(), 2, archive.backups[1:])
    assert found.refusals == (NoStop(NoStopCause.UNKNOWN, "no backup lies on the path to timeline 2", timeline=2),)
    assert found.reason == "No backup lies on the path to timeline 2."


# The very places


@pytest.mark.parametrize(("target", "stop"), [
    (AtTime(at(12, 1, 1.25)), Stop(1, Lsn(0x3000A8), False, Lsn(0x3000E8), at(12, 2, 11.25))),
    (AtTime(at(12, 1, 1.25), inclusive=False), Stop(1, Lsn(0x300028), False, Lsn(0x300068), at(12, 1, 1.25))),
    (AtTime(at(12, 3, 12.5)), Stop(1, Lsn(0x500028), True, Lsn(0x500068), at(12, 3, 12.5))),
    (AtXid(703), Stop(1, Lsn(0x500028), True, Lsn(0x500068), at(12, 3, 12.5))),
    (AtXid(703, inclusive=False), Stop(1, Lsn(0x500028), False, Lsn(0x500068), at(12, 3, 12.5))),
    (AtLsn(Lsn(0x500028)), Stop(1, Lsn(0x500028), True, Lsn(0x600000), None)),
    (AtLsn(Lsn(0x500028), inclusive=False), Stop(1, Lsn(0x500028), False, Lsn(0x600000), None)),
    (Immediate(), Stop(1, Lsn(0x4000A8), True, Lsn(0x4000A8), at(12, 2, 12.5))),
    (EndOfWal(), Stop(1, Lsn(0x600000), True, Lsn(0x600000), at(12, 3, 12.5))),
])  # fmt: skip
def test_where_recovery_stops(target: Target, stop: Stop) -> None:
    found = find(archive_without(), target)
    assert isinstance(found, Choice)
    assert found.stop == stop


# What is nearest


def offered(archive: MadeArchive, asked: Reading) -> list[tuple[When, str, Reading]]:
    named = [each for each in archive.backups if asked.backup in ("auto", each.id)]
    found = refusal(archive, asked.target, asked.timeline, named)
    return [(each.when, each.text, each.reading)
            for each in nearest(found, asked, named, archive.backups, lambda partial: RecoveryPaths(archive))]


COMMIT = "just after the last commit at or before"


@pytest.mark.parametrize(("lost", "asked", "expected"), [
    ((), Reading(AtTime(at(11)), None, "auto"), [
        (When.LATER, f"the end of backup {FIRST}",
         Reading(Immediate(), 1, FIRST, reason="the first backup's end behind it"))]),
    ((), Reading(AtTime(at(17)), None, "auto"), [
        (When.EARLIER, f"{COMMIT} 2026-11-01 12:03:12.5+00",
         Reading(AtTime(at(12, 3, 12.5)), 1, reason="the last commit that can be reached on timeline 1"))]),
    ((3,), Reading(AtTime(at(12, 1, 30)), None, "auto"), [
        (When.EARLIER, f"the end of backup {FIRST}",
         Reading(Immediate(), 1, FIRST, reason="the backup's end: nothing was committed behind it")),
        (When.LATER, f"the end of backup {SECOND}",
         Reading(Immediate(), 1, SECOND, reason="the first backup's end behind it"))]),
    ((), Reading(AtTime(at(12, 1, 30)), None, SECOND), [
        (When.AT, f"{COMMIT} 2026-11-01 12:01:30+00",
         Reading(AtTime(at(12, 1, 30)), 1, FIRST, reason="from another backup")),
        (When.LATER, f"the end of backup {SECOND}",
         Reading(Immediate(), 1, SECOND, reason="the first backup's end behind it"))]),
    ((), Reading(AtName("deploy"), None, "auto"), [
        (When.AT, "WAL position 0/300068, inclusive",
         Reading(AtLsn(Lsn(0x300068)), 1, reason="the one of 2026-11-01 12:02:01.25+00")),
        (When.AT, "WAL position 0/500068, inclusive",
         Reading(AtLsn(Lsn(0x500068)), 1, reason="the one of 2026-11-01 12:03:17.5+00"))]),
    ((5, 4), Reading(Immediate(), None, SECOND), [
        (When.EARLIER, f"the end of backup {FIRST}", Reading(Immediate(), 1, FIRST,
                                                         reason="the newest one to be restored"))]),
    ((), Reading(AtXid(12345), None, "auto"), []),
])  # fmt: skip
def test_what_is_offered_in_place_of_what_cannot_be_reached(
        lost: tuple[int, ...], asked: Reading, expected: list[tuple[When, str, Reading]]) -> None:
    assert offered(archive_without(*lost), asked) == expected


class WithUnfinished(MadeArchive):
    """Segment 6 is unfinished, with a commit of 12:10; it counts when it is asked for."""

    counts = False

    def _begun(self) -> Row:
        return self.rows[Segment(1, 5)]._replace(
            number=6, name=Segment(1, 6).name(self.size), earliest=microseconds(at(12, 10)),
            latest=microseconds(at(12, 10)), end_at=0x600100)

    def left_out(self, history: object, row: Row) -> Row | None:
        return None if self.counts or row.number != 5 else self._begun()


def test_an_unfinished_segment_is_mentioned_where_it_would_reach_further() -> None:
    archive = WithUnfinished(lived())
    goes_on = ("; with --partial it goes on to 0/600100 in the unfinished 000000010000000000000006, where the last "
               "commit is of 2026-11-01 12:10:00+00")
    assert refusal(archive, AtTime(at(12, 10))).reason == (
        f"On timeline 1 the archived WAL reaches to 0/600000, {REACH}{goes_on}.")
    assert refusal(archive, AtXid(999)).reason.startswith(
        f"No transaction 999 ended in the archived WAL behind backup {SECOND}{goes_on}; ")


# In which order, and on which side


NOTHING = Refused("nothing")


def made_up(*refusals: NoStop, asked: Reading, archive: MadeArchive | None = None) -> list[tuple[When, Reading]]:
    """What is offered where these are the refusals."""
    archive = archive or branched()
    found = NoChoice(NOTHING, "nothing", (), refusals)
    return [(each.when, each.reading) for each in nearest(found, asked, [], [
        *(each.backup for each in refusals if each.backup)], lambda partial: RecoveryPaths(archive))]


def no(cause: NoStopCause, backup: Backup, timeline: int, last: datetime | None = None) -> NoStop:
    return NoStop(cause, "", "", backup, timeline, last)


def test_what_is_nearer_comes_first_whichever_timeline_it_is_on() -> None:
    first, second = branched().backups
    early = made_up(no(NoStopCause.TOO_EARLY, second, 1), no(NoStopCause.TOO_EARLY, first, 2),
                    asked=Reading(AtTime(at(11)), None, "auto", True))
    assert [(when, reading.backup, reading.timeline) for when, reading in early] == [
        (When.LATER, FIRST, 2), (When.LATER, SECOND, 1)]
    late = made_up(no(NoStopCause.TOO_LATE, first, 2), no(NoStopCause.TOO_LATE, second, 1),
                   asked=Reading(AtTime(at(17)), None, "auto", True))
    assert [(when, reading.backup, reading.timeline) for when, reading in late] == [
        (When.EARLIER, SECOND, 1), (When.EARLIER, FIRST, 2)]


def test_a_commit_that_is_later_than_what_was_asked_for_is_not_offered_as_an_earlier_one() -> None:
    """The clock was put back: then it is the backup's end, when that is earlier."""
    first, second = branched().backups
    asked = Reading(AtTime(at(12, 1)), None, "auto", True)
    late = made_up(no(NoStopCause.TOO_LATE, first, 1, at(12, 1, 1.25)), asked=asked)
    assert [reading.target for _, reading in late] == [Immediate()]
    assert made_up(no(NoStopCause.TOO_LATE, second, 1, at(12, 3, 12.5)), asked=asked) == []


def test_a_backups_end_of_unknown_time_is_offered() -> None:
    first = replace(branched().backups[0], finished_at=None)
    offered_ = made_up(no(NoStopCause.TOO_LATE, first, 1), asked=Reading(AtTime(at(17)), None, "auto", True))
    assert [(when, reading.backup) for when, reading in offered_] == [(When.EARLIER, FIRST)]


@pytest.mark.parametrize(("lsn", "expected"), [(0x2000A7, []), (0x2000A8, [When.EARLIER]), (0x2000A9, [When.EARLIER])])
def test_positions_tell_the_side_where_one_was_asked_for(lsn: int, expected: list[When]) -> None:
    first = branched().backups[0]
    offered_ = made_up(no(NoStopCause.TOO_LATE, first, 1), asked=Reading(AtLsn(Lsn(lsn)), None, "auto", True))
    assert [when for when, _ in offered_] == expected


def test_the_newest_backups_end_on_the_timeline_that_was_asked_for() -> None:
    archive = branched()
    found = refusal(archive, Immediate(), 2, archive.backups[1:])
    offered_ = nearest(found, Reading(Immediate(), 2, SECOND), archive.backups[1:], archive.backups,
                       lambda partial: RecoveryPaths(archive))
    assert [(each.when, each.reading.backup, each.reading.timeline) for each in offered_] == [(When.EARLIER, FIRST, 2)]


# What was not read, and what is behind it


@pytest.mark.parametrize("target", [AtName("deploy"), AtXid(701), AtLsn(Lsn(0x300028)), AtTime(at(12, 1, 1))])
def test_wal_that_was_not_read_behind_the_stop_does_no_harm(target: Target) -> None:
    archive = archive_without()
    segment = Segment(1, 5)
    archive.rows[segment] = archive.rows[segment]._replace(
        problem="x", earliest=None, latest=None, oldest_xid=None, newest_xid=None, last_at=None)
    assert isinstance(find_stop(RecoveryPaths(archive).to(1), archive.backups[0], target), Stop)


def test_a_gap_is_no_end_of_the_wal() -> None:
    archive = archive_without(3)
    found = refusal(archive, EndOfWal(), None, archive.backups[:1])
    assert [(each.cause, each.backup) for each in found.refusals] == [(NoStopCause.TOO_LATE, archive.backups[0])]
    assert "segment 000000010000000000000003 behind it is missing" in found.reason


def test_what_is_unknown_names_the_backup_that_was_asked() -> None:
    archive = archive_without()
    for target in (AtXid(12345), AtName("nope")):
        assert [each.backup for each in refusal(archive, target).refusals] == archive.backups[::-1]


def test_the_segment_that_is_missing_is_the_first_that_a_backup_lacks() -> None:
    archive = archive_without(3)
    found = find_stop(RecoveryPaths(archive).to(1), replace(archive.backups[0], end_lsn=Lsn(0x300028)), EndOfWal())
    assert isinstance(found, NoStop)
    assert found.reason == f"WAL that backup {FIRST} needs is missing: segment 000000010000000000000003"


def test_of_a_last_segment_that_was_not_read_the_backups_end_is_sure() -> None:
    archive = archive_without(3, 4, 5)
    segment = Segment(1, 2)
    archive.rows[segment] = archive.rows[segment]._replace(problem="x")
    found = find_stop(RecoveryPaths(archive).to(1), archive.backups[0], EndOfWal())
    assert isinstance(found, Stop)
    assert found.lsn == Lsn(0x2000A8)
