"""The files of one backup, to be looked through on a screen: a page at a time, filtered as one types."""

from __future__ import annotations

from collections.abc import Sequence

from pgvault.model.backup import Backup
from pgvault.vault.layout import ServerVault
from pgvault.vault.listing import Listing, Search
from pgvault.vault.manifest import Entry, Manifest


class BackupFiles:
    """A scope: `with BackupFiles(vault, backup) as files`. Files, directories and links, in the order of the backup.

    Filter by walking through `search(text)` in a worker, collecting the ids that it gives, and showing `rows_of` a
    slice of them; when the text changes, `stop` the search from wherever that is noticed.
    """

    def __init__(self, vault: ServerVault, backup: Backup) -> None:
        """Corrupt when the manifest is missing, or can be seen to be damaged without reading it whole."""
        self._vault, self._backup = vault, backup
        self._listing = Listing(vault, backup)

    def __enter__(self) -> BackupFiles:
        return self

    def __exit__(self, *exc: object) -> None:
        self._listing.__exit__(*exc)

    def __len__(self) -> int:
        return len(self._listing)

    def rows(self, first: int, limit: int) -> list[Entry]:
        """At most `limit` from place `first` on; places are counted from 0."""
        return self._listing.entries_at(first, limit)

    def rows_of(self, ids: Sequence[int]) -> list[Entry]:
        """Those with these ids, as a search gave them."""
        return self._listing.entries_of(ids)

    def search(self, text: str, *, invert: bool = False) -> Search:
        """Its ids come in blocks, the first one within milliseconds; empty text fits everything."""
        return self._listing.search(text, invert=invert)

    def check(self) -> None:
        """Read the whole manifest, and compare it with its hash; Corrupt when it is not what was written."""
        with Manifest(self._vault, self._backup, check=True):
            pass
