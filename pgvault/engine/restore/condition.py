"""The condition of a restored server that has arrived: databases that cannot be opened, and transactions that were
prepared and never ended, which keep their locks until a person ends them.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from dataclasses import dataclass

from pgvault.engine.restore.arrival import FOLLOWING, PAUSED, SHUT_DOWN
from pgvault.engine.restore.ask import NotAnswered, RestoredServer
from pgvault.engine.restore.why_ended import why_closed
from pgvault.model.event import Checked, Emit
from pgvault.model.prepared import Prepared
from pgvault.model.window import instant

_LONGEST = 60.0
"""The timeout for all databases together, in seconds."""
_DATABASES = """SELECT datname::text AS name FROM pg_database WHERE datallowconn AND datconnlimit <> -2
ORDER BY oid LIMIT 1000"""
_PREPARED = """SELECT gid, owner::text AS owner, database::text AS database,
  (extract(epoch FROM prepared) * 1000000)::int8 AS prepared FROM pg_prepared_xacts ORDER BY prepared LIMIT 100"""
# Documentation, pg_locks: a prepared transaction's locks have this virtual transaction id.
_LOCKS = """SELECT p.gid, l.mode || ' on ' || c.oid::regclass AS lock
FROM pg_prepared_xacts p JOIN pg_locks l ON l.virtualtransaction = '-1/' || p.transaction
JOIN pg_class c ON c.oid = l.relation
WHERE p.database = current_database() AND l.mode <> 'AccessShareLock'
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND c.relkind NOT IN ('i', 't')
ORDER BY c.oid LIMIT 200"""
_FIRST = {PAUSED: "Once it is promoted. ", SHUT_DOWN: "Once it is started and promoted. ",
          FOLLOWING: "The original server ends it, here too. There: "}
"""What has to be done before a prepared transaction can be ended."""


@dataclass(frozen=True, slots=True)
class Closed:
    """A database in which no role can open a session."""

    database: str
    reason: str
    step: str = ""

    def __str__(self) -> str:
        return f"database {self.database} cannot be opened: {self.reason}"


async def closed_databases(server: RestoredServer, emit: Emit) -> tuple[Closed, ...]:
    """Return the databases that a missing locale, library or file keeps closed; those that only refuse the login do not
    count.
    """
    found: list[Closed] = []
    with suppress(NotAnswered, TimeoutError):
        async with asyncio.timeout(_LONGEST):
            for row in await server.ask(_DATABASES):
                refusal = await server.why_closed(row["name"])
                if step := why_closed(refusal):
                    found.append(Closed(row["name"], refusal, step))
                    emit(Checked(f"database {row['name']} can be opened", "failed", refusal, step))
    return tuple(found)


async def prepared_transactions(server: RestoredServer) -> tuple[Prepared, ...] | None:
    """Return the transactions that are prepared and not ended; None if no session can query them. A server that replays
    WAL shows none.
    """
    try:
        rows = await server.ask(_PREPARED)
    except NotAnswered:
        return None
    locks: dict[str, list[str]] = {}
    for database in dict.fromkeys(row["database"] for row in rows):
        for row in await _locks_in(server, database):
            locks.setdefault(row["gid"], []).append(row["lock"])
    return tuple(Prepared(row["gid"], row["owner"], row["database"], instant(row["prepared"]),
                          tuple(locks.get(row["gid"], ()))) for row in rows)


def report_prepared(found: tuple[Prepared, ...], state: str, emit: Emit) -> None:
    """Report each transaction with the commands that end it, and when they can be used."""
    first = _FIRST.get(state, "")
    for each in found:
        emit(Checked("prepared transactions", "warning", str(each), f"{first}{each.step}"))


async def _locks_in(server: RestoredServer, database: str) -> list[dict[str, str]]:
    with suppress(NotAnswered):
        async with aclosing(server.sessions(database)) as sessions:
            async for session in sessions:
                return await session.rows(_LOCKS)
    return []
