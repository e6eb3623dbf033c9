"""Executes a restore plan exactly, or not at all.

The destination is examined again first; if it has changed, the restore stops and reports what changed. Then: mark, WAL
and files in parallel streams, configuration made safe, everything flushed, `global/pg_control` in its place and the
mark removed, the server started and queried whether it arrived.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from pgvault.config.load import Config
from pgvault.config.schema import HostConfig
from pgvault.engine.cancellation import to_its_end
from pgvault.engine.progress import Progress
from pgvault.engine.restore.arrival import PROMOTED
from pgvault.engine.restore.contents import RestoredCluster, upstream_conninfo
from pgvault.engine.restore.directory_state import read_directory_state
from pgvault.engine.restore.facts import check_facts
from pgvault.engine.restore.place import Site
from pgvault.engine.restore.plan import probe_for
from pgvault.engine.restore.preconditions import destination_conditions
from pgvault.engine.restore.salvage import not_planned, salvage
from pgvault.engine.restore.send import RateLimit, Sender
from pgvault.engine.restore.start import start_server
from pgvault.engine.restore.stream import own_runs
from pgvault.engine.restore.timelines import follow_promotion, reserve_timeline
from pgvault.io.host import Host
from pgvault.io.hosts import connect_host
from pgvault.io.probe import Destination
from pgvault.io.probe_script import MARKER
from pgvault.model.backup import Backup
from pgvault.model.check import Outcome
from pgvault.model.errors import Cancelled, NotRight, PgvaultError, Refused, Unreachable
from pgvault.model.event import Emit, Level, Noted, PhaseStarted
from pgvault.model.lsn import Lsn
from pgvault.model.restore_plan import RestorePlan
from pgvault.model.target import EndOfWal
from pgvault.store.leases import Concern
from pgvault.vault import catalog
from pgvault.vault.layout import ServerVault, Vault
from pgvault.vault.manifest import Manifest
from pgvault.vault.packs import PackReader
from pgvault.vault.recoveries import Recovery
from pgvault.vault.wal_archive import level_for

if TYPE_CHECKING:
    from pgvault.engine.restore.proof import Proof

_FLUSH_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class RestoreVerdict:
    plan: RestorePlan
    proof: Proof | None
    """The proof; None if the server was not to be started."""

    def __str__(self) -> str:
        where = self.plan.destination.place
        if self.proof is None:
            return f"restored to {where}, ready to be started"
        return f"restored to {where}; {self.proof}"


async def run_restore(plan: RestorePlan, config: Config, *, job: str, emit: Emit,
                      host: Host | None = None) -> RestoreVerdict:
    """Carry out the plan. On failure, raise the cause with the state of the destination.

    `host` is the connection over which the plan was made, to be used again; the caller closes it.
    """
    vault = Vault.open(config.vault.home)
    server = vault.server(plan.server)
    backup = catalog.read(server, plan.source.backup.id)
    name = plan.destination.host
    host_config = config.host(name) if name else None
    async with AsyncExitStack() as scope:
        scope.enter_context(vault.leases.hold(Concern.RESTORE, job=job, about=_about(plan, host_config)))
        scope.enter_context(server.leases.hold(Concern.PACKS, shared=True, wait=True))
        manifest = scope.enter_context(await asyncio.to_thread(Manifest, server, backup, check=True))
        with PackReader(server) as packs:
            check_facts(backup, manifest, packs)
        look = _Look(plan, vault, host_config)
        host, destination = await _arrive(scope, host, look, emit)
        act = _Restore(plan, config, server, backup, manifest, host, host_config, destination, look, job, emit)
        recovery = await act.write()
        return RestoreVerdict(plan, await act.start(recovery) if plan.destination.start else None)


def _about(plan: RestorePlan, config: HostConfig | None) -> str:
    """Identify one destination, whatever the names under which the host is configured."""
    where = f"{config.ssh.host}:{config.ssh.port}" if config is not None and config.ssh else ""
    return sha256(f"{where}\0{plan.destination.directory}".encode("utf-8", "surrogateescape")).hexdigest()[:16]


async def _arrive(scope: AsyncExitStack, host: Host | None, look: _Look, emit: Emit) -> tuple[Host, Destination]:
    """Return the host and its present state. A connection that was lost while a person read the plan is made again."""
    if host is not None:
        host.on_command = emit
        with suppress(Unreachable):
            return host, await look.again(host)
    host = await scope.enter_async_context(await connect_host(look.plan.destination.host, look.host_config, emit))
    return host, await look.again(host)


@dataclass(frozen=True, slots=True)
class _Look:
    """Checks whether the destination agrees with the plan, right before what cannot be undone."""

    plan: RestorePlan
    vault: Vault
    host_config: HostConfig | None

    async def again(self, host: Host) -> Destination:
        plan = self.plan
        destination = await probe_for(plan.destination, plan.configuration, host, self.host_config)
        state = read_directory_state(destination, self.vault, plan.server)
        conditions = destination_conditions(destination, state, plan, self.host_config)
        failed = [each for each in conditions if each.outcome is Outcome.FAILED]
        if failed:
            raise Refused(f"the destination on {host.description} is not as the plan needs it: {failed[0].name}",
                          detail=failed[0].detail, hint=failed[0].fix)
        return destination


@dataclass(frozen=True, slots=True)
class _Restore:
    """The state of one restore, and its two halves: writing the files, starting the server."""

    plan: RestorePlan
    config: Config
    server: ServerVault
    backup: Backup
    manifest: Manifest
    host: Host
    host_config: HostConfig | None
    destination: Destination
    look: _Look
    job: str
    emit: Emit

    async def write(self) -> Recovery:
        """Write everything, durably when this returns. If it is cancelled before, the destination becomes what it was.
        """
        plan, settings = self.plan, self.config.server(self.plan.server)
        site = Site(self.host, self.destination.directory.real_path,
                    tuple((space.oid, space.location) for space in plan.destination.placed), self.job,
                    plan.replaced.sets_aside,
                    self.destination.incomplete_restore or "")
        if site.aside:
            self.emit(PhaseStarted("salvage"))
            stored = await salvage(self.host, site.directory, self.server, emit=self.emit,
                                   level=level_for(settings.compression_level))
            if isinstance(plan.point.target, EndOfWal) and (note := not_planned(stored, plan.point.timeline)):
                self.emit(note)
            await self.look.again(self.host)  # much WAL takes minutes
        recovery = await asyncio.to_thread(reserve_timeline, self.server, plan, self.job, self.emit)
        self.emit(PhaseStarted("copy", plan.cost.bytes_to_write))
        async with self._undone_when_cancelled(site):
            await self._prepare(site)
            async with self._incomplete_when_failed(site):
                async with _flushing_meanwhile(site):
                    await self._send(site.directory, recovery)
                self.emit(PhaseStarted("flush"))
                await site.flush()
        try:
            await self._publish(site)
        except asyncio.CancelledError:
            raise self._too_late("its server was not started") from None
        if site.aside:
            self.emit(Noted(f"what was there is kept as {site.aside}; remove it when it is of no more use",
                            code="kept"))
        return recovery

    async def _send(self, directory: str, recovery: Recovery) -> None:
        upstream = upstream_conninfo(self.config.server(self.plan.server).streaming_conninfo)
        progress = Progress(self.emit)
        with Manifest(self.server, self.backup) as listing:
            cluster = RestoredCluster(self.plan, self.server, listing, self.host_config, upstream, self.job, recovery)
            sender = Sender(self.host, directory, self.server, own_runs(self.manifest),
                            packed=self.destination.zstd is not None, limit=RateLimit(self.plan.cost.bandwidth_limit),
                            wrote=progress.add)
            await sender.send(cluster.directories())
            await sender.send(cluster.files(), self.plan.cost.workers)
            await sender.send(cluster.last())
        progress.report()

    async def _prepare(self, site: Site) -> None:
        """Prepare the directories. A failure undoes itself, unless the host can no longer be reached."""
        try:
            await site.prepare()
        except Unreachable:
            kept = f", with what was there as {site.aside}" if site.aside else ""
            self._note(f"{site.directory} on {self.host.description} is as it was, or incomplete and marked so{kept}: "
                       "the connection was lost while it was made ready")
            raise

    async def _publish(self, site: Site) -> None:
        try:
            await to_its_end(site.publish())
        except PgvaultError:
            self._note(f"{site.directory} on {self.host.description} was being completed: it is complete unless "
                       f"{MARKER} is in it, and incomplete and marked so otherwise")
            raise

    @asynccontextmanager
    async def _undone_when_cancelled(self, site: Site) -> AsyncIterator[None]:
        try:
            yield
        except asyncio.CancelledError:
            try:
                await site.undo()
            except PgvaultError:
                kept = f"; what was there may be in {site.aside}" if site.aside else ""
                self._note(f"{site.directory} on {self.host.description} may still hold what was begun{kept}")
                raise
            self.emit(Noted(f"what was begun is undone: {site.directory} on {self.host.description} is as it was "
                            "before", code="undone"))
            raise

    @asynccontextmanager
    async def _incomplete_when_failed(self, site: Site) -> AsyncIterator[None]:
        """Keep the mark on what failed, for a second run to clear."""
        try:
            yield
        except Exception:
            kept = f"; what was there is kept as {site.aside}" if site.aside else ""
            self._note(f"{site.directory} on {self.host.description} is incomplete and marked so: PostgreSQL cannot "
                       f"start on it, and the same restore, planned again, clears it{kept}")
            raise

    def _note(self, text: str) -> None:
        """Report the state of the destination."""
        self.emit(Noted(text, Level.WARNING, "incomplete"))

    async def start(self, recovery: Recovery) -> Proof:
        """Start the server; return its report when it has arrived."""
        from pgvault.engine.restore.prove import prove  # it imports psycopg, which must not delay the job's begin

        plan, begin = self.plan, self.backup.begin_lsn or Lsn(0)
        self.emit(PhaseStarted("start"))
        try:
            started = await start_server(self.host, self.host_config, self._directory, self.backup.major)
            self.emit(PhaseStarted("recover", plan.point.stop_lsn - begin if plan.point.stop_lsn else None))
            proof = await prove(self.host, self.host_config, self.config.server(plan.server), plan, begin, self.emit,
                                started=started)
        except asyncio.CancelledError:
            raise self._too_late("its server continues") from None
        for line in proof.log:
            self.emit(Noted(f"{plan.destination.host or 'this machine'} says: {line}"))
        if proof.state == PROMOTED:
            await follow_promotion(self.host, self.destination.directory.real_path, self.server, recovery,
                                   proof.timeline, self.emit)
        if proof.lacking:
            raise self._lacks(proof)
        return proof

    @property
    def _directory(self) -> str:
        return self.plan.destination.directory

    def _lacks(self, proof: Proof) -> NotRight:
        return NotRight(f"the restored server runs, but {'; '.join(map(str, proof.lacking))}",
                        detail=f"Nothing was undone; in {self._directory} on {self.host.description} {proof}.",
                        hint=proof.next_step(self.plan.server, self.job))

    def _too_late(self, server: str) -> Cancelled:
        return Cancelled("restore cancelled after its files were complete",
                         detail=f"{self._directory} on {self.host.description} can be started; {server}.",
                         hint="Use it, or stop its server and remove the directory.")


@asynccontextmanager
async def _flushing_meanwhile(site: Site) -> AsyncIterator[None]:
    """Let the destination's disk write while the network and the processors work, instead of after them.

    The kernel reports a write error to one flush only, so none that began is interrupted, and none may fail.
    """
    sent = asyncio.Event()

    async def flush_again_and_again() -> None:
        while not sent.is_set():
            try:
                await asyncio.wait_for(sent.wait(), _FLUSH_SECONDS)
            except TimeoutError:
                await site.flush()

    async with asyncio.TaskGroup() as group:
        group.create_task(flush_again_and_again())
        yield
        sent.set()
