"""Rule 18: which backups a promise needs, and which may go. In doubt a backup is kept."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shelf import SIZE, at, made_backup

from pgvault.model.backup import Backup, BackupStatus, Keep
from pgvault.model.lsn import Lsn
from pgvault.model.retention import Retention, assess_retention
from pgvault.model.retention_policy import Period, RecoveryWindow, Redundancy, Slots, parse_retention_policy
from pgvault.model.timeline import Ancestor, History, TimelineTree

NOW = at(100)
WINDOW = parse_retention_policy("RECOVERY WINDOW OF 4 WEEKS")
VALID, NEEDED, KEPT, NOT_COUNTED, OBSOLETE = Retention


def weeks_ago(weeks: float, **facts) -> Backup:
    """A backup that ended so long ago; its place in the WAL goes with its age."""
    return made_backup(NOW - timedelta(weeks=weeks, minutes=1), segment=10_000 - int(weeks * 100), **facts)


def states(backups: list[Backup], *args, **more) -> list[Retention]:
    verdicts = assess_retention(backups, *args, **more)
    return [verdicts[backup.id].state for backup in backups]


def test_redundancy_keeps_the_newest() -> None:
    """Case 40."""
    backups = [weeks_ago(n) for n in (4, 3, 2, 1)]
    assert states(backups, Redundancy(2), 0, NOW) == [OBSOLETE, OBSOLETE, VALID, VALID]
    verdicts = assess_retention(backups, Redundancy(2), 3, NOW)
    assert [verdicts[b.id].state for b in backups] == [OBSOLETE, NEEDED, VALID, VALID]
    assert verdicts[backups[1].id].reason == "minimum redundancy 3"


def test_a_window_keeps_what_is_inside_it_and_what_it_begins_with() -> None:
    """Case 41."""
    backups = [weeks_ago(n) for n in (6, 5, 3, 1)]
    verdicts = assess_retention(backups, WINDOW, 0, NOW)
    assert [verdicts[b.id].state for b in backups] == [OBSOLETE, NEEDED, VALID, VALID]
    assert "window" in verdicts[backups[1].id].reason


def test_a_backup_that_ends_exactly_where_the_window_begins_can_restore_its_first_instant() -> None:
    backups = [weeks_ago(5), weeks_ago(4), weeks_ago(3)]
    assert states(backups, WINDOW, 0, NOW) == [OBSOLETE, NEEDED, VALID]


def test_slots_keep_the_newest_of_each_period_and_say_which() -> None:
    """Two a day from a Thursday to the Wednesday after it, over the end of a month."""
    backups = [made_backup(at(day, hour), segment=10 * day + hour) for day in range(26, 33) for hour in (2, 14)]
    policy = parse_retention_policy("keep 3 daily 1 monthly 2 weekly")
    assert str(policy) == "KEEP 3 DAILY 2 WEEKLY 1 MONTHLY"
    verdicts = assess_retention(backups, policy, 0, NOW)
    assert {each: verdict.reason for each, verdict in verdicts.items() if verdict.state is VALID} == {
        "20261129T140000Z": "weekly 2 of 2", "20261130T140000Z": "daily 3 of 3",
        "20261201T140000Z": "daily 2 of 3", "20261202T140000Z": "daily 1 of 3, weekly 1 of 2, monthly 1 of 1"}
    assert {verdict.state for verdict in verdicts.values()} == {VALID, OBSOLETE}


@pytest.mark.parametrize("text", ["KEEP", "KEEP 0 DAILY", "KEEP 1 DAILY 2 DAILY", "KEEP 3 HOURLY", "KEEP 3"])
def test_slots_that_keep_nothing_or_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="DAILY"):
        parse_retention_policy(text)


@pytest.mark.parametrize("flaw", [
    {"status": BackupStatus.FAILED}, {"status": BackupStatus.WAITING_FOR_WALS}, {"status": BackupStatus.STARTED},
    {"corrupt_pages": ("base/1/2",)}])
def test_what_cannot_be_relied_on_makes_no_other_expire(flaw: dict) -> None:
    """Also rule 7: a backup with corrupt pages never makes an older good one expire."""
    backups = [weeks_ago(3), weeks_ago(2), weeks_ago(1, **flaw)]
    assert states(backups, Redundancy(2), 0, NOW) == [VALID, VALID, NOT_COUNTED]
    backups = [weeks_ago(6), weeks_ago(5, **flaw), weeks_ago(1)]
    assert states(backups, WINDOW, 0, NOW) == [NEEDED, NOT_COUNTED, VALID]


def test_a_backup_whose_wal_has_a_hole_does_not_count() -> None:
    backups = [weeks_ago(3), weeks_ago(2), weeks_ago(1)]
    unusable = {backups[2].id: "WAL is missing"}
    assert states(backups, Redundancy(2), 0, NOW, unusable=unusable) == [VALID, VALID, NOT_COUNTED]


def test_what_failed_goes_once_it_is_older_than_all_that_is_promised() -> None:
    failed = weeks_ago(7, status=BackupStatus.FAILED)
    assert states([failed, weeks_ago(5), weeks_ago(1)], WINDOW, 0, NOW) == [OBSOLETE, NEEDED, VALID]
    assert states([failed, weeks_ago(1)], Redundancy(1), 2, NOW) == [NOT_COUNTED, VALID], "the minimum is not reached"
    assert states([failed], Redundancy(1), 0, NOW) == [NOT_COUNTED]


def test_what_failed_stays_while_the_promise_reaches_back_to_it() -> None:
    """Older than all that is promised is older than the oldest of it, whatever else is older still."""
    def failed(weeks: int) -> Backup:
        return weeks_ago(weeks, status=BackupStatus.FAILED)

    backups = [failed(9), weeks_ago(8), failed(7), weeks_ago(5), failed(4), weeks_ago(3), failed(2)]
    assert states(backups, Redundancy(2), 0, NOW) == [
        OBSOLETE, OBSOLETE, OBSOLETE, VALID, NOT_COUNTED, VALID, NOT_COUNTED]
    assert states(backups, Redundancy(1), 2, NOW) == [
        OBSOLETE, OBSOLETE, OBSOLETE, NEEDED, NOT_COUNTED, VALID, NOT_COUNTED], "the minimum is a promise, too"
    running = weeks_ago(9, status=BackupStatus.STARTED)
    assert states([running, weeks_ago(1)], Redundancy(1), 0, NOW) == [NOT_COUNTED, VALID], "it may still be written"


def test_without_a_policy_nothing_expires() -> None:
    backups = [weeks_ago(n, status=s) for n, s in ((99, BackupStatus.DONE), (98, BackupStatus.FAILED))]
    assert states(backups, None, 0, NOW) == [VALID, NOT_COUNTED]


def test_what_was_asked_to_be_kept_is_kept() -> None:
    backups = [weeks_ago(9, keep=Keep.FULL), weeks_ago(8), weeks_ago(1)]
    assert states(backups, Redundancy(1), 0, NOW) == [KEPT, OBSOLETE, VALID]


def test_a_backup_kept_standalone_is_no_protection_for_the_others() -> None:
    """It cannot be rolled forward, since only its own WAL stays."""
    backups = [weeks_ago(6), weeks_ago(5, keep=Keep.STANDALONE), weeks_ago(1)]
    assert states(backups, WINDOW, 0, NOW) == [NEEDED, KEPT, VALID]


class TestAfterARecoveryToAnEarlierTime:
    """Timeline 2 branched off before the newest backups of timeline 1: they do not lie on its path."""

    base, left, newest_left = weeks_ago(8), weeks_ago(6), weeks_ago(5)
    tree = TimelineTree((History(2, (Ancestor(1, Lsn(int(base.end_lsn or 0) + SIZE), "recovery"),)),))

    def test_redundancy_keeps_what_the_cluster_as_it_is_now_needs(self) -> None:
        backups = [self.base, self.left, self.newest_left]
        assert states(backups, Redundancy(2), 0, NOW, timelines=self.tree) == [NEEDED, VALID, VALID]

    def test_the_window_holds_on_both_branches_until_one_was_left_before_it(self) -> None:
        backups = [self.base, self.left, self.newest_left]
        assert states(backups, WINDOW, 0, NOW, timelines=self.tree) == [NEEDED, OBSOLETE, NEEDED]
        backups.append(weeks_ago(4.5, timeline=2))
        assert states(backups, WINDOW, 0, NOW, timelines=self.tree) == [OBSOLETE, OBSOLETE, OBSOLETE, NEEDED]

    def test_minimum_redundancy_counts_on_the_path_of_the_newest_timeline(self) -> None:
        backups = [self.base, self.left, self.newest_left]
        assert states(backups, Redundancy(1), 1, NOW, timelines=self.tree) == [NEEDED, OBSOLETE, VALID]


policies = st.one_of(
    st.integers(1, 6).map(Redundancy),
    st.integers(1, 60).map(lambda days: RecoveryWindow(timedelta(days=days), f"{days} days")),
    st.dictionaries(st.sampled_from(Period), st.integers(1, 5), min_size=1).map(
        lambda counts: Slots(tuple((period, counts[period]) for period in Period if period in counts))))


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Backup], TimelineTree]:
    """Backups of a cluster that now and then was recovered to an earlier position, on a clock that may jump back."""
    backups, known, timeline, segment, clock = [], [], 1, 10, at(1)
    ancestors: tuple[Ancestor, ...] = ()
    for n in range(draw(st.integers(0, 14))):
        segment += draw(st.integers(2, 9))
        clock += timedelta(hours=draw(st.integers(-30, 200)))
        if draw(st.integers(0, 5)) == 0:
            back = draw(st.integers(ancestors[-1].switch // SIZE if ancestors else 1, segment))
            ancestors, segment = (*ancestors, Ancestor(timeline, Lsn(back * SIZE), "")), back + 1
            timeline += 1
            known.append(History(timeline, ancestors))
        status = draw(st.sampled_from([BackupStatus.DONE] * 5 + list(BackupStatus)))
        backup = made_backup(at(1) + timedelta(days=n), segment=segment, timeline=timeline, status=status)
        backups.append(_ending(backup, clock))
    return backups, TimelineTree(tuple(known))


def _ending(backup: Backup, end: datetime) -> Backup:
    from dataclasses import replace

    return replace(backup, finished_at=end)


@given(histories(), policies, st.integers(0, 5), st.integers(-10, 200))
def test_what_every_verdict_keeps_to(drawn, policy, minimum: int, days: int) -> None:
    backups, tree = drawn
    now = at(1) + timedelta(days=days)
    verdicts = assess_retention(backups, policy, minimum, now, timelines=tree)
    assert verdicts.keys() == {backup.id for backup in backups}
    good = [b for b in backups if b.status is BackupStatus.DONE]
    kept = [b for b in good if verdicts[b.id].state is not OBSOLETE]
    assert len(kept) >= min(minimum, len(good)), "minimum redundancy"
    assert not good or kept, "never the last good one"
    if isinstance(policy, Redundancy):
        assert set(good[-policy.copies:]) <= set(kept)
    elif isinstance(policy, Slots):
        for period, count in policy.counts:
            newest_of = {f"{b.finished_at:{period.value}}": b for b in good}
            assert {newest_of[name] for name in sorted(newest_of)[-count:]} <= set(kept)
    else:
        start = now - policy.length
        assert {b for b in good if b.finished_at > start} <= set(kept)
        before = [b for b in good if b.finished_at <= start]
        assert before[-1:] == [] or before[-1] in kept, "the newest one before the window"
    newest = tree.history(max([1, *(h.timeline for h in tree.histories)]))
    reachable = [b for b in good if newest.holds(b.timeline, b.end_lsn)]
    assert not reachable or set(reachable) & set(kept), "the cluster as it is now can be restored"
    assert all(verdicts[b.id].state in (NOT_COUNTED, OBSOLETE) for b in backups if b not in good)
    assert all(verdicts[b.id].state is NOT_COUNTED for b in backups if b.status is BackupStatus.STARTED)


@given(histories(), policies, st.integers(0, 5), st.integers(-10, 200))
def test_deleting_what_is_obsolete_makes_nothing_else_obsolete(drawn, policy, minimum: int, days: int) -> None:
    backups, tree = drawn
    now = at(1) + timedelta(days=days)
    verdicts = assess_retention(backups, policy, minimum, now, timelines=tree)
    left = [b for b in backups if verdicts[b.id].state is not OBSOLETE]
    again = assess_retention(left, policy, minimum, now, timelines=tree)
    assert [b.id for b in left if again[b.id].state is OBSOLETE] == []


@given(histories(), policies, st.integers(0, 5), st.data())
def test_what_does_not_count_changes_no_verdict_on_what_does(drawn, policy, minimum: int, data) -> None:
    backups, tree = drawn
    verdicts = assess_retention(backups, policy, minimum, NOW, timelines=tree)
    good = [b for b in backups if b.status is BackupStatus.DONE]
    alone = assess_retention(data.draw(st.permutations(good)), policy, minimum, NOW, timelines=tree)
    assert {b.id: verdicts[b.id] for b in good} == alone
