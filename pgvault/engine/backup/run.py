"""Takes one backup, from the lock to DONE.

A backup becomes usable in this order: packs durable, manifest durable, every WAL segment from its start to its end
archived, `backup.toml` with status DONE. An earlier failure leaves older backups untouched and marks this one FAILED,
at the latest when the next run finds it STARTED without a process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pgvault.config.schema import ServerConfig
from pgvault.engine.backup.completeness import Comparison, fail_skipped, read_cluster
from pgvault.engine.backup.copy import Copier
from pgvault.engine.backup.failure import FAILURES, backup_error
from pgvault.engine.backup.linked import read_linked
from pgvault.engine.backup.names import NameCollector
from pgvault.engine.backup.silence import Silence
from pgvault.engine.backup.wal import WalReservation, connect_patiently, ensure_wal, names
from pgvault.engine.cancellation import run_cancellable
from pgvault.engine.progress import READ_LATER, Progress, reading_progress
from pgvault.io.base_backup import CANCELLED_HINT, BaseBackup, Options, Started, Stopped
from pgvault.io.postgres import Connection, session
from pgvault.io.replication_stream import identify
from pgvault.io.server_facts import ServerFacts, read_facts
from pgvault.model.backup import Backup, BackupStatus, Tablespace, next_backup_id
from pgvault.model.backup_plan import BackupPlan
from pgvault.model.errors import Cancelled, CorruptPages, Incomplete, Locked, PgvaultError, WalMissing
from pgvault.model.event import Emit, Level, Noted, PhaseStarted
from pgvault.model.segment import Segment
from pgvault.store.keys import Kind
from pgvault.store.leases import Concern
from pgvault.vault import catalog, wal_facts
from pgvault.vault.frames import FrameStore
from pgvault.vault.identity import Identity, claim
from pgvault.vault.index_files import DatabaseError
from pgvault.vault.layout import ServerVault, Vault
from pgvault.vault.manifest import Manifest, ManifestWriter
from pgvault.vault.wal_whole import lacking

_LOCK_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class BackupVerdict:
    backup: Backup

    def __str__(self) -> str:
        return f"backup {self.backup.id} is {self.backup.status.value}"


async def run_backup(plan: BackupPlan, server: ServerConfig, home: Path, *, job: str, emit: Emit) -> BackupVerdict:
    """Take the backup. Return the verdict, or raise the error that made it FAILED.

    Raises CorruptPages if it is DONE but the server reported pages that fail their checksum, and WalMissing if its WAL
    has not arrived: it is then WAITING_FOR_WALS, and becomes DONE when the WAL arrives.
    """
    return await run_cancellable(lambda cancelled: _take(plan, server, home, job, emit, cancelled))


def _take(plan: BackupPlan, config: ServerConfig, home: Path, job: str, emit: Emit,
          cancelled: threading.Event) -> BackupVerdict:
    try:
        return _take_in_turn(plan, config, home, job, emit, cancelled)
    except PgvaultError as error:
        error.hint = error.hint or f"See what it usually means and what to do then: pgvault explain {error.code}"
        raise


def _take_in_turn(plan: BackupPlan, config: ServerConfig, home: Path, job: str, emit: Emit,
                  cancelled: threading.Event) -> BackupVerdict:
    with session(config, "query the server", cancelled=cancelled.is_set) as connection:
        facts = read_facts(connection)
        if connection.refusal:
            emit(Noted(f"the database of conninfo rejects pgvault's role ({connection.refusal}): using database "
                       f"{connection.info.dbname}", Level.WARNING))
    if not facts.tested:
        emit(Noted(f"PostgreSQL {facts.major} is newer than this pgvault was tested with", Level.WARNING))
    server = Vault.open_or_create(home).server(config.name)
    with server.leases.hold(Concern.ARCHIVE, wait=True):
        claim(server, Identity(facts.system_identifier, facts.segment_size))
    with ExitStack() as scope:
        _lock(scope, lambda: server.leases.hold(Concern.BACKUP, job=job), plan.wait_lock, emit, cancelled)
        _lock(scope, lambda: server.leases.hold(Concern.PACKS, shared=True), True, emit, cancelled)
        try:
            backup, missing = _take_locked(plan, config, facts, server, job, emit, cancelled)
        except (OSError, DatabaseError) as error:
            raise backup_error(error, server) from error
    _read_wal(server, BackupVerdict(backup), emit, cancelled)
    refuse_damaged(server, backup, missing)
    return _verdict(backup, missing)


def _read_wal(server: ServerVault, verdict: BackupVerdict, emit: Emit, cancelled: threading.Event) -> None:
    """Read the archived WAL now, so that a restore need not wait for it. The backup is DONE whatever the result."""
    try:
        wal_facts.read_facts(server, on_progress=reading_progress(emit, cancelled))
    except Cancelled as error:
        raise Cancelled(f"{verdict}; only {error.message}", hint=error.hint) from None
    except (PgvaultError, OSError, DatabaseError) as error:
        emit(Noted(f"{verdict}, but not all of the archived WAL could be read: {error}\n{READ_LATER}", Level.WARNING))


def refuse_damaged(server: ServerVault, backup: Backup, missing: Sequence[Segment] = ()) -> None:
    """Refuse a backup whose WAL is damaged, so that recovery cannot reach its end. Segments that are still `missing`
    are no damage, but may follow some."""
    if (segment := lacking(server, backup)) is not None and segment not in missing:
        stored = catalog.read(server, backup.id)  # another process may have settled it before its WAL was read
        if stored.status is BackupStatus.DONE:
            catalog.advance(server, stored, BackupStatus.WAITING_FOR_WALS)
        raise WalMissing(
            f"backup {backup.id} cannot be restored: its WAL is damaged",
            detail=f"Recovery cannot reach the end of segment {segment.name(backup.segment_size)}, and the backup "
                   f"ends at {backup.end_lsn}. Its status is waiting for WAL."
                   + f" The server also reported corrupt pages in {_corrupt(backup)}." * bool(backup.corrupt_pages),
            hint=f"See where the WAL ends (pgvault wal {server.name}), and take a backup: pgvault backup {server.name}")


def _take_locked(plan: BackupPlan, config: ServerConfig, facts: ServerFacts, server: ServerVault, job: str,
                 emit: Emit, cancelled: threading.Event) -> tuple[Backup, Sequence[Segment]]:
    """Return the backup and the segments that it needs and that are not archived. Without any it is DONE."""
    clean_up(server)
    newest = max(catalog.ids(server), default=None)
    backup = _new_backup(plan, facts, server, next_backup_id(datetime.now(UTC), newest), job)
    catalog.create(server, backup)
    with WalReservation(config, emit, cancelled) as reservation:
        try:
            backup = _copy_with_retries(plan, config, server, backup, reservation, emit, cancelled)
        except BaseException as error:
            _fail(server, backup, error)
            raise
        missing = ensure_wal(server, config, backup, reservation.slot, emit, cancelled)
    if not missing:
        backup = catalog.advance(server, backup, BackupStatus.DONE)
    return backup, missing


def _lock(scope: ExitStack, take: Callable[[], AbstractContextManager[None]], wait: bool, emit: Emit,
          cancelled: threading.Event) -> None:
    """Hold a lock until the scope ends. A wait is reported, and ends when the backup is cancelled."""
    warned = False
    while True:
        try:
            scope.enter_context(take())
            return
        except Locked as held:
            if not wait:
                raise
            if not warned:
                emit(Noted(f"waiting: {held.message}. {held.detail}", code=held.code))
            warned = True
        if cancelled.wait(_LOCK_POLL_SECONDS):
            raise Cancelled("the backup was cancelled before it began", hint=CANCELLED_HINT)


def clean_up(server: ServerVault) -> None:
    """Clear the remains of a dead run. The caller holds the backup lock, so a STARTED backup has no process."""
    if catalog.has_waiting(server):
        with suppress(PgvaultError, OSError, DatabaseError):  # it is then judged by what was read before
            wal_facts.read_facts(server)  # unread WAL counts as intact
    catalog.settle(server)
    server.store.sweep(Kind.BACKUP, server.name)
    catalog.fail_abandoned(server)


def _new_backup(plan: BackupPlan, facts: ServerFacts, server: ServerVault, backup_id: str, job: str) -> Backup:
    return Backup(
        id=backup_id, server=server.name, status=BackupStatus.STARTED, method="stream", name=plan.name,
        started_at=datetime.now(UTC), system_identifier=facts.system_identifier, server_version=facts.version,
        segment_size=facts.segment_size, timeline=0, data_directory=facts.data_directory, job=job)


def _copy_with_retries(plan: BackupPlan, config: ServerConfig, server: ServerVault, backup: Backup,
                       reservation: WalReservation, emit: Emit, cancelled: threading.Event) -> Backup:
    """Copy the cluster, with retries. Frames that a failed attempt stored stay in the packs, so that the next one
    reuses them.

    A failed copy is retried; a session that cannot be opened in the first place is not.
    """
    first: Connection | None = connect_patiently(config, backup.major, cancelled)
    for left in range(plan.retry_times, -1, -1):
        try:
            with closing(first or connect_patiently(config, backup.major, cancelled)) as connection:
                first = None
                system = identify(server.name, connection)  # another conninfo or address may lead to another server
                claim(server, Identity(system.identifier, system.segment_size))
                return _copy(plan, config, connection, server, backup, reservation, emit, cancelled)
        except FAILURES as error:
            failure = backup_error(error, server)
            if not left or isinstance(error, DatabaseError) or _is_of_disk(error) or not _may_pass(failure):
                raise failure  # noqa: B904 -- it may be the very same
            emit(Noted(f"{failure.message}; retrying in {plan.retry_seconds:g} s, {left} more "
                       f"{'try' if left == 1 else 'tries'}", Level.WARNING, failure.code))
            if cancelled.wait(plan.retry_seconds):
                raise Cancelled("the backup was cancelled", hint=CANCELLED_HINT) from None
    raise AssertionError("the last attempt returns or raises")


def _is_of_disk(error: BaseException) -> bool:
    """Return whether a system call failed on a file, or was reported so: the vault's disk is the same at a retry. The
    server's connection has no files."""
    return isinstance(error, OSError) or (isinstance(error.__cause__, OSError) and error.__cause__.filename is not None)


def _may_pass(error: PgvaultError) -> bool:
    """Return whether a retry can help: not after a refusal, missing data or a cancellation, nor on a full disk."""
    return error.exit_code in (1, 7) and not isinstance(error, Incomplete)


def _copy(plan: BackupPlan, config: ServerConfig, connection: Connection, server: ServerVault, backup: Backup,
          reservation: WalReservation, emit: Emit, cancelled: threading.Event) -> Backup:
    reservation.hold(backup.major)
    with ExitStack() as scope:
        previous = _previous_manifest(server, scope) if not plan.full else None
        store = scope.enter_context(FrameStore(server))
        for name in store.damaged:
            emit(Noted(f"pack {name} is damaged: its frames are stored again", Level.WARNING, "damaged-pack"))
        manifest = ManifestWriter(server, backup.id)
        scope.callback(manifest.abandon)
        progress = Progress(emit)
        copier = scope.enter_context(Copier(server, store, manifest, previous, level=plan.compression_level,
                                            workers=plan.workers, progress=progress))
        silence = Silence(config, connection.info.backend_pid, cancelled.is_set)
        command = BaseBackup(server.name, connection, _options(plan, backup), silence)
        before = read_cluster(config, cancelled.is_set)
        emit(Noted(f"Starting backup for server {server.name} in {catalog.location(server, backup.id)}"))
        emit(PhaseStarted("checkpoint"))
        started = command.start()
        silence.copying = True
        fail_skipped(server.name, command.skipped)
        backup = replace(backup, begin_lsn=started.lsn, timeline=started.timeline,
                         tablespaces=_tablespaces(config, started, cancelled))
        emit(Noted(f"Backup start at WAL position {_position(backup, started.lsn)}"))
        emit(PhaseStarted("copy", started.size_bytes))
        emit(Noted("Copying files."))
        asking = scope.enter_context(NameCollector(config, manifest))
        command.stream(copier)
        emit(Noted("Copy done."))
        emit(Noted("Asking PostgreSQL server to finalize the backup."))
        stopped = command.stop()
        fail_skipped(server.name, command.skipped)
        _take_linked(config, copier, command.skipped, emit, cancelled)
        copier.finish()
        progress.report()
        asking.finish(emit)
        after = read_cluster(config, cancelled.is_set)
        comparison = Comparison(config, before, after, manifest, asking.initial,
                                asking.failures)
        comparison.fail_lacking(cancelled.is_set)
        for each in comparison.not_compared:
            emit(Noted(f"not compared with the server: {each}", Level.WARNING, "not-compared"))
        digest = manifest.publish()
        backup = catalog.advance(server, _copied(replace(backup, ended_at=after.at), stopped, store, manifest, digest),
                                 BackupStatus.WAITING_FOR_WALS)
        emit(Noted(f"Backup end at WAL position {_position(backup, stopped.lsn, end=True)}"))
    return backup


def _take_linked(config: ServerConfig, copier: Copier, paths: Iterable[str], emit: Emit,
                 cancelled: threading.Event) -> None:
    """Add a site's own files behind links. The backup is complete without them."""
    taken = read_linked(config, paths, cancelled.is_set)
    for each in taken.found:
        copier.add_linked(each)
    if files := [each.path for each in taken.found]:
        emit(Noted(f"PostgreSQL skips links; read by SQL: {', '.join(files)}", code="linked"))
    for path in taken.left:
        emit(Noted(f"the backup lacks {path}, which PostgreSQL skips as a link or special file; keep a "
                   "copy of it, or let the role execute pg_stat_file, pg_ls_dir and pg_read_binary_file",
                   Level.WARNING, "link-left-out"))


def _tablespaces(config: ServerConfig, started: Started, cancelled: threading.Event) -> tuple[Tablespace, ...]:
    """Return the tablespaces of the backup with their names, which are not in the protocol."""
    if not started.tablespaces:
        return ()
    with session(config, "list the tablespaces", cancelled=cancelled.is_set) as connection:
        names = dict(connection.execute("SELECT oid, spcname FROM pg_tablespace").fetchall())
    return tuple(Tablespace(space.oid, names.get(space.oid, str(space.oid)), space.location)
                 for space in started.tablespaces)


def _options(plan: BackupPlan, backup: Backup) -> Options:
    limit = plan.bandwidth_limit
    return Options(label=f"pgvault {backup.id}", fast_checkpoint=plan.immediate_checkpoint,
                   max_rate_kib=min(max(limit // 1024, 32), 1 << 20) if limit else None)


def _previous_manifest(server: ServerVault, scope: ExitStack) -> Manifest | None:
    """Open the manifest of the newest usable backup. A damaged one is skipped, as it only saves work."""
    for backup in reversed(catalog.backups(server)):
        if backup.status.copied:
            try:
                return scope.enter_context(Manifest(server, backup, check=True))
            except PgvaultError:
                continue
    return None


def _copied(backup: Backup, stopped: Stopped, store: FrameStore, manifest: ManifestWriter, digest: str) -> Backup:
    """Return the backup with the facts that are known once everything is copied."""
    if stopped.timeline != backup.timeline:
        raise PgvaultError("the server changed its timeline during the backup",
                           detail=f"It began on {backup.timeline} and ended on {stopped.timeline}.",
                           hint="Run the backup again.")
    corrupt = stopped.corrupt_files or (("unnamed",) if stopped.corrupt else ())
    return replace(
        backup, end_lsn=stopped.lsn, finished_at=datetime.now(UTC), size_bytes=manifest.size_bytes,
        stored_bytes=store.stored_bytes + manifest.stored_bytes, file_count=manifest.file_count,
        manifest_sha256=digest, corrupt_pages=corrupt)


def _position(backup: Backup, lsn: int, *, end: bool = False) -> str:
    segment = backup.end_segment if end else backup.begin_segment
    assert segment
    return f"{backup.end_lsn if end else backup.begin_lsn} " \
           f"({segment.name(backup.segment_size)}, {lsn % backup.segment_size:08X})"


def _fail(server: ServerVault, backup: Backup, error: BaseException) -> None:
    reason = error.message if isinstance(error, PgvaultError) else str(error) or type(error).__name__
    with suppress(PgvaultError):  # the disk is full: the next run marks it
        catalog.fail(server, backup, reason)


def _corrupt(backup: Backup) -> str:
    return ", ".join(backup.corrupt_pages[:10])


def _verdict(backup: Backup, missing: Sequence[Segment]) -> BackupVerdict:
    if backup.corrupt_pages and not missing:
        raise CorruptPages(
            f"backup {backup.id} contains pages that fail their checksum on the server",
            detail=f"Files: {_corrupt(backup)}.",
            hint="Keep the older backups. Check the server's disks and memory, and run pg_amcheck.")
    if backup.status is not BackupStatus.DONE:
        raise WalMissing(
            f"backup {backup.id} waits for WAL up to {backup.end_lsn}",
            detail="Its files are complete, but it cannot be restored before its WAL is in the archive. "
                   f"Missing: {names(missing, backup.segment_size)}.",
            hint="It becomes DONE when the WAL arrives. To see why it has not arrived: "
                 f"pgvault check {backup.server}")
    return BackupVerdict(backup)
