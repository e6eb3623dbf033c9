"""The files of a backup as a list of any length; the rows on the screen are read when they are drawn, a page at a time.
"""

from __future__ import annotations

from collections.abc import Sequence

from pgvault.engine.backup_files import BackupFiles
from pgvault.model.errors import PgvaultError
from pgvault.model.text import Painted, Part, size
from pgvault.model.times import of_epoch
from pgvault.vault.manifest import Entry, Kind

_PAGE = 128
_PAGES = 8
"""The pages kept in memory."""


class FileRows:
    """All files, or with `ids` those that a search has found, which may still grow in number."""

    def __init__(self, files: BackupFiles, ids: Sequence[int] | None = None, *,
                 failure: PgvaultError | None = None) -> None:
        self._files, self._ids = files, ids
        self._pages: dict[int, list[Entry]] = {}
        self.failure = failure
        """The first error by which rows could not be read or found; None if there was none."""

    def __len__(self) -> int:
        return len(self._files) if self._ids is None else len(self._ids)

    def entry(self, index: int) -> Entry | None:
        """Return the entry; None if it could not be read."""
        page, place = divmod(index, _PAGE)
        entries = self._pages.get(page, [])
        if place >= len(entries):
            entries = self._pages[page] = self._read(page * _PAGE)
            while len(self._pages) > _PAGES:
                self._pages.pop(next(iter(self._pages)))
        return entries[place] if place < len(entries) else None

    def cells(self, index: int) -> Sequence[Part]:
        entry = self.entry(index)
        if entry is None:
            return Painted("could not be read", "bad"), "-", "-", "-"
        path = f"{entry.path} -> {entry.link}" if entry.link else entry.path
        return (path, Painted(entry.kind.value, "" if entry.kind is Kind.FILE else "dim"),
                size(entry.size) if entry.kind is Kind.FILE else Painted("-", "dim"), modified(entry.mtime))

    def key(self, index: int) -> str:
        return str(index if self._ids is None else self._ids[index])

    def _read(self, first: int) -> list[Entry]:
        try:
            if self._ids is None:
                return self._files.rows(first, _PAGE)
            return self._files.rows_of(self._ids[first:first + _PAGE])
        except PgvaultError as error:
            self.failure = error
            return []


def modified(seconds: int) -> str:
    """Format a time in UTC, to the minute; `-` for a time outside the calendar."""
    moment = of_epoch(seconds)
    return f"{moment:%Y-%m-%d %H:%MZ}" if moment else "-"


def entry_text(entry: Entry) -> str:
    """Return all that is known of a file, to be read and copied."""
    lines = [entry.path]
    if entry.link:
        lines.append(f"link to {entry.link}")
    checksum = f", CRC-32C {entry.crc32c:08x}" if entry.crc32c is not None else ""
    lines.append(f"{entry.kind.value}, {entry.size:,} bytes{checksum}, mode {entry.mode & 0o7777:04o}, "
                 f"modified {modified(entry.mtime)}")
    return "\n".join(lines)
