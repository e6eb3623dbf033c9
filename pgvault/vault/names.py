"""The names of databases, roles and relations when a backup was taken: tables in its manifest.

WAL speaks of databases, roles and relations in numbers, and after a drop no server has their names. Tables `database`
and `role` have every one; table `relation` what users made in the databases, and those catalogs whose files are not
initdb's; table `trait` what a restored copy of a database needs or would do. Backups of earlier versions of pgvault
lack some or all of them.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

SCHEMA = """
CREATE TABLE database (oid INTEGER PRIMARY KEY, name NOT NULL);
CREATE TABLE relation (
  database INTEGER NOT NULL, oid INTEGER NOT NULL, number INTEGER, schema NOT NULL, name NOT NULL, kind TEXT NOT NULL,
  PRIMARY KEY (database, oid)) WITHOUT ROWID;
CREATE INDEX relation_number ON relation (database, number);
CREATE TABLE role (oid INTEGER PRIMARY KEY, name NOT NULL);
CREATE TABLE trait (database INTEGER NOT NULL, kind TEXT NOT NULL, value NOT NULL);
"""


class DatabaseName(NamedTuple):
    oid: int
    name: str


class RoleName(NamedTuple):
    oid: int
    name: str


class RelationName(NamedTuple):
    """One relation; names that are not UTF-8 are surrogate-escaped, as everywhere in Python."""

    database: int
    oid: int
    number: int | None
    """The number of its file (relfilenode), which changes with each rewrite; None for a relation without one, such as a
    view.
    """
    schema: str
    name: str
    kind: str
    """The kind, as pg_class.relkind: r table, p partitioned table, m materialized view, v view, S sequence, i index,
    ...
    """


class Trait(NamedTuple):
    """What a restored copy of a database needs from its host, or would do by itself."""

    database: int
    kind: str
    """One of collate and ctype, a locale; library, that of a function, as `pg_proc.probin`; subscription, an enabled
    one; publication.
    """
    value: str


def to_sql(name: str) -> str | bytes:
    """Return a text, or a blob if it is not UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return os.fsencode(name)
    return name


def from_sql(name: str | bytes) -> str:
    return name if isinstance(name, str) else os.fsdecode(name)


class Names:
    """The names in one manifest. Raises sqlite3.Error if it cannot be read."""

    def __init__(self, manifest: Path) -> None:
        # Published manifests never change; read-only, or SQLite would create a missing file.
        self._db = sqlite3.connect(f"{manifest.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        tables = self._db.execute("SELECT count(*) FROM sqlite_master WHERE name IN ('database', 'relation')")
        self.there = tables.fetchone()[0] == 2
        """False in a backup of an earlier version, which has no names."""

    def close(self) -> None:
        self._db.close()

    def traits(self) -> list[Trait]:
        """Return the traits; also empty in a backup of a version that stored none."""
        if not self._has("trait"):
            return []
        return [Trait(database, kind, from_sql(value)) for database, kind, value
                in self._db.execute("SELECT database, kind, value FROM trait")]

    def database(self, oid: int) -> str | None:
        row = self._row("SELECT name FROM database WHERE oid = ?", oid)
        return None if row is None else from_sql(row[0])

    def role(self, oid: int) -> str | None:
        row = self._row("SELECT name FROM role WHERE oid = ?", oid) if self._has("role") else None
        return None if row is None else from_sql(row[0])

    def by_oid(self, database: int, oid: int) -> RelationName | None:
        return self._relation("oid", database, oid)

    def by_number(self, database: int, number: int) -> RelationName | None:
        return self._relation("number", database, number)

    def in_schema(self, database: int, schema: str) -> set[int]:
        """Return the OIDs of the tables, views and foreign tables in a schema."""
        if not self.there:
            return set()
        rows = self._db.execute("SELECT oid FROM relation WHERE database = ? AND schema = ? AND kind IN "
                                "('r', 'p', 'm', 'v', 'f')", (database, to_sql(schema)))
        return {oid for oid, in rows}

    def knows(self, database: int) -> bool:
        """Return whether it has the names of any relation in this database; for 0, those of databases themselves."""
        if database:
            return self._row("SELECT 1 FROM relation WHERE database = ?", database) is not None
        return self._row("SELECT 1 FROM database") is not None

    def rewritten(self, oids: tuple[int, ...]) -> list[tuple[int, int, int]]:
        """Return (database, OID, number of its file) of those catalogs with a file that is not initdb's."""
        if not self.there:
            return []
        marks = ", ".join("?" * len(oids))
        return self._db.execute(
            "SELECT database, oid, number FROM relation WHERE database IN (SELECT oid FROM database)"
            f" AND oid IN ({marks}) AND number <> oid", oids).fetchall()

    def _has(self, table: str) -> bool:
        return self._db.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone() is not None

    def _relation(self, column: str, database: int, value: int) -> RelationName | None:
        row = self._row(f"SELECT * FROM relation WHERE database = ? AND {column} = ?", database, value)
        if row is None:
            return None
        found, oid, number, schema, name, kind = row
        return RelationName(found, oid, number, from_sql(schema), from_sql(name), kind)

    def _row(self, sql: str, *values: int) -> tuple[Any, ...] | None:
        if not self.there:
            return None
        with closing(self._db.execute(sql, values)) as cursor:
            row: tuple[Any, ...] | None = cursor.fetchone()
        return row
