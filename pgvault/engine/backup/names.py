"""The names of things at the time of a backup, asked for over SQL while its files are being copied.

Each database is asked once, over a connection of its own; the role needs nothing but CONNECT. A name is a help and no
part of the copy: what cannot be asked is told, and the backup goes on.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Generator
from contextlib import closing
from itertools import islice
from typing import Any, cast

import psycopg
from psycopg import conninfo as libpq
from psycopg.abc import Buffer
from psycopg.adapt import Loader

from pgvault.config.schema import ServerConfig
from pgvault.io.postgres import Connection, connect
from pgvault.model.errors import PgvaultError
from pgvault.model.event import Emit, Level, Noted
from pgvault.vault.manifest import ManifestWriter
from pgvault.vault.names import DatabaseName, RelationName

GRACE_SECONDS = 10.0
"""How long the backup waits for names when its copy is over."""
_BATCH = 1000
_MOST_TOLD = 3
_FAILURES = (PgvaultError, psycopg.Error, sqlite3.Error, UnicodeError)
Row = tuple[Any, ...]

# Databases are their owners': with another search path, operators that were made there could be taken for SQL's own.
_SESSION = "SET search_path = pg_catalog; SET statement_timeout = '60s'; SET lock_timeout = '5s'"
_DATABASES = """
SELECT oid::bigint, datname, datallowconn AND datconnlimit <> -2, datname = current_database()
FROM pg_catalog.pg_database ORDER BY datname = current_database() DESC, oid"""
# Of the system's relations only those whose file is not initdb's any more, so that their changes are known for what
# they are. Temporary relations are in no WAL.
_RELATIONS = """
SELECT c.oid::bigint, pg_catalog.pg_relation_filenode(c.oid)::bigint, coalesce(n.nspname, ''), c.relname,
       c.relkind::text
FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relpersistence <> 't' AND c.relkind <> 'c'
  AND (c.oid >= 16384 OR pg_catalog.pg_relation_filenode(c.oid) >= 16384)"""


class NameCollector:
    """Asks in a thread of its own from `with` on, and stops at its end, whatever was asked by then."""

    def __init__(self, config: ServerConfig, manifest: ManifestWriter) -> None:
        self._config, self._manifest = config, manifest
        self._lock = threading.Lock()
        self._over = False
        self._failures: list[str] = []
        self._thread = threading.Thread(target=self._run, name="names", daemon=True)

    def __enter__(self) -> NameCollector:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """Nothing is written any more when this returns; a connection may take a moment longer to be gone."""
        with self._lock:
            self._over = True

    def finish(self, emit: Emit) -> None:
        """Wait a little for what is still being asked, then tell what could not be."""
        self._thread.join(GRACE_SECONDS)
        self.__exit__()
        failures = self._failures[:_MOST_TOLD]
        if (more := len(self._failures) - len(failures)) > 0:
            failures.append(f"could not ask for the names of things in {more} more databases")
        if self._thread.is_alive():
            failures.append("the server did not tell all its names in time")
        for failure in failures:
            emit(Noted(f"{failure}; events in the WAL may be told in numbers instead of names", Level.WARNING,
                       "no-names"))

    def _run(self) -> None:
        try:
            with closing(self._connect(None)) as connection:
                _prepare(connection)
                databases = connection.execute(_DATABASES).fetchall()
                self._add_databases([DatabaseName(oid, name) for oid, name, *_ in databases])
                if databases and databases[0][3]:  # the very one that was asked
                    self._collect(connection, databases[0][0])
        except _FAILURES as error:
            self._failures.append(f"could not ask the server for the names of things: {_reason(error)}")
            return
        for oid, name, connectable, asked in databases:
            if asked or not connectable:
                continue
            if self._over:
                return
            try:
                with closing(self._connect(name)) as connection:
                    _prepare(connection)
                    self._collect(connection, oid)
            except _FAILURES as error:
                self._failures.append(f"could not ask for the names of things in database {name}: {_reason(error)}")

    def _connect(self, database: str | None) -> Connection:
        config = self._config
        if database is not None:
            conninfo = libpq.make_conninfo(config.conninfo, dbname=database)
            config = ServerConfig(**{**vars(config), "conninfo": conninfo})
        return connect(config)

    def _collect(self, connection: Connection, database: int) -> None:
        with closing(cast("Generator[Row, None, None]", connection.cursor().stream(_RELATIONS))) as rows:
            while batch := [RelationName(database, *row) for row in islice(rows, _BATCH)]:
                if not self._add_relations(batch):
                    return

    def _add_databases(self, databases: list[DatabaseName]) -> None:
        with self._lock:
            if not self._over:
                self._manifest.add_databases(databases)

    def _add_relations(self, relations: list[RelationName]) -> bool:
        """False when nobody wants them any more."""
        with self._lock:
            if not self._over:
                self._manifest.add_relations(relations)
            return not self._over


def _prepare(connection: Connection) -> None:
    for kind in ("name", "text"):
        connection.adapters.register_loader(kind, _AnyText)
    connection.execute(_SESSION)
    if connection.info.parameter_status("server_encoding") == "SQL_ASCII":  # it would refuse to send what it has
        connection.execute("SET client_encoding = 'SQL_ASCII'")


class _AnyText(Loader):
    """A name as it is: a database of encoding SQL_ASCII may hold any bytes."""

    def load(self, data: Buffer) -> str:
        return bytes(data).decode("utf-8", "surrogateescape")


def _reason(error: Exception) -> str:
    if isinstance(error, PgvaultError):
        return " ".join(f"{error.message}. {error.detail}".split()).rstrip(".")
    return " ".join(str(error).split())
