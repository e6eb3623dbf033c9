"""The state that reading one part of the WAL passes on to the next: the position, and a record cut in two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from crc32c import crc32c

from pgvault.model.lsn import Lsn
from pgvault.wal.record import HEADER_SIZE

if TYPE_CHECKING:
    from pgvault.wal.pages import PageHeader


@dataclass(frozen=True, slots=True)
class Unfinished:
    """The part of a record that has been read."""

    lsn: int
    length: int
    seen: int
    head: bytes
    """Its header, as far as it has been read."""
    crc: int
    """CRC-32C of what was read after the header."""
    kept: tuple[bytes, ...]
    """What was read after the header. If the record is not wanted, only the length is kept."""


@dataclass(frozen=True, slots=True)
class Carry:
    """What a reading passes on to the reading of the WAL that follows on the same timeline path."""

    at: Lsn
    """Where the following WAL must start."""
    header: PageHeader
    timeline: int
    previous: int | None
    """Start of the last complete record."""
    resume: int
    """Pages before this position are skipped, because the server switched segments."""
    skip: int
    """Remaining bytes of a record whose start was never read."""
    unfinished: Unfinished | None


class Growing:
    """A record that crosses pages, while it is assembled."""

    __slots__ = ("crc", "head", "kept", "length", "lsn", "seen")

    def __init__(self, part: Unfinished) -> None:
        self.lsn, self.length, self.seen, self.head, self.crc = part.lsn, part.length, part.seen, part.head, part.crc
        self.kept = list(part.kept)

    def add(self, chunk: bytes, keep: bytes) -> None:
        self.seen += len(chunk)
        if (missing := HEADER_SIZE - len(self.head)) > 0:
            self.head += chunk[:missing]
            chunk = chunk[missing:]
        self.crc = crc32c(chunk, self.crc)
        if chunk and keep[self.head[17]]:
            self.kept.append(chunk)

    def frozen(self) -> Unfinished:
        return Unfinished(self.lsn, self.length, self.seen, self.head, self.crc, tuple(self.kept))
