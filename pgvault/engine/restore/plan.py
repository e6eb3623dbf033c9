"""Making a restore plan: everything that can be known before the first byte is written, and nothing written yet."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace

from pgvault.config.load import Config
from pgvault.config.schema import HostConfig, ServerConfig
from pgvault.engine.restore.choose import Choice, candidates, choose, needed, timelines, usable
from pgvault.engine.restore.contents import safe_settings, upstream_conninfo
from pgvault.engine.restore.facts import check_facts
from pgvault.engine.restore.fits import cluster_of, fit_conditions
from pgvault.engine.restore.follow import ask_primary, follow_condition, timeline_to_follow
from pgvault.engine.restore.held import look_at, told_held
from pgvault.engine.restore.listening import listens_on, socket_directories
from pgvault.engine.restore.place import aside_name
from pgvault.engine.restore.preconditions import destination_conditions, room
from pgvault.engine.restore.replay import creations_in, named_prepared, read_replay
from pgvault.engine.restore.salvage import only_there, planned_without, unreachable_without
from pgvault.engine.restore.spaces import placed, spaces_of
from pgvault.engine.restore.stop import reach_of
from pgvault.engine.restore.way import Ways, archive_of
from pgvault.engine.threads import run_cancellable
from pgvault.engine.wal_reading import telling
from pgvault.io.host import Host
from pgvault.io.probe import Destination, probe_destination
from pgvault.model.backup import Backup
from pgvault.model.check import Outcome
from pgvault.model.errors import PgvaultError, UsageError, WalMissing
from pgvault.model.event import Emit, discard
from pgvault.model.holding import NOTHING
from pgvault.model.relation import RelationName
from pgvault.model.replay import Replay
from pgvault.model.restore_plan import (
    DirectoryState,
    Precondition,
    RestorePlan,
    WalNeed,
)
from pgvault.model.target import EndOfWal, Target, TargetAction
from pgvault.model.timeline import History
from pgvault.model.window import MINIMAL
from pgvault.vault import catalog
from pgvault.vault.identity import read_identity
from pgvault.vault.layout import ServerVault, Vault
from pgvault.vault.manifest import Manifest
from pgvault.vault.packs import PackReader
from pgvault.vault.wal_facts import Told
from pgvault.vault.wal_search import Row, WalSearch


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """What a person asked for."""

    server: str
    backup: str = "auto"
    host: str = ""
    """A configured host; empty for this machine."""
    directory: str = ""
    """Empty: the host's data_directory."""
    target: Target = field(default_factory=EndOfWal)
    timeline: int | None = None
    action: TargetAction = TargetAction.PROMOTE
    standby: bool = False
    tablespaces: tuple[str, ...] = ()
    """NAME=PATH each."""
    overwrite: str = ""
    if_holds: str = ""
    """What the directory has to hold, in the word of pgvault.model.holding; empty: what it holds now."""
    workers: int | None = None
    bandwidth_limit: int | None = None
    start: bool = False
    partial: bool = False
    """Use the unfinished last segment of the timeline too."""
    allow_unread: bool = False
    """Replay WAL of which nobody knows whether it creates a tablespace."""
    expects: tuple[RelationName, ...] = ()
    """What the started server is asked for."""
    port: int | None = None
    """That the restored server is to listen on; None for the host's, or else the one in its configuration."""


async def make_plan(request: RestoreRequest, config: Config, host: Host, *, emit: Emit = discard) -> RestorePlan:
    """The plan, also when some of its preconditions do not hold; PgvaultError when there can be none."""
    settings = config.server(request.server)
    host_config = config.host(request.host) if request.host else None
    directory = _directory(request, host_config)
    _check_action(request)
    vault = Vault.open(config.vault.home)
    server = vault.server(request.server)
    primary = await _primary(server, settings) if request.standby else None
    # In a thread, so that whoever made a request can take it back while days of WAL are read.
    try:
        choice, need, replay, of_wal = await run_cancellable(
            lambda cancelled: _from_vault(server, request, primary, telling(emit, cancelled)))
    except WalMissing as error:
        raise await _told_of_old_wal(error, request, host, directory, server) from None
    with ExitStack() as scope:
        manifest = scope.enter_context(Manifest(server, choice.backup, check=True))
        packs = scope.enter_context(PackReader(server.packs))
        check_facts(choice.backup, manifest, packs)
        plan = _plan(request, choice, need, replay, directory, manifest, settings.parallel_jobs)
        plan = replace(plan, limits=replay.limits, prepared=named_prepared(server, choice, replay.pending),
                       allow_unread=request.allow_unread and bool(replay.unread))
        safe = safe_settings(plan, choice.backup, manifest, packs, host_config,
                             upstream_conninfo(settings.streaming_conninfo), "of this plan")
        cluster = cluster_of(manifest, packs, safe.values, directory)
        sent = manifest.stored_bytes()
    plan = replace(plan, listens=listens_on(safe.values))
    destination = await probe_for(plan, host, host_config, measure=True)
    state = look_at(destination, vault, plan.server)
    plan = replace(plan, settings_changed=safe.changed, settings_to_look_at=safe.to_look_at,
                   bytes_to_send=sent + need.bytes if destination.zstd else plan.bytes_to_write,
                   directory_state=state, room=room(destination, plan, choice.backup.segment_size),
                   if_holds=request.if_holds or state.holds)
    fits = await fit_conditions(host, destination, cluster, choice.backup.major,
                                is_certain=plan.start and not (host_config and host_config.start_command))
    if request.overwrite and isinstance(request.target, EndOfWal) and (
            names := await only_there(host, directory, server)):
        of_wal = *of_wal, planned_without(names, request.server, directory)
    if state.holds not in ("", NOTHING):
        plan = _overwriting(plan, request, state, choice.backup, destination.directory.real_path)
    return replace(plan, preconditions=(_whole(choice.backup), *of_wal,
                                        *_passed_over(server, choice.backup),
                                        *destination_conditions(destination, state, plan, choice.backup, host_config),
                                        *fits))


async def _told_of_old_wal(error: WalMissing, request: RestoreRequest, host: Host, directory: str,
                           server: ServerVault) -> WalMissing:
    """Why there is no plan, also where the directory that is to be replaced may hold what is missing."""
    names: tuple[str, ...] = ()
    if request.overwrite:
        with suppress(PgvaultError):  # what is missing is the news
            names = await only_there(host, directory, server)
    return unreachable_without(error, names, request.server, directory) if names else error


async def probe_for(plan: RestorePlan, host: Host, config: HostConfig | None, *, measure: bool = False) -> Destination:
    """The destination as it is now, in all that its conditions are about."""
    return await probe_destination(
        host, plan.directory, [s.location for s in plan.placed], (config and config.bin_directory) or "",
        port=plan.listens.port if plan.start and plan.listens else None,
        sockets=socket_directories(plan.listens) if plan.listens else (), measure=measure)


def _directory(request: RestoreRequest, host: HostConfig | None) -> str:
    directory = request.directory or (host.data_directory if host else None) or ""
    if not directory:
        raise UsageError("no directory to restore to", hint="Name it: pgvault restore SERVER BACKUP DIRECTORY")
    if not directory.startswith("/"):
        raise UsageError(f"not an absolute path: {directory}", hint="Write the whole path, from the root.")
    return directory.rstrip("/") or "/"


def _check_action(request: RestoreRequest) -> None:
    """PostgreSQL does something else than go on only where it was given a target to stop at."""
    if request.expects and (not request.start or request.action is TargetAction.SHUTDOWN):
        raise UsageError("only a server that was started and still runs can be asked for what is expected",
                         hint="--expect goes with --start, and not with --target-action shutdown.")
    if request.standby and not isinstance(request.target, EndOfWal):
        raise UsageError("a standby follows the original server to no end, so it takes no target")
    if request.standby and request.partial:
        raise UsageError("a standby gets the newest WAL from the original server, not from an unfinished segment")
    if isinstance(request.target, EndOfWal) and request.action is not TargetAction.PROMOTE:
        raise UsageError(f"the server can only {request.action.value} at a target, and the end of the WAL is none",
                         hint="Name the place as --target-time or --target-lsn; pgvault wal SERVER tells the last.")


async def _primary(server: ServerVault, settings: ServerConfig) -> History | PgvaultError:
    """The timeline of the server that a standby is to follow, or why it is not known."""
    identity = read_identity(server)
    try:
        return await asyncio.to_thread(ask_primary, settings, identity.system_identifier if identity else "")
    except PgvaultError as error:
        return error


def _from_vault(server: ServerVault, request: RestoreRequest, primary: History | PgvaultError | None,
                told: Told) -> tuple[Choice, WalNeed, Replay, tuple[Precondition, ...]]:
    """The backup, the timeline and the WAL, from what the vault knows, and what there is to say of that WAL.

    The original server is not asked, but for the timeline of the `primary` that a standby is to follow.
    """
    with archive_of(server, told) as archive:
        search = archive.search(partial=request.partial)
        backups, timeline = candidates(server, catalog.read_all(server), request.backup), request.timeline
        if timeline is None and isinstance(primary, History):
            timeline = timeline_to_follow(primary, timelines(Ways(search), usable(backups)))
        choice = choose(search, backups, request.target, timeline)
        rows = needed(choice.way, choice.backup, choice.stop).rows
        need = WalNeed(rows[0].segment.name(search.size), rows[-1].segment.name(search.size),
                       tuple(row.name for row in rows if not row.unfinished), _histories(search, request, choice),
                       sum(row.stored for row in rows), (), next((row.name for row in rows if row.unfinished), None),
                       creations_in(choice.way, rows))
        replay, flaws = read_replay(server, choice)
        conditions = [*flaws, *_wal_conditions(search, request, choice, rows),
                      *_break_conditions(request, choice, rows[-1])]
        return choice, need, replay, (*conditions, *([follow_condition(choice, primary)] if primary else []))


def _break_conditions(request: RestoreRequest, choice: Choice, last: Row) -> Iterator[Precondition]:
    """What a restore to the end has to say where the archive goes on behind a place that no recovery passes."""
    if not isinstance(request.target, EndOfWal) or not (why := choice.way.break_behind(last)):
        return
    if request.standby and last.ends_by == MINIMAL:
        raise WalMissing(f"no standby can be made of backup {choice.backup.id}", detail=f"{why}.",
                         hint=f"Take a newer backup, and make it of that: pgvault backup {request.server}")
    yield Precondition("end of the WAL", Outcome.WARNING, f"It is {last.reach}, though the archive goes on: {why}.",
                       "What was done behind it can be restored from a newer backup only.")


def _histories(search: WalSearch, request: RestoreRequest, choice: Choice) -> tuple[str, ...]:
    """All, so that the new timeline gets a number of its own; a standby, which takes the newest that it finds for its
    primary's, gets none that is newer than the one it follows."""
    newest = choice.history.timeline
    return tuple(name for name in search.histories() if not request.standby or int(name[:8], 16) <= newest)


def _plan(request: RestoreRequest, choice: Choice, need: WalNeed, replay: Replay, directory: str,
          manifest: Manifest, workers: int) -> RestorePlan:
    backup, sizes = choice.backup, manifest.tablespace_sizes()
    path = [leg.timeline for leg in choice.history.legs if leg.end is None or leg.end >= (backup.begin_lsn or 0)]
    return RestorePlan(
        server=request.server, backup=backup.id, host=request.host, directory=directory, target=request.target,
        timeline=choice.history.timeline, timeline_path=tuple(path),
        stop_lsn=choice.stop.lsn, stop_time=choice.stop.time, action=request.action, standby=request.standby,
        tablespaces=placed(spaces_of(backup, replay, sizes), request.tablespaces, backup), wal=need,
        bytes_to_send=0, bytes_to_write=backup.size_bytes + need.count * backup.segment_size,
        workers=request.workers or workers, bandwidth_limit=request.bandwidth_limit, start=request.start,
        overwrites="", sets_aside=False, settings_changed=(), settings_to_look_at=(), preconditions=(),
        stop_replayed=choice.stop.replayed, expects=tuple(dict.fromkeys(request.expects)), source=backup,
        port=request.port)


def _overwriting(plan: RestorePlan, request: RestoreRequest, state: DirectoryState, backup: Backup,
                 real_path: str) -> RestorePlan:
    if state.incomplete_restore is not None:
        return replace(plan, overwrites=told_held(state, plan, backup))
    if not request.overwrite:
        return plan
    if request.overwrite.rstrip("/") != plan.directory:
        raise UsageError(f"--overwrite names {request.overwrite}, the restore goes to {plan.directory}",
                         hint="Name the very directory that is to be replaced.")
    unmeasured = ", of unknown size" if state.size_bytes is None else ""
    return replace(plan, overwrites=told_held(state, plan, backup, f"in {plan.directory}") + unmeasured,
                   sets_aside=True, kept_as=aside_name(real_path, "JOB"))


def _whole(backup: Backup) -> Precondition:
    if backup.corrupt_pages:
        return Precondition("backup", Outcome.WARNING,
                            f"The server reported corrupt pages in {', '.join(backup.corrupt_pages[:5])}.",
                            "Prefer an older backup, with the same target: it replays the changes since.")
    return Precondition("backup", Outcome.OK, f"{backup.id} is whole, by its manifest")


def _wal_conditions(search: WalSearch, request: RestoreRequest, choice: Choice,
                    rows: Sequence[Row]) -> Iterator[Precondition]:
    if unread := next((row for row in rows if row.problem), None):
        yield _unread(unread, request)
    if isinstance(request.target, EndOfWal) and (row := _left_out(search, request, choice, rows[-1])):
        yield Precondition("unused WAL", Outcome.WARNING, f"With --partial {reach_of(row)}.",
                           "Use it when the server is lost; while it runs, pgvault switch-wal brings its newest WAL.")


def _unread(row: Row, request: RestoreRequest) -> Precondition:
    """A plan does not show what it does not know, so a person has to allow it."""
    return Precondition(
        "unread WAL", Outcome.WARNING if request.allow_unread else Outcome.FAILED,
        f"{row.name} was not read: {row.problem}. Whether it creates a tablespace is not known; replay would do that "
        "at the original path, whatever is there by now.",
        f"Look: pgvault wal {request.server}. Where nothing that is in use is at the original paths of tablespaces, it "
        "can be replayed unread: --allow-unread-wal")


def _left_out(search: WalSearch, request: RestoreRequest, choice: Choice, last: Row) -> Row | None:
    """The unfinished segment that would bring the most commits more; a standby gets them from the original server."""
    if request.standby:
        return None
    paths = (choice.history,) if request.timeline is not None else \
        search.tree.descendants(choice.history.timeline, last.end)
    found = [row for path in paths if (row := search.left_out(path, last))]
    return max((row for row in found if row.latest is not None or row.problem), key=lambda row: row.end, default=None)


def _passed_over(server: ServerVault, chosen: Backup) -> Iterator[Precondition]:
    """Newer backups that might have been chosen, had their facts been readable."""
    for each in catalog.read_all(server, save=False).unreadable:
        if each.id > chosen.id:
            yield Precondition(f"unreadable backup {each.id}", Outcome.WARNING, f"It was passed over: {each.reason}.",
                               each.fix)
