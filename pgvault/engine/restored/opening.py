"""Opening a restored server for use: paused at its target, it ends its recovery there on a timeline of its own."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass

from pgvault.config.load import Config
from pgvault.engine.restore.sight import look_at_server
from pgvault.engine.restore.timelines import follow_promotion
from pgvault.engine.restored.running import RunningCopy, open_copy
from pgvault.engine.restored.side import Side
from pgvault.model.errors import PgvaultError, Refused
from pgvault.model.event import Emit, PhaseStarted
from pgvault.model.restored import RestoredCopy
from pgvault.vault.layout import Vault
from pgvault.vault.recoveries import Recovery, of_job

_POLL_SECONDS = 0.3
_LONGEST_SECONDS = 600.0
_STATE = """SELECT pg_is_in_recovery(),
  CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() ELSE false END,
  CASE WHEN NOT pg_is_in_recovery()
       THEN ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END"""
_DATABASE = "postgres"


@dataclass(frozen=True, slots=True)
class Opened:
    place: str
    timeline: int

    def __str__(self) -> str:
        return (f"the server in {self.place} is open for use, on timeline {self.timeline}; archiving is off there: set "
                "it up anew before you rely on it")


async def why_not_opened(running: RunningCopy) -> str:
    """Why there is nothing to be opened, as a sentence without a full stop; empty when it waits at its target."""
    if running.copy.standby:
        return f"it follows {running.copy.server} as a standby: to open it is a failover, and is done by pg_ctl promote"
    async with AsyncExitStack() as scope:
        side, _ = await running.connect(scope, _database(running))
        [(recovers, paused, timeline)] = await side.rows(_STATE)
    if not recovers:
        return f"it is open already, on timeline {timeline}"
    return "" if paused else "it replays WAL and is not at its target yet"


async def open_for_use(copy: RestoredCopy, config: Config, emit: Emit) -> Opened:
    """Returns when it takes writes; PgvaultError with what is known when it does not come to that."""
    async with open_copy(copy, config, emit) as running:
        if reason := await why_not_opened(running):
            raise Refused(f"{copy.called} cannot be opened: {reason}")
        emit(PhaseStarted("promote"))
        async with AsyncExitStack() as scope:
            side, _ = await running.connect(scope, _database(running))
            await side.run("SELECT pg_wal_replay_resume()")
            timeline = await _promoted(running, side)
        server = Vault(config.vault.home).server(copy.server)
        recovery = await asyncio.to_thread(of_job, server, copy.job) or \
            Recovery(timeline, copy.timeline, copy.job, copy.host, copy.directory)
        await follow_promotion(running.host, running.sight.directory, server, recovery, timeline, emit)
    return Opened(copy.place, timeline)


async def _promoted(running: RunningCopy, side: Side) -> int:
    """The timeline that it is on then."""
    began = time.monotonic()
    while time.monotonic() - began < _LONGEST_SECONDS:
        [(recovers, _, timeline)] = await side.rows(_STATE)
        if not recovers:
            return int(timeline)
        sight = await look_at_server(running.host, running.copy.directory, running.programs)
        if not sight.alive:
            raise PgvaultError(f"{running.copy.called} ended instead of opening",
                               detail=f"Its log says: {' / '.join(sight.log[-3:]) or 'nothing'}.",
                               hint=f"Look at its log in {running.copy.place}, and start it again.")
        await asyncio.sleep(_POLL_SECONDS)
    raise PgvaultError(f"{running.copy.called} has not left its recovery for {_LONGEST_SECONDS:.0f} seconds",
                       detail="It was told to, and it runs.", hint="Look at its log, and whether its storage answers.")


def _database(running: RunningCopy) -> str:
    return next(iter(running.copy.databases), _DATABASE)
