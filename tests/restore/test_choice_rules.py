"""Why nothing is chosen for a target, as a person reads it: each way to be refused, on a made-up archive."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from choosing import FIRST, FIRST_END, REACH, SECOND, SECOND_END, archive_without, at, branched, find, lived, refusal
from made_archive import MadeArchive, Server

from pgvault.engine.restore.choose import Choice, NoChoice, Reading, candidates, choose
from pgvault.engine.restore.recovery_path import RecoveryPaths
from pgvault.engine.restore.stop import NoStop, NoStopCause, Stop, find_stop
from pgvault.model.backup import BackupStatus
from pgvault.model.errors import PgvaultError, Refused, WalMissing
from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment
from pgvault.model.target import AtLsn, AtName, AtTime, AtXid, EndOfWal, Immediate, Target
from pgvault.vault import catalog
from pgvault.vault.layout import ServerVault, Vault
from pgvault.vault.wal_rows import Row
from pgvault.wal.transactions import Transaction

SEE = "See what can be restored: pgvault wal SERVER"
LATER = "Choose a later one; see what can be restored: pgvault wal SERVER"
EARLIER = ("Choose an earlier one, or restore to the end of the archived WAL with --target-end. If the server still "
           "runs, pgvault switch-wal brings its newest WAL.")
TAKE = "Take one: pgvault backup SERVER"


def told(found: NoChoice) -> tuple[type[PgvaultError], str, str, str]:
    return type(found.error), found.error.message, found.error.detail, found.error.hint


# Nothing to choose from


@pytest.mark.parametrize(("status", "detail"), [
    (BackupStatus.WAITING_FOR_WALS, f"Waiting for WAL: {FIRST}, {SECOND}."),
    (BackupStatus.FAILED, "None has been completed."), (BackupStatus.STARTED, "None has been completed.")])
def test_no_backup_is_whole(status: BackupStatus, detail: str) -> None:
    archive = archive_without()
    found = refusal(archive, EndOfWal(), None, [replace(each, status=status) for each in archive.backups])
    assert told(found) == (Refused, "there is no usable backup to restore", detail, TAKE)
    assert (found.reason, found.readings) == ("There is no usable backup to restore.", ())
    with pytest.raises(Refused, match="there is no usable backup to restore"):
        choose(archive, [], EndOfWal(), None)  # type: ignore[arg-type]


def test_a_timeline_that_nobody_knows() -> None:
    found = refusal(branched(), EndOfWal(), 7)
    assert told(found) == (Refused, "timeline 7 is not in the archive", "Known: 1, 2.", "")
    assert found.reason == "Timeline 7 is not in the archive."


@pytest.fixture
def vault(tmp_path: Path) -> ServerVault:
    """With a whole backup, one that failed, and one whose facts cannot be read."""
    server = Vault.open_or_create(tmp_path / "vault").server("main")
    server.prepare()
    first, second = archive_without().backups
    catalog.create(server, first)
    catalog.create(server, replace(second, status=BackupStatus.FAILED, error="the disk is full"))
    lost = server.backups / "20261101T120002Z"
    lost.mkdir()
    (lost / "backup.toml").write_text("=")
    return server


def test_which_backups_there_are_to_choose_from(vault: ServerVault) -> None:
    found = catalog.read_all(vault)
    assert [each.id for each in candidates(vault, found, "auto")] == [FIRST, SECOND]
    assert [each.id for each in candidates(vault, found, "oldest")] == [FIRST]
    with pytest.raises(Refused) as failed:
        candidates(vault, found, SECOND)
    assert (failed.value.message, failed.value.detail, failed.value.hint) == (
        f"backup {SECOND} is FAILED, it cannot be restored", "the disk is full",
        "See the others: pgvault list-backups main")
    unreadable = found._replace(backups=found.backups[1:])
    with pytest.raises(Refused) as none:
        candidates(vault, unreadable, "auto")
    assert (none.value.message, none.value.detail, none.value.hint) == (
        "there is no usable backup to restore", catalog.listed(found.unreadable), found.unreadable[-1].fix)
    assert "20261101T120002Z" in none.value.detail
    assert none.value.hint
    nothing = catalog.Found((), ())
    assert candidates(vault, nothing, "auto") == ()


# Too early, too late, not there


@pytest.mark.parametrize("target", [AtTime(at(11)), AtLsn(Lsn(0x200030))])
def test_what_lies_before_the_first_backup(target: Target) -> None:
    archive = archive_without()
    found = refusal(archive, target)
    reason = f"It lies before the end of backup {FIRST}, {FIRST_END}, and no older backup can be used."
    assert told(found)[2:] == (reason, LATER)
    assert isinstance(found.error, WalMissing)
    assert found.reason == reason
    assert found.refusals == (
        NoStop(NoStopCause.TOO_EARLY, f"it lies before the end of backup {SECOND}, {SECOND_END}",
               f"ends after the target, at {SECOND_END}", archive.backups[1], 1),
        NoStop(NoStopCause.TOO_EARLY, f"it lies before the end of backup {FIRST}, {FIRST_END}",
               f"ends after the target, at {FIRST_END}", archive.backups[0], 1))
    alone = refusal(archive, target, None, archive.backups[:1])
    assert alone.reason == f"It lies before the end of backup {FIRST}, {FIRST_END}, and there is no older one."


def test_a_backup_of_which_no_time_is_known_says_none() -> None:
    archive = archive_without()
    found = find_stop(RecoveryPaths(archive).to(1), replace(archive.backups[0], finished_at=None), AtLsn(Lsn(0x200030)))
    assert isinstance(found, NoStop)
    assert (found.reason, found.of_backup) == (f"it lies before the end of backup {FIRST}", "ends after the target")


def test_the_messages_name_the_target() -> None:
    assert refusal(archive_without(), AtTime(at(11))).error.message == (
        "the target cannot be reached: just after the last commit at or before 2026-11-01 11:00:00+00")


@pytest.mark.parametrize("target", [AtTime(at(17)), AtLsn(Lsn(0x9900000))])
def test_what_lies_behind_all_wal(target: Target) -> None:
    archive = archive_without()
    found = refusal(archive, target)
    reason = f"on timeline 1 the archived WAL reaches to 0/600000, {REACH}"
    assert told(found)[2:] == (f"On{reason[2:]}.", EARLIER)
    assert found.refusals == (NoStop(NoStopCause.TOO_LATE, reason, f"reaches only to 0/600000, {REACH}",
                                     archive.backups[1], 1, at(12, 3, 12.5)),)


def test_what_lies_behind_a_gap() -> None:
    archive = archive_without(3)
    found = refusal(archive, AtTime(at(12, 3, 12.5)), None, archive.backups[:1])
    gap = "segment 000000010000000000000003 behind it is missing"
    nothing = f"0/300000, and nothing was committed behind backup {FIRST}"
    assert told(found)[2:] == (f"On timeline 1 the archived WAL reaches to {nothing}; {gap}.", EARLIER)
    assert [each.of_backup for each in found.refusals] == [f"cannot go so far: {gap}"]
    assert isinstance(find(archive, AtTime(at(12, 3, 12.5))), Choice)


def test_wal_that_a_backup_itself_needs() -> None:
    archive = archive_without(2)
    found = refusal(archive, EndOfWal(), None, archive.backups[:1])
    needs = "000000010000000000000002"
    assert told(found) == (WalMissing, "the target cannot be reached: the end of the archived WAL",
                           f"WAL that backup {FIRST} needs is missing: segment {needs}.", EARLIER)
    assert found.refusals == (NoStop(NoStopCause.BROKEN, f"WAL that backup {FIRST} needs is missing: segment {needs}",
                                     f"needs segment {needs}, which is missing", archive.backups[0], 1),)


def test_too_early_for_one_backup_and_another_is_broken() -> None:
    archive = archive_without(2)
    found = refusal(archive, AtTime(at(12, 0, 30)))
    assert found.reason == (f"It lies before the end of backup {SECOND}, {SECOND_END}; WAL that backup {FIRST} needs "
                            "is missing: segment 000000010000000000000002.")
    assert found.error.hint == EARLIER


def test_too_late_for_one_backup_and_too_early_for_the_other() -> None:
    """A gap lies between."""
    found = refusal(archive_without(3), AtTime(at(12, 1, 30)))
    assert found.reason == (
        f"On timeline 1 the archived WAL reaches to 0/300000, and nothing was committed behind backup {FIRST}; segment "
        f"000000010000000000000003 behind it is missing; it lies before the end of backup {SECOND}, {SECOND_END}.")


def test_nothing_was_committed_behind_the_backup() -> None:
    server = Server()
    server.backup()
    found = refusal(MadeArchive(server), AtTime(at(13)))
    assert [each.of_backup for each in found.refusals] == [
        "reaches only to 0/300000; nothing was committed behind it"]
    assert found.reason == ("On timeline 1 the archived WAL reaches to 0/300000, and nothing was committed behind "
                            f"backup {FIRST}.")


def test_a_transaction_that_nobody_knows() -> None:
    found = refusal(archive_without(), AtXid(12345))
    ended = "o transaction 12345 ended in the archived WAL behind backup"
    assert told(found) == (WalMissing, "the target cannot be reached: just after the end of transaction 12345",
                           f"N{ended} {SECOND}; n{ended} {FIRST}.", SEE)
    assert [(each.cause, each.of_backup) for each in found.refusals] == [
        (NoStopCause.UNKNOWN, "has no such target in the WAL behind it")] * 2


def test_of_many_backups_the_newest_and_the_oldest_tell_why_it_is_unknown() -> None:
    server = Server()
    for _ in range(9):
        server.backup()
        server.idle(60)
    archive = MadeArchive(server)
    found = refusal(archive, AtXid(12345))
    ended = "o transaction 12345 ended in the archived WAL behind backup"
    assert found.reason == f"N{ended} {archive.backups[-1].id}; n{ended} {archive.backups[0].id}."
    assert len(found.refusals) == 9


def test_where_a_backup_stops_is_looked_for_once() -> None:
    archive = archive_without()
    path = RecoveryPaths(archive).to(1)
    for backup in archive.backups:
        for target in (AtXid(12345), AtXid(702), AtName("deploy")):
            assert find_stop(path, backup, target) is find_stop(path, backup, target)


def test_xids_are_those_of_one_round() -> None:
    """Of 64 bits, as pg_current_xact_id() tells them, the lower half is in the WAL."""
    found = find(archive_without(), AtXid((5 << 32) + 701))
    assert isinstance(found, Choice)
    assert found.stop == Stop(1, Lsn(0x300028), True, Lsn(0x300068), at(12, 1, 1.25))
    assert found.backup.id == FIRST
    unknown = refusal(archive_without(), AtXid((5 << 32) + 12345))
    assert unknown.reason.startswith("No transaction 12345 ended")


class WithSubtransactions(MadeArchive):
    def transactions(self, row: Row) -> list[Transaction]:
        return [replace(each, subxids=(each.xid + 1000,)) for each in super().transactions(row)]


def test_a_subtransaction_is_told_with_its_transaction() -> None:
    archive = WithSubtransactions(lived())
    found = refusal(archive, AtXid(1703, inclusive=False))
    assert found.reason.startswith("1703 is a subtransaction of transaction 703, which is the one to name; no ")
    assert found.readings == (Reading(AtXid(703, inclusive=False), 1, reason="the transaction that it is a part of"),)


NO_NAME = "o restore point of that name is behind backup"


def test_a_restore_point_that_nobody_made() -> None:
    archive = archive_without()
    both = f"n{NO_NAME} {SECOND} on the path to timeline 1; n{NO_NAME} {FIRST} on the path to timeline 1."
    found = refusal(archive, AtName("nope"))
    assert told(found) == (WalMissing, "the target cannot be reached: restore point nope",
                           f"The newest names in the archive are 'deploy', 'only'; {both}", SEE)
    found = refusal(archive_without(3, 5), AtName("nope"))
    assert found.reason.startswith("No restore point is known; ")
    assert f"n{NO_NAME} {FIRST} on the path to timeline 1; segment 000000010000000000000003 behind it" in found.reason


def test_a_restore_point_before_the_backup() -> None:
    archive = archive_without(5)
    found = refusal(archive, AtName("deploy"), None, archive.backups[1:])
    assert found.reason == f"There is one at 0/300068 on timeline 1; n{NO_NAME} {SECOND} on the path to timeline 1."
    assert found.readings == (Reading(AtName("deploy"), 1, reason="on timeline 1"),)
    during = replace(archive.backups[0], end_lsn=Lsn(0x300070))
    early = find_stop(RecoveryPaths(archive).to(1), during, AtName("deploy"))
    assert isinstance(early, NoStop)
    assert early.cause is NoStopCause.TOO_EARLY
    until = find_stop(RecoveryPaths(archive).to(1), replace(during, end_lsn=Lsn(0x300068)), AtName("deploy"))
    assert until == Stop(1, Lsn(0x300068), True, Lsn(0x3000A8), at(12, 2, 1.25))


def test_a_name_that_was_given_twice() -> None:
    found = refusal(archive_without(), AtName("deploy"))
    one, two = "2026-11-01 12:02:01.25+00", "2026-11-01 12:03:17.5+00"
    assert told(found) == (Refused, "there are 2 restore points named 'deploy'",
                           f"0/300068 of {one}; 0/500068 of {two}.",
                           "Name one by its position, as in --target-lsn 0/500068")
    assert found.readings == (Reading(AtLsn(Lsn(0x300068)), 1, reason=f"the one of {one}"),
                              Reading(AtLsn(Lsn(0x500068)), 1, reason=f"the one of {two}"))
    only = find(archive_without(), AtName("only"))
    assert isinstance(only, Choice)
    assert (only.backup.id, only.stop) == (SECOND, Stop(1, Lsn(0x5000A8), True, Lsn(0x5000E8), at(12, 3, 17.5)))


# Several timelines


def test_a_name_on_another_timeline() -> None:
    found = refusal(branched(), AtName("only"), 2)
    assert found.reason == (f"There is one at 0/5000A8 on timeline 1; n{NO_NAME} {FIRST} on the path to timeline 2.")
    assert found.readings == (Reading(AtName("only"), 1, reason="on timeline 1"),)


def test_the_end_of_two_timelines() -> None:
    found = refusal(branched(), EndOfWal())
    assert told(found) == (
        Refused, "the target is on more than one timeline: the end of the archived WAL",
        "On timeline 1 it is 0/600000 of 2026-11-01 12:03:12.5+00; on timeline 2 it is 0/400000 of 2026-11-01 "
        "12:03:17.5+00.", "Name one: --target-timeline 1 or 2")
    assert found.readings == (Reading(EndOfWal(), 1, reason="on timeline 1"),
                              Reading(EndOfWal(), 2, reason="on timeline 2"))
    positions = refusal(branched(), AtLsn(Lsn(0x300068)))
    assert positions.error.detail == "On timeline 1 it is 0/300068; on timeline 2 it is 0/300068."


def test_a_place_before_the_branch_is_one_place() -> None:
    """Named after the timeline that it is on."""
    found = find(branched(), AtTime(at(12, 0, 30)))
    early = find(branched(), AtLsn(Lsn(0x2000A8)))
    assert isinstance(found, NoChoice)  # before either timeline's first commit, which are two places
    assert isinstance(early, Choice)
    assert (early.history.timeline, early.stop.timeline, early.stop.lsn) == (1, 1, Lsn(0x2000A8))


def test_a_timeline_that_goes_on_where_another_ends_is_no_other_branch() -> None:
    server = lived()
    server.promote(Lsn(0x600028))
    server.commit()
    server.switch()
    found = find(MadeArchive(server), EndOfWal())
    assert isinstance(found, Choice)
    assert (found.history.timeline, found.stop.timeline, found.stop.lsn) == (2, 2, Lsn(0x700000))
    assert isinstance(find(MadeArchive(server), EndOfWal(), 1), Choice)


def test_a_timeline_of_unknown_origin_is_not_passed_over() -> None:
    """Where its history file is missing, it may go on from the very place."""
    archive = branched()
    archive.server.histories.pop()
    found = refusal(archive, EndOfWal())
    assert told(found) == (
        Refused, "where timeline 2 comes from is not known",
        "Its WAL is archived from 0/300000 on, its history file 00000002.history is not.",
        "Archive that file (pgvault put-wal), or name the timeline that is meant, as in --target-timeline 1")
    assert found.readings == (Reading(EndOfWal(), 1, reason="leaves out what timeline 2 holds"),)
    assert isinstance(find(archive, EndOfWal(), 1), Choice)
    assert isinstance(find(archive, Immediate(), None, archive.backups[:1]), NoChoice)


@pytest.mark.parametrize(("behind", "passes"), [(0x600028, False), (0x700028, True)])
def test_one_that_begins_behind_the_next_segment_does_not_go_on_from_there(behind: int, passes: bool) -> None:
    archive = branched()
    archive.server.histories.pop()
    for segment in [each for each in archive.rows if each.timeline == 2]:
        row = archive.rows.pop(segment)
        moved = Segment(2, behind >> 20)
        archive.rows[moved] = row._replace(number=moved.number)
    assert isinstance(find(archive, AtXid(703)), Choice) is passes


# What was not read


def unread(number: int) -> MadeArchive:
    archive = archive_without()
    segment = Segment(1, number)
    archive.rows[segment] = archive.rows[segment]._replace(
        problem="its page 3 is damaged", earliest=None, latest=None, oldest_xid=None, newest_xid=None, last_at=None)
    return archive


@pytest.mark.parametrize("target", [AtTime(at(12, 3, 12.5)), AtXid(703), AtName("only"), AtLsn(Lsn(0x500028))])
def test_where_wal_was_not_read_nothing_is_guessed(target: Target) -> None:
    archive = unread(3)
    found = refusal(archive, target, None, archive.backups[:1])
    assert told(found) == (WalMissing, "segment 000000010000000000000003 was not read",
                           "Not read: its page 3 is damaged.",
                           "A restore with --target-end or --target-immediate needs no look into the WAL.")
    assert found.reason == "Segment 000000010000000000000003 was not read: Not read: its page 3 is damaged."
    assert isinstance(find(archive, target), Choice)  # from the backup behind it


@pytest.mark.parametrize("target", [EndOfWal(), Immediate()])
def test_two_targets_need_no_look_into_it(target: Target) -> None:
    archive = unread(3)
    assert isinstance(find(archive, target, None, archive.backups[:1]), Choice)


@pytest.mark.parametrize("ahead", [timedelta(minutes=10), -timedelta(minutes=10)])
def test_times_of_commits_are_compared_with_the_servers_clock(ahead: timedelta) -> None:
    """A target before the backup's end has no stop behind it, however far the vault's clock is from the server's."""
    archive = archive_without()
    shifted = [replace(each, finished_at=each.finished_at - ahead, ended_at=each.finished_at)
               for each in archive.backups if each.finished_at]
    for target in (AtTime(at(11, 55)), AtTime(at(12, 5))):
        for found, expected in zip(shifted, archive.backups, strict=True):
            path = RecoveryPaths(archive).to(1)
            seen, wanted = find_stop(path, found, target), find_stop(RecoveryPaths(archive).to(1), expected, target)
            assert (seen.cause, seen.reason) == (wanted.cause, wanted.reason) if isinstance(seen, NoStop) and \
                isinstance(wanted, NoStop) else seen == wanted
