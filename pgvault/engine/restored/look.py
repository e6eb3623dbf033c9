"""Opens psql on a restored server: from its own installation, on its host, in this terminal."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

from pgvault.config.load import Config
from pgvault.engine.restore.ask import LoginPath
from pgvault.engine.restored.running import RunningCopy, open_copy, program
from pgvault.model.errors import Unreachable
from pgvault.model.event import discard
from pgvault.model.restored import RestoredCopy


@dataclass(frozen=True, slots=True)
class Psql:
    """The program and where it runs."""

    where: str
    """A description of the host."""
    argv: tuple[str, ...]
    locked: tuple[str, ...] = ()
    """Tables on which a query waits while the recovery is paused: transactions of the original server that had not
    ended at the target hold their locks."""


_LOCKED: Final = """SELECT c.oid::regclass::text FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
WHERE pg_is_in_recovery() AND l.granted AND l.mode = 'AccessExclusiveLock' AND c.relkind IN ('r', 'p', 'm')
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1"""


async def look(copy: RestoredCopy, database: str, config: Config, go_on: Callable[[Psql], bool]) -> int:
    """Lend psql the terminal until it ends, and return its status. `go_on` is called first, and decides whether to
    continue."""
    async with open_copy(copy, config, discard) as running:
        login, locked = await _login(running, database)
        argv = (await program(running, "psql"), *running.words(login, database))
        psql = Psql(running.host.description, argv, locked)
        return await running.host.interact(argv) if go_on(psql) else 0


async def _login(running: RunningCopy, database: str) -> tuple[LoginPath, tuple[str, ...]]:
    """Return the login path that succeeds, and the locked tables. If none does, psql itself reports why, or asks for a
    password."""
    async with AsyncExitStack() as scope:
        try:
            side, login = await running.connect(scope, database)
            return login, tuple(name for (name,) in await side.rows(_LOCKED))
        except Unreachable:
            return LoginPath(True, None), ()
