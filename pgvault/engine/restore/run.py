"""Running a restore plan: exactly what it says, or nothing.

The destination is looked at again first; when the world has moved it stops there and says what changed. Then: mark,
WAL and files in parallel streams, configuration made safe, `global/pg_control` last, everything flushed, the mark
removed, the server started and asked whether it arrived.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from hashlib import sha256

from pgvault.config.load import Config
from pgvault.config.schema import HostConfig
from pgvault.engine.progress import Progress
from pgvault.engine.restore.contents import RestoredCluster, upstream_conninfo
from pgvault.engine.restore.place import finish, prepare, undo
from pgvault.engine.restore.preconditions import destination_conditions
from pgvault.engine.restore.prove import Proof, prove, start_server
from pgvault.engine.restore.send import RateLimit, Sender
from pgvault.engine.restore.stream import own_runs
from pgvault.io.host import Host
from pgvault.io.hosts import open_host
from pgvault.io.probe import Destination, probe_destination
from pgvault.model.backup import Backup
from pgvault.model.check import Outcome
from pgvault.model.errors import Refused
from pgvault.model.event import Emit, Noted, PhaseStarted
from pgvault.model.lsn import Lsn
from pgvault.model.restore_plan import RestorePlan
from pgvault.vault import catalog
from pgvault.vault.layout import ServerVault, Vault
from pgvault.vault.lock import Concern, locked
from pgvault.vault.manifest import Manifest


@dataclass(frozen=True, slots=True)
class RestoreVerdict:
    plan: RestorePlan
    proof: Proof | None
    """None when the server was not to be started."""

    def __str__(self) -> str:
        where = f"{self.plan.host or 'this machine'}:{self.plan.directory}"
        if self.proof is None:
            return f"restored to {where}, ready to be started"
        return f"restored to {where}; {self.proof}"


async def connect_host(name: str, config: HostConfig | None, emit: Emit) -> Host:
    return await open_host(name or "this machine", config.ssh if config else None,
                           identity_file=config.identity_file if config else None,
                           known_hosts=config.known_hosts if config else None, on_command=emit)


async def run_restore(plan: RestorePlan, config: Config, *, job: str, emit: Emit) -> RestoreVerdict:
    """Carry the plan out; raises what stopped it, saying in which state the destination is."""
    server = Vault.open(config.vault.home).server(plan.server)
    upstream = upstream_conninfo(config.server(plan.server).streaming_conninfo)
    backup = catalog.read(server, plan.backup)
    host_config = config.host(plan.host) if plan.host else None
    async with AsyncExitStack() as scope:
        about = sha256(f"{plan.host}\0{plan.directory}".encode()).hexdigest()[:16]
        scope.enter_context(locked(server.locks, Concern.RESTORE, job=job, about=about))
        scope.enter_context(locked(server.locks, Concern.PACKS, shared=True, wait=True))
        manifest = scope.enter_context(await asyncio.to_thread(Manifest, server, backup, check=True))
        host = await scope.enter_async_context(await connect_host(plan.host, host_config, emit))
        destination = await _look_again(host, plan, backup, host_config)
        await _write(host, destination, plan, server, backup, manifest, host_config, upstream, job, emit)
        if not plan.start:
            return RestoreVerdict(plan, None)
        emit(PhaseStarted("start"))
        await start_server(host, host_config, plan, backup.major)
        begin = backup.begin_lsn or Lsn(0)
        emit(PhaseStarted("recover", plan.stop_lsn - begin if plan.stop_lsn else None))
        proof = await prove(host, host_config, config.server(plan.server), plan, begin, emit)
    for line in proof.log:
        emit(Noted(f"{plan.host or 'this machine'} says: {line}"))
    return RestoreVerdict(plan, proof)


async def _look_again(host: Host, plan: RestorePlan, backup: Backup, config: HostConfig | None) -> Destination:
    destination = await probe_destination(host, plan.directory, [s.location for s in plan.tablespaces],
                                          (config and config.bin_directory) or "")
    failed = [c for c in destination_conditions(destination, plan, backup) if c.outcome is Outcome.FAILED]
    if failed:
        raise Refused(f"the destination on {host.description} is not as the plan needs it: {failed[0].name}",
                      detail=failed[0].detail, hint=failed[0].fix)
    return destination


async def _write(host: Host, destination: Destination, plan: RestorePlan, server: ServerVault, backup: Backup,
                 manifest: Manifest, config: HostConfig | None, upstream: str, job: str, emit: Emit) -> None:
    emit(PhaseStarted("copy", plan.bytes_to_write))
    await prepare(host, plan, job)
    progress = Progress(emit)
    try:
        with Manifest(server, backup) as listing:
            cluster = RestoredCluster(plan, server, backup, listing, config, upstream, job)
            sender = Sender(host, plan.directory, server, own_runs(manifest), packed=destination.zstd is not None,
                            limit=RateLimit(plan.bandwidth_limit), wrote=progress.add)
            await sender.send(cluster.directories())
            await sender.send(cluster.files(), plan.workers)
            await sender.send(cluster.last())
        progress.report()
        emit(PhaseStarted("flush"))
        await finish(host, plan)
    except asyncio.CancelledError:
        await undo(host, plan, job)
        raise
    except Exception as error:
        emit(Noted(f"{plan.directory} on {host.description} is incomplete and marked so; PostgreSQL cannot start on "
                   "it, and the same restore run again clears it"))
        raise error
