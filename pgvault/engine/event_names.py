"""What the numbers in WAL were called: looked up in the names that backups keep of their time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from pgvault.model.backup import Backup
from pgvault.model.lsn import Lsn
from pgvault.model.timeline import History
from pgvault.vault import catalog
from pgvault.vault.layout import ServerVault
from pgvault.vault.names import Names, RelationName
from pgvault.wal.evidence import PG_CLASS, PG_DATABASE

KINDS = {"p": "partitioned table", "r": "table", "m": "materialized view", "v": "view", "f": "foreign table",
         "S": "sequence", "i": "index", "I": "partitioned index", "t": "toast table"}
"""pg_class.relkind in words; what comes first here is what an event is about."""
_UNKNOWN, _TOAST_INDEX = "relation", "toast index"
_ORDER = ("partitioned table", "table", "materialized view", "view", "foreign table", _UNKNOWN, "sequence", "index",
          "partitioned index", "toast table", _TOAST_INDEX)
_HANGERS_ON = frozenset(_ORDER[-4:])
_TOAST_SCHEMA = "pg_toast"


@dataclass(frozen=True, slots=True)
class WalObject:
    """A relation in an event, as far as it is known."""

    kind: str
    """In words, as in `KINDS`; "toast index", and "relation" when it is not known."""
    schema: str
    name: str
    """Both empty when no backup knows it."""
    oid: int
    """0 when WAL does not say and no backup knows."""
    number: int
    """Of its file, 0 when the event does not say: a relation that was never rewritten has its OID as number."""
    deleted: int = 0
    updated: int = 0
    """Rows, in a `delete` event."""

    @property
    def is_main(self) -> bool:
        """False for what goes with a table: an index, a TOAST table."""
        return self.kind not in _HANGERS_ON

    @property
    def title(self) -> str:
        """`table public.orders`, or `table 16390`."""
        if self.name:
            return f"{self.kind} {quoted(self.schema)}.{quoted(self.name)}"
        return f"{self.kind} {self.oid or self.number}"

    def is_called(self, name: str) -> bool:
        """Whether a person may mean it: by its name, with its schema or without, quoted or not, or by a number."""
        plain, exact = f"{self.schema}.{self.name}", f"{quoted(self.schema)}.{quoted(self.name)}"
        if self.name and name in (self.name, quoted(self.name), plain, exact):
            return True
        return name.isdigit() and int(name) in (self.oid, self.number)


def quoted(name: str) -> str:
    """As SQL writes it: in quotes where that is needed."""
    plain = name.isascii() and name.replace("_", "a").isalnum() and name.lower() == name and not name[:1].isdigit()
    return name if plain else '"' + name.replace('"', '""') + '"'


def in_order(objects: Iterable[WalObject]) -> tuple[WalObject, ...]:
    """Tables before what hangs on them."""
    return tuple(sorted(objects, key=lambda each: _ORDER.index(each.kind)))


class NameBook:
    """The names in all backups of a timeline path; a context manager, since it keeps manifests open."""

    def __init__(self, server: ServerVault, history: History) -> None:
        self._server = server
        self._backups = [each for each in catalog.backups(server) if each.status.copied and each.end_lsn is not None
                         and history.holds(each.timeline, each.end_lsn)]
        self._open: dict[str, Names | None] = {}

    def __enter__(self) -> NameBook:
        return self

    def __exit__(self, *exc: object) -> None:
        for names in self._open.values():
            if names is not None:
                names.close()

    def at(self, lsn: Lsn) -> NamesAt:
        """As things were called at a position: by the newest backup that ended before, then by the others."""
        before = [each for each in self._backups if each.end_lsn is not None and each.end_lsn <= lsn]
        return NamesAt(self, [*reversed(before), *self._backups[len(before):]])

    def rewritten_catalogs(self) -> set[tuple[int, int]]:
        """(database, number) of the files of pg_class and pg_database that are not initdb's; database 0 for the latter.
        """
        found = set()
        for backup in self._backups:
            with suppress(sqlite3.Error):
                names = self.of(backup)
                found |= {(0 if oid == PG_DATABASE else database, number) for database, oid, number in
                          (names.rewritten((PG_CLASS, PG_DATABASE)) if names else ())}
        return found

    def of(self, backup: Backup) -> Names | None:
        """None when its manifest cannot be read: a name is no reason to fail."""
        if backup.id not in self._open:
            self._open[backup.id] = None
            with suppress(sqlite3.Error):
                self._open[backup.id] = Names(catalog.manifest_path(self._server, backup.id))
        return self._open[backup.id]


class NamesAt:
    """The backups' names in the order in which they are asked."""

    def __init__(self, book: NameBook, backups: list[Backup]) -> None:
        self._book, self._backups = book, backups

    def database(self, oid: int) -> str:
        """Empty when it is not known."""
        for names in self._names():
            with suppress(sqlite3.Error):
                if (name := names.database(oid)) is not None:
                    return name
        return ""

    def by_oid(self, database: int, oid: int) -> RelationName | None:
        for names in self._names():
            with suppress(sqlite3.Error):
                if (found := names.by_oid(database, oid)) is not None:
                    return found
        return None

    def by_number(self, database: int, number: int) -> RelationName | None:
        for names in self._names():
            with suppress(sqlite3.Error):
                if (found := names.by_number(database, number)) is not None:
                    return found
        return None

    def kind(self, database: int, oid: int) -> str:
        """The letter of its kind; t also for a TOAST table's index."""
        found = self.by_oid(database, oid)
        return "" if found is None else "t" if found.schema == _TOAST_SCHEMA else found.kind

    def _names(self) -> Iterator[Names]:
        for backup in self._backups:
            if (names := self._book.of(backup)) is not None:
                yield names


def named(found: RelationName, *, deleted: int = 0, updated: int = 0) -> WalObject:
    kind = _TOAST_INDEX if found.kind == "i" and found.schema == _TOAST_SCHEMA else KINDS.get(found.kind, _UNKNOWN)
    return WalObject(kind, found.schema, found.name, found.oid, found.number or 0, deleted,
                     updated)
