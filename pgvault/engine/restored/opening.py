"""Opens a restored server that is paused at its target: it ends its recovery on a timeline of its own."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass

from pgvault.config.load import Config
from pgvault.engine.restore import outward
from pgvault.engine.restore.observation import observe_server
from pgvault.engine.restore.timelines import follow_promotion
from pgvault.engine.restored.running import RunningCopy, open_copy
from pgvault.engine.restored.side import Side
from pgvault.model.errors import Cancelled, PgvaultError, Refused
from pgvault.model.event import Emit, PhaseStarted
from pgvault.model.identifier import sql_identifier
from pgvault.model.restored import RestoredCopy
from pgvault.vault.layout import Vault
from pgvault.vault.recoveries import Recovery, of_job

_POLL_SECONDS = 0.3
_LONGEST_SECONDS = 600.0
_STATE = """SELECT pg_is_in_recovery(),
  CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() ELSE false END,
  CASE WHEN NOT pg_is_in_recovery()
       THEN ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END"""
_RESUME = "SELECT pg_wal_replay_resume()"
_DATABASE = "postgres"


@dataclass(frozen=True, slots=True)
class Opened:
    place: str
    timeline: int
    lifted: tuple[str, ...] = ()
    """Settings that no longer keep it quiet after a restart."""

    def __str__(self) -> str:
        lifted = f"; restart it to lift {', '.join(self.lifted)}" if self.lifted else ""
        return (f"the server in {self.place} is open for use, on timeline {self.timeline}; archiving is off there: set "
                f"it up again before you rely on it{lifted}")


async def _why_not_opened(running: RunningCopy) -> tuple[str, int]:
    """Return why it cannot be opened, as a sentence without a full stop, empty if it waits at its target; and the
    timeline of a server that is already open, else 0."""
    if running.copy.standby:
        return (f"it follows {running.copy.server} as a standby: opening it is a failover, for pg_ctl "
                "promote"), 0
    async with AsyncExitStack() as scope:
        side, _ = await running.connect(scope, _database(running))
        [(recovers, paused, timeline)] = await side.rows(_STATE)
    if not recovers:
        return f"it is open already, on timeline {timeline}", int(timeline)
    return "" if paused else "it replays WAL and is not at its target yet", 0


async def open_for_use(copy: RestoredCopy, config: Config, emit: Emit, *, lift: bool = False) -> Opened:
    """Open the server and return when it accepts writes. `lift` also removes the settings with which its restore keeps
    it quiet, even from a server that is already open. PgvaultError describes the known state if it does not open."""
    async with open_copy(copy, config, emit) as running, AsyncExitStack() as scope:
        reason, timeline = await _why_not_opened(running)
        if reason and not (lift and timeline):
            raise Refused(f"{copy.called} cannot be opened: {reason}")
        side, _ = await running.connect(scope, _database(running))
        if not timeline:
            emit(PhaseStarted("promote"))
            try:
                timeline = await _promoted(running, side)
            except asyncio.CancelledError:
                raise Cancelled("cancelled, but the server was already requested to end its recovery",
                                detail=f"{copy.called} may still open, or be open already.",
                                hint=f"Check its state: pgvault look {copy.job}, then "
                                     "SELECT pg_is_in_recovery();") from None
            server = Vault(config.vault.home).server(copy.server)
            recovery = await asyncio.to_thread(of_job, server, copy.job) or \
                Recovery(timeline, copy.timeline, copy.job, copy.host, copy.directory)
            await follow_promotion(running.host, running.observation.directory, server, recovery, timeline, emit)
        return Opened(copy.place, timeline, await _lift(side, copy) if lift else ())


async def _lift(side: Side, copy: RestoredCopy) -> tuple[str, ...]:
    """Return the settings that its next restart removes."""
    names = outward.lifted_by_reset(copy.settings_changed)
    for name in names:
        await side.run(f"ALTER SYSTEM RESET {'.'.join(map(sql_identifier, name.split('.')))}")
    return names


async def _promoted(running: RunningCopy, side: Side) -> int:
    """Return its new timeline. A server that a person paused before its target pauses there again, and is resumed
    again."""
    began = time.monotonic()
    while time.monotonic() - began < _LONGEST_SECONDS:
        [(recovers, paused, timeline)] = await side.rows(_STATE)
        if not recovers:
            return int(timeline)
        if paused:
            await side.run(_RESUME)
        observation = await observe_server(running.host, running.copy.directory, running.programs)
        if not observation.alive:
            raise PgvaultError(f"{running.copy.called} ended instead of opening",
                               detail=f"Its log ends with: {' / '.join(observation.log[-3:]) or 'nothing'}.",
                               hint=f"Check its log in {running.copy.place}, and start it again.")
        await asyncio.sleep(_POLL_SECONDS)
    raise PgvaultError(f"{running.copy.called} has not left its recovery for {_LONGEST_SECONDS:.0f} seconds",
                       detail="It runs, and was asked to.", hint="Check its log, and whether its storage responds.")


def _database(running: RunningCopy) -> str:
    return next(iter(running.copy.databases), _DATABASE)
