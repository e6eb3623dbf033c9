"""Looking at a restored server: psql of its major, on its host, at this terminal."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from pgvault.config.load import Config
from pgvault.engine.restore.ask import Way
from pgvault.engine.restored.running import RunningCopy, open_copy, program
from pgvault.model.errors import Unreachable
from pgvault.model.event import discard
from pgvault.model.restored import RestoredCopy


@dataclass(frozen=True, slots=True)
class Psql:
    """The program and where it runs."""

    where: str
    """The host, in words."""
    argv: tuple[str, ...]


async def look(copy: RestoredCopy, database: str, config: Config, told: Callable[[Psql], bool]) -> int:
    """Lend it the terminal until it ends; its status. `told` is called first, and says whether to go on."""
    async with open_copy(copy, config, discard) as running:
        argv = (await program(running, "psql"), *running.words(await _way(running, database), database))
        psql = Psql(running.host.description, argv)
        return await running.host.interact(argv) if told(psql) else 0


async def _way(running: RunningCopy, database: str) -> Way:
    """The one that lets us in; where none does, psql itself says why, or asks for a password."""
    async with AsyncExitStack() as scope:
        try:
            return (await running.connect(scope, database))[1]
        except Unreachable:
            return Way(True, None)
