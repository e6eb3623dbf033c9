"""What a survey of the archive tells beside its windows: ranges, gaps, breaks, and what is missing, in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pgvault.model.backup import Backup, BackupStatus
from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment
from pgvault.model.timeline import Ancestor, History, TimelineTree
from pgvault.model.window import DAMAGED, MINIMAL, Archived, Break, Broken, Gap, Range, instant, survey

SIZE = 1 << 20
DAY = datetime(2026, 11, 22, tzinfo=UTC)
ALONE = TimelineTree(())


def wal(timeline: int, *numbers: int, **facts: object) -> list[Archived]:
    return [Archived(timeline, number, **facts) for number in numbers]  # type: ignore[arg-type]


def backup(name: str, begin: float, end: float, timeline: int = 1) -> Backup:
    """Begin and end in segments: 2.5 is the middle of segment 2."""
    return Backup(name, "main", BackupStatus.DONE, "postgres", DAY, "1", "18.1", SIZE, timeline, "/data",
                  finished_at=DAY + timedelta(minutes=end), begin_lsn=Lsn(int(begin * SIZE)),
                  end_lsn=Lsn(int(end * SIZE)))


def branch(timeline: int, *line: tuple[int, float]) -> History:
    """`line` are its ancestors, each with the place where the next one branched off."""
    return History(timeline, tuple(Ancestor(parent, Lsn(int(where * SIZE)), "") for parent, where in line))


def test_ranges_and_their_times() -> None:
    """Of the commits, the earliest and the latest; what has none says nothing."""
    archived = [Archived(1, 2), Archived(1, 3, 50, 70), Archived(1, 4, 40, 60), Archived(1, 7)]
    [timeline] = survey(archived, ALONE, [], SIZE).timelines
    assert timeline.ranges == (Range(Segment(1, 2), Segment(1, 4), instant(40), instant(70)),
                               Range(Segment(1, 7), Segment(1, 7), None, None))
    assert [each.segments for each in timeline.ranges] == [3, 1]
    assert (timeline.timeline, timeline.parent, timeline.switch) == (1, None, None)


def test_instants_are_counted_from_1970() -> None:
    assert instant(None) is None
    assert instant(1_000_001) == datetime(1970, 1, 1, 0, 0, 1, 1, tzinfo=UTC)


def test_timelines_are_told_with_their_branches_in_order() -> None:
    tree = TimelineTree((branch(3, (1, 2.5), (2, 4.0)), branch(2, (1, 2.5))))
    found = survey([*wal(1, 1, 2), *wal(2, 2, 3), *wal(3, 4), *wal(7, 4)], tree, [], SIZE)
    assert [(each.timeline, each.parent, each.switch) for each in found.timelines] == [
        (1, None, None), (2, 1, Lsn(int(2.5 * SIZE))), (3, 2, Lsn(4 * SIZE)), (7, None, None)]
    assert found.without_history == (7,)
    assert all(not each.gaps for each in found.timelines)
    assert found.windows == found.broken == found.breaks == ()


@pytest.mark.parametrize(("switch", "first", "gap"), [
    (3.5, 3, None), (3.0, 3, None), (3.5, 4, Gap(Segment(1, 2), Segment(2, 4), False)),
    (3.0, 5, Gap(Segment(1, 2), Segment(2, 5), False)), (0.5, 0, None),
    (0.5, 1, Gap(Segment(2, -1), Segment(2, 1), False))])
def test_a_timeline_has_to_begin_where_it_branched_off(switch: float, first: int, gap: Gap | None) -> None:
    tree = TimelineTree((branch(2, (1, switch)),))
    found = survey([*wal(1, 0, 1, 2, 3), *wal(2, first, first + 1)], tree, [], SIZE)
    assert found.timelines[1].gaps == ((gap,) if gap else ())
    assert found.harmful_gaps == ((gap,) if gap else ())
    alone = survey(wal(2, first, first + 1), tree, [], SIZE)
    assert alone.timelines[0].gaps == (), "of whose parent nothing is archived"


@pytest.mark.parametrize(("timeline", "begin", "harmless"), [
    (1, 5.1, True), (1, 5.0, True), (1, 3.5, False), (2, 8.1, True), (3, 8.1, False)])
def test_a_gap_is_harmless_once_a_backup_begins_behind_it_on_a_path_that_has_it(
        timeline: int, begin: float, harmless: bool) -> None:
    """Timeline 2 branched off behind the gap, timeline 3 before it."""
    tree = TimelineTree((branch(2, (1, 7.0)), branch(3, (1, 3.5))))
    archived = [*wal(1, 2, 3, 5, 6), *wal(2, 7, 8, 9), *wal(3, 3, 4, 5, 6, 7, 8, 9)]
    found = survey(archived, tree, [backup("b", begin, begin + 0.5, timeline)], SIZE)
    [gap] = found.timelines[0].gaps
    assert (gap.after, gap.before, gap.missing, gap.harmless) == (Segment(1, 3), Segment(1, 5), 1, harmless)
    assert found.harmful_gaps == (() if harmless else (gap,))


@pytest.mark.parametrize(("cause", "reason"), [
    (DAMAGED, "a record is damaged"), (MINIMAL, "the server ran with wal_level=minimal, which no recovery can pass"),
    ("", "the rest of the segment is empty or from an older one")])
def test_why_recovery_does_not_pass_a_place(cause: str, reason: str) -> None:
    """Also of the last segment when it is damaged; WAL that merely ends early does no harm there."""
    end = 4 * SIZE + 1000
    stops = Archived(1, 4, whole=end, stops=True, ends_by=cause or None)
    found = survey([*wal(1, 3), stops, *wal(1, 5)], ALONE, [backup("b", 3.1, 5.2)], SIZE)
    assert found.breaks == (Break(Segment(1, 4), Lsn(end), cause, False),)
    assert found.breaks[0].reason == reason
    assert found.broken == (Broken("b", Segment(1, 4), reason),)
    assert found.broken[0].described(SIZE) == f"recovery cannot pass 000000010000000000000004: {reason}"
    last = survey([*wal(1, 3), stops], ALONE, [], SIZE)
    assert [each.cause for each in last.breaks] == ([cause] if cause else [])
    apart = survey([*wal(1, 3), stops, *wal(1, 6)], ALONE, [], SIZE)
    assert len(apart.breaks) == bool(cause), "the gap behind it is told as one"


def test_a_break_of_which_the_end_is_not_known_is_told_by_its_segment() -> None:
    found = survey([Archived(1, 4, stops=True, ends_by=DAMAGED)], ALONE, [], SIZE)
    assert found.breaks == (Break(Segment(1, 4), Lsn(4 * SIZE), DAMAGED, False),)


@pytest.mark.parametrize(("begin", "harmless"), [(5.0, True), (4.9, False)])
def test_a_break_is_harmless_once_a_backup_begins_behind_its_segment(begin: float, harmless: bool) -> None:
    archived = [*wal(1, 3), Archived(1, 4, whole=4 * SIZE + 8, stops=True, ends_by=DAMAGED), *wal(1, 5, 6)]
    found = survey(archived, ALONE, [backup("a", 3.1, 3.2), backup("b", begin, 5.5)], SIZE)
    assert found.breaks[0].harmless is harmless
    assert found.harmful_breaks == (() if harmless else found.breaks)


@pytest.mark.parametrize(("archived", "begin", "end", "missing"), [
    ((2, 3), 4.5, 5.5, 4), ((2, 3, 6), 2.5, 5.5, 4), ((2, 3), 3.5, 4.5, 4), ((5, 6), 4.5, 6.5, 4), ((), 4.5, 5.0, 4),
    ((4, 6), 4.0, 6.0, 5)])
def test_what_a_backup_lacks_is_the_first_segment_that_is_missing(
        archived: tuple[int, ...], begin: float, end: float, missing: int) -> None:
    found = survey(wal(1, *archived), ALONE, [backup("b", begin, end), backup("c", 90.0, 90.5)], SIZE)
    assert found.lacking("b") == Segment(1, missing)
    assert found.lacking("nothing") is None
    assert found.broken[0].described(SIZE) == f"{Segment(1, missing).name(SIZE)} is missing"


def test_a_backup_that_ended_behind_the_last_whole_record_lacks_the_rest_of_its_segment() -> None:
    archived = [*wal(1, 2), Archived(1, 3, whole=int(3.5 * SIZE))]
    found = survey(archived, ALONE, [backup("a", 2.1, 3.5), backup("b", 2.2, 3.6)], SIZE)
    assert [each.backups for each in found.windows] == [("a",)]
    assert found.lacking("b") == Segment(1, 3)


@pytest.mark.parametrize(("last_at", "whole"), [(None, None), (3 * SIZE + 100, 3 * SIZE + 140)])
def test_a_window_says_where_its_wal_ends(last_at: int | None, whole: int | None) -> None:
    archived = [*wal(1, 2, last_at=2 * SIZE + 9), Archived(1, 3, last_at=last_at, whole=whole)]
    [window] = survey(archived, ALONE, [backup("a", 2.0, 2.5)], SIZE).windows
    assert (window.timeline, window.until_lsn, window.last_lsn) == (1, whole or 4 * SIZE, last_at)


@pytest.mark.parametrize("minutes", [-1, 0, 1])
def test_a_time_target_lies_behind_the_backup_s_end(minutes: int) -> None:
    """A commit of a time up to the end of the backup is none that can be recovered to by time."""
    finished = DAY + timedelta(minutes=2.5)
    at = int((finished + timedelta(minutes=minutes)).timestamp()) * 1_000_000
    [window] = survey([*wal(1, 2), Archived(1, 3, at, at)], ALONE, [backup("a", 2.0, 2.5)], SIZE).windows
    assert window.until_time == (instant(at) if minutes > 0 else None)


def test_the_oldest_backup_opens_the_window_be_it_told_last() -> None:
    backups = [backup("c", 2.0, 2.9), backup("b", 2.1, 2.6), backup("a", 2.1, 2.6)]
    [window] = survey(wal(1, 2, 3), ALONE, backups, SIZE).windows
    assert (window.backups, window.from_lsn) == (("a", "b", "c"), Lsn(int(2.6 * SIZE)))
