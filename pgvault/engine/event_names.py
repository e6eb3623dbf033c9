"""Translates the numbers in WAL to names, which backups store."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from pgvault.model.backup import Backup
from pgvault.model.errors import PgvaultError
from pgvault.model.identifier import sql_identifier
from pgvault.model.lsn import Lsn
from pgvault.model.timeline import History
from pgvault.vault import catalog
from pgvault.vault.index_files import DatabaseError
from pgvault.vault.layout import ServerVault
from pgvault.vault.names import Names, RelationName
from pgvault.wal.accidents import FIRST_USER_OID, Finding
from pgvault.wal.transaction_changes import PG_CLASS, PG_DATABASE

KINDS = {"p": "partitioned table", "r": "table", "m": "materialized view", "v": "view", "f": "foreign table",
         "S": "sequence", "i": "index", "I": "partitioned index", "t": "toast table"}
"""pg_class.relkind in words. Earlier ones are the main objects of an event."""
_UNKNOWN, _TOAST_INDEX = "relation", "toast index"
_ORDER = ("partitioned table", "table", "materialized view", "view", "foreign table", _UNKNOWN, "sequence", "index",
          "partitioned index", "toast table", _TOAST_INDEX)
_HANGERS_ON = frozenset(_ORDER[-4:])
_TOAST_SCHEMA = "pg_toast"
_MOST_OPEN = 8
"""Maximum of open manifests: there may be a thousand backups."""
_ASKED = 4
"""Backups on either side of a position that are searched for a name."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class WalObject:
    """A relation in an event, as far as it is known."""

    kind: str
    """The kind in words, as in `KINDS`; also "toast index", and "relation" if it is unknown."""
    schema: str
    name: str
    """Schema and name; both are empty if no backup knows the relation."""
    oid: int
    """0 if neither the WAL nor a backup has it."""
    number: int
    """Number of its file, 0 if the event does not have it. A relation that was never rewritten has its OID as
    number."""
    deleted: int = 0
    updated: int = 0
    """The updated rows, in a `delete` event."""

    @property
    def is_main(self) -> bool:
        """False for dependents of a table: an index, a TOAST table."""
        return self.kind not in _HANGERS_ON

    @property
    def title(self) -> str:
        """`table public.orders`, or `table 16390` if the name is unknown."""
        if self.name:
            return f"{self.kind} {sql_identifier(self.schema)}.{sql_identifier(self.name)}"
        return f"{self.kind} {self.oid or self.number}"

    def is_called(self, name: str) -> bool:
        """Return whether a person may mean it: by its name, with or without its schema, quoted or not, or by a
        number."""
        plain, exact = f"{self.schema}.{self.name}", f"{sql_identifier(self.schema)}.{sql_identifier(self.name)}"
        if self.name and name in (self.name, sql_identifier(self.name), plain, exact):
            return True
        return name.isdecimal() and int(name) in (self.oid, self.number)


def in_order(objects: Iterable[WalObject]) -> tuple[WalObject, ...]:
    """Sort tables before their dependents."""
    return tuple(sorted(objects, key=lambda each: _ORDER.index(each.kind)))


class NameBook:
    """The names in all backups of a timeline path. It is a context manager, as it keeps some manifests open."""

    def __init__(self, server: ServerVault, history: History) -> None:
        self._server = server
        backups = [each for each in catalog.backups(server) if each.status.copied and each.end_lsn is not None
                   and history.holds(each.timeline, each.end_lsn)]
        self._backups = sorted(backups, key=_end)
        self._open: dict[str, Names] = {}
        """Open manifests by backup, the most recently used last."""
        self._knowing: dict[tuple[str, int], bool] = {}
        self._at: dict[int, NamesAt] = {}

    def __enter__(self) -> NameBook:
        return self

    def __exit__(self, *exc: object) -> None:
        for names in self._open.values():
            names.close()

    def at(self, lsn: Lsn) -> NamesAt:
        """Return the names at a position: from the newest backup that ended before, then from the others."""
        place = bisect_right(self._backups, lsn, key=_end)
        if place not in self._at:
            self._at[place] = NamesAt(self, self._backups[:place][::-1], self._backups[place:])
        return self._at[place]

    def rewritten_catalogs(self) -> set[tuple[int, int]]:
        """Return (database, number) of the files of pg_class and pg_database that are not initdb's; database 0 for the
        latter."""
        found = (self.ask(backup, lambda names: names.rewritten((PG_CLASS, PG_DATABASE))) for backup in self._backups)
        return {(0 if oid == PG_DATABASE else database, number)
                for rewritten in found for database, oid, number in rewritten or ()}

    def knows(self, backup: Backup, database: int) -> bool:
        """Return the remembered result of `Names.knows`."""
        key = (backup.id, database)
        if key not in self._knowing:
            self._knowing[key] = bool(self.ask(backup, lambda names: names.knows(database)))
        return self._knowing[key]

    def ask(self, backup: Backup, question: Callable[[Names], T]) -> T | None:
        """Query one backup; None if its manifest cannot be read, since missing names must not cause a failure."""
        with suppress(DatabaseError, PgvaultError):
            names = self._open.pop(backup.id, None) or self._names(backup)
            self._open[backup.id] = names
            if len(self._open) > _MOST_OPEN:
                self._open.pop(next(iter(self._open))).close()
            return question(names)
        return None

    def _names(self, backup: Backup) -> Names:
        return Names(self._server.cache.fetched(self._server.store, catalog.manifest_key(self._server, backup.id)))


class NamesAt:
    """The names at one position, from the nearest backups `before` it, newest first, and `behind` it, oldest first."""

    def __init__(self, book: NameBook, before: list[Backup], behind: list[Backup]) -> None:
        self._book, self._sides = book, (before, behind)
        self._asked: dict[int, list[Backup]] = {}

    def database(self, oid: int) -> str:
        """Return the name; empty if it is unknown."""
        return self._first(0, lambda names: names.database(oid)) or ""

    def role(self, oid: int) -> str:
        """Return the name; empty if it is unknown."""
        return self._first(0, lambda names: names.role(oid)) or ""

    def by_oid(self, database: int, oid: int) -> RelationName | None:
        return self._first(database, lambda names: names.by_oid(database, oid))

    def by_number(self, database: int, number: int) -> RelationName | None:
        return self._first(database, lambda names: names.by_number(database, number))

    def in_schema(self, database: int, schema: str) -> set[int]:
        """Return the OIDs of a schema's objects, without dependents of tables, in the nearest earlier backup that knows
        this database.
        """
        before, _ = self._sides
        nearest = next((each for each in before if self._book.knows(each, database)), None)
        if nearest is None:
            return set()
        return self._book.ask(nearest, lambda names: names.in_schema(database, schema)) or set()

    def kind(self, database: int, oid: int) -> str:
        """Return its relkind; t also for the index of a TOAST table."""
        found = self.by_oid(database, oid)
        return "" if found is None else "t" if found.schema == _TOAST_SCHEMA else found.kind

    def _first(self, database: int, question: Callable[[Names], T | None]) -> T | None:
        """Return the first answer of the backups that know this database. A few on either side suffice, as the nearest
        knows what existed at this position if its names are complete."""
        if database not in self._asked:
            self._asked[database] = [backup for side in self._sides for backup in islice(
                (each for each in side if self._book.knows(each, database)), _ASKED)]
        answers = (self._book.ask(backup, question) for backup in self._asked[database])
        return next((answer for answer in answers if answer is not None), None)


def _end(backup: Backup) -> Lsn:
    assert backup.end_lsn is not None
    return backup.end_lsn


def named(found: RelationName, *, deleted: int = 0, updated: int = 0) -> WalObject:
    kind = _TOAST_INDEX if found.kind == "i" and found.schema == _TOAST_SCHEMA else KINDS.get(found.kind, _UNKNOWN)
    return WalObject(kind, found.schema, found.name, found.oid, found.number or 0, deleted,
                     updated)


def truncated_or_rewritten(finding: Finding, names: NamesAt) -> tuple[WalObject, ...]:
    """Return the relations that lost their files and were not dropped: rewritten or truncated, the tables among them;
    indexes if there is no table. A table that is younger than all backups, and was rewritten before, is not known."""
    dropped = set(finding.oids)
    found: dict[int, WalObject] = {}
    for file in finding.files:
        if (name := names.by_number(file.database, file.number)) is None:
            continue
        if name.oid >= FIRST_USER_OID and name.oid not in dropped:
            found[name.oid] = named(name)
    ordered = in_order(each for each in found.values() if not each.kind.startswith("toast"))
    return tuple(each for each in ordered if each.is_main) or ordered


def dropped_schema(finding: Finding, names: NamesAt, objects: Sequence[WalObject]) -> str:
    """Return the schema that was dropped; empty if that is not known. One was, and all that the backups know in it
    went."""
    schemas = {each.schema for each in objects if each.is_main}
    if finding.schemas != 1 or len(schemas) != 1 or not all(each.name for each in objects if each.is_main):
        return ""
    [schema] = schemas
    return schema if names.in_schema(finding.database, schema) <= {each.oid for each in objects} else ""
