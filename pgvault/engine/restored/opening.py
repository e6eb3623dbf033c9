"""Opening a restored server for use: paused at its target, it ends its recovery there on a timeline of its own."""

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
    """Settings that no longer keep it quiet once it is restarted."""

    def __str__(self) -> str:
        lifted = f"; restart it to lift {', '.join(self.lifted)}" if self.lifted else ""
        return (f"the server in {self.place} is open for use, on timeline {self.timeline}; archiving is off there: set "
                f"it up anew before you rely on it{lifted}")


async def _why_not_opened(running: RunningCopy) -> tuple[str, int]:
    """Why there is nothing to be opened, as a sentence without a full stop, empty when it waits at its target; and the
    timeline of one that is open, else 0."""
    if running.copy.standby:
        return (f"it follows {running.copy.server} as a standby: to open it is a failover, and is done by pg_ctl "
                "promote"), 0
    async with AsyncExitStack() as scope:
        side, _ = await running.connect(scope, _database(running))
        [(recovers, paused, timeline)] = await side.rows(_STATE)
    if not recovers:
        return f"it is open already, on timeline {timeline}", int(timeline)
    return "" if paused else "it replays WAL and is not at its target yet", 0


async def open_for_use(copy: RestoredCopy, config: Config, emit: Emit, *, lift: bool = False) -> Opened:
    """Returns when it takes writes; with `lift` the settings that its restore added to keep it quiet go, too,
    also of one that is open already. PgvaultError with what is known when it does not come to that."""
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
                raise Cancelled("open cancelled, but the server had been asked to end its recovery already",
                                detail=f"{copy.called} may open for use all the same, or be open.",
                                hint=f"Look whether it is: pgvault look {copy.job}, then "
                                     "SELECT pg_is_in_recovery();") from None
            server = Vault(config.vault.home).server(copy.server)
            recovery = await asyncio.to_thread(of_job, server, copy.job) or \
                Recovery(timeline, copy.timeline, copy.job, copy.host, copy.directory)
            await follow_promotion(running.host, running.sight.directory, server, recovery, timeline, emit)
        return Opened(copy.place, timeline, await _lift(side, copy) if lift else ())


async def _lift(side: Side, copy: RestoredCopy) -> tuple[str, ...]:
    """The settings of which the copy is rid with its next restart."""
    names = outward.lifted_by_reset(copy.settings_changed)
    for name in names:
        await side.run(f"ALTER SYSTEM RESET {'.'.join(map(sql_identifier, name.split('.')))}")
    return names


async def _promoted(running: RunningCopy, side: Side) -> int:
    """The timeline that it is on then. One that a person paused before its target pauses there once more, and is
    resumed again."""
    began = time.monotonic()
    while time.monotonic() - began < _LONGEST_SECONDS:
        [(recovers, paused, timeline)] = await side.rows(_STATE)
        if not recovers:
            return int(timeline)
        if paused:
            await side.run(_RESUME)
        sight = await observe_server(running.host, running.copy.directory, running.programs)
        if not sight.alive:
            raise PgvaultError(f"{running.copy.called} ended instead of opening",
                               detail=f"Its log says: {' / '.join(sight.log[-3:]) or 'nothing'}.",
                               hint=f"Look at its log in {running.copy.place}, and start it again.")
        await asyncio.sleep(_POLL_SECONDS)
    raise PgvaultError(f"{running.copy.called} has not left its recovery for {_LONGEST_SECONDS:.0f} seconds",
                       detail="It was told to, and it runs.", hint="Look at its log, and whether its storage answers.")


def _database(running: RunningCopy) -> str:
    return next(iter(running.copy.databases), _DATABASE)
