"""Reads any record of the archived WAL, segment by segment, in any order of the segments.

The part of a record that the index keeps at a segment's end serves transactions only (see `wal_facts`); here other
records are completed too, from the end of the previous segment.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace

from pgvault.model.errors import Corrupt, NotFound, WalMissing
from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment
from pgvault.vault.identity import Identity
from pgvault.vault.layout import ServerVault
from pgvault.vault.wal_facts import carry_before
from pgvault.vault.wal_fetch import read_verified
from pgvault.vault.wal_index import WalIndex
from pgvault.vault.wal_rows import Row
from pgvault.vault.wal_search import WalSearch
from pgvault.wal.carry import Carry, Unfinished
from pgvault.wal.pages import LONG_HEADER, SHORT_HEADER
from pgvault.wal.pieces import pieces
from pgvault.wal.record import HEADER_SIZE
from pgvault.wal.records import Reading


class RecordReader:
    """Reads the records of some resource managers."""

    def __init__(self, server: ServerVault, index: WalIndex, identity: Identity, search: WalSearch,
                 rmgrs: Collection[int]) -> None:
        self._server, self._index, self._identity, self._search = server, index, identity, search
        self._rmgrs = rmgrs

    def readings(self, row: Row, carry: Carry | None = None) -> Iterator[Reading]:
        """Yield the segment's records, in one reading for each piece of bounded size; exhaust each before the next.

        `carry` is that of the previous segment's reading, if that was just done. Raises WalMissing if the segment
        cannot be read; ValueError from a reading means the same.
        """
        start = row.segment.start(self._search.size)
        if carry is None or carry.at != start:
            carry = self._carry(row.segment)
        try:
            for at, data in pieces(self._search.chunks(row), start):
                reading = Reading(data, at, carry, rmgrs=self._rmgrs)
                yield reading
                carry = reading.carry
                if carry is None:
                    return
        except (FileNotFoundError, NotFound):
            raise WalMissing(f"{row.name} left the archive while it was being read", hint="Run this again.") from None

    def _carry(self, segment: Segment) -> Carry | None:
        """Return what the previous segment leaves, with all of a record that crosses the boundary; without that if the
        segment is gone.
        """
        carry = carry_before(self._index, self._search.tree, segment, self._identity)
        if carry is None or carry.unfinished is None:
            return carry
        part = carry.unfinished
        if len(part.head) < HEADER_SIZE or part.head[17] not in self._rmgrs or _is_whole(part):
            return carry
        with suppress(NotFound, Corrupt):
            seen = self._seen(segment, part, carry.header.block_size)
            if len(seen) == part.seen:
                return replace(carry, unfinished=replace(part, kept=(seen[HEADER_SIZE:],)))
        return replace(carry, unfinished=None, skip=part.length - part.seen, previous=None)

    def _seen(self, segment: Segment, part: Unfinished, block: int) -> bytes:
        """Return the previous segment's part of a record that continues in this one; too little if it began even
        earlier.
        """
        size, start = self._search.size, segment.start(self._search.size)
        before = next(self._search.tree.history(segment.timeline).path(Lsn(start - 1), start, size))
        name = before.name(size)
        first = part.lsn // block * block
        if part.lsn < before.start(size):
            return b""
        chunks = read_verified(self._server, name)
        return _content(_tail(chunks, first - before.start(size)), first, part.lsn, block, size)


def _is_whole(part: Unfinished) -> bool:
    return sum(map(len, part.kept)) == part.seen - HEADER_SIZE


def _tail(chunks: Iterable[bytes], offset: int) -> bytes:
    """Yield what follows the first `offset` bytes."""
    tail, at = bytearray(), 0
    for chunk in chunks:
        tail += chunk[max(offset - at, 0):]
        at += len(chunk)
    return bytes(tail)


def _content(data: bytes, start: int, lsn: int, block: int, size: int) -> bytes:
    """Return the contents of whole pages from position `lsn` in the first of them on, without the pages' headers."""
    parts = [data[lsn - start:block]]
    for at in range(block, len(data), block):
        header = LONG_HEADER if (start + at) % size == 0 else SHORT_HEADER
        parts.append(data[at + header.size:at + block])
    return b"".join(parts)
