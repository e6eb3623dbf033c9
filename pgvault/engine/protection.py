"""The rules for how well a server is protected, from facts in the vault alone.

`check` also queries the server and has a correction for each finding. This summarizes the state in a word, from facts
that are available even if the server is down. Unknown facts never count as good.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from pgvault.config.schema import ServerConfig
from pgvault.engine.check.facts import VaultFacts, WalFacts
from pgvault.model.backup import Backup, BackupStatus
from pgvault.model.errors import PgvaultError
from pgvault.model.protection import ProtectionState, are_too_few, is_too_old
from pgvault.model.text import span, when
from pgvault.model.units import format_duration
from pgvault.model.window import Window

STUCK = timedelta(minutes=15)
"""WAL that is in the vault's own directories for this long is not being processed."""
QUIET = timedelta(days=1)
"""A server in use fills a segment in less than this time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtectionFacts:
    """The facts from which one server's protection is assessed."""

    server: ServerConfig
    at: datetime
    vault: VaultFacts | PgvaultError
    backup_job: str | None = None
    """The job that is taking a backup, in words; None if there is none."""
    waiting_since: datetime | None = None
    """Since when the longest waiting file is in the incoming directory."""
    streamed_until: datetime | None = None
    """When the unfinished segment of a stopped receiver was last written to; None if there is none, or it is being
    written."""


class Judgement(NamedTuple):
    state: ProtectionState
    reasons: tuple[str, ...]
    """The worst first, lower case, without a full stop; empty if all is well."""


def assess_protection(evidence: ProtectionFacts) -> Judgement:
    vault = evidence.vault
    if isinstance(vault, PgvaultError):
        return Judgement(ProtectionState.UNKNOWN, (vault.message,))
    for problem in (vault.problem, vault.wal):
        if isinstance(problem, PgvaultError):
            return Judgement(ProtectionState.UNKNOWN, (problem.message,))
    failures, warnings = tuple(_failures(vault)), tuple(_warnings(evidence, vault))
    state = ProtectionState.FAILED if failures else ProtectionState.WARNING if warnings else ProtectionState.OK
    return Judgement(state, failures + warnings)


def _failures(vault: VaultFacts) -> Iterator[str]:
    if not vault.good_backups:
        others = len(vault.backups) + len(vault.unreadable)
        yield f"none of {_counted(others, 'backup')} can be restored" if others else "no backup was taken yet"
    elif isinstance(vault.wal, WalFacts) and vault.wal.newest:
        yield from _out_of_reach(vault.newest_window, vault.wal.newest, vault.good_backups[-1].segment_size)


def _out_of_reach(window: Window | None, archived: Mapping[int, int], size: int) -> Iterator[str]:
    """Yield archived WAL that recovery cannot reach from any good backup."""
    newest = max(archived)
    if window is None or window.timeline < newest:
        yield f"no backup can be recovered onto timeline {newest}, the newest"
    elif (window.until_lsn - 1) // size < archived.get(window.timeline, 0):
        until = when(window.until_time, exact=True) if window.until_time else window.until_lsn
        yield f"nothing after {until} can be restored: WAL is missing or damaged behind it"


def _warnings(evidence: ProtectionFacts, vault: VaultFacts) -> Iterator[str]:
    yield from _about_backups(evidence, vault)
    yield from _about_attempts(evidence, vault.backups)
    yield from _about_wal(evidence, vault)


def _about_backups(evidence: ProtectionFacts, vault: VaultFacts) -> Iterator[str]:
    good, limit, minimum = vault.good_backups, evidence.server.last_backup_maximum_age, \
        evidence.server.minimum_redundancy
    if good and limit is not None and is_too_old(good[-1], limit, evidence.at):
        yield f"the last backup is {_span(good[-1].age(evidence.at))} old, more than {format_duration(limit)}"
    if good and are_too_few(len(good), minimum):
        yield f"{_counted(len(good), 'good backup')}, at least {minimum} expected"
    fine = {backup.id for backup in good}
    waiting = sum(backup.status is BackupStatus.WAITING_FOR_WALS for backup in vault.backups)
    useless = sum(b.status is BackupStatus.DONE and b.id not in fine for b in vault.backups) if good else 0
    if waiting:
        yield f"{_counted(waiting, 'backup')} {_verb(waiting, 'waits', 'wait')} for WAL"
    if useless:
        yield f"{_counted(useless, 'backup')} cannot be restored: WAL is missing, or pages are damaged"
    if count := len(vault.unreadable):
        yield f"the facts of {_counted(count, 'backup')} cannot be read"


def _about_attempts(evidence: ProtectionFacts, backups: Sequence[Backup]) -> Iterator[str]:
    """Describe the last attempt that has ended, if it failed."""
    running = evidence.backup_job is not None
    ended = [b for b in backups if b.status is not BackupStatus.STARTED or not running]
    if not ended:
        return
    last = max(ended, key=lambda backup: backup.id)
    if last.status is BackupStatus.FAILED:
        yield f"the last attempt at a backup failed{': ' * bool(last.error)}{last.error}"
    elif last.status is BackupStatus.STARTED:
        yield "the last attempt at a backup ended without reporting a result"


def _about_wal(evidence: ProtectionFacts, vault: VaultFacts) -> Iterator[str]:
    assert isinstance(vault.wal, WalFacts)
    if missing := sum(gap.missing for gap in vault.wal.survey.harmful_gaps):
        yield f"{_counted(missing, 'segment')} of WAL {_verb(missing, 'is', 'are')} missing"
    for each in vault.wal.survey.harmful_breaks:
        yield f"WAL cannot be replayed past {each.lsn}: {each.reason}"
    if count := vault.quarantined:
        yield f"{_counted(count, 'WAL file')} could not be accepted and {_verb(count, 'is', 'are')} in quarantine"
    if vault.incoming and _is_past(evidence.waiting_since, STUCK, evidence.at):
        yield f"{_counted(vault.incoming, 'WAL file')} {_verb(vault.incoming, 'waits', 'wait')} to be archived"
    if vault.receiver is None:
        yield from _without_receiver(evidence, vault.wal)
    elif silence := vault.unheard(evidence.at):
        yield f"the receiver has received nothing from {evidence.server.name} for {_span(silence)}"


def _without_receiver(evidence: ProtectionFacts, wal: WalFacts) -> Iterator[str]:
    at, streamed, newest = evidence.at, evidence.streamed_until, wal.newest_at
    if streamed is not None and _is_past(streamed, STUCK, at):
        yield f"the receiver has not run for {_span(at - streamed)}"
    elif newest is not None and _is_past(newest, QUIET, at):
        yield f"no WAL has arrived for {_span(at - newest)}"


def _is_past(moment: datetime | None, patience: timedelta, at: datetime) -> bool:
    return moment is not None and at - moment > patience


def _span(length: timedelta) -> str:
    return span(int(length.total_seconds()))


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _verb(number: int, one: str, many: str) -> str:
    return one if number == 1 else many
