"""Decides which backups a server's retention policy needs, and which may go: one verdict per backup, with its reason.

Pure: the same backups, policy and time give the same verdicts. In doubt a backup is kept: only OBSOLETE ones may be
deleted.

A backup counts as protection if it is DONE, has no known flaw, and is not kept standalone (a standalone backup cannot
be rolled forward). After a recovery to an earlier time the cluster continues on another timeline, and the newest
backups may lie on the abandoned branch. The policy therefore holds along the path of each timeline that it concerns,
not only for the newest ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import NamedTuple

from pgvault.model.backup import Backup, BackupStatus, Keep
from pgvault.model.protection import flaw_of
from pgvault.model.retention_policy import Redundancy, RetentionPolicy, Slots
from pgvault.model.timeline import History, TimelineTree

_SLACK = timedelta(days=1)
"""How far the clock may be behind what it wrote, after a correction."""
_IDLE = timedelta(days=31)
"""How long a vault may get nothing new before the clock is doubted rather than the site."""


class Retention(Enum):
    VALID = "VALID"
    """The policy requires the backup."""
    NEEDED = "NEEDED"
    """A backup or target that the policy requires depends on it."""
    KEPT = "KEPT"
    """A person asked to keep the backup."""
    NOT_COUNTED = "NOT_COUNTED"
    """The backup protects nothing, but is not expired either while the policy reaches back to it."""
    OBSOLETE = "OBSOLETE"
    """Nothing needs the backup. It may be deleted."""


class RetentionVerdict(NamedTuple):
    state: Retention
    reason: str
    """Lower case, without a full stop."""


def assess_retention(backups: Iterable[Backup], policy: RetentionPolicy | None, minimum_redundancy: int,
                     now: datetime, *, unusable: Mapping[str, str] | None = None,
                     timelines: TimelineTree | None = None) -> dict[str, RetentionVerdict]:
    """Return the verdict on each backup of one server, by id.

    `unusable` has, by id, the reason why a DONE backup cannot be restored (a gap in its WAL, a damaged pack). Backups
    with unreadable facts are not passed, and so protect nothing. `timelines` are those in the WAL archive.
    """
    ordered = sorted(backups, key=lambda backup: backup.id)
    unusable, tree = unusable or {}, timelines or TimelineTree(())
    verdicts = {b.id: RetentionVerdict(Retention.KEPT, f"kept on request ({b.keep.value})") for b in ordered if b.keep}
    flaws = {b.id: flaw for b in ordered if (flaw := _flaw(b, unusable))}
    counted = [b for b in ordered if b.id not in flaws]
    for backup_id, verdict in _promised(counted, policy, minimum_redundancy, now, tree).items():
        verdicts.setdefault(backup_id, verdict)
    surplus = RetentionVerdict(Retention.OBSOLETE, f"outside {policy}, and nothing needs it")
    for backup in counted:
        verdicts.setdefault(backup.id, surplus)
    _assess_flawed(ordered, counted, flaws, policy, minimum_redundancy, verdicts)
    return verdicts


def doubt_clock(now: datetime, newest: datetime | None) -> str:
    """Return why nothing may expire on the word of this clock, as a sentence; empty if nothing speaks against it.

    `newest` is the newest time in the vault: of a backup's end, or of the arrival of WAL.
    """
    if newest is None or newest - _SLACK <= now <= newest + _IDLE:
        return ""
    when = f"{newest:%Y-%m-%d %H:%M}Z"
    if now < newest:
        return f"It says {now:%Y-%m-%d %H:%M}Z, but the newest file in the vault is from {when}."
    days = (now - newest).days
    return f"It says {now:%Y-%m-%d %H:%M}Z, but nothing has come into the vault since {when}, {days} days before."


def _flaw(backup: Backup, unusable: Mapping[str, str]) -> str:
    """Return why the backup does not count as protection; empty if it does."""
    flaw = flaw_of(backup, unusable.get(backup.id, ""))
    return flaw or ("kept standalone" if backup.keep is Keep.STANDALONE else "")


def _promised(counted: Sequence[Backup], policy: RetentionPolicy | None, minimum: int, now: datetime,
              tree: TimelineTree) -> dict[str, RetentionVerdict]:
    if policy is None:
        no_policy = RetentionVerdict(Retention.VALID, "no retention policy: nothing expires")
        return {backup.id: no_policy for backup in counted}
    verdicts: dict[str, RetentionVerdict] = {}
    if isinstance(policy, Redundancy):
        for backup in counted[-policy.copies:]:
            verdicts[backup.id] = RetentionVerdict(Retention.VALID, f"one of the newest {policy.copies}")
        _add_needed(verdicts, counted, policy.copies, tree, f"{policy} on the path of")
    elif isinstance(policy, Slots):
        _add_slots(verdicts, counted, policy)
        _add_needed(verdicts, counted, 1, tree, f"{policy} on the path of")
    else:
        _add_window(verdicts, counted, policy.length, now, tree)
    if minimum > 0:
        for backup in counted[-minimum:]:
            verdicts.setdefault(backup.id, RetentionVerdict(Retention.NEEDED, f"minimum redundancy {minimum}"))
        _add_needed(verdicts, counted, minimum, tree, f"minimum redundancy {minimum} on the path of")
    return verdicts


def _add_needed(verdicts: dict[str, RetentionVerdict], counted: Sequence[Backup], copies: int, tree: TimelineTree,
                reason: str) -> None:
    """Add the newest backups from which the newest timeline can be reached."""
    for history in _histories(counted, tree)[-1:]:
        for backup in _on_path(counted, history)[-copies:]:
            verdicts.setdefault(backup.id, RetentionVerdict(
                Retention.NEEDED, f"{reason} timeline {history.timeline}"))


def _add_slots(verdicts: dict[str, RetentionVerdict], counted: Sequence[Backup], policy: Slots) -> None:
    """Name the slots that each backup fills, such as "daily 1 of 7, weekly 1 of 4"."""
    filled: dict[str, list[str]] = {}
    for period, count in policy.counts:
        newest = {f"{_end(backup).astimezone(UTC):{period.value}}": backup for backup in counted}
        for number, name in enumerate(sorted(newest, reverse=True)[:count], 1):
            filled.setdefault(newest[name].id, []).append(f"{period.name.lower()} {number} of {count}")
    for backup_id, slots in filled.items():
        verdicts[backup_id] = RetentionVerdict(Retention.VALID, ", ".join(slots))


def _add_window(verdicts: dict[str, RetentionVerdict], counted: Sequence[Backup], length: timedelta, now: datetime,
                tree: TimelineTree) -> None:
    """Add every backup that ended in the window and, for each timeline that may reach into it, the newest one before.
    """
    start = now - length
    before = []
    for backup in counted:
        if _end(backup) > start:
            verdicts[backup.id] = RetentionVerdict(Retention.VALID, "inside the recovery window")
        else:
            before.append(backup)
    # A backup this old on timeline n shows that the cluster had left all earlier timelines before the window began.
    left_before = max((backup.timeline for backup in before), default=0)
    for history in _histories(counted, tree):
        if history.timeline >= left_before and (path := _on_path(before, history)):
            verdicts.setdefault(path[-1].id, RetentionVerdict(
                Retention.NEEDED, f"the recovery window on timeline {history.timeline} begins with it"))


def _histories(counted: Sequence[Backup], tree: TimelineTree) -> list[History]:
    """Return the history of every known timeline, oldest first."""
    numbers = {history.timeline for history in tree.histories} | {backup.timeline for backup in counted}
    return [tree.history(number) for number in sorted(numbers)]


def _on_path(backups: Sequence[Backup], history: History) -> list[Backup]:
    return [b for b in backups if b.end_lsn is not None and history.holds(b.timeline, b.end_lsn)]


def _end(backup: Backup) -> datetime:
    return backup.finished_at or backup.started_at


def _assess_flawed(ordered: Sequence[Backup], counted: Sequence[Backup], flaws: Mapping[str, str],
                   policy: RetentionPolicy | None, minimum: int, verdicts: dict[str, RetentionVerdict]) -> None:
    """Mark flawed backups obsolete if they are older than all required ones and enough others count as protection."""
    protecting = [b.id for b in counted if verdicts[b.id].state is not Retention.OBSOLETE]
    reach = min(protecting) if policy and len(protecting) >= max(minimum, 1) else ""
    for backup in ordered:
        flaw = flaws.get(backup.id)
        if flaw and backup.id < reach and backup.status is not BackupStatus.STARTED:
            verdict = RetentionVerdict(Retention.OBSOLETE, f"{flaw}, and older than all that the policy needs")
        elif flaw:
            verdict = RetentionVerdict(Retention.NOT_COUNTED, f"{flaw}: does not count as protection")
        else:
            continue
        verdicts.setdefault(backup.id, verdict)
