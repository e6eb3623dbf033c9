"""A backup's manifest: its files, and the frames that make up each. SQLite, immutable once published.

A file is cut into runs of 1 MiB. A run is a frame; or a frame and a page delta, whose pages replace the frame's; or
neither, when it is all zeros. `plain` is the SHA-256 of a delta run's own bytes, so that the next backup recognises
it. Paths are relative to the data directory, with tablespaces as `pg_tblspc/<oid>/...`; one that is not UTF-8 is kept
as a blob.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Self

from pgvault.model.backup import Backup
from pgvault.model.errors import Corrupt, NotFound, PgvaultError
from pgvault.vault import catalog, names
from pgvault.vault.frames import attach_to
from pgvault.vault.index_files import raising_no_space
from pgvault.vault.layout import ServerVault
from pgvault.vault.names import DatabaseName, RelationName, RoleName, Trait
from pgvault.vault.names import from_sql as _from_sql
from pgvault.vault.names import to_sql as _to_sql
from pgvault.vault.packs import Location

Row = tuple[Any, ...]

_SCHEMA = """
CREATE TABLE file (
  id INTEGER PRIMARY KEY, path NOT NULL, kind TEXT NOT NULL, size INTEGER NOT NULL, mode INTEGER NOT NULL,
  mtime INTEGER NOT NULL, crc32c INTEGER, tablespace INTEGER, link TEXT);
CREATE TABLE run (
  file INTEGER NOT NULL, number INTEGER NOT NULL, frame BLOB, delta BLOB, plain BLOB,
  PRIMARY KEY (file, number)) WITHOUT ROWID;
"""


class Kind(Enum):
    FILE = "file"
    DIRECTORY = "directory"
    LINK = "link"


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, directory or link of a backup."""

    id: int
    path: str
    """The path; bytes that are not UTF-8 are surrogate-escaped, as everywhere in Python."""
    kind: Kind
    size: int
    mode: int
    mtime: int
    """The time of the last modification, in seconds since 1970."""
    crc32c: int | None = None
    tablespace: int | None = None
    link: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """The parts of one 1 MiB run of a file; all are None for zeros."""

    frame: bytes | None = None
    delta: bytes | None = None
    plain: bytes | None = None


ZEROS = Run()


class ManifestWriter:
    """Builds a manifest under a temporary name; `publish` makes it the backup's.

    It is for one thread, except that the names of things may come from another.
    """

    def __init__(self, server: ServerVault, backup_id: str) -> None:
        self._store, self._key = server.store, catalog.manifest_key(server, backup_id)
        self._spool = self._store.spool(self._key)
        self._spool.close()  # SQLite writes it
        self._db = sqlite3.connect(self._spool.path, isolation_level=None, check_same_thread=False)
        self._db.executescript("PRAGMA journal_mode = off; PRAGMA synchronous = off;" + _SCHEMA + names.SCHEMA)
        self._db.execute("BEGIN")
        self._files: list[Row] = []
        self._runs: list[Row] = []
        self._lock = threading.Lock()
        self.failure: PgvaultError | sqlite3.Error | None = None
        """The error, from whichever thread, for which it can no longer become a manifest; None if there is none."""
        self._last_id = 0
        self.file_count = 0
        self.size_bytes = 0
        self.stored_bytes = 0
        """The stored size of the manifest itself, once it is published."""

    def next_id(self) -> int:
        """Return the id of the next entry."""
        self._last_id += 1
        return self._last_id

    def add(self, entry: Entry) -> None:
        self.size_bytes += entry.size
        self.file_count += entry.kind is Kind.FILE
        self._files.append((entry.id, _to_sql(entry.path), entry.kind.value, entry.size, entry.mode, entry.mtime,
                            entry.crc32c, entry.tablespace, entry.link))
        if len(self._files) >= 1000:
            self._write()

    def add_run(self, file: int, number: int, run: Run) -> None:
        self._runs.append((file, number, run.frame, run.delta, run.plain))
        if len(self._runs) >= 1000:
            self._write()

    def add_databases(self, databases: Iterable[DatabaseName]) -> None:
        self._add_names("database", databases)

    def add_roles(self, roles: Iterable[RoleName]) -> None:
        self._add_names("role", roles)

    def _add_names(self, table: str, names: Iterable[DatabaseName | RoleName]) -> None:
        with self._writing():
            self._db.executemany(f"INSERT OR REPLACE INTO {table} VALUES (?, ?)",
                                 ((each.oid, _to_sql(each.name)) for each in names))

    def add_relations(self, relations: Iterable[RelationName]) -> None:
        with self._writing():
            self._db.executemany("INSERT OR REPLACE INTO relation VALUES (?, ?, ?, ?, ?, ?)", (
                (each.database, each.oid, each.number, _to_sql(each.schema), _to_sql(each.name), each.kind)
                for each in relations))

    def add_traits(self, traits: Iterable[Trait]) -> None:
        with self._writing():
            self._db.executemany("INSERT INTO trait VALUES (?, ?, ?)",
                                 ((each.database, each.kind, _to_sql(each.value)) for each in traits))

    def index_paths(self) -> None:
        """Index the paths. Call it when every entry is added: the rest looks files up by path."""
        self._write()
        with self._writing():
            self._db.execute("CREATE UNIQUE INDEX file_path ON file (path)")

    def find(self, path: str) -> tuple[int, int | None] | None:
        """Return size and CRC-32C of a file by its path."""
        with self._lock:
            row: tuple[int, int | None] | None = self._db.execute(
                "SELECT size, crc32c FROM file WHERE path = ? AND kind = 'file'", (_to_sql(path),)).fetchone()
        return row

    def has(self, path: str) -> bool:
        """Return whether there is a file or directory with this path."""
        with self._lock:
            return self._db.execute("SELECT 1 FROM file WHERE path = ?", (_to_sql(path),)).fetchone() is not None

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[Row]:
        """Return the rows of a query about the entries and names so far; a long result comes in portions."""
        with self._lock:
            return self._db.execute(query, values).fetchall()

    def publish(self) -> str:
        """Publish the manifest; it is durable under its name when this returns. Return the SHA-256 of the file,
        hexadecimal.
        """
        self._write()
        with self._writing():
            self._db.execute("COMMIT")
        self._db.close()
        digest = file_sha256(self._spool.path)
        self.stored_bytes = self._spool.path.stat().st_size
        self._store.put(self._key, self._spool, replaces=self._store.stat(self._key))  # an earlier attempt's manifest
        return digest

    def abandon(self) -> None:
        self._db.close()
        self._spool.discard()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Let one thread write at a time. SQLite rolls the whole transaction back if the disk is full: later writes
        raise the same error, so that no manifest is published that lacks earlier entries.
        """
        with self._lock:
            if self.failure:
                raise self.failure
            try:
                with raising_no_space(self._spool.path):
                    yield
            except (PgvaultError, sqlite3.Error) as error:
                if not self._db.in_transaction:
                    self.failure = error
                raise

    def _write(self) -> None:
        with self._writing():
            self._db.executemany("INSERT INTO file VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", self._files)
            self._db.executemany("INSERT INTO run VALUES (?, ?, ?, ?, ?)", self._runs)
        self._files.clear()
        self._runs.clear()


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run and the places of its parts in the packs; `frame` is None for zeros."""

    number: int
    frame: tuple[str, Location] | None
    delta: tuple[str, Location] | None


class Manifest:
    """A published manifest, for reading; it is never loaded whole."""

    def __init__(self, server: ServerVault, backup: Backup, *, check: bool = False) -> None:
        """Open the manifest. `check` compares the whole file with its hash first, and raises Corrupt if they differ."""
        key = catalog.manifest_key(server, backup.id)
        try:
            self.path = server.cache.fetched(server.store, key)
            self.path.stat()
            if check and file_sha256(self.path) != backup.manifest_sha256:
                raise Corrupt(f"the manifest of backup {backup.id} is damaged",
                              detail=f"{self.path} does not match its SHA-256.",
                              hint="Restore from another backup, or bring the file back from a copy.")
        except (FileNotFoundError, NotFound):
            raise Corrupt(f"the manifest of backup {backup.id} is missing",
                          detail=f"{server.store.location(key)} should be it.",
                          hint="Restore from another backup, or bring the file back from a copy.") from None
        self._backup = backup
        self._db = self.connect()
        self._server = server
        self._located = False
        self._scratch = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._db.close()
        self._scratch.close()

    def connect(self) -> sqlite3.Connection:
        """Return another connection, for another thread. It is read-only, or SQLite would create a missing file."""
        return sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro&immutable=1", uri=True,
                               check_same_thread=False)

    def entries(self, under: str = "") -> Iterator[Entry]:
        """Yield the entries in the order of the backup; `under` keeps a directory and what is below it."""
        where: str = ""
        values: Row = ()
        if under := under.strip("/"):
            # As bytes: to SQLite no blob equals a text, and paths below `under` may not be UTF-8 though it is.
            prefix = os.fsencode(under) + b"/"
            where, values = "WHERE path = ? OR substr(CAST(path AS BLOB), 1, ?) = ?", (
                _to_sql(under), len(prefix), prefix)
        yield from map(entry_of, self._query(f"SELECT * FROM file {where} ORDER BY id", values))

    def find(self, path: str) -> Entry | None:
        row = next(self._query("SELECT * FROM file WHERE path = ?", (_to_sql(path),)), None)
        return None if row is None else entry_of(row)

    def run(self, path: str, number: int) -> Run | None:
        """Return one run of a file, by its path: the next backup compares with it."""
        row = next(self._query(
            "SELECT r.frame, r.delta, r.plain FROM file f JOIN run r ON r.file = f.id"
            " WHERE f.path = ? AND r.number = ?", (_to_sql(path), number)), None)
        return None if row is None else Run(*row)

    def runs(self, entry: Entry) -> Iterator[StoredRun]:
        """Yield a file's runs in order, each with its place. Raises Corrupt if a frame is in no pack."""
        self._locate()
        rows = self._query(
            "SELECT r.number, r.frame, p.name, f.offset, f.stored, f.plain, f.crc32c,"
            " r.delta, q.name, d.offset, d.stored, d.plain, d.crc32c FROM run r"
            " LEFT JOIN frames.frame f ON f.id = r.frame LEFT JOIN frames.pack p ON p.id = f.pack"
            " LEFT JOIN frames.frame d ON d.id = r.delta LEFT JOIN frames.pack q ON q.id = d.pack"
            " WHERE r.file = ? ORDER BY r.number", (entry.id,))
        for row in rows:
            yield StoredRun(row[0], self._place(row[1:7], entry), self._place(row[7:13], entry))

    def frame_prefixes(self, length: int) -> Iterator[bytes]:
        """Yield the first bytes of the id of every frame that the backup uses; some several times."""
        for column in ("frame", "delta"):
            for row in self._query(f"SELECT substr({column}, 1, ?) FROM run WHERE {column} IS NOT NULL", (length,)):
                yield row[0]

    def tablespace_sizes(self) -> dict[int | None, int]:
        """Return the bytes of the files of each tablespace by its OID; those of the data directory itself under None.
        """
        return dict(self._query("SELECT tablespace, sum(size) FROM file GROUP BY tablespace"))

    def stored_bytes(self) -> int:
        """Return the stored bytes of all frames of this backup, each counted as often as it is used."""
        self._locate()
        [row] = self._query(
            "SELECT coalesce(sum(f.stored), 0) + coalesce(sum(d.stored), 0) FROM run r"
            " LEFT JOIN frames.frame f ON f.id = r.frame LEFT JOIN frames.frame d ON d.id = r.delta")
        return int(row[0])

    def _place(self, row: Row, entry: Entry) -> tuple[str, Location] | None:
        if row[0] is None:
            return None
        if row[1] is None:
            raise Corrupt(f"backup {self._backup.id} is incomplete",
                          detail=f"A frame of {entry.path} is in no pack.",
                          hint=f"pgvault rebuild-index {self._server.name}; if that does not help, use another backup.")
        frame_id, pack, *place = row
        return pack, Location(frame_id, *place)

    def _locate(self) -> None:
        if not self._located:
            attach_to(self._db, self._server, self._scratch)
            self._located = True

    def _query(self, sql: str, values: Row = ()) -> Iterator[Row]:
        try:
            # `yield from` would close the cursor, perhaps of a database that is closed already.
            for row in self._db.execute(sql, values):  # noqa: UP028
                yield row
        except sqlite3.DatabaseError as error:
            raise self.unreadable(error) from None

    def unreadable(self, error: sqlite3.DatabaseError) -> Corrupt:
        """Return SQLite's error in pgvault's words."""
        files = f"{self.path}, with {self._server.cache.frames}" if self._located else str(self.path)
        return Corrupt(f"could not read the manifest of backup {self._backup.id}", detail=f"{files}: {error}.",
                       hint=f"pgvault rebuild-index {self._server.name}; if that does not help, use another backup.")


def entry_of(row: Row) -> Entry:
    number, path, kind, *rest = row
    return Entry(number, _from_sql(path), Kind(kind), *rest)
