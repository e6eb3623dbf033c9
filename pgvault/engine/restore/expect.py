"""Looking for what a restore was made for: is each table there, and how many rows has it.

The names are data: they are compared in the catalogue as parameters, and go into a statement as quoted identifiers.
Nothing of the restored database is run: views are only looked up, and only PostgreSQL's own functions are called.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import psycopg
from psycopg import sql

from pgvault.engine.restore.ask import Connection, RestoredServer
from pgvault.model.errors import PgvaultError
from pgvault.model.event import Checked, Emit
from pgvault.model.relation import RelationName

COUNT_SECONDS = 20.0
"""How long the rows of one table are counted; then there is the planner's estimate."""
_ANSWER_SECONDS = 10.0
"""How long any other statement may take."""
_DATABASE = "SELECT datallowconn, datconnlimit <> -2 FROM pg_catalog.pg_database WHERE datname = %s"
_RELATION = """SELECT c.relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p', 'm', 'v', 'f')"""
_COUNTED = frozenset("rpm")
"""Tables, partitioned ones, materialised views: what has rows here. Views compute theirs, foreign tables ask elsewhere.
"""
# Rows that row security would hide are an error in place of a wrong count.
_WITHIN = "SELECT pg_catalog.set_config('statement_timeout', %s, false)"
_SESSION = "SET search_path = pg_catalog; SET row_security = off; SET default_transaction_read_only = on"


class Presence(Enum):
    THERE = "there"
    MISSING = "missing"
    UNKNOWN = "unknown"
    """It could not be looked for."""


@dataclass(frozen=True, slots=True)
class Found:
    """What became of one expected table."""

    relation: RelationName
    presence: Presence
    rows: int | None = None
    exact: bool = False
    """Whether the rows were counted, not estimated."""
    detail: str = ""
    """Why it is missing or unknown."""

    def __str__(self) -> str:
        match self.presence:
            case Presence.MISSING:
                return f"{self.relation} is missing: {self.detail}"
            case Presence.UNKNOWN:
                return f"{self.relation} could not be looked for: {self.detail}"
        return f"{self.relation} is there{f' with {self.amount}' if self.rows is not None else ''}"

    @property
    def amount(self) -> str:
        """Its rows in words, as far as they are known."""
        if self.rows is None:
            return "its rows were not counted"
        return f"{'' if self.exact else 'about '}{self.rows} row{'s' * (self.rows != 1)}"


async def look_for(relations: Sequence[RelationName], server: RestoredServer, emit: Emit) -> tuple[Found, ...]:
    """What there is of each, in their order; it never raises for what it does not find."""
    found = []
    for relation in relations:
        each = await _look(relation, server)
        found.append(each)
        there = each.presence is Presence.THERE
        emit(Checked(f"{relation} is there", "ok" if there else "failed", each.amount if there else each.detail))
    return tuple(found)


async def _look(relation: RelationName, server: RestoredServer) -> Found:
    try:
        async with asyncio.timeout(COUNT_SECONDS + 6 * _ANSWER_SECONDS):
            if (flaw := await _flaw_of_database(relation.database, server)) is not None:
                return flaw.of(relation)
            async with server.connected(relation.database) as connection:
                return await _look_in(connection, relation)
    except TimeoutError:
        return Found(relation, Presence.UNKNOWN, detail="no answer came in time")
    except (psycopg.Error, PgvaultError) as error:
        return Found(relation, Presence.UNKNOWN, detail=" ".join(str(error).split()) or type(error).__name__)


@dataclass(frozen=True, slots=True)
class _Flaw:
    presence: Presence
    detail: str

    def of(self, relation: RelationName) -> Found:
        return Found(relation, self.presence, detail=self.detail)


async def _flaw_of_database(name: str, server: RestoredServer) -> _Flaw | None:
    async with server.connected() as connection:
        row = await (await connection.execute(_DATABASE, (name,))).fetchone()
    if row is None:
        return _Flaw(Presence.MISSING, "there is no such database")
    allowed, valid = row
    if not valid:
        return _Flaw(Presence.MISSING, "its database is invalid, as a DROP DATABASE leaves it that has begun")
    return None if allowed else _Flaw(Presence.UNKNOWN, "its database takes no connections")


async def _look_in(connection: Connection, relation: RelationName) -> Found:
    await connection.execute(_SESSION)
    await _within(connection, _ANSWER_SECONDS)
    row = await (await connection.execute(_RELATION, (relation.schema, relation.name))).fetchone()
    if row is None:
        return Found(relation, Presence.MISSING, detail="its database is there and has no such table")
    if row[0] not in _COUNTED:
        return Found(relation, Presence.THERE)
    return await _count(connection, relation)


async def _count(connection: Connection, relation: RelationName) -> Found:
    table = sql.Identifier(relation.schema, relation.name)
    try:
        await _within(connection, COUNT_SECONDS)
        rows = await (await connection.execute(sql.SQL("SELECT count(*) FROM {}").format(table))).fetchone()
        return Found(relation, Presence.THERE, rows[0] if rows else None, exact=True)
    except psycopg.Error:  # it takes too long, or is not for this role to read
        pass
    try:
        await _within(connection, _ANSWER_SECONDS)
        plan = await (await connection.execute(
            sql.SQL("EXPLAIN (FORMAT JSON) SELECT 1 FROM {}").format(table))).fetchone()
        return Found(relation, Presence.THERE, round(plan[0][0]["Plan"]["Plan Rows"]) if plan else None)
    except psycopg.Error:
        return Found(relation, Presence.THERE)


async def _within(connection: Connection, seconds: float) -> None:
    """How long a statement may take from here on, waiting for locks included."""
    await connection.execute(_WITHIN, (f"{seconds * 1000:.0f}ms",))
