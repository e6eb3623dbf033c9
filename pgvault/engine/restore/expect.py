"""Checks for what a restore was made for: whether each table exists, can be read, and how many rows it has.

A table that is only in the catalogue does not count: its files are opened, and those of its partitions and TOAST
tables. The names are data: they are compared in the catalogue as literals, and go into a statement as quoted
identifiers. Nothing of the restored database is executed: views are only looked up, and only PostgreSQL's own functions
are called.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from enum import Enum
from typing import Any

from pgvault.engine.restore.ask import NotAnswered, RestoredServer, Session
from pgvault.model.event import Checked, Emit
from pgvault.model.identifier import sql_literal
from pgvault.model.relation import RelationName

COUNT_SECONDS = 20.0
"""How long the rows of one table are counted, in seconds; afterwards the planner's estimate is used."""
_LOOK_SECONDS = 90.0
"""The timeout of all queries about one table, in seconds."""
_DATABASE = """SELECT datallowconn AS allowed, datconnlimit <> -2 AS valid FROM pg_database
WHERE datname = {}"""
_RELATION = """SELECT c.oid::int8 AS oid, c.relkind::text AS kind, c.relpersistence::text AS persistence,
  c.relispopulated AS populated
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = {} AND c.relname = {} AND c.relkind IN ('r', 'p', 'm', 'v', 'f')"""
_PARTS = """WITH RECURSIVE below(oid) AS (
  SELECT {}::oid UNION SELECT i.inhrelid FROM pg_inherits i JOIN below b ON i.inhparent = b.oid)
SELECT n.nspname::text AS schema, c.relname::text AS name, c.relkind = 't' AS toast
FROM below b JOIN pg_class m ON m.oid = b.oid JOIN pg_class c ON c.oid IN (m.oid, m.reltoastrelid)
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm', 't') ORDER BY c.oid LIMIT 5000"""
"""The tables that a table consists of, including partitions and inheriting tables, and their TOAST tables."""
_HOLDERS = """SELECT l.mode, p.gid, p.owner::text AS owner, pg_is_in_recovery() AS replays
FROM pg_locks l LEFT JOIN pg_prepared_xacts p ON l.virtualtransaction = '-1/' || p.transaction
WHERE l.granted AND l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND l.relation = {}::oid
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) LIMIT 1"""
_UNREAD = {"v": "a view, which was looked up and not run", "f": "a foreign table, which was looked up and not read"}
"""Relations without rows of their own here: views compute theirs, foreign tables query elsewhere."""
_CANCELED, _LOCKED, _FORBIDDEN, _IN_RECOVERY = "57014", "55P03", "42501", "0A000"


class Presence(Enum):
    THERE = "there"
    MISSING = "missing"
    UNKNOWN = "unknown"
    """The table could not be checked."""


@dataclass(frozen=True, slots=True)
class Found:
    """What was found of one expected table."""

    relation: RelationName
    presence: Presence
    rows: int | None = None
    exact: bool = False
    """True if the rows were counted, False if they were estimated."""
    detail: str = ""
    """Why it is missing or unknown; else what there is to add."""
    locked_by_replay: bool = False
    """True if it can be read once the recovery has ended."""
    locked_by_prepared: str = ""
    """The identifier of the prepared transaction; it can be read once that has ended."""

    def __str__(self) -> str:
        match self.presence:
            case Presence.MISSING:
                return f"{self.relation} is missing: {self.detail}"
            case Presence.UNKNOWN:
                return f"{self.relation} could not be looked for: {self.detail}"
        if self.rows is None:
            return f"{self.relation} is there: {self.detail}"
        return f"{self.relation} is there with {self.amount}"

    @property
    def amount(self) -> str:
        """Describe the number of rows, and what else is known."""
        if self.rows is None:
            return self.detail
        count = f"{'' if self.exact else 'about '}{self.rows} row{'s' * (self.rows != 1)}"
        return f"{count} ({self.detail})" if self.detail else count


async def find_expected(relations: Sequence[RelationName], server: RestoredServer, emit: Emit) -> tuple[Found, ...]:
    """Return what was found of each table, in their order. A missing table raises no error."""
    found = []
    for relation in relations:
        each = await _look(relation, server)
        found.append(each)
        there = each.presence is Presence.THERE
        emit(Checked(f"{relation} is there", "ok" if there else "failed", each.amount if there else each.detail))
    return tuple(found)


async def _look(relation: RelationName, server: RestoredServer) -> Found:
    try:
        async with asyncio.timeout(COUNT_SECONDS + _LOOK_SECONDS):
            return await _flaw_of_database(relation, server) or await _look_in(relation, server)
    except TimeoutError:
        return Found(relation, Presence.UNKNOWN, detail="no answer came in time")
    except NotAnswered as failure:
        return Found(relation, Presence.UNKNOWN, detail=failure.text)


async def _flaw_of_database(relation: RelationName, server: RestoredServer) -> Found | None:
    rows = await server.ask(_DATABASE.format(sql_literal(relation.database)))
    if not rows:
        return Found(relation, Presence.MISSING, detail="there is no such database")
    if not rows[0]["valid"]:
        return Found(relation, Presence.MISSING,
                     detail="its database is invalid, as a DROP DATABASE leaves it that has begun")
    return None if rows[0]["allowed"] else Found(relation, Presence.UNKNOWN,
                                                 detail="its database takes no connections")


async def _look_in(relation: RelationName, server: RestoredServer) -> Found:
    """Check with the first role that may read it."""
    forbidden = Found(relation, Presence.UNKNOWN)
    async with aclosing(server.sessions(relation.database)) as sessions:
        async for session in sessions:
            try:
                return await _look_by(session, relation)
            except NotAnswered as failure:
                forbidden = Found(relation, Presence.UNKNOWN, detail=forbidden.detail or failure.text)
                if failure.sqlstate != _FORBIDDEN:
                    break
    return forbidden


async def _look_by(session: Session, relation: RelationName) -> Found:
    rows = await session.rows(_RELATION.format(sql_literal(relation.schema), sql_literal(relation.name)))
    if not rows:
        return Found(relation, Presence.MISSING, detail="its database is there and has no such table")
    described = rows[0]
    if remark := _UNREAD.get(described["kind"], ""):
        return Found(relation, Presence.THERE, detail=remark)
    if not described["populated"]:
        return Found(relation, Presence.THERE, detail="a materialized view without data")
    try:
        return await _read(session, relation, described)
    except NotAnswered as failure:
        if failure.sqlstate in ("", _FORBIDDEN):
            raise
        if failure.sqlstate == _LOCKED:
            return await _locked(relation, session, described["oid"])
        if failure.sqlstate in (_CANCELED, _IN_RECOVERY):  # an unlogged table can be read after recovery alone
            return Found(relation, Presence.UNKNOWN, detail=f"its rows could not be read: {failure.text}")
        return Found(relation, Presence.MISSING, detail=f"its name is there, its rows cannot be read: {failure.text}")


async def _read(session: Session, relation: RelationName, described: dict[str, Any]) -> Found:
    """Count the rows or, if that takes too long, read the first page of each part; of TOAST tables always the first
    page.
    """
    table = f"{_identifier(relation.schema)}.{_identifier(relation.name)}"
    try:
        count = (await session.rows(f"SELECT count(*) AS rows FROM {table}", seconds=COUNT_SECONDS))[0]["rows"]
    except NotAnswered as failure:
        if failure.sqlstate != _CANCELED:
            raise
        count = None
    remark = "counting takes too long: the beginning was read" if count is None else ""
    for part in await session.rows(_PARTS.format(int(described["oid"]))):
        if part["toast"] or count is None:
            try:
                await session.rows(f"SELECT 1 AS one FROM ONLY {_identifier(part['schema'])}."
                                   f"{_identifier(part['name'])} WHERE ctid = '(0,1)'::tid")
            except NotAnswered as failure:
                if failure.sqlstate != _FORBIDDEN or not part["toast"]:
                    raise
                remark = "its long values, which this role may not read by themselves, were not read"
    if described["persistence"] == "u":
        remark = "an unlogged table, which recovery empties"
    if count is not None:
        return Found(relation, Presence.THERE, count, True, remark)
    plan = await session.document(f"EXPLAIN (FORMAT JSON) SELECT 1 FROM {table}")
    return Found(relation, Presence.THERE, round(plan[0]["Plan"]["Plan Rows"]), False, remark)


async def _locked(relation: RelationName, session: Session, oid: int) -> Found:
    holder = next(iter(await session.rows(_HOLDERS.format(int(oid)))), None)
    if holder is None:
        return Found(relation, Presence.UNKNOWN, detail="it is locked")
    if holder["gid"]:
        return Found(relation, Presence.UNKNOWN, locked_by_prepared=holder["gid"],
                     detail=f"the prepared transaction {holder['gid']!r} of {holder['owner']} holds its "
                            f"{holder['mode']}")
    if holder["replays"]:
        return Found(relation, Presence.UNKNOWN, locked_by_replay=True,
                     detail="a transaction of the original server that had not ended at the target holds its lock")
    return Found(relation, Presence.UNKNOWN, detail=f"a session of the restored server holds its {holder['mode']}")


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
