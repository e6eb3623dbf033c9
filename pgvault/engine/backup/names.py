"""Collects the names of databases, relations and roles by SQL while the files of a backup are copied.

The role needs only CONNECT. While a session is in a database, nobody can drop or rename it, or copy it as a template
(PostgreSQL waits 5 s for the session to end). So each session runs one short query, and ends before its result is
processed.

Names are helpful but not essential: what cannot be read or stored is reported, and the backup continues. Only if the
vault's disk is full is the whole manifest lost, which fails the backup at any point (`ManifestWriter.failure`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, NamedTuple, TypeVar

from psycopg.abc import Buffer
from psycopg.adapt import Loader

from pgvault.config.schema import ServerConfig
from pgvault.io.postgres import Connection, connect
from pgvault.model.errors import PgvaultError
from pgvault.model.event import Emit, Level, Noted
from pgvault.vault.manifest import ManifestWriter
from pgvault.vault.names import DatabaseName, RelationName, RoleName, Trait

GRACE_SECONDS = 10.0
"""How long the backup waits for names after its copy has ended."""
_PAGE = 5000
"""Relations that are queried at a time."""
_MOST_NAMED = 3
Row = tuple[Any, ...]
Name = TypeVar("Name", DatabaseName, RelationName, RoleName, Trait)

_SETTINGS = {"statement_timeout": "3s", "lock_timeout": "2s"}
_DATABASES = """
SELECT oid::bigint, datname, datallowconn AND datconnlimit <> -2, datname = current_database()
FROM pg_catalog.pg_database ORDER BY datname = current_database() DESC, oid"""
# Of system relations only those that are no longer in initdb's files, so that changes of them are recognized. Temporary
# relations are in no WAL.
_RELATIONS = """
SELECT c.oid::bigint, pg_catalog.pg_relation_filenode(c.oid)::bigint, coalesce(n.nspname, ''), c.relname,
       c.relkind::text
FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relpersistence <> 't' AND c.relkind <> 'c'
  AND (c.oid >= 16384 OR pg_catalog.pg_relation_filenode(c.oid) >= 16384)
  AND c.oid > %s::oid ORDER BY c.oid LIMIT %s"""

_ROLES = "SELECT oid::bigint, rolname FROM pg_catalog.pg_roles"
_CLUSTER_TRAITS = """
SELECT oid::bigint, 'collate'::text, datcollate::text FROM pg_catalog.pg_database
UNION ALL SELECT oid::bigint, 'ctype', datctype::text FROM pg_catalog.pg_database
UNION ALL SELECT subdbid::bigint, 'subscription', subname::text FROM pg_catalog.pg_subscription WHERE subenabled"""
_TRAITS = """
SELECT 'publication'::text, pubname::text FROM pg_catalog.pg_publication
UNION ALL SELECT DISTINCT 'library', probin FROM pg_catalog.pg_proc WHERE oid >= 16384 AND probin <> ''"""


# The relations in initdb's files, which are the same in nearly all databases.
_INITIAL = """
SELECT c.oid::bigint, pg_catalog.pg_relation_filenode(c.oid)::bigint FROM pg_catalog.pg_class c
WHERE c.relpersistence <> 't' AND NOT c.relisshared AND pg_catalog.pg_relation_filenode(c.oid) < 16384"""


class _Database(NamedTuple):
    oid: int
    name: str
    connectable: bool
    configured: bool
    """Whether it is the connection string's database."""


class NameCollector:
    """Queries in a thread of its own while the scope is open. At its end it stops, whatever it has read by then."""

    def __init__(self, config: ServerConfig, manifest: ManifestWriter) -> None:
        self._config, self._manifest = config, manifest
        self._lock = threading.Lock()
        self._over = False
        self.failures: list[str] = []
        """Why names could not be stored, in words."""
        self.initial: dict[int, frozenset[tuple[int, int]]] = {}
        """OIDs and files of the relations that are still in initdb's files, by database."""
        self._thread = threading.Thread(target=self._run, name="names", daemon=True)

    def __enter__(self) -> NameCollector:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """Stop: nothing is written after this returns, though a connection may take a moment longer to close."""
        with self._lock:
            self._over = True

    def finish(self, emit: Emit) -> None:
        """Wait briefly for the running query, then report what could not be read."""
        self._thread.join(GRACE_SECONDS)
        self.__exit__()
        failures = self.failures[:_MOST_NAMED]
        if (more := len(self.failures) - len(failures)) > 0:
            failures.append(f"could not store the names in {more} more databases")
        if self._thread.is_alive():
            failures.append("the server did not return all names in time")
        for failure in failures:
            emit(Noted(f"{failure}; events in the WAL may have numbers instead of names, and it was not checked that "
                       "every relation's file arrived", Level.WARNING, "no-names"))

    def _run(self) -> None:
        try:
            databases = [_Database(*row) for row in self._ask(None, _DATABASES)]
            self._keep(self._manifest.add_databases, [DatabaseName(each.oid, each.name) for each in databases])
            self._keep(self._manifest.add_roles, [RoleName(*row) for row in self._ask(None, _ROLES)])
            self._keep(self._manifest.add_traits, [Trait(*row) for row in self._ask(None, _CLUSTER_TRAITS)])
        except Exception as error:
            self.failures.append(f"could not store the names: {_reason(error)}")
            return
        for database in databases:
            if self._over:
                return
            try:
                if database.connectable:
                    self._collect(database)
            except Exception as error:
                self.failures.append(f"could not store the names in database {database.name}: "
                                      f"{_reason(error)}")

    def _collect(self, database: _Database) -> None:
        traits = [Trait(database.oid, *row) for row in self._ask(_session_of(database), _TRAITS)]
        if not self._keep(self._manifest.add_traits, traits):
            return
        initial = frozenset(self._ask(_session_of(database), _INITIAL))
        self.initial[database.oid] = next((each for each in self.initial.values() if each == initial), initial)
        for relations in self._relations(database):
            if not self._keep(self._manifest.add_relations, relations):
                return

    def _relations(self, database: _Database) -> Iterator[list[RelationName]]:
        """Yield relations in portions, so that neither a session nor the memory grows with the database."""
        last = 0
        while rows := self._ask(_session_of(database), _RELATIONS, (last, _PAGE)):
            yield [RelationName(database.oid, *row) for row in rows]
            if len(rows) < _PAGE:
                return
            last = rows[-1][0]

    def _ask(self, database: str | None, query: str, values: Row = ()) -> list[Row]:
        with closing(connect(self._config, database=database, settings=_SETTINGS,
                             seconds=GRACE_SECONDS, cancelled=lambda: self._over)) as connection:
            _prepare(connection)
            return connection.execute(query.encode(), values).fetchall()

    def _keep(self, add: Callable[[list[Name]], None], names: list[Name]) -> bool:
        """Return false when no more names are wanted."""
        with self._lock:
            if not self._over:
                try:
                    add(names)
                except Exception:
                    if self._manifest.failure is None:
                        raise
                    self._over = True  # the next writer gets the same error, and reports it
            return not self._over


def _session_of(database: _Database) -> str | None:
    """Return the database to query; None for the one of the connection string."""
    return None if database.configured else database.name


def _prepare(connection: Connection) -> None:
    for kind in ("name", "text"):
        connection.adapters.register_loader(kind, _AnyText)
    if connection.info.parameter_status("server_encoding") == "SQL_ASCII":  # else it refuses to send its text
        connection.execute("SET client_encoding = 'SQL_ASCII'")


class _AnyText(Loader):
    """Loads a name as it is: a database of encoding SQL_ASCII may contain any bytes."""

    def load(self, data: Buffer) -> str:
        return bytes(data).decode("utf-8", "surrogateescape")


def _reason(error: Exception) -> str:
    if isinstance(error, PgvaultError):
        return " ".join(f"{error.message}. {error.detail}".split()).rstrip(".")
    return " ".join(str(error).split())
