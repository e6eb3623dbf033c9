"""Makes a restore plan: everything that can be known before the first byte is written, without writing anything."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

from pgvault.config.load import Config
from pgvault.config.schema import HostConfig, ServerConfig
from pgvault.engine.cancellation import run_cancellable
from pgvault.engine.progress import reading_progress
from pgvault.engine.restore.choose import Choice, candidates, choose, needed, timelines, usable
from pgvault.engine.restore.contents import safe_settings, upstream_conninfo
from pgvault.engine.restore.directory_state import read_directory_state
from pgvault.engine.restore.facts import check_facts
from pgvault.engine.restore.fits import Cluster, cluster_of, fit_conditions
from pgvault.engine.restore.follow import ask_primary, follow_condition, timeline_to_follow
from pgvault.engine.restore.listening import listens_on, socket_directories
from pgvault.engine.restore.plan_conditions import (
    break_conditions,
    histories_for,
    passed_over,
    replaced_by,
    wal_conditions,
    whole,
)
from pgvault.engine.restore.preconditions import destination_conditions, room
from pgvault.engine.restore.prepared import named_prepared, read_replay
from pgvault.engine.restore.recovery_path import RecoveryPaths, archive_of
from pgvault.engine.restore.replay import creations_in
from pgvault.engine.restore.salvage import only_there, planned_without, unreachable_without
from pgvault.engine.restore.settings import SafeSettings
from pgvault.engine.restore.spaces import placed, spaces_of
from pgvault.io.host import Host
from pgvault.io.probe import Destination, probe_destination
from pgvault.model.errors import PgvaultError, UsageError, WalMissing
from pgvault.model.event import Emit, discard
from pgvault.model.replay import Replay
from pgvault.model.restore_plan import (
    Configuration,
    Cost,
    Point,
    Precondition,
    RestoreDestination,
    RestorePlan,
    Source,
    WalNeed,
)
from pgvault.model.restore_request import RestoreRequest
from pgvault.model.target import EndOfWal
from pgvault.model.timeline import History
from pgvault.vault import catalog
from pgvault.vault.identity import read_identity
from pgvault.vault.layout import ServerVault, Vault
from pgvault.vault.manifest import Manifest
from pgvault.vault.packs import PackReader
from pgvault.vault.wal_facts import OnProgress


class _Found(NamedTuple):
    """What the vault knows about a request."""

    choice: Choice
    need: WalNeed
    replay: Replay
    conditions: tuple[Precondition, ...]
    """The conditions of the WAL."""


class _Contents(NamedTuple):
    """What the backup's own files determine."""

    source: Source
    destination: RestoreDestination
    safe: SafeSettings
    cluster: Cluster
    stored_bytes: int


async def make_plan(request: RestoreRequest, config: Config, host: Host, *, emit: Emit = discard) -> RestorePlan:
    """Return the plan, even if some of its preconditions do not hold. Raises PgvaultError if there can be none."""
    settings = config.server(request.server)
    host_config = config.host(request.host) if request.host else None
    directory = directory_of(request, host_config)
    request.check()
    vault = Vault.open(config.vault.home)
    server = vault.server(request.server)
    primary = await _primary(server, settings) if request.standby else None
    # In a thread, so that the request can be cancelled while days of WAL are read.
    try:
        found = await run_cancellable(
            lambda cancelled: _from_vault(server, request, primary, reading_progress(emit, cancelled)))
    except WalMissing as error:
        raise await _naming_old_wal(error, request, host, directory, server) from None
    backup, point = found.choice.backup, _point(request, found.choice)
    source, destination, safe, cluster, stored = _contents(request, found, point, directory, server, settings,
                                                           host_config)
    configuration = Configuration(safe.changed, safe.to_look_at, listens_on(safe.values))
    probed = await probe_for(destination, configuration, host, host_config, measure=True)
    state = read_directory_state(probed, vault, request.server)
    cost = Cost(stored + source.wal.bytes if probed.zstd else source.bytes, source.bytes,
                request.workers or settings.parallel_jobs, request.bandwidth_limit,
                room(probed, destination, source.bytes, backup.segment_size))
    by_command = bool(host_config and host_config.start_command_for(directory))
    fits = await fit_conditions(host, probed, cluster, backup.major, is_certain=request.start and not by_command)
    old_wal = await only_there(host, directory, server) if request.overwrite and isinstance(request.target, EndOfWal) \
        else ()
    plan = RestorePlan(request.server, source, point, destination, configuration,
                       replaced_by(request, directory, state, backup, probed.directory.real_path), cost)
    return replace(plan, preconditions=(
        whole(backup), *found.conditions,
        *([planned_without(old_wal, request.server, directory)] if old_wal else []), *passed_over(server, backup),
        *destination_conditions(probed, state, plan, host_config), *fits))


def _contents(request: RestoreRequest, found: _Found, point: Point, directory: str, server: ServerVault,
              settings: ServerConfig, host: HostConfig | None) -> _Contents:
    choice, replay = found.choice, found.replay
    backup = choice.backup
    with Manifest(server, backup, check=True) as manifest, PackReader(server) as packs:
        check_facts(backup, manifest, packs)
        source = Source(backup, found.need, replay.limits, named_prepared(server, choice, replay.pending),
                        request.allow_unread and bool(replay.unread))
        spaces = placed(spaces_of(backup, replay, manifest.tablespace_sizes()), request.tablespaces, backup)
        destination = RestoreDestination(request.host, directory, spaces, request.port, request.start,
                                         tuple(dict.fromkeys(request.expects)))
        safe = safe_settings(source, point, destination, manifest, packs, host,
                             upstream_conninfo(settings.streaming_conninfo), "of this plan")
        return _Contents(source, destination, safe, cluster_of(manifest, packs, safe.values, directory),
                         manifest.stored_bytes())


def directory_of(request: RestoreRequest, host: HostConfig | None) -> str:
    """Return the data directory to restore to. Raises UsageError if none is named."""
    directory = request.directory or (host.data_directory if host else None) or ""
    if not directory:
        raise UsageError("no directory to restore to", hint="Name it: pgvault restore SERVER BACKUP DIRECTORY")
    if not directory.startswith("/"):
        raise UsageError(f"not an absolute path: {directory}", hint="Write the whole path, from the root.")
    return directory.rstrip("/") or "/"


async def _naming_old_wal(error: WalMissing, request: RestoreRequest, host: Host, directory: str,
                          server: ServerVault) -> WalMissing:
    """Return why there is no plan, and mention that the directory to be replaced may contain what is missing."""
    names: tuple[str, ...] = ()
    if request.overwrite:
        with suppress(PgvaultError):  # the missing WAL is the error to report
            names = await only_there(host, directory, server)
    return unreachable_without(error, names, request.server, directory) if names else error


async def probe_for(destination: RestoreDestination, configuration: Configuration, host: Host,
                    config: HostConfig | None, *, measure: bool = False) -> Destination:
    """Return the destination's present state, as far as conditions depend on it."""
    listens = configuration.listens
    return await probe_destination(
        host, destination.directory, [s.location for s in destination.placed], (config and config.bin_directory) or "",
        port=listens.port if destination.start and listens else None,
        sockets=socket_directories(listens) if listens else (), measure=measure)


async def _primary(server: ServerVault, settings: ServerConfig) -> History | PgvaultError:
    """Return the timeline of the server that a standby is to follow, or why it is not known."""
    identity = read_identity(server)
    try:
        return await asyncio.to_thread(ask_primary, settings, identity.system_identifier if identity else "")
    except PgvaultError as error:
        return error


def _from_vault(server: ServerVault, request: RestoreRequest, primary: History | PgvaultError | None,
                on_progress: OnProgress) -> _Found:
    """Return the backup, the timeline and the WAL, as the vault has them, and the conditions of that WAL.

    The original server is not asked, except for the timeline of the `primary` that a standby is to follow.
    """
    with archive_of(server, on_progress) as archive:
        search = archive.search(partial=request.partial)
        backups, timeline = candidates(server, catalog.read_all(server), request.backup), request.timeline
        if timeline is None and isinstance(primary, History):
            timeline = timeline_to_follow(primary, timelines(RecoveryPaths(search), usable(backups)))
        choice = choose(search, backups, request.target, timeline)
        rows = needed(choice.path, choice.backup, choice.stop).rows
        need = WalNeed(rows[0].segment.name(search.size), rows[-1].segment.name(search.size),
                       tuple(row.name for row in rows if not row.unfinished), histories_for(search, request, choice),
                       sum(row.stored for row in rows), (), next((row.name for row in rows if row.unfinished), None),
                       creations_in(choice.path, rows))
        replay, flaws = read_replay(server, choice)
        conditions = [*flaws, *wal_conditions(search, request, choice, rows),
                      *break_conditions(request, choice, rows[-1])]
        return _Found(choice, need, replay,
                      (*conditions, *([follow_condition(choice, primary)] if primary else [])))


def _point(request: RestoreRequest, choice: Choice) -> Point:
    begin = choice.backup.begin_lsn or 0
    path = tuple(leg.timeline for leg in choice.history.legs if leg.end is None or leg.end >= begin)
    return Point(request.target, choice.history.timeline, path, choice.stop.lsn, choice.stop.time,
                 choice.stop.replayed, request.action, request.standby)
