"""Segments of which only the beginning exists: the end of a timeline that was archived as `.partial`, or the receiver's
part of the segment that the server is writing.

They count only on request (rule 14): the server may still be writing them. But after the loss of a server they have its
last commits. A file that is being streamed is only ever read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from pgvault.model.errors import NotFound, UnknownWal
from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment
from pgvault.vault.compression import PIECE
from pgvault.vault.identity import Identity
from pgvault.vault.layout import ServerVault
from pgvault.vault.streaming import PARTIAL, partials
from pgvault.vault.wal_fetch import fetch, read_verified
from pgvault.vault.wal_index import WalIndex
from pgvault.wal.carry import Carry
from pgvault.wal.facts import SegmentFacts, skim_all
from pgvault.wal.pages import read_header
from pgvault.wal.pieces import pieces


class _Part(NamedTuple):
    """One copy, as long as it was when it was examined: a streamed one grows, and the rest is not read."""

    name: str
    path: Path | None
    """The streamed file; None if the copy is archived."""
    length: int

    def chunks(self, server: ServerVault, size: int) -> Iterator[bytes]:
        """Yield the contents, as long as a whole segment."""
        if self.path is None:
            yield from read_verified(server, self.name)
            return
        left = self.length
        with self.path.open("rb") as file:
            while piece := file.read(min(PIECE, left)):
                left -= len(piece)
                yield piece
        for at in range(self.length - left, size, PIECE):
            yield bytes(min(PIECE, size - at))


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An unfinished segment and the facts of its records."""

    part: _Part
    end: Lsn
    """The end of its last record; the end of the segment if its records cannot be read."""
    facts: SegmentFacts | None
    problem: str
    """Why its records cannot be read."""

    @property
    def name(self) -> str:
        """Return its name with `.partial`."""
        return self.part.name


def segments(server: ServerVault, index: WalIndex, identity: Identity) -> set[Segment]:
    """Return all segments with an unfinished copy."""
    found = {Segment(file.timeline, file.number) for file in index.files("partial") if file.number is not None}
    with suppress(FileNotFoundError, ValueError):
        found |= {Segment.parse(name, identity.segment_size) for name in partials(server)}
    return found


def look(server: ServerVault, segment: Segment, identity: Identity, carry: Carry | None) -> Unfinished | None:
    """Return the copy of this segment that reaches furthest; None if none has any WAL.

    `carry` is that of the previous segment. Raises Corrupt if the archived copy is damaged.
    """
    name = segment.name(identity.segment_size) + PARTIAL
    found = []
    path = server.spool.streaming / name
    with suppress(NotFound):
        found.append(_read(server, _Part(name, None, 0), segment, identity, carry))
    with suppress(FileNotFoundError):
        found.append(_read(server, _Part(name, path, path.stat().st_size), segment, identity, carry))
    return max((each for each in found if each is not None), key=lambda each: each.end, default=None)


def newest_content(server: ServerVault, name: str, size: int) -> bytes | None:
    """Return everything that exists now of segment `name`, followed by zeros; the complete segment if it has become
    complete meanwhile.

    Return None if nothing is left of it. The order matters: from streaming the file goes on to a complete segment or,
    unchanged, into the archive, so nothing that moves on meanwhile is missed.
    """
    copies = []
    with suppress(FileNotFoundError), (server.spool.streaming / (name + PARTIAL)).open("rb") as file:
        copies.append(file.read(size).ljust(size, b"\0"))
    if (whole := fetch(server, name)) is not None:
        return whole
    with suppress(NotFound):
        copies.append(b"".join(read_verified(server, name + PARTIAL)))
    start = Segment.parse(name, size).start(size)
    return max(copies, key=lambda content: _end_of(content, start), default=None)


def _end_of(content: bytes, start: Lsn) -> Lsn:
    try:
        end = skim_all(pieces([content], start), every_crc=True).end
    except (UnknownWal, ValueError):
        return start
    return end.lsn if end else Lsn(start + len(content))


def _read(server: ServerVault, part: _Part, segment: Segment, identity: Identity,
          carry: Carry | None) -> Unfinished | None:
    size = identity.segment_size
    start = segment.start(size)
    chunks = part.chunks(server, size)
    try:
        header = read_header(head := next(chunks, b""))
        if (header.address, str(header.system_identifier)) != (start, identity.system_identifier):
            return None
    except ValueError:  # none of it was written yet
        return None
    try:
        facts = skim_all(pieces(chain([head], chunks), start), carry, every_crc=True)
    except (UnknownWal, ValueError) as error:
        return Unfinished(part, segment.end(size), None, error.message if isinstance(error, UnknownWal) else str(error))
    end = facts.whole or start
    return Unfinished(part, end, facts, "") if end > start else None
