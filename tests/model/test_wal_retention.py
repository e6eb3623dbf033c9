"""Rule 19: WAL goes only when no backup that stays, and no instant that it promises, needs it on any timeline."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from shelf import SIZE, at, made_backup

from pgvault.model.backup import Backup, BackupStatus, Keep
from pgvault.model.lsn import Lsn
from pgvault.model.timeline import Ancestor, History, TimelineTree
from pgvault.model.wal_retention import NeededWal

ALONE = TimelineTree(())


def needed(wal: NeededWal, timeline: int, numbers: range = range(40)) -> list[int]:
    return [number for number in numbers if wal.needs(timeline, number)]


def test_everything_from_the_oldest_backup_on_stays() -> None:
    backups = [made_backup(at(1), segment=10), made_backup(at(2), segment=20)]
    assert needed(NeededWal(backups, ALONE), 1) == list(range(10, 40))
    assert needed(NeededWal(backups[1:], ALONE), 1) == list(range(20, 40))


def test_a_backup_kept_standalone_keeps_its_own_wal_only() -> None:
    alone = replace(made_backup(at(1), segment=10), keep=Keep.STANDALONE, end_lsn=Lsn(13 * SIZE))
    assert needed(NeededWal([alone], ALONE), 1) == list(range(40)), "nothing else stays: in doubt all WAL does"
    later = made_backup(at(2), segment=30)
    assert needed(NeededWal([alone, later], ALONE), 1) == [10, 11, 12, *range(30, 40)], "no segment behind its end"


def test_without_a_backup_no_wal_goes() -> None:
    failed = made_backup(at(1), segment=10, status=BackupStatus.FAILED)
    assert needed(NeededWal([], ALONE), 1) == needed(NeededWal([failed], ALONE), 1) == list(range(40))


def test_a_backup_that_waits_for_wal_keeps_it() -> None:
    waiting = made_backup(at(1), segment=10, status=BackupStatus.WAITING_FOR_WALS)
    assert needed(NeededWal([waiting], ALONE), 1) == list(range(10, 40))


def test_an_abandoned_branch_goes_with_its_last_backup() -> None:
    """Timeline 2 left timeline 1 within segment 15; 1 went on to segment 30."""
    tree = TimelineTree((History(2, (Ancestor(1, Lsn(15 * SIZE + 100), ""),)),))
    before, abandoned = made_backup(at(1), segment=10), made_backup(at(2), segment=20)
    current = made_backup(at(3), segment=18, timeline=2)
    every = NeededWal([before, abandoned, current], tree)
    assert needed(every, 1) == list(range(10, 40))
    assert needed(every, 2) == list(range(15, 40)), "both timelines have the segment of the switch"
    assert needed(NeededWal([before, current], tree), 1) == list(range(10, 40)), "the old future can still be chosen"
    assert needed(NeededWal([abandoned, current], tree), 1) == list(range(20, 40))
    assert needed(NeededWal([current], tree), 1) == []
    assert needed(NeededWal([current], tree), 2) == list(range(18, 40))


def test_a_timeline_whose_history_is_not_archived_keeps_all_of_its_wal() -> None:
    """Nobody knows what it descends from: a promotion whose history file has not arrived yet."""
    assert needed(NeededWal([made_backup(at(1), segment=10)], ALONE), 2) == list(range(40))


def test_a_server_that_was_promoted_before_its_first_backup_keeps_no_wal_for_ever() -> None:
    """Its history was never archived; yet no older timeline has a backup that could lead to it."""
    backups = [made_backup(at(1), segment=10, timeline=3), made_backup(at(2), segment=20, timeline=3)]
    assert needed(NeededWal(backups, ALONE), 3) == list(range(10, 40))
    assert needed(NeededWal(backups, ALONE), 2) == []
    assert needed(NeededWal(backups, ALONE), 4) == list(range(40))


@st.composite
def clusters(draw: st.DrawFn) -> tuple[list[Backup], TimelineTree]:
    """Backups on timelines of which each branched off one before it, at any place."""
    histories = {1: History(1, ())}
    for timeline in range(2, draw(st.integers(1, 5)) + 1):
        parent = histories[draw(st.integers(1, timeline - 1))]
        least = parent.ancestors[-1].switch if parent.ancestors else Lsn(0)
        switch = draw(st.integers(least, 40 * SIZE))
        histories[timeline] = History(timeline, (*parent.ancestors, Ancestor(parent.timeline, Lsn(switch), "")))
    backups = []
    for day in range(1, draw(st.integers(1, 6)) + 1):
        segment, timeline = draw(st.integers(1, 39)), draw(st.sampled_from(list(histories)))
        status = draw(st.sampled_from([BackupStatus.DONE] * 4 + [BackupStatus.FAILED, BackupStatus.WAITING_FOR_WALS]))
        end = Lsn(segment * SIZE + draw(st.integers(0x28, 3 * SIZE)))
        keep = draw(st.sampled_from([None, None, *Keep]))
        backups.append(replace(made_backup(at(day), segment=segment, timeline=timeline), end_lsn=end, status=status,
                               keep=keep))
    return backups, TimelineTree(tuple(histories[number] for number in histories if number > 1))


@given(clusters())
def test_all_that_a_recovery_can_read_stays(drawn: tuple[list[Backup], TimelineTree]) -> None:
    """As recovery walks: from a backup's begin along each timeline that continues from its end."""
    backups, tree = drawn
    wal = NeededWal(backups, tree)
    for backup in backups:
        if not backup.status.copied:
            continue
        begin, end = backup.begin_lsn or Lsn(0), backup.end_lsn or Lsn(0)
        for history in tree.descendants(backup.timeline, end):
            until = end if backup.keep is Keep.STANDALONE else Lsn(60 * SIZE)
            walked = History(backup.timeline, ()) if backup.keep is Keep.STANDALONE else history
            for segment in walked.path(begin, until, SIZE):
                assert wal.needs(segment.timeline, segment.number)


@given(clusters())
def test_what_stays_is_needed_by_a_backup_that_stays(drawn: tuple[list[Backup], TimelineTree]) -> None:
    """Nothing before the oldest backup, and nothing of a timeline that no backup leads to."""
    backups, tree = drawn
    copied = [backup for backup in backups if backup.status.copied]
    if all(backup.keep is Keep.STANDALONE for backup in copied):
        return
    wal = NeededWal(backups, tree)
    oldest = min(backup.begin_segment.number for backup in copied if backup.begin_segment)
    led_to = {leg.timeline for backup in copied
              for history in tree.descendants(backup.timeline, backup.end_lsn or Lsn(0)) for leg in history.legs}
    for timeline in range(1, 6):
        if timeline == 1 or any(history.timeline == timeline for history in tree.histories):
            found = needed(wal, timeline, range(60))
            assert all(number >= oldest for number in found)
            assert timeline in led_to or not found
