"""Starting the restored server and waiting until it says that it is where it was asked to be.

Success is what PostgreSQL reports, not that files were copied: it left recovery, paused, or shut down at the target,
on which timeline, after which commit, and what its log says of it.
"""

from __future__ import annotations

import asyncio
import re
import shlex
import time
from dataclasses import dataclass, replace
from datetime import datetime

from pgvault.config.schema import HostConfig, ServerConfig
from pgvault.engine.restore.ask import RestoredServer
from pgvault.engine.restore.contents import LOG_FILE
from pgvault.engine.restore.expect import Found, Presence, look_for
from pgvault.engine.restore.why_ended import FAILED, next_step, said_of_it
from pgvault.io.host import Host
from pgvault.io.probe import Destination, Installation, probe_destination
from pgvault.model.errors import PgvaultError, Refused, WalMissing
from pgvault.model.event import Emit, Noted, PhaseStarted, Progressed
from pgvault.model.lsn import Lsn
from pgvault.model.restore_plan import RestorePlan
from pgvault.model.target import EndOfWal, TargetAction
from pgvault.model.times import utc

PROMOTED = "promoted"
_POLL_SECONDS = 0.3
_DEAD_LOOKS = 3
"""One look may fall between two moments of a server that starts."""
_ABSENT_LOOKS = 200
"""A minute in which a start command that claimed success brought no server."""
_LOG_LINES = 200
FOLLOW_SECONDS = 60.0
"""How long a standby that replays nothing more may take to reach the original server."""
_TAIL = f"""# read the end of the server's log
cd "$1" || exit 0
tail -n "$2" {LOG_FILE} 2>/dev/null
read -r kind current 2>/dev/null <current_logfiles && tail -n "$2" "$current" 2>/dev/null
:
"""
"""What it said first, and what it said to its own log collector once that ran."""
_BEGAN = re.compile(r"database system was (interrupted|shut down)")
_IN_RECOVERY = ("in archive recovery", "shut down in recovery")
"""What pg_controldata tells of a server that began, whatever the language of its log."""
_REACHED = re.compile(r"recovery stopping|pausing at the end of recovery|archive recovery complete"
                      r"|selected new timeline|redo done|recovery has paused|shutting down")

_STATE = """SELECT pg_is_in_recovery(), coalesce(pg_last_wal_replay_lsn(), pg_last_wal_receive_lsn())::text,
  pg_last_xact_replay_timestamp(), CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() ELSE false END"""
# The original server says how far it is with its first message, which may be long after the stream began.
_FOLLOWING = """SELECT
  pg_wal_lsn_diff(coalesce(latest_end_lsn, pg_last_wal_receive_lsn(), receive_start_lsn),
                  pg_last_wal_replay_lsn())::int8,
  extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8
FROM pg_stat_wal_receiver WHERE status = 'streaming'"""
_WHO = """SELECT (SELECT setting FROM pg_settings WHERE name = 'data_directory'),
  extract(epoch FROM pg_postmaster_start_time())::float8"""
_STARTING_SECONDS = 5.0
"""A server's own start time is a little later than the one in its postmaster.pid, which is whole seconds."""
_TIMELINE = "SELECT ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int"


@dataclass(frozen=True, slots=True)
class Proof:
    """What the restored server said of itself."""

    state: str
    """promoted, paused, shut down, following"""
    last_commit: datetime | None
    timeline: int | None
    lsn: Lsn | None
    log: tuple[str, ...]
    """The log's own lines on where recovery stopped."""
    lag_bytes: int | None = None
    """Of a standby: how much of what the original server has sent is not replayed yet."""
    lag_seconds: float | None = None
    """How old its newest replayed commit is while there is such WAL, else 0."""
    expected: tuple[Found, ...] = ()
    """What became of each table that was asked for."""

    @property
    def lacking(self) -> tuple[Found, ...]:
        return tuple(found for found in self.expected if found.presence is not Presence.THERE)

    def __str__(self) -> str:
        parts = [f"the server is {self.state}"]
        if self.timeline:
            parts.append(f"on timeline {self.timeline}")
        if self.last_commit:
            parts.append(f"last replayed commit {utc(self.last_commit)}")
        if self.lag_bytes is not None:
            parts.append(f"{self.lag_bytes} bytes behind the original server"
                         + (f" ({self.lag_seconds:.1f} s)" if self.lag_seconds is not None else ""))
        return "; ".join([", ".join(parts), *map(str, self.expected)])


@dataclass(frozen=True, slots=True)
class _State:
    in_recovery: bool
    lsn: Lsn | None
    last_commit: datetime | None
    paused: bool


async def start_server(host: Host, config: HostConfig | None, plan: RestorePlan, major: int) -> str:
    """Start it with the host's own command, or with pg_ctl of the right major; the line that a person would type."""
    log = f"{plan.directory}/{LOG_FILE}"
    if config is not None and config.start_command:
        done = await host.run_shell(config.start_command, timeout=120)
        what = line = config.start_command
        hint = "The restored files are complete. Run that line there by hand: it, or the log that it names, tells why."
    else:
        destination = await probe_destination(host, plan.directory, (), (config and config.bin_directory) or "")
        programs = programs_for(destination, major)
        argv = [f"{programs.directory}/pg_ctl", "start", "-D", plan.directory, "-l", log]
        done = await host.run([*argv, "-s", "-W"], timeout=120)
        what, line = "pg_ctl start", shlex.join(argv)
        hint = f"The restored files are complete. Look at {log} there. Then start it: {line}"
    if done.status:
        raise PgvaultError(f"could not start the restored server on {host.description}",
                           detail=f"{what} ended with status {done.status}: {(done.stderr or '').strip()}",
                           hint=hint)
    return line


def programs_for(destination: Destination, major: int) -> Installation:
    """PostgreSQL's programs of this major on the host; Refused when there are none."""
    for installation in destination.installations:
        if installation.major == major and installation.has_pg_ctl:
            return installation
    found = ", ".join(f"{i.version} in {i.directory}" for i in destination.installations) or "none"
    raise Refused(f"{destination.host or 'this machine'} has no programs of PostgreSQL {major}",
                  detail=f"Found: {found}.", hint="Install them, or set bin_directory for this host.")


async def prove(host: Host, config: HostConfig | None, server: ServerConfig, plan: RestorePlan, begin: Lsn,
                emit: Emit, *, start: str) -> Proof:
    """Wait until the started server has reached the target, then look for what the restore was made for.

    `start` is the line that starts it again, for when it ended.

    PgvaultError with its log when it gives up. What is expected and not there is told, not raised.
    """
    watcher = _Watcher(host, config, server, plan, start)
    proof = await _reached(watcher, plan, begin, emit)
    if not plan.expects:
        return proof
    emit(PhaseStarted("look"))
    return replace(proof, expected=await look_for(plan.expects, watcher.asked, emit))


async def _reached(watcher: _Watcher, plan: RestorePlan, begin: Lsn, emit: Emit) -> Proof:
    advance = _Advance(emit, begin, plan.stop_lsn)
    while True:
        state = await watcher.look()
        if state is not None:
            advance.to(state.lsn)
            if (proof := await _arrived(watcher, state, plan)) is not None:
                advance.end()
                return proof
            if plan.standby and advance.stands_for > FOLLOW_SECONDS:
                raise await watcher.not_following()
        elif (word := await watcher.look_without_sql()) is not None:
            if watcher.asked.refusal:
                emit(Noted(f"the server takes no login for the proof ({watcher.asked.refusal}); "
                           "its state is read from its files"))
            return await watcher.proof(word, None)
        await asyncio.sleep(_POLL_SECONDS)


class _Advance:
    """How far the replay is, told once a second, and since when it stands still."""

    def __init__(self, emit: Emit, begin: Lsn, stop: Lsn | None) -> None:
        self._emit, self._begin, self._stop = emit, begin, stop
        self._lsn: Lsn | None = None
        self._moved = self._told = time.monotonic()

    @property
    def stands_for(self) -> float:
        return time.monotonic() - self._moved

    def to(self, lsn: Lsn | None) -> None:
        if lsn is None or lsn == self._lsn:
            return
        self._lsn, self._moved = lsn, time.monotonic()
        if self._moved - self._told > 1:
            self._told = self._moved
            self._tell(lsn)

    def end(self) -> None:
        if (lsn := self._stop or self._lsn) is not None:
            self._tell(lsn)

    def _tell(self, lsn: Lsn) -> None:
        """Replay may run past the stop by what belongs to no record, and a standby does: never more than all."""
        self._emit(Progressed(max(min(lsn, self._stop or lsn) - self._begin, 0)))


async def _arrived(watcher: _Watcher, state: _State, plan: RestorePlan) -> Proof | None:
    if plan.standby:
        lag = await watcher.lag() if state.in_recovery else None
        return None if lag is None else replace(await watcher.proof("following", state), lag_bytes=lag[0],
                                                lag_seconds=lag[1])
    if state.in_recovery:
        is_there = state.paused and plan.action is TargetAction.PAUSE
        return await watcher.proof("paused", state) if is_there else None
    if isinstance(plan.target, EndOfWal) and state.lsn is not None and state.lsn < (plan.stop_lsn or 0):
        raise WalMissing(f"the restored server left recovery at {state.lsn}, before the end of the archived WAL",
                         detail=f"The archive reaches to {plan.stop_lsn}. Its log says: "
                                f"{' / '.join((await watcher.proof(PROMOTED, state)).log)}.",
                         hint=f"Do not use the server in {plan.directory}. Check the WAL: pgvault verify {plan.server}")
    return await watcher.proof(PROMOTED, state)


class _Watcher:
    """Looks at the server by SQL through the host's connection, and at its files where SQL is not to be had."""

    def __init__(self, host: Host, config: HostConfig | None, server: ServerConfig, plan: RestorePlan,
                 start: str) -> None:
        self._host, self._config, self._plan, self._start = host, config, plan, start
        self.asked = RestoredServer(host, config, server, plan.port)
        self._seen_alive = False
        self._seen_dead = 0
        self._is_known = False

    async def look(self) -> _State | None:
        """None when it cannot be asked (yet)."""
        rows = await self.asked.query(_STATE)
        if rows is None or not await self._is_the_restored_one():
            return None
        recovering, lsn, moment, paused = rows[0]
        return _State(recovering, Lsn.parse(lsn) if lsn else None, moment, paused)

    async def _is_the_restored_one(self) -> bool:
        """A configured conninfo may lead elsewhere, to the old server for one: what answers there proves nothing."""
        if self._is_known or self._config is None or not self.asked.conninfo:
            return True
        rows = await self.asked.query(_WHO)
        if not rows:
            return False
        directory, started = rows[0]
        there = await probe_destination(self._host, self._plan.directory, (), self._bin())
        self._is_known = directory in (self._plan.directory, there.directory.real_path) if directory else (
            there.postmaster is not None and there.postmaster.started is not None
            and 0 <= started - there.postmaster.started <= _STARTING_SECONDS)
        if not self._is_known and there.postmaster is not None and there.postmaster.alive:
            raise PgvaultError(
                f"the conninfo of host {self._config.name} does not lead to the restored server",
                detail=f"What answers there has its data in {directory or 'a directory that it does not tell'}.",
                hint="The restored server runs; connect to it by hand. Correct that conninfo, or leave it out: pgvault "
                     "then asks through its own connection to the host.")
        return self._is_known

    async def look_without_sql(self) -> str | None:
        """The word for where it is, when its files tell that it has arrived; raises when it has given up."""
        destination = await probe_destination(self._host, self._plan.directory, (), self._bin())
        postmaster = destination.postmaster
        if postmaster is not None and postmaster.alive:
            self._seen_alive, self._seen_dead = True, 0
            if postmaster.port:
                self.asked.address = (postmaster.socket_directory or "localhost", postmaster.port)
            if not self.asked.refusal:
                return None
        state = await self._controlled_state(destination)
        if postmaster is not None and postmaster.alive:
            return PROMOTED if state == "in production" else None
        if state == "shut down in recovery" and self._plan.action is TargetAction.SHUTDOWN:
            return "shut down"
        self._seen_dead += 1
        began = self._seen_alive or bool(await self.log())
        if self._seen_dead >= (_DEAD_LOOKS if began else _ABSENT_LOOKS):
            raise await self._gave_up(state)
        return None

    async def proof(self, word: str, state: _State | None) -> Proof:
        rows = await self.asked.query(_TIMELINE) if word == PROMOTED else None
        lines = tuple(line for line in await self.log() if _REACHED.search(line))
        return Proof(word, state.last_commit if state else None, rows[0][0] if rows else None,
                     state.lsn if state else None, lines[-4:])

    async def lag(self) -> tuple[int, float | None] | None:
        """Bytes and seconds behind the original server; None while nothing comes from it."""
        rows = await self.asked.query(_FOLLOWING)
        if not rows or rows[0][0] is None:
            return None
        size, age = rows[0]
        return (size, age) if size > 0 else (0, 0.0)

    async def not_following(self) -> PgvaultError:
        said = [line for line in await self.log() if FAILED.search(line)]
        return PgvaultError(
            f"the standby on {self._host.description} does not follow the original server",
            detail=f"It replayed all archived WAL and runs. Its log says: {' / '.join(said[-2:]) or 'nothing of it'}.",
            hint=f"Make primary_conninfo in {self._plan.directory}/postgresql.auto.conf right and reload it, or let it "
                 "reach the server: role, password (~/.pgpass), pg_hba.conf.")

    async def log(self) -> list[str]:
        done = await self._host.run_script(_TAIL, self._plan.directory, str(_LOG_LINES))
        return done.stdout.decode("utf-8", "replace").splitlines()

    async def _gave_up(self, state: str) -> PgvaultError:
        lines = await self.log()
        said = said_of_it(lines)
        began = state in _IN_RECOVERY or any(map(_BEGAN.search, lines))
        what = "ended before it reached the target" if began else "did not start"
        return PgvaultError(
            f"the restored server on {self._host.description} {what}",
            detail=f"Its log says: {' / '.join(said) or 'nothing'}. Its state is {state or 'unknown'}.",
            hint=next_step(said, directory=self._plan.directory, start=self._start,
                           log=f"{self._plan.directory}/{LOG_FILE}"))

    def _bin(self) -> str:
        return (self._config and self._config.bin_directory) or ""

    async def _controlled_state(self, destination: Destination) -> str:
        """The cluster's state as pg_controldata tells it (in English: the host runs it so)."""
        for installation in destination.installations:
            done = await self._host.run([f"{installation.directory}/pg_controldata", self._plan.directory])
            if found := re.search(rb"Database cluster state:\s+(.+)", done.stdout):
                return found[1].decode("utf-8", "replace").strip()
        return ""
