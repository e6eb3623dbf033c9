"""Copies the rows of tables from the restored copy into the live server's transaction with PostgreSQL's COPY."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import psycopg

from pgvault.engine.progress import Progress
from pgvault.engine.restored.side import Side
from pgvault.model.bring_back import Relation
from pgvault.model.errors import PgvaultError, Unreachable
from pgvault.model.event import Checked, Emit
from pgvault.model.identifier import sql_identifier

_BATCH: Final = 128 << 10
"""Bytes that are passed on at a time: COPY returns each row by itself."""
_SILENT_SECONDS: Final = 300.0
"""How long no row may be read or written."""
_COLUMNS: Final = """SELECT a.attname::text, format_type(a.atttypid, a.atttypmod),
  CASE WHEN a.attcollation <> t.typcollation
       THEN (SELECT quote_ident(n.nspname) || '.' || quote_ident(c.collname) FROM pg_collation c
             JOIN pg_namespace n ON n.oid = c.collnamespace WHERE c.oid = a.attcollation) END,
  a.attnotnull, a.attgenerated <> ''
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = %s::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"""
_KEYS: Final = """SELECT pg_get_constraintdef(oid) FROM pg_constraint
WHERE conrelid = %s::oid AND contype IN ('p', 'u') ORDER BY contype, conname"""

_POPULATED: Final = "SELECT relispopulated FROM pg_class WHERE oid = %s::regclass"


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: str
    collation: str | None
    not_null: bool
    generated: bool

    @property
    def definition(self) -> str:
        collation = f" COLLATE {self.collation}" if self.collation else ""
        return f"{sql_identifier(self.name)} {self.type}{collation}{' NOT NULL' * self.not_null}"


@dataclass(frozen=True, slots=True)
class Moved:
    """A restored table, as the transaction sees it."""

    table: str
    """The table's name in SQL, in the live server."""
    rows: int


class Mover:
    """Moves rows between two sessions. Rows that do not arrive are an error."""

    def __init__(self, source: Side, live: Side, emit: Emit) -> None:
        self._source, self._live, self._emit = source, live, emit
        self._progress = Progress(emit)

    async def as_it_was(self, relation: Relation) -> Moved:
        """Copy into the empty table of the same name. Generated columns are computed there."""
        columns = [each.name for each in await self._columns(relation) if not each.generated]
        listed = f" ({', '.join(map(sql_identifier, columns))})" if columns else ""
        await self._copy(f"COPY {relation.shown}{listed} TO STDOUT", f"COPY {relation.shown}{listed} FROM STDIN",
                         relation)
        return await self._counted(relation, f"ONLY {relation.shown}", relation.shown)

    async def beside(self, relation: Relation, schema: str) -> Moved:
        """Copy into a new table of that schema, with its columns and keys. Generated columns become plain values."""
        columns, keys = await self._columns(relation), await self._source.rows(_KEYS, (relation.oid,))
        target = f"{sql_identifier(schema)}.{sql_identifier(relation.name)}"
        parts = [*(each.definition for each in columns), *(key for (key,) in keys)]
        await self._live.run(f"CREATE TABLE {target} ({', '.join(parts)})")
        listed = ", ".join(sql_identifier(each.name) for each in columns)
        source = relation.shown if relation.kind in "pm" else f"ONLY {relation.shown}"
        await self._copy(f"COPY (SELECT {listed} FROM {source}) TO STDOUT", f"COPY {target} FROM STDIN", relation)
        return await self._counted(relation, source, target)

    async def sequence(self, relation: Relation) -> None:
        """Set a sequence to the copy's state."""
        [(value, called)] = await self._source.rows(f"SELECT last_value, is_called FROM {relation.shown}")
        await self._live.run("SELECT setval(%s::regclass, %s, %s)", (relation.shown, value, called))

    async def refreshed(self, relation: Relation) -> Moved:
        """Refresh a materialized view from the present data of the live server."""
        for side in (self._source, self._live):
            if not (await side.rows(_POPULATED, (relation.shown,)))[0][0]:
                return Moved(relation.shown, 0)
        here, there = await self._count(self._source, relation.shown), await self._count(self._live, relation.shown)
        self._emit(Checked(f"{relation.shown} is refreshed", "ok" if here == there else "warning",
                           f"{there} rows; the copy has {here}"))
        return Moved(relation.shown, there)

    async def _copy(self, out: str, into: str, relation: Relation) -> None:
        loop, rest = asyncio.get_running_loop(), b""
        source, live = self._source, self._live
        try:
            with source.blamed():
                async with (asyncio.timeout(_SILENT_SECONDS) as limit,
                            source.sql.cursor().copy(out.encode()) as reading):
                    with live.blamed():
                        async with live.sql.cursor().copy(into.encode()) as writing:
                            while block := await _next(source, reading):
                                rest += block
                                if len(rest) >= _BATCH:
                                    await writing.write(rest)
                                    self._progress.add(len(rest))
                                    limit.reschedule(loop.time() + _SILENT_SECONDS)
                                    rest = b""
                            await writing.write(rest)
        except TimeoutError:
            raise Unreachable(f"no row of {relation.shown} moved for {_SILENT_SECONDS:.0f} seconds",
                              detail="One of the two servers does not respond.",
                              hint="Check both and the network, then run this again.") from None
        self._progress.add(len(rest), 1)
        self._progress.report()

    async def _counted(self, relation: Relation, source: str, target: str) -> Moved:
        here, there = await self._count(self._source, source), await self._count(self._live, target)
        if here != there:
            raise PgvaultError(f"{target} has {there} rows in {self._live.name}, and {here} in the restored copy",
                               detail="They were counted before the commit.",
                               hint="Search for what removes rows there: rules, triggers, an extension.")
        self._emit(Checked(f"{relation.shown} has all its rows", "ok", f"{there} on both sides"))
        return Moved(target, there)

    async def _count(self, side: Side, table: str) -> int:
        [(number,)] = await side.rows(f"SELECT count(*) FROM {table}")
        return int(number)

    async def _columns(self, relation: Relation) -> list[Column]:
        return [Column(*row) for row in await self._source.rows(_COLUMNS, (relation.oid,))]


async def _next(source: Side, reading: psycopg.AsyncCopy) -> bytes:
    with source.blamed():
        return bytes(await reading.read())


def with_rows(relations: Collection[Relation]) -> list[Relation]:
    """Return those whose rows are in files of their own and survive a recovery."""
    return [each for each in relations if each.holds_rows and each.persistence == "p"]
