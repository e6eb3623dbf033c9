"""A manifest as a list for people: a portion of its entries at a time, and a search that yields what it finds as it
goes.

Made for manifests of a million files, of which no more is read than is shown.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from array import array
from collections.abc import Iterator, Sequence
from contextlib import closing

from pgvault.model.backup import Backup
from pgvault.model.errors import Corrupt
from pgvault.vault.layout import ServerVault
from pgvault.vault.manifest import Entry, Manifest, entry_of

_BLOCK = 20_000
"""The number of entries that are searched at a time: some milliseconds' worth."""
_LONGEST = 4096
"""The longest text to search for, in characters: a longer one is in no path; SQLite does not accept patterns of any
length.
"""


class Listing(Manifest):
    """Entries in the order of the backup, which is that of their ids: 1 to the number of entries."""

    def __init__(self, server: ServerVault, backup: Backup, *, check: bool = False) -> None:
        """Open the manifest. Raises Corrupt if it is missing, or visibly damaged without reading it completely."""
        super().__init__(server, backup, check=check)
        try:
            [(self._count,)] = self._query("SELECT coalesce(max(id), 0) FROM file")
        except Corrupt:
            self._db.close()
            raise

    def __len__(self) -> int:
        return int(self._count)

    def entries_at(self, first: int, limit: int) -> list[Entry]:
        """Return at most `limit` entries from index `first` on, counted from 0."""
        return [entry_of(row) for row in self._query(
            "SELECT * FROM file WHERE id > ? ORDER BY id LIMIT ?", (first, limit))]

    def entries_of(self, ids: Sequence[int]) -> list[Entry]:
        """Return the entries in the order of `ids`; ids without an entry are skipped."""
        query = "SELECT * FROM file WHERE id = ?"
        return [entry_of(row) for each in ids for row in self._query(query, (each,))]

    def search(self, text: str, *, invert: bool = False) -> Search:
        """Return a search for the entries whose path contains `text`, or with `invert` does not; ASCII letters match in
        either case."""
        return Search(self, text, invert)


class Search:
    """The ids of the matching entries in order, in blocks, some of them empty: each is a step through the manifest.

    It has a connection of its own, so any thread may iterate over it while another reads the list.
    """

    def __init__(self, listing: Listing, text: str, invert: bool) -> None:
        self._listing, self._invert = listing, invert
        self._pattern = _pattern(text[:_LONGEST])
        self.searched = 0
        """The number of entries searched so far."""
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        self._stopped = False

    def stop(self) -> None:
        """End the search at once, from any thread; no further block follows."""
        with self._lock:
            self._stopped = True
            if self._db is not None:
                self._db.interrupt()

    def __iter__(self) -> Iterator[array[int]]:
        with closing(self._listing.connect()) as db:
            with self._lock:
                self._db = db
            try:
                yield from self._blocks(db)
            finally:
                with self._lock:  # a closed connection must not be interrupted
                    self._db = None

    def _blocks(self, db: sqlite3.Connection) -> Iterator[array[int]]:
        # As text: SQLite may be compiled so that LIKE finds nothing in blobs, which paths that are not UTF-8 are.
        fits = f"CAST(path AS TEXT) {'NOT ' * self._invert}LIKE CAST(? AS TEXT) ESCAPE '\\'"
        query = f"SELECT id FROM file WHERE id BETWEEN ? AND ? AND {fits}"
        for first in range(1, len(self._listing) + 1, _BLOCK):
            try:
                rows = db.execute(query, (first, first + _BLOCK - 1, self._pattern)).fetchall()
            except sqlite3.DatabaseError as error:
                if self._stopped:
                    return
                raise self._listing.unreadable(error) from None
            if self._stopped:
                return
            self.searched = min(first + _BLOCK - 1, len(self._listing))
            yield array("q", [number for (number,) in rows])


def _pattern(text: str) -> bytes:
    """Return the pattern for LIKE."""
    for special in "\\%_":
        text = text.replace(special, f"\\{special}")
    return os.fsencode(f"%{text}%")
