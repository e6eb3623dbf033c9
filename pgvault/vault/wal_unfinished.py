"""Segments of which only the beginning is there: the end of a timeline that was archived as `.partial`, or what the
receiver has of the segment that the server is writing.

They count for nothing unless a person asks for them (rule 14): what a server may still be writing is no promise. But
after the loss of a server they hold its last commits. A file that is being streamed is only ever read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pgvault.model.lsn import Lsn
from pgvault.model.segment import PartialFile, Segment, parse_wal_name
from pgvault.vault.compression import PIECE
from pgvault.vault.identity import Identity
from pgvault.vault.layout import ServerVault
from pgvault.vault.streaming import PARTIAL, partials
from pgvault.vault.wal_archive import path_of
from pgvault.vault.wal_fetch import fetch, read_verified
from pgvault.vault.wal_index import WalIndex
from pgvault.wal.facts import SegmentFacts, skim_all
from pgvault.wal.pages import LONG_HEADER, SHORT_HEADER, UnknownWal, read_header
from pgvault.wal.pieces import pieces
from pgvault.wal.records import Carry


@dataclass(frozen=True, slots=True)
class Unfinished:
    """One copy of an unfinished segment, as far as it was when it was looked at."""

    name: str
    """With `.partial`."""
    path: Path
    archived: bool
    """Packed, in the archive; else being streamed."""
    length: int
    """Bytes on disk; a streamed one may have grown since, and no more of it is read."""
    end: Lsn
    """Behind its last record; where its segment ends when its records cannot be read."""
    facts: SegmentFacts | None
    problem: str
    """Why its records cannot be read."""

    def chunks(self, server: ServerVault) -> Iterator[bytes]:
        """Its content. Corrupt when it is damaged, FileNotFoundError when it has become something else meanwhile."""
        return _chunks(server, self.name, self.path, self.archived, self.length)


def segments(server: ServerVault, index: WalIndex, identity: Identity) -> set[Segment]:
    """All of which there is an unfinished copy."""
    found = {Segment(file.timeline, file.number) for file in index.files("partial") if file.number is not None}
    with suppress(FileNotFoundError, ValueError):
        found |= {Segment.parse(name, identity.segment_size) for name in partials(server)}
    return found


def look(server: ServerVault, segment: Segment, identity: Identity, carry: Carry | None) -> Unfinished | None:
    """The copy of this segment that reaches furthest; None when there is none with any WAL in it.

    `carry` is what the segment before left. Corrupt when the archived copy is damaged.
    """
    name = segment.name(identity.segment_size) + PARTIAL
    found = []
    for path, archived in ((path_of(server, name), True), (server.streaming / name, False)):
        with suppress(FileNotFoundError):
            found.append(_read(server, name, path, archived, segment, identity, carry))
    return max((each for each in found if each is not None), key=lambda each: each.end, default=None)


def newest_content(server: ServerVault, name: str, identity: Identity) -> bytes | None:
    """All that there is now of the segment `name`, zeros behind it: the whole one when it has become that meanwhile.

    None when nothing is left of it. In this order nothing that moves on meanwhile is missed: it goes from streaming
    to a whole segment, or into the archive as it is.
    """
    size = identity.segment_size
    copies = []
    with suppress(FileNotFoundError), (server.streaming / (name + PARTIAL)).open("rb") as file:
        copies.append(file.read(size).ljust(size, b"\0"))
    if (whole := fetch(server, name)) is not None:
        return whole
    if (archived := fetch_archived(server, name + PARTIAL)) is not None:
        copies.append(archived)
    start = Segment.parse(name, size).start(size)
    return max(copies, key=lambda content: _end_of(content, start), default=None)


def fetch_archived(server: ServerVault, name: str) -> bytes | None:
    """As `fetch`, but what waits in streaming stays there: the receiver goes on with it."""
    try:
        return b"".join(read_verified(server, name, path_of(server, name)))
    except FileNotFoundError:
        return None


def _end_of(content: bytes, start: Lsn) -> Lsn:
    try:
        end = skim_all(pieces([content], start), every_crc=True).end
    except (UnknownWal, ValueError):
        return start
    return end.lsn if end else Lsn(start + len(content))


def _read(server: ServerVault, name: str, path: Path, archived: bool, segment: Segment, identity: Identity,
          carry: Carry | None) -> Unfinished | None:
    size = identity.segment_size
    start, length = segment.start(size), path.stat().st_size
    consecutive = pieces(_chunks(server, name, path, archived, length), start)
    try:
        facts = skim_all(consecutive, carry, every_crc=True)
    except UnknownWal as unknown:
        return Unfinished(name, path, archived, length, segment.end(size), None, unknown.message)
    except ValueError:  # nothing of it was written yet
        return None
    end = _behind_last_record(facts.end.lsn if facts.end else Lsn(start + min(length, size)), size)
    return Unfinished(name, path, archived, length, end, facts, "") if end > start else None
