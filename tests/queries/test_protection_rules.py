"""When a server's protection is good, doubtful, lost or not known: each rule as a story, and all of them against a walk
through the segments."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from server_states import NOW, RECEIVER, SIZE, backup, healthy, wal

from pgvault.engine.check.facts import UNHEARD, WalFacts
from pgvault.engine.protection import QUIET, STUCK, Judgement, ProtectionFacts, assess_protection
from pgvault.model.backup import BackupStatus, Unreadable
from pgvault.model.errors import Corrupt, NotFound
from pgvault.model.lsn import Lsn
from pgvault.model.protection import ProtectionState
from pgvault.model.timeline import Ancestor, History, TimelineTree
from pgvault.model.window import Archived, survey

DAY = timedelta(days=1)
ILL = "20261101T120000Z"


def judged(*, backup_job: str | None = None, waiting_since=None, streamed_until=None, **changes: Any) -> Judgement:
    """Of a healthy server, but for the changes."""
    state = healthy(**changes)
    return assess_protection(ProtectionFacts(server=state.server, at=NOW, vault=state.vault, backup_job=backup_job,
                          waiting_since=waiting_since, streamed_until=streamed_until))


def test_a_fresh_backup_and_whole_wal_are_good() -> None:
    assert judged() == (ProtectionState.OK, ())


def test_without_any_backup_nothing_is_protected() -> None:
    assert judged(backups=()) == (ProtectionState.FAILED, ("no backup was taken yet",))


@pytest.mark.parametrize("changes", [
    {"status": BackupStatus.STARTED}, {"status": BackupStatus.FAILED}, {"status": BackupStatus.WAITING_FOR_WALS},
    {"corrupt_pages": ("base/1/2",)}, {"begin_lsn": Lsn(60 * SIZE), "end_lsn": Lsn(61 * SIZE)}])
def test_a_backup_that_cannot_be_restored_protects_nothing(changes: dict[str, Any]) -> None:
    """Begun, failed, waiting, with damaged pages, or without its WAL."""
    state, reasons = judged(backups=(backup(**changes),))
    assert state is ProtectionState.FAILED
    assert reasons[0] == "none of 1 backup can be restored"


def test_a_gap_behind_the_last_backup_loses_all_that_comes_behind_it() -> None:
    state, reasons = judged(segments={1: [1, 2, 3, 4, 7, 8]})
    assert state is ProtectionState.FAILED
    assert reasons == ("nothing after 0/5000000 can be restored: WAL is missing or damaged behind it",
                       "2 segments of WAL are missing")


def test_a_gap_that_a_newer_backup_has_passed_harms_nothing() -> None:
    assert judged(segments={1: [1, 2, 5, 6]}, backups=(backup(1, hours_ago=9), backup(5))).state is ProtectionState.OK


def test_wal_that_recovery_cannot_get_through_counts_as_missing() -> None:
    """Segment 5 is archived, but a damaged record in it is where recovery would stop."""
    backups = (backup(3),)
    archived = [Archived(1, n) for n in (3, 4)] + [Archived(1, 5, whole=5 * SIZE + 8, stops=True), Archived(1, 6)]
    facts = WalFacts({1: 6}, survey(archived, TimelineTree(()), backups, SIZE))
    assert judged(backups=backups, wal=facts).state is ProtectionState.FAILED


def test_a_timeline_that_no_backup_leads_onto_is_lost() -> None:
    """The only backup was taken behind the point to which the server went back."""
    backups = (backup(8),)
    tree = TimelineTree((History(2, (Ancestor(1, Lsn(7 * SIZE), ""),)),))
    archived = [Archived(1, n) for n in (6, 7, 8)] + [Archived(2, n) for n in (7, 8)]
    facts = WalFacts({1: 8, 2: 8}, survey(archived, tree, backups, SIZE))
    state, reasons = judged(backups=backups, wal=facts)
    assert state is ProtectionState.FAILED
    assert reasons[0] == "no backup can be recovered onto timeline 2, the newest"


def test_an_old_backup_is_a_warning() -> None:
    assert judged(backups=(backup(hours_ago=49),)) == (
        ProtectionState.WARNING, ("the last backup is 2 d 1 h old, more than 1 day",))
    assert judged(backups=(backup(hours_ago=49),), server={"last_backup_maximum_age": None}).state \
        is ProtectionState.OK


def test_too_few_backups_are_a_warning() -> None:
    assert judged(server={"minimum_redundancy": 2}).reasons == ("1 good backup, at least 2 expected",)


@pytest.mark.parametrize(("changes", "reason"), [
    ({"status": BackupStatus.WAITING_FOR_WALS}, "1 backup waits for WAL"),
    ({"status": BackupStatus.FAILED, "error": "no space left"}, "the last attempt at a backup failed: no space left"),
    ({"status": BackupStatus.STARTED}, "the last attempt at a backup ended without reporting a result"),
    ({"corrupt_pages": ("base/1/2",)}, "1 backup cannot be restored: WAL is missing, or pages are damaged")])
def test_what_became_of_the_last_attempt_is_told(changes: dict[str, Any], reason: str) -> None:
    backups = (backup(3, hours_ago=9), backup(5, hours_ago=1, **changes))
    assert judged(backups=backups) == (ProtectionState.WARNING, (reason,))


def test_while_a_backup_is_taken_the_attempt_before_it_counts() -> None:
    good, failed = backup(3, hours_ago=9), backup(4, hours_ago=5, status=BackupStatus.FAILED)
    running = backup(5, hours_ago=0, status=BackupStatus.STARTED)
    assert judged(backups=(good, running), backup_job="process 5").state is ProtectionState.OK
    assert judged(backups=(good, failed, running), backup_job="process 5").reasons == (
        "the last attempt at a backup failed",)


def test_a_failure_that_a_good_backup_followed_is_history() -> None:
    failed = backup(3, hours_ago=9, status=BackupStatus.FAILED)
    assert judged(backups=(failed, backup(5))).state is ProtectionState.OK


def test_facts_that_cannot_be_read_are_a_warning_while_a_good_backup_is_there() -> None:
    ill = (Unreadable(ILL, "the file is missing"),)
    assert judged(unreadable=ill) == (ProtectionState.WARNING, ("the facts of 1 backup cannot be read",))
    assert judged(unreadable=ill, backups=()).reasons[0] == "none of 1 backup can be restored"


def test_wal_that_lies_about_is_a_warning() -> None:
    assert judged(quarantined=2).reasons == ("2 WAL files could not be accepted and are in quarantine",)
    assert judged(incoming=1, waiting_since=NOW - STUCK).state is ProtectionState.OK
    assert judged(incoming=1, waiting_since=NOW - 2 * STUCK).reasons == ("1 WAL file waits to be archived",)


def test_a_receiver_that_went_away_is_missed() -> None:
    left = NOW - timedelta(hours=3)
    assert judged(streamed_until=left).reasons == ("the receiver has not run for 3 h 00 min",)
    assert judged(streamed_until=NOW - STUCK).state is ProtectionState.OK


def test_long_silence_is_a_warning_unless_somebody_listens() -> None:
    def silent(**changes: Any) -> Judgement:
        backups = (backup(),)
        return judged(backups=backups, wal=replace(wal(backups=backups), newest_at=NOW - 3 * QUIET), **changes)

    assert silent().reasons == ("no WAL has arrived for 3 d 0 h",)
    assert silent(receiver=RECEIVER).state is ProtectionState.OK


def test_a_receiver_that_hears_nothing_is_no_good_one() -> None:
    """R21: that it lives says nothing of the server; an idle server answers when it is asked."""
    assert judged(receiver=RECEIVER, heard_at=NOW - UNHEARD).state is ProtectionState.OK
    assert judged(receiver=RECEIVER, heard_at=NOW - 2 * UNHEARD) == (
        ProtectionState.WARNING, ("the receiver has received nothing from main for 6 min 00 s",))


def test_what_cannot_be_read_is_unknown_and_never_good() -> None:
    problem = Corrupt("the index cannot be used")
    assert judged(wal=problem) == (ProtectionState.UNKNOWN, ("the index cannot be used",))
    assert judged(problem=NotFound("no identity")) == (ProtectionState.UNKNOWN, ("no identity",))
    server = healthy().server
    assert assess_protection(ProtectionFacts(server=server, at=NOW, vault=problem)).state is ProtectionState.UNKNOWN


@given(st.sets(st.integers(0, 12)), st.lists(st.tuples(st.integers(0, 12), st.integers(1, 99), st.sampled_from(
    [BackupStatus.DONE, BackupStatus.DONE, *BackupStatus])), max_size=5, unique_by=lambda each: each[1]))
def test_protection_is_lost_exactly_when_no_good_backup_reaches_the_newest_segment(
        numbers: set[int], drawn: list[tuple[int, int, BackupStatus]]) -> None:
    backups = tuple(sorted((backup(number, hours_ago=hours, status=status) for number, hours, status in drawn),
                           key=lambda b: b.id))
    facts = WalFacts({1: max(numbers)} if numbers else {}, survey(
        [Archived(1, n) for n in sorted(numbers)], TimelineTree(()), backups, SIZE))
    state, reasons = judged(backups=backups, wal=facts)
    good = [b.begin_lsn // SIZE for b in backups if b.status is BackupStatus.DONE and b.begin_lsn // SIZE in numbers]
    reached = any(numbers.issuperset(range(begin, max(numbers) + 1)) for begin in good)
    assert (state is ProtectionState.FAILED) is not reached
    assert (state is ProtectionState.OK) is (reasons == ())
