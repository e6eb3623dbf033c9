"""The index of a server's WAL archive: `wal.sqlite`, a cache of the files under `wal/` and their contents.

Table `file` has one row for every archived file. Table `facts` has the facts of a segment's records; it is filled later
(see `wal_facts`), because reading takes ten times as long as archiving. Deleting the index loses nothing. Times are
microseconds since 1970 in UTC, positions are bytes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from pgvault.model.errors import Corrupt, NotFound
from pgvault.model.segment import HistoryFile, LabelFile, PartialFile, Segment, SegmentFile, parse_wal_name
from pgvault.store.store import Facts
from pgvault.vault.index_files import BUSY_SECONDS, in_words, make_private, reading_uri
from pgvault.vault.layout import ServerVault

if TYPE_CHECKING:
    from pgvault.model.window import Archived

FORMAT = 4
"""The version of the index. Versions 2 and 3 have the same table of files; the records have to be read again."""
_SAME_FILES = (2, 3)

_FILES = """
CREATE TABLE file (
  name TEXT PRIMARY KEY, kind TEXT NOT NULL, timeline INTEGER NOT NULL, number INTEGER,
  plain INTEGER NOT NULL, stored INTEGER NOT NULL, sha256 BLOB NOT NULL, accepted_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX file_by_position ON file (kind, timeline, number);
"""
_FACTS = f"""
CREATE TABLE facts (
  timeline INTEGER NOT NULL, number INTEGER NOT NULL, joined INTEGER NOT NULL, major INTEGER, problem TEXT,
  records INTEGER, commits INTEGER, aborts INTEGER, first_time INTEGER, last_time INTEGER, earliest INTEGER,
  latest INTEGER, oldest_xid INTEGER, newest_xid INTEGER, first_lsn INTEGER, last_lsn INTEGER, end_lsn INTEGER,
  end_cause TEXT, carry TEXT, removals INTEGER, most_rows INTEGER, running TEXT,
  passed INTEGER, whole INTEGER, PRIMARY KEY (timeline, number)
) WITHOUT ROWID;
CREATE TABLE restore_point (
  timeline INTEGER NOT NULL, lsn INTEGER NOT NULL, end_lsn INTEGER NOT NULL, at INTEGER NOT NULL, name TEXT NOT NULL,
  number INTEGER NOT NULL, PRIMARY KEY (timeline, lsn)
) WITHOUT ROWID;
CREATE INDEX restore_point_by_name ON restore_point (name);
CREATE TABLE effect (
  timeline INTEGER NOT NULL, number INTEGER NOT NULL, lsn INTEGER NOT NULL, kind TEXT NOT NULL, facts TEXT NOT NULL,
  PRIMARY KEY (timeline, number, lsn)
) WITHOUT ROWID;
PRAGMA user_version = {FORMAT};
"""


_OF_RECORDS = ("facts", "restore_point", "effect")
"""The tables with the facts of a segment's records."""


class StoredFile(NamedTuple):
    """One archived file; sizes in bytes."""

    name: str
    kind: str
    """One of segment, partial, label and history."""
    timeline: int
    number: int | None
    """The segment's number; None for a history file."""
    plain: int
    stored: int
    sha256: bytes
    """The digest of the plain content."""
    accepted_at: int
    """Microseconds since 1970, UTC."""


def describe(found: Facts, name: str, segment_size: int | None, plain: int, sha256: bytes) -> StoredFile:
    """Return the row for a file in the archive. `segment_size` is None before the first segment came."""
    file = parse_wal_name(name)
    stored, at = found.size, found.modified // 1000
    if isinstance(file, HistoryFile):
        return StoredFile(name, "history", file.timeline, None, plain, stored, sha256, at)
    kind = {SegmentFile: "segment", PartialFile: "partial", LabelFile: "label"}[type(file)]
    number = Segment.parse(name[:24], segment_size).number if segment_size else None
    return StoredFile(name, kind, int(name[:8], 16), number, plain, stored, sha256, at)


class WalIndex:
    """An open index. Every change is one transaction, on disk when the method returns."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def find(self, name: str) -> StoredFile | None:
        row = self.connection.execute("SELECT * FROM file WHERE name = ?", (name,)).fetchone()
        return StoredFile(*row) if row else None

    def add(self, file: StoredFile) -> None:
        """Add a row, also in the place of an older one, whose facts then no longer hold."""
        with self.connection:
            self.connection.execute("BEGIN IMMEDIATE")
            self._forget(file.name)
            self.connection.execute("INSERT INTO file VALUES (?,?,?,?,?,?,?,?)", (
                file.name, file.kind, file.timeline, file.number, file.plain, file.stored, file.sha256,
                file.accepted_at))

    def remove(self, *names: str) -> None:
        """Remove the rows and the facts of files that left the archive."""
        with self.connection:
            self.connection.execute("BEGIN IMMEDIATE")
            for name in names:
                self._forget(name)

    def newest_accepted(self) -> int | None:
        """Return when the newest file was accepted, in microseconds since 1970; None if there is none."""
        newest = self.connection.execute("SELECT max(accepted_at) FROM file").fetchone()[0]
        return None if newest is None else int(newest)

    def forget_facts(self) -> None:
        """Forget all facts, so that every segment is read again."""
        with self.connection:
            self.connection.execute("BEGIN IMMEDIATE")
            for table in _OF_RECORDS:
                self.connection.execute(f"DELETE FROM {table}")

    def names(self) -> list[str]:
        """Return the names of all files, in order."""
        return [name for (name,) in self.connection.execute("SELECT name FROM file ORDER BY name")]

    def files(self, kind: str) -> Iterator[StoredFile]:
        """Yield all files of a kind, by timeline and number."""
        return (StoredFile(*row) for row in self.connection.execute(
            "SELECT * FROM file WHERE kind = ? ORDER BY timeline, number", (kind,)))

    def has(self, segment: Segment) -> bool:
        return self.connection.execute(
            "SELECT 1 FROM file WHERE kind = 'segment' AND timeline = ? AND number = ?",
            (segment.timeline, segment.number)).fetchone() is not None

    def segments(self) -> set[Segment]:
        """Return all complete segments."""
        return {Segment(*row) for row in self.connection.execute(
            "SELECT timeline, number FROM file WHERE kind = 'segment'")}

    def stored_bytes(self) -> int:
        return int(self.connection.execute("SELECT coalesce(sum(stored), 0) FROM file").fetchone()[0])

    def _forget(self, name: str) -> None:
        row = self.connection.execute("SELECT kind, timeline, number FROM file WHERE name = ?", (name,)).fetchone()
        if row is None:
            return
        self.connection.execute("DELETE FROM file WHERE name = ?", (name,))
        kind, *position = row
        if kind == "segment":
            for table in _OF_RECORDS:
                self.connection.execute(f"DELETE FROM {table} WHERE timeline = ? AND number = ?", position)


# The order of names is that of timeline and number; the plus makes SQLite read the table instead of the index.
_ARCHIVED = """
SELECT file.timeline, file.number, earliest, latest, whole, coalesce(end_cause, 'switched') <> 'switched',
       last_lsn, end_cause {}
FROM file LEFT JOIN facts USING (timeline, number) WHERE {} ORDER BY name"""
_BREAKS = "SELECT 1 FROM facts WHERE end_cause IN ('damaged', 'minimal') LIMIT 1"
_ALL = "+kind = 'segment'"
_BETWEEN = "kind = 'segment' AND file.timeline = ? AND file.number BETWEEN ? AND ?"


def archived_segments(index: WalIndex) -> list[Archived]:
    """Return every segment by timeline and number, with the facts that recovery planning needs."""
    from pgvault.model.window import Archived  # put-wal and get-wal do not need it

    return [Archived._make(row) for row in archived_rows(index)]


def archived_rows(index: WalIndex, *more: str) -> sqlite3.Cursor:
    """Return the same as rows, to be read in portions, followed by further columns of `file` and `facts`."""
    return index.connection.execute(_ARCHIVED.format("".join(f", {column}" for column in more), _ALL))


def archived_between(index: WalIndex, first: Segment, last: Segment) -> list[Archived]:
    """Return the segments of one timeline, by number."""
    from pgvault.model.window import Archived

    return [Archived._make(row) for row in index.connection.execute(
        _ARCHIVED.format("", _BETWEEN), (first.timeline, first.number, last.number))]


def has_breaks(index: WalIndex) -> bool:
    """Return whether there is a segment that recovery does not pass: a record is damaged, or wal_level was minimal."""
    return index.connection.execute(_BREAKS).fetchone() is not None


@contextmanager
def writing(server: ServerVault) -> Iterator[WalIndex]:
    """Open the index for writing, and create it if it is missing; committed changes survive a power failure."""
    with _in_words(server):
        make_private(server.cache.wal)
        with closing(sqlite3.connect(server.cache.wal, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            if connection.execute("PRAGMA user_version").fetchone()[0] != FORMAT:
                _create(connection)
            yield WalIndex(connection)


@contextmanager
def reading(server: ServerVault) -> Iterator[WalIndex]:
    """Open the index for queries, also in a vault that may not be written to, or that is full. Raises NotFound if there
    is none.
    """
    if not server.cache.wal.exists():
        raise NotFound(f"the index {server.cache.wal} is missing",
                       hint=f"It is a cache; make it again: {_remedy(server)}")
    with ExitStack() as scratch, _in_words(server):
        connection = scratch.enter_context(closing(sqlite3.connect(
            reading_uri(server.cache.wal, scratch, mode="rw"), timeout=BUSY_SECONDS, isolation_level=None, uri=True)))
        connection.execute("PRAGMA temp_store = MEMORY")
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        if found in _SAME_FILES:  # until the next writer, a copy in memory shows the index as that writer will make it
            older, connection = connection, scratch.enter_context(
                closing(sqlite3.connect(":memory:", isolation_level=None)))
            older.backup(connection)
            _create(connection)
        elif found != FORMAT:
            raise sqlite3.DatabaseError("it has another format")
        yield WalIndex(connection)


@contextmanager
def copied(server: ServerVault) -> Iterator[WalIndex]:
    """Return a copy in memory, empty if there is no usable index: it answers for a vault that cannot be written to."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        try:
            with reading(server) as index:
                index.connection.backup(connection)
        except (NotFound, Corrupt):
            _create(connection)
        yield WalIndex(connection)


def _create(connection: sqlite3.Connection) -> None:
    """Create the tables, once, whichever process is first. An index of another format is a cache: it loses the facts of
    records, and also its files if their columns were different.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        if found != FORMAT:
            keeps = ("file",) if found in _SAME_FILES else ()
            tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            drops = [f"DROP TABLE {name}" for name in tables if name not in keeps]
            for statement in drops + ("" if keeps else _FILES).split(";") + _FACTS.split(";"):
                connection.execute(statement)
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def discard(server: ServerVault) -> None:
    """Move an unusable index aside; the caller holds the archive's lock. `rebuild` makes it again."""
    for suffix in ("-wal", "-shm", "", "-journal"):
        server.cache.wal.with_name(server.cache.wal.name + suffix).unlink(missing_ok=True)


def _in_words(server: ServerVault) -> AbstractContextManager[None]:
    return in_words(server.cache.wal, _remedy(server))


def _remedy(server: ServerVault) -> str:
    return f"pgvault rebuild-index {server.name}"
