"""Removes a restored server: stops it and removes its directories, but never one that is in service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from pgvault.config.load import Config
from pgvault.config.schema import HostConfig, ServerConfig
from pgvault.engine.restore.ask import NotAnswered, RestoredServer
from pgvault.engine.restore.observation import Observation, observe_server
from pgvault.engine.restored.running import reach_copy
from pgvault.io.host import Host
from pgvault.io.postgres import session
from pgvault.io.probe import Contents, Destination, probe_destination
from pgvault.io.probe_script import MARKER
from pgvault.io.quoting import join
from pgvault.model.check import Outcome
from pgvault.model.errors import Cancelled, NotFound, PgvaultError, Refused
from pgvault.model.event import Emit, Noted, PhaseStarted
from pgvault.model.restore_plan import Precondition, fails, holds, refusal
from pgvault.model.restored import RestoredCopy
from pgvault.model.throwing_away import ThrowAwayPlan
from pgvault.vault.identity import read_identity
from pgvault.vault.layout import Vault

_ASK_SECONDS: Final = 10.0
_STOP_SECONDS: Final = 300.0
_REMOVE_SECONDS: Final = 3600.0
_SAME_START: Final = 5.0
"""A server's own start time is slightly later than that in its postmaster.pid, which has whole seconds."""
_LIVE: Final = "SELECT extract(epoch FROM pg_postmaster_start_time())::float8"
_USE: Final = """SELECT current_setting('archive_mode') <> 'off' AS archives,
  extract(epoch FROM pg_postmaster_start_time())::float8 AS started,
  (SELECT count(*) FROM pg_stat_replication) AS standbys,
  (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name <> 'pgvault'
   AND pid <> pg_backend_pid()) AS sessions"""
_RUNS = 3
_LABELS: Final = ("backup_label", "backup_label.old")
"""Files that name the backup with which a recovery begins, and began."""
# pg_control is removed first: PostgreSQL cannot start on the rest if this is interrupted, and the mark of an incomplete
# restore says whose files they are. After pg_upgrade, a tablespace's directory may also contain files of another major
# version. Files that an incomplete restore has not marked are not its own.
_REMOVE: Final = f"""# remove the restored server
dir=$1 major=$2 job=$3 marked=$4 mark=$1/{MARKER}
shift 4
ours() {{ [ "$(head -n 1 "$1/{MARKER}" 2>/dev/null)" = "$job" ]; }}
[ ! -e "$dir/postmaster.pid" ] || exit {_RUNS}
{{ printf '%s\\nkept\\n%s\\n' "$job" "$dir" > "$mark"; }} 2>/dev/null || rm -f "$mark"  # a full disk is no hindrance
rm -f "$dir/global/pg_control" || exit 1
for space in "$@"; do
  [ -z "$marked" ] || ours "$space" || continue
  rm -rf "$space/PG_${{major}}_"* || exit 1
  ! ours "$space" || rm -f "$space/{MARKER}" || exit 1
  [ ! -d "$space" ] || rmdir "$space" 2>/dev/null || find "$space" -mindepth 1 -maxdepth 1 ! -name lost+found
done
find "$dir" -mindepth 1 -maxdepth 1 ! -name lost+found ! -name {MARKER} -exec rm -rf {{}} + || exit 1
rm -f "$mark" || exit 1
rmdir "$dir" 2>/dev/null || [ -z "$(find "$dir" -mindepth 1 -maxdepth 1 ! -name lost+found)" ] || exit 1
"""


@dataclass(frozen=True, slots=True)
class ThrownAway:
    plan: ThrowAwayPlan
    left: tuple[str, ...]
    """What its tablespaces' directories contain that is not its own."""

    def __str__(self) -> str:
        gone = " and ".join([self.plan.place, *self.plan.tablespaces])
        return f"thrown away: {gone}" + (f"; kept, not part of this copy: {', '.join(self.left)}" * bool(self.left))


async def plan_throw_away(copy: RestoredCopy, config: Config, emit: Emit) -> ThrowAwayPlan:
    """Plan the removal; NotFound if nothing is left."""
    host_config = config.host(copy.host) if copy.host else None
    async with reach_copy(copy, config, emit) as (host, programs, observation):
        there = await probe_destination(host, copy.directory, (), (host_config and host_config.bin_directory) or "",
                                        measure=True)
        if there.directory.contents in (Contents.MISSING, Contents.EMPTY):
            raise NotFound(f"{copy.called} no longer exists: {copy.place}", hint="There is nothing to remove.")
        looked = _Looked(copy, config, host_config, host, programs, observation, there)
        conditions = [each async for each in looked.conditions()]
    return ThrowAwayPlan(copy.server, copy.job, copy.host, there.directory.real_path, copy.tablespaces,
                         observation.alive, there.held_bytes, tuple(conditions))


@dataclass(frozen=True, slots=True)
class _Looked:
    copy: RestoredCopy
    config: Config
    host_config: HostConfig | None
    host: Host
    programs: str
    observation: Observation
    there: Destination

    async def conditions(self) -> AsyncIterator[Precondition]:
        yield await self._is_this_restores()
        use = await self._use()
        for server in self.config.servers.values():
            yield await self._is_not(server, use)
        yield await self._unused(use)

    async def _is_this_restores(self) -> Precondition:
        """Check that the files belong to this restore, and to nothing newer."""
        if self._is_incomplete:
            return holds("this restore's", f"an incomplete copy of {self.copy.server}, marked as this restore's")
        if not self.copy.is_whole:
            return fails("this restore's", f"Job {self.copy.job} did not complete, and its mark is "
                         "missing: the files may be older.", "Examine the files, and remove them by hand.")
        identity = read_identity(Vault(self.config.vault.home).server(self.copy.server))
        found = self.there.system_identifier
        if found is None or identity is None or found != identity.system_identifier:
            return fails("this restore's", f"It has {f'cluster {found}' if found else 'nothing that can be read'}, "
                         f"not a copy of {self.copy.server}.", "Examine the files, and remove them by hand.")
        labels = [f"{self.there.directory.real_path}/{each}" for each in _LABELS]
        if (await self.host.run(["grep", "-qsxF", f"LABEL: pgvault {self.copy.backup}", *labels])).status:
            return fails("this restore's", f"It is a copy of {self.copy.server}, but not of backup "
                         f"{self.copy.backup}: the directory now contains another copy.",
                         "Examine the files, and remove them by hand.")
        return holds("this restore's", f"a copy of {self.copy.server}")

    @property
    def _is_incomplete(self) -> bool:
        """Return whether its restore or its removal was interrupted: the mark names the restore that the files belong
        to.
        """
        return self.there.incomplete_restore == self.copy.job

    async def _use(self) -> dict[str, object]:
        """Return what it reports about its use; empty if it does not run or does not answer."""
        if not self.observation.alive:
            return {}
        server = RestoredServer(self.host, self.host_config, self.config.server(self.copy.server), self.copy,
                                self.programs)
        server.seen(self.observation)
        with suppress(NotAnswered):
            return (await server.ask(_USE))[0]
        return {}

    async def _is_not(self, server: ServerConfig, use: dict[str, object]) -> Precondition:
        """Check that it is not the server itself, by the target of its conninfo or by its configured directory."""
        name = f"not {server.name}"
        try:
            started = await asyncio.to_thread(_ask_live, server)
        except PgvaultError as error:
            if server.data_directory == self.copy.directory and self._is_host_of(server):
                return fails(name, f"It is the data directory of {server.name}.", "Remove it by hand if it must go.")
            if server.name == self.copy.server and self.copy.directory == self.copy.original:
                return fails(name, f"It was the data directory of {server.name}, and {server.name} cannot be "
                             f"reached: {error.message}", f"Start {server.name}, if it is another server; or remove "
                             "this one by hand.")
            return Precondition(name, Outcome.WARNING, f"{server.name} cannot be reached: {error.message}",
                                "Make sure that nothing uses this copy in its place.")
        if started == use.get("started"):
            return fails(name, f"The conninfo of {server.name} leads to this very server: it is the live one.",
                         "Choose another copy.")
        if self.observation.alive and not use and abs(started - (self.observation.started or 0)) <= _SAME_START:
            return fails(name, f"The conninfo of {server.name} leads to a server with the same start time, "
                         "and this one rejects logins, so that it may be the live one.",
                         "Stop it by hand if it is not, then run this again.")
        return holds(name, f"{server.name} runs elsewhere")

    def _is_host_of(self, server: ServerConfig) -> bool:
        here = self.host_config.ssh.host if self.host_config is not None and self.host_config.ssh else ""
        return here == (server.ssh.host if server.ssh else "")

    async def _unused(self, use: dict[str, object]) -> Precondition:
        if not self.observation.alive:
            return await self._at_rest()
        if not use:
            return Precondition("not in use", Outcome.WARNING, "not known, as it rejects logins",
                                "Make sure that it is not in use.")
        if use["archives"] or use["standbys"]:
            return fails("not in use", "It archives its WAL." if use["archives"] else "A standby follows it.",
                         "It is in service. If it is not, end that first.")
        if use["sessions"]:
            return Precondition("not in use", Outcome.WARNING, f"other sessions: {use['sessions']}",
                                "They will be terminated.")
        return holds("not in use", "no other sessions, no archiving")


    async def _at_rest(self) -> Precondition:
        """Check a stopped server, which may be in service again later."""
        if self._is_incomplete:
            return holds("not in use", "it cannot be started")
        setting = await self.host.run([f"{self.programs}/postgres", "-C", "archive_mode", "-D",
                                       self.there.directory.real_path])  # -C comes first, so that root may run it, too
        if setting.status:
            return Precondition("not in use", Outcome.WARNING, "It does not run, and its configuration cannot be read.",
                                "Make sure that it is not in use.")
        if setting.stdout.strip() != b"off":
            return fails("not in use", "It does not run, but is set up to archive its WAL.",
                         "It was in service. To remove it, set its archive_mode to off first.")
        return holds("not in use", "it does not run")


async def throw_away(plan: ThrowAwayPlan, copy: RestoredCopy, config: Config, emit: Emit) -> ThrownAway:
    """Remove the copy. Refused if a condition of the plan no longer holds. PgvaultError reports the progress: nothing
    is removed under a running server."""
    again = await plan_throw_away(copy, config, emit)
    if again.failed:
        raise refusal(plan.act, again.failed)
    if again.directory != plan.directory:
        raise Refused(f"{copy.directory} leads to {again.directory} now", detail=f"It led to {plan.directory} when the "
                      "plan was made. Nothing was removed.", hint=f"See the plan again: {join(again.to_argv())}")
    host_config = config.host(copy.host) if copy.host else None
    async with reach_copy(copy, config, emit) as (host, programs, observation):
        try:
            if observation.alive:
                emit(PhaseStarted("stop"))
                command = host_config.stop_command_for(copy.directory, plan.directory) if host_config else None
                await _stop(host, command, plan, programs)
            emit(PhaseStarted("remove"))
            done = await host.run_script(_REMOVE, plan.directory, str(copy.major), copy.job,
                                         "" if copy.is_whole else "marked", *plan.tablespaces,
                                         timeout=_REMOVE_SECONDS)
        except asyncio.CancelledError:
            raise Cancelled(f"throwing away {plan.place} was cancelled halfway",
                            detail="Its server may be stopped, and some of its files may be removed.",
                            hint=f"Run it again to remove the rest: {join(plan.to_argv())}") from None
        if done.status == _RUNS:
            raise Refused(f"{plan.place} has a postmaster.pid: a server runs there, or crashed",
                          detail="Nothing was removed.", hint="If no server runs there, remove that file, then retry.")
        if done.status:
            raise PgvaultError(f"could not remove all of {plan.place}", detail=done.stderr,
                               hint="Its server cannot start again; run this again, or remove the rest.")
    emit(Noted(f"removed: {', '.join(plan.places)}"))
    return ThrownAway(plan, tuple(done.stdout.decode("utf-8", "replace").splitlines()))


async def _stop(host: Host, command: str | None, plan: ThrowAwayPlan, programs: str) -> None:
    """Stop with the host's configured command if that is for this directory, so that its service knows; else stop this
    server alone."""
    argv = [f"{programs}/pg_ctl", "stop", "-D", plan.directory, "-m", "fast", "-w", "-t", f"{_STOP_SECONDS:.0f}"]
    line = command or join(argv)
    done = await host.run_shell(command, timeout=_STOP_SECONDS) if command else \
        await host.run(argv, timeout=_STOP_SECONDS + 10)
    if (await observe_server(host, plan.directory, programs)).alive:
        raise PgvaultError(f"could not stop the server in {plan.place}",
                           detail=f"{line} exited with status {done.status}: {done.stderr.strip()}. Nothing was "
                                  "removed.",
                           hint="Stop it by hand, then run this again.")


def _ask_live(server: ServerConfig) -> float:
    """Return its start time."""
    with session(server, seconds=_ASK_SECONDS) as sql:
        row = sql.execute(_LIVE.encode()).fetchone()
    assert row
    return float(row[0])
