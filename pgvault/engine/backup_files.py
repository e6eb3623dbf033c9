"""The files of one backup for display: a page at a time, filtered while a person types."""

from __future__ import annotations

from collections.abc import Sequence

from pgvault.model.backup import Backup
from pgvault.vault.layout import ServerVault
from pgvault.vault.listing import Listing, Search
from pgvault.vault.manifest import Entry, Manifest


class BackupFiles:
    """A scope: `with BackupFiles(vault, backup) as files`. It lists files, directories and links in the order of the
    backup.

    To filter, iterate over `search(text)` in a worker, collect the ids, and show `rows_of` a slice of them. When the
    text changes, `stop` the search from any thread.
    """

    def __init__(self, vault: ServerVault, backup: Backup) -> None:
        """Open the manifest. Raises Corrupt if it is missing, or visibly damaged without reading it completely."""
        self._vault, self._backup = vault, backup
        self._listing = Listing(vault, backup)

    def __enter__(self) -> BackupFiles:
        return self

    def __exit__(self, *exc: object) -> None:
        self._listing.__exit__(*exc)

    def __len__(self) -> int:
        return len(self._listing)

    def rows(self, first: int, limit: int) -> list[Entry]:
        """Return at most `limit` entries from `first` on, counted from 0."""
        return self._listing.entries_at(first, limit)

    def rows_of(self, ids: Sequence[int]) -> list[Entry]:
        """Return the entries with these ids, as returned by a search."""
        return self._listing.entries_of(ids)

    def search(self, text: str, *, invert: bool = False) -> Search:
        """Return a search whose ids come in blocks, the first within milliseconds. An empty text matches everything."""
        return self._listing.search(text, invert=invert)

    def check(self) -> None:
        """Read the whole manifest and compare it with its hash; Corrupt if they differ."""
        with Manifest(self._vault, self._backup, check=True):
            pass
