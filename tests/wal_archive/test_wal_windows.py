"""Recovery windows, gaps and what a gap breaks: stories, and a slow but obvious walk as the judge."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgvault.model.backup import Backup, BackupStatus
from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment
from pgvault.model.timeline import Ancestor, History, TimelineTree
from pgvault.model.window import DAMAGED, Archived, Break, instant, survey

SIZE = 1 << 20
DAY = datetime(2026, 11, 22, tzinfo=UTC)


def at(number: int) -> int:
    """A commit time for a segment, in microseconds."""
    return int((DAY + timedelta(minutes=number)).timestamp()) * 1_000_000


def wal(timeline: int, *numbers: int) -> list[Archived]:
    return [Archived(timeline, n, at(n), at(n) + 1) for n in numbers]


def backup(name: str, begin: float, end: float, timeline: int = 1) -> Backup:
    """Begin and end in segments: 2.5 is the middle of segment 2."""
    return Backup(
        name, "main", BackupStatus.DONE, "postgres", DAY, "1", "18.1", SIZE, timeline, "/data",
        finished_at=DAY + timedelta(minutes=end), begin_lsn=Lsn(int(begin * SIZE)), end_lsn=Lsn(int(end * SIZE)))


def branch(timeline: int, parent: int, switch: float, *older: tuple[int, float]) -> History:
    line = [*older, (parent, switch)]
    return History(timeline, tuple(Ancestor(each, Lsn(int(where * SIZE)), "") for each, where in line))


ALONE = TimelineTree(())


def test_a_window_runs_from_the_backups_end_to_the_last_commit() -> None:
    found = survey(wal(1, *range(2, 10)), ALONE, [backup("a", 3.1, 4.5), backup("b", 6.0, 6.2)], SIZE)
    [window] = found.windows
    assert (window.from_lsn, window.until_lsn) == (Lsn(int(4.5 * SIZE)), Lsn(10 * SIZE))
    assert (window.from_time, window.until_time) == (DAY + timedelta(minutes=4.5), instant(at(9) + 1))
    assert window.backups == ("a", "b")
    assert found.timelines[0].gaps == found.broken == ()


def test_a_gap_ends_a_window_until_a_newer_backup() -> None:
    """Rule 16: the gap is shown, and it is harmless as soon as a newer backup begins behind it."""
    segments = wal(1, 2, 3, 4, 7, 8, 9)
    before = survey(segments, ALONE, [backup("a", 2.0, 2.5)], SIZE)
    [gap] = before.timelines[0].gaps
    assert (gap.after, gap.before, gap.missing, gap.harmless) == (Segment(1, 4), Segment(1, 7), 2, False)
    assert [w.until_lsn for w in before.windows] == [Lsn(5 * SIZE)]
    after = survey(segments, ALONE, [backup("a", 2.0, 2.5), backup("b", 7.1, 7.2)], SIZE)
    assert after.timelines[0].gaps[0].harmless
    assert [(w.from_lsn, w.until_lsn, w.backups) for w in after.windows] == [
        (Lsn(int(2.5 * SIZE)), Lsn(5 * SIZE), ("a",)), (Lsn(int(7.2 * SIZE)), Lsn(10 * SIZE), ("b",))]


def test_a_backup_with_wal_missing_inside_is_broken() -> None:
    found = survey(wal(1, 2, 4, 5), ALONE, [backup("a", 2.5, 4.5)], SIZE)
    assert [(b.backup, b.missing) for b in found.broken] == [("a", Segment(1, 3))]
    assert found.windows == ()
    assert not found.timelines[0].gaps[0].harmless


def test_an_end_on_a_boundary_needs_no_further_segment() -> None:
    """Rule 5, case 21."""
    [window] = survey(wal(1, 2, 3), ALONE, [backup("a", 2.5, 4.0)], SIZE).windows
    assert (window.from_lsn, window.until_lsn, window.until_time) == (Lsn(4 * SIZE), Lsn(4 * SIZE), None)


def test_each_timeline_has_its_own_window_and_shares_the_backup() -> None:
    """Rule 13, case 27: the switch lies in segment 5, which the child's copy continues."""
    tree = TimelineTree((branch(2, 1, 5.5),))
    found = survey(wal(1, 2, 3, 4, 5, 6) + wal(2, 5, 6, 7, 8), tree, [backup("a", 2.0, 3.0)], SIZE)
    assert [(w.timeline, w.until_lsn) for w in found.windows] == [(1, Lsn(7 * SIZE)), (2, Lsn(9 * SIZE))]


def test_a_backup_behind_the_switch_does_not_belong_to_the_other_branch() -> None:
    """Rule 21."""
    tree = TimelineTree((branch(2, 1, 5.5),))
    found = survey(wal(1, 2, 3, 4, 5, 6) + wal(2, 5, 6, 7), tree, [backup("a", 5.6, 6.0)], SIZE)
    assert [(w.timeline, w.backups) for w in found.windows] == [(1, ("a",))]


def test_the_child_s_copy_of_the_switch_segment_saves_a_backup() -> None:
    """The parent's last segment was never complete, but the child's copy holds all that is before the switch."""
    tree = TimelineTree((branch(2, 1, 5.5),))
    found = survey(wal(1, 3, 4) + wal(2, 5, 6), tree, [backup("a", 4.1, 5.2)], SIZE)
    assert [(w.timeline, w.backups) for w in found.windows] == [(2, ("a",))]
    assert found.broken == ()


def test_the_missing_beginning_of_a_timeline_is_a_gap() -> None:
    tree = TimelineTree((branch(2, 1, 5.5),))
    found = survey(wal(1, 3, 4, 5) + wal(2, 7, 8), tree, [backup("a", 3.0, 4.0)], SIZE)
    [gap] = found.timelines[1].gaps
    assert (gap.after, gap.before, gap.missing) == (Segment(1, 4), Segment(2, 7), 2)


def test_wal_that_ends_early_ends_the_window() -> None:
    """A damaged record in the middle of an archived segment is where recovery would stop."""
    segments = [*wal(1, 2), Archived(1, 3, at(3), at(3), whole=int(3.25 * SIZE), stops=True), *wal(1, 4, 5)]
    found = survey(segments, ALONE, [backup("a", 2.0, 2.5), backup("b", 3.1, 3.5)], SIZE)
    assert [(w.until_lsn, w.backups) for w in found.windows] == [(Lsn(int(3.25 * SIZE)), ("a",))]
    assert [b.backup for b in found.broken] == ["b"]
    assert found.timelines[0].gaps == ()
    assert [(each.segment, each.lsn) for each in found.harmful_breaks] == [(Segment(1, 3), Lsn(int(3.25 * SIZE)))]
    assert survey(segments[:2], ALONE, [backup("a", 2.0, 2.5)], SIZE).breaks == (), "nothing follows it"


def test_without_later_commits_there_is_no_time_to_recover_to() -> None:
    """Rule 23a: a time target needs a commit behind it."""
    segments = [Archived(1, 2, at(1), at(1)), Archived(1, 3)]
    [window] = survey(segments, ALONE, [backup("a", 2.0, 2.5)], SIZE).windows
    assert window.until_time is None


@pytest.mark.parametrize(("behind", "between", "until"), [
    (3, 8, 8), (3, None, 3), (None, 8, 8), (None, None, None), (3, 2.8, 3)])
def test_of_the_segment_a_window_begins_in_only_what_is_behind_the_backup_counts(
        behind: int | None, between: float | None, until: float | None) -> None:
    """The clock was put back: the segment's latest commit may be one before the backup's end."""
    def time(number: float | None) -> int | None:
        return None if number is None else int(number * 60_000_000) + at(0)

    asked = []

    def latest_between(segment: Segment, begin: Lsn, end: Lsn) -> int | None:
        asked.append((segment, begin, end))
        return time(between)

    segments = [Archived(1, 2, at(2), at(9), last_at=3 * SIZE - 100), Archived(1, 3, time(behind), time(behind))]
    [window] = survey(segments, ALONE, [backup("a", 2.0, 2.5)], SIZE, latest_between).windows
    assert window.until_time == instant(time(until))
    assert asked == [(Segment(1, 2), Lsn(int(2.5 * SIZE)), Lsn(4 * SIZE))]


@pytest.mark.parametrize(("latest", "last_at"), [(9, 2.4), (2, 2.9), (None, 2.9)])
def test_a_segment_that_cannot_hold_a_later_commit_is_not_looked_into(latest: int | None, last_at: float) -> None:
    """Its last record is before the backup's end, or no time in it is later than what the window has."""
    def refuse(segment: Segment, begin: Lsn, end: Lsn) -> int | None:
        raise AssertionError(segment)

    time = None if latest is None else at(latest)
    segments = [Archived(1, 2, time, time, last_at=int(last_at * SIZE)), *wal(1, 3)]
    [window] = survey(segments, ALONE, [backup("a", 2.0, 2.5)], SIZE, refuse).windows
    assert window.until_time == instant(at(3) + 1)


def test_damage_stops_recovery_where_the_last_whole_record_ends() -> None:
    """Harmless once a backup begins behind it, on a timeline that holds the place."""
    end = 4 * SIZE + 1000
    archived = [*wal(1, 2, 3), Archived(1, 4, at(4), at(4), end, True, end - 40, DAMAGED), *wal(1, 5, 6)]
    found = survey(archived, ALONE, [backup("a", 2.1, 2.2)], SIZE)
    assert found.breaks == found.harmful_breaks == (Break(Segment(1, 4), Lsn(end), DAMAGED, False),)
    assert [window.until_lsn for window in found.windows] == [end]
    assert survey(archived, ALONE, [backup("a", 3.1, 3.2)], SIZE).harmful_breaks == found.breaks
    later = survey(archived, ALONE, [backup("a", 2.1, 2.2), backup("b", 5.1, 5.2)], SIZE)
    assert later.breaks == (Break(Segment(1, 4), Lsn(end), DAMAGED, True),)
    assert later.harmful_breaks == ()
    within = survey(archived, ALONE, [backup("c", 3.5, 5.2)], SIZE)
    assert within.lacking("c") is not None
    assert within.lacking("a") is None


def test_failed_backups_open_nothing() -> None:
    failed = Backup("f", "main", BackupStatus.FAILED, "postgres", DAY, "1", "18.1", SIZE, 1, "/data",
                    begin_lsn=Lsn(2 * SIZE), end_lsn=Lsn(3 * SIZE))
    found = survey(wal(1, 2, 3), ALONE, [failed], SIZE)
    assert found.windows == found.broken == ()


@st.composite
def archives(draw: st.DrawFn) -> tuple[list[Archived], TimelineTree, list[Backup]]:
    """A few timelines branching anywhere, holes anywhere, backups anywhere."""
    histories = [History(1, ())]
    for timeline in range(2, draw(st.integers(1, 4)) + 1):
        parent = draw(st.sampled_from(histories))
        start = parent.parent.switch if parent.parent else Lsn(0)
        switch = Lsn(draw(st.integers(start, 12 * SIZE)))
        histories.append(History(timeline, (*parent.ancestors, Ancestor(parent.timeline, switch, ""))))
    segments = []
    for history in histories:
        start = history.parent.switch // SIZE if history.parent else 0
        for number in range(start, 14):
            if draw(st.integers(0, 9)):
                stops = draw(st.integers(0, 19)) == 0
                end = draw(st.integers(number * SIZE, (number + 1) * SIZE)) if stops else None
                segments.append(Archived(history.timeline, number, None, None, end, stops))
    backups = []
    for i in range(draw(st.integers(0, 4))):
        history = draw(st.sampled_from(histories))
        start = history.parent.switch if history.parent else 0
        begin = draw(st.integers(start, 13 * SIZE))
        end = draw(st.integers(begin, min(begin + 3 * SIZE, 14 * SIZE)))
        backups.append(backup(f"b{i}", begin / SIZE, end / SIZE, history.timeline))
    return segments, TimelineTree(tuple(histories)), backups


@given(archives())
def test_windows_agree_with_walking_segment_by_segment(
        archive: tuple[list[Archived], TimelineTree, list[Backup]]) -> None:
    segments, tree, backups = archive
    have = {Segment(s.timeline, s.number): s for s in segments}
    found = survey(segments, tree, backups, SIZE)
    expected = set()
    for timeline in {s.timeline for s in segments} | {b.timeline for b in backups}:
        for each in backups:
            if (until := walk(tree.history(timeline), each, have)) is not None:
                expected.add((timeline, each.id, until))
    assert {(w.timeline, b, w.until_lsn) for w in found.windows for b in w.backups} == expected
    assert {b.backup for b in found.broken} == {b.id for b in backups} - {b for _, b, _ in expected}
    for window in found.windows:
        assert window.from_lsn == min(b.end_lsn for b in backups if b.id in window.backups)


def walk(history: History, each: Backup, have: dict[Segment, Archived]) -> Lsn | None:
    """How far recovery from this backup gets on this timeline; None when it does not even become consistent."""
    if not history.holds(each.timeline, each.end_lsn):
        return None
    number, reached = each.begin_lsn // SIZE, None
    while segment := have.get(next(history.path(Lsn(number * SIZE), Lsn(number * SIZE + 1), SIZE))):
        reached = Lsn((number + 1) * SIZE if segment.whole is None else segment.whole)
        if segment.stops:
            break
        number += 1
    return reached if reached is not None and reached >= each.end_lsn else None


def test_a_hundred_thousand_segments_are_surveyed_at_once() -> None:
    """One pass: a vault of years is looked at in a blink, holes and all."""
    segments = wal(1, *(n for n in range(100_000) if n % 1000))
    found = survey(segments, ALONE, [backup("a", 5.0, 5.5), backup("b", 99_500.0, 99_500.5)], SIZE)
    assert len(found.timelines[0].gaps) == 99
    assert [w.until_lsn for w in found.windows] == [Lsn(1000 * SIZE), Lsn(100_000 * SIZE)]
