"""Carries out a retention policy: decides with `pgvault.model.retention`, then deletes backups, WAL and frames.

A backup ceases to be one at once. Its objects, WAL that no backup needs any more, and frames go only while nobody reads
any: while a restore runs, they are left to the next run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pgvault.config.schema import ServerConfig
from pgvault.engine.cancellation import run_cancellable
from pgvault.engine.catalogue import read_catalogue
from pgvault.engine.progress import Progress
from pgvault.model.backup import Backup, BackupStatus, Keep
from pgvault.model.catalogue import Catalogue
from pgvault.model.errors import Cancelled, Locked, NotFound, PgvaultError, Refused
from pgvault.model.event import Emit, Level, Noted, PhaseStarted
from pgvault.model.expire_plan import ExpirePlan
from pgvault.model.protection import are_too_few, flaw_of
from pgvault.model.retention import Retention, doubt_clock
from pgvault.model.retention_policy import RetentionPolicy
from pgvault.model.text import size
from pgvault.model.times import of_epoch
from pgvault.model.wal_retention import NeededWal
from pgvault.store.leases import Concern
from pgvault.vault import catalog, wal_index
from pgvault.vault.collection import Collected, collect, has_remains
from pgvault.vault.layout import ServerVault, Vault
from pgvault.vault.wal_archive import remove
from pgvault.vault.wal_facts import timeline_tree
from pgvault.vault.wal_index import StoredFile

_BATCH = 256
"""WAL files that are removed under one hold of the archive's lease."""
_UNTRUSTED = "If the clock is right, say so: --trust-clock. Otherwise correct it; nothing was changed."


@dataclass(frozen=True, slots=True)
class Expired:
    """What was done. Sizes are in bytes."""

    plan: ExpirePlan
    wal_files: int
    wal_bytes: int
    collected: Collected | None
    """None if frames are being read, or not all backups can be: the next run collects."""

    def __str__(self) -> str:
        backups = f"deleted {', '.join(self.plan.goes)}" if self.plan.goes else "no backup expired"
        parts = [backups]
        if self.wal_files:
            parts.append(f"removed {self.wal_files:,} WAL file{'s' * (self.wal_files != 1)} ({size(self.wal_bytes)})")
        if self.collected and self.collected.removed:
            parts.append(f"freed {size(self.collected.freed_bytes)} of packs")
        if self.collected and self.collected.marked_bytes:
            parts.append(f"{size(self.collected.marked_bytes)} of packs go in a day")
        return "; ".join(parts)


def plan_expire(server: ServerConfig, home: Path, now: datetime, *, policy: RetentionPolicy | None = None,
                trust_clock: bool = False) -> ExpirePlan:
    """Plan what the policy lets go, or what `policy` would in its place; it changes nothing.

    Refused if the clock is doubtful, and PgvaultError if it cannot be known which backups can be restored.
    """
    vault = Vault.open(home).server(server.name)
    if policy is not None:
        server = server.replaced(retention_policy=policy)
    catalogue = _read(vault, server, now)
    if not trust_clock and (doubt := doubt_clock(now, _newest(vault, catalogue))):
        raise Refused(f"nothing of {server.name} expires: the clock of this machine may be wrong", detail=doubt,
                      hint=_UNTRUSTED)
    goes = [each.backup.id for each in catalogue.backups if each.retention.state is Retention.OBSOLETE]
    return replace(_plan(vault, server, catalogue, goes), trust_clock=trust_clock, is_tried=policy is not None)


def plan_delete(server: ServerConfig, home: Path, now: datetime, backup_id: str, *, force: bool = False) -> ExpirePlan:
    """Plan the deletion of one backup. Refused if it is kept or being taken and, unless `force` is set, if it protects
    the server and too few others would."""
    vault = Vault.open(home).server(server.name)
    catalogue = _read(vault, server, now)
    entry = catalogue.entry(backup_id)
    catalog.refuse_kept(entry.backup)
    if entry.backup.status is BackupStatus.STARTED:
        raise Refused(f"backup {backup_id} is not complete yet", detail="Its job may be running.",
                      hint="Cancel the job, or wait until the next backup marks it as failed.")
    protecting = [each.backup.id for each in catalogue.backups if not flaw_of(each.backup, each.flaw)]
    least = max(server.minimum_redundancy, 1)
    if backup_id in protecting and not force and are_too_few(len(protecting) - 1, least):
        last = len(protecting) == 1
        raise Refused(f"backup {backup_id} is the last good one of {server.name}" if last else
                      f"without backup {backup_id} {server.name} has fewer than minimum_redundancy requires",
                      detail="Nothing could be restored without it." if last else
                      f"{len(protecting) - 1} would be left of at least {least}.",
                      hint=f"Take another backup first (pgvault backup {server.name}), or delete it all the same: "
                           "--force")
    return _plan(vault, server, catalogue, [backup_id], named=backup_id, force=force)


def keep_backup(vault: ServerVault, backup_id: str, kept: Keep | None) -> Backup:
    """Have a backup kept whatever the policy says, or with None no longer. Refused for one that holds nothing."""
    backup = catalog.read(vault, backup_id)
    if kept and not backup.status.copied:
        raise Refused(f"backup {backup_id} cannot be kept: it is {backup.status.value}", detail="It has no files.",
                      hint=f"pgvault list-backups {vault.name}")
    return catalog.keep(vault, backup_id, kept)


def _read(vault: ServerVault, server: ServerConfig, now: datetime) -> Catalogue:
    catalogue = read_catalogue(vault, server, now, reach=False)
    if catalogue.wal_problem:
        raise PgvaultError(f"it is not known which backups of {server.name} can be restored, so none is deleted",
                           detail=f"{catalogue.wal_problem}.", hint=f"pgvault rebuild-index {server.name}")
    return catalogue


def _newest(vault: ServerVault, catalogue: Catalogue) -> datetime | None:
    """Return the newest time that is written down in the vault."""
    times = [each.backup.finished_at for each in catalogue.backups if each.backup.finished_at]
    try:
        with wal_index.reading(vault) as index:
            accepted = index.newest_accepted()
    except NotFound:
        accepted = None
    arrived = None if accepted is None else of_epoch(accepted / 1_000_000)
    return max([*times, *([arrived] if arrived else [])], default=None)


def _plan(vault: ServerVault, server: ServerConfig, catalogue: Catalogue, goes: list[str], *, named: str = "",
          force: bool = False) -> ExpirePlan:
    stay = [each.backup for each in catalogue.backups if each.backup.id not in goes]
    unreadable = tuple(each.id for each in catalogue.unreadable)
    wal = _unneeded_wal(vault, stay) if not unreadable and (named or _wal_goes(vault, server.retention_policy)) else []
    return ExpirePlan(
        server.name, str(server.retention_policy or ""),
        tuple((each.backup, each.retention) for each in catalogue.backups), tuple(goes), len(wal),
        sum(each.stored for each in wal), unreadable, named, force, has_remains=has_remains(vault))


def _wal_goes(vault: ServerVault, policy: RetentionPolicy | str | None) -> bool:
    """Return whether WAL is removed: without a policy only what deleted backups needed, while these are removed."""
    return bool(policy or catalog.deleted(vault))


def _unneeded_wal(vault: ServerVault, stay: Iterable[Backup]) -> list[StoredFile]:
    """Return the archived files that no backup needs; history files stay."""
    try:
        with wal_index.reading(vault) as index:
            needed = NeededWal(stay, timeline_tree(vault, index))
            return [each for kind in ("segment", "partial", "label") for each in index.files(kind)
                    if each.number is not None and not needed.needs(each.timeline, each.number)]
    except NotFound:
        return []


async def carry_out(plan: ExpirePlan, server: ServerConfig, home: Path, *, job: str, emit: Emit,
                    replan: Callable[[], ExpirePlan]) -> Expired:
    """Delete what the plan names. `replan` plans again under the lease: what became needed since then stays."""
    return await run_cancellable(lambda cancelled: _carry_out(plan, server, home, job, emit, replan, cancelled))


def _carry_out(plan: ExpirePlan, server: ServerConfig, home: Path, job: str, emit: Emit,
               replan: Callable[[], ExpirePlan], cancelled: threading.Event) -> Expired:
    def between() -> None:
        if cancelled.is_set():
            raise Cancelled("the deletion was cancelled",
                            hint=f"What was deleted is gone. The rest: pgvault expire {server.name}")

    vault = Vault.open(home).server(server.name)
    with ExitStack() as scope:
        scope.enter_context(vault.leases.hold(Concern.BACKUP, job=job))
        current = replan()
        goes = tuple(each for each in current.goes if each in plan.goes)
        emit(PhaseStarted("delete backups"))
        for backup_id in goes:
            between()
            catalog.delete(vault, backup_id, datetime.now(UTC))
            emit(Noted(f"backup {backup_id} is deleted"))
        return _free(vault, current, goes, scope, job, emit, between)


def _free(vault: ServerVault, plan: ExpirePlan, goes: tuple[str, ...], scope: ExitStack, job: str, emit: Emit,
          between: Callable[[], None]) -> Expired:
    """Remove WAL and collect frames, unless somebody reads any."""
    done = replace(plan, goes=goes)
    try:
        scope.enter_context(vault.leases.hold(Concern.PACKS, job=job))
    except Locked as held:
        emit(Noted(f"space is freed by the next run: {held.message}. {held.detail}", code=held.code))
        return Expired(done, 0, 0, None)
    found = catalog.read_all(vault, save=False)
    if found.unreadable:
        emit(Noted(f"no WAL and no pack is removed while a backup cannot be read. {catalog.listed(found.unreadable)}",
                   Level.WARNING, "unreadable-backup"))
        return Expired(done, 0, 0, None)
    unneeded = _unneeded_wal(vault, found.backups) if _wal_goes(vault, plan.policy) else []
    files, total = _remove_wal(vault, unneeded, emit, between)
    emit(PhaseStarted("collect packs"))
    return Expired(done, files, total, collect(vault, datetime.now(UTC), between=between))


def _remove_wal(vault: ServerVault, files: list[StoredFile], emit: Emit, between: Callable[[], None],
                ) -> tuple[int, int]:
    emit(PhaseStarted("remove WAL", sum(each.stored for each in files)))
    progress = Progress(emit)
    for begin in range(0, len(files), _BATCH):
        between()
        portion = files[begin:begin + _BATCH]
        remove(vault, [each.name for each in portion])
        progress.add(sum(each.stored for each in portion), len(portion))
    progress.report()
    return progress.files, progress.done_bytes
