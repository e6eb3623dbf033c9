"""Compares two copies of one segment: whether they have the same WAL, and which of them is to be kept.

At a promotion the receiver archives the end of the old timeline as far as it came, padded with zeros, and so does the
promoted server, whose file may be a recycled one: what follows the end of the WAL is then of an earlier life. Bytes
after the end of the WAL do not count, so copies that agree up to the end of the shorter one agree.

A whole segment that arrived damaged is no end of the WAL: the copy that continues there is the one that the server
wrote.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import BinaryIO

from pgvault.model.errors import UnknownWal
from pgvault.model.lsn import Lsn
from pgvault.vault.compression import decompressed
from pgvault.wal.carry import Carry
from pgvault.wal.facts import skim_all
from pgvault.wal.pages import read_header
from pgvault.wal.pieces import pieces
from pgvault.wal.records import Cause, WalEnd

_PADDING = 7
"""The most bytes after a record that belong to nothing; its CRC covers its own last ones."""


Copy = Callable[[], BinaryIO]
"""Opens a compressed segment."""


def reaches_further(newcomer: Copy, stored: Copy) -> bool | None:
    """Return whether the WAL of the newcomer reaches further; None if they are of different WAL."""
    reaches = [_reach(copy) for copy in (newcomer, stored)]
    common = min(reaches)
    if _digest(newcomer, common) != _digest(stored, common):
        return None
    return reaches[0] > reaches[1]


def repairs(stored: Copy, newcomer: Copy, carry: Carry | None) -> bool:
    """Return whether the WAL of a stored whole segment breaks off and the newcomer's, the same up to there, does not.

    `carry` is that of the previous segment, if it is known.
    """
    try:
        broken, other = _end(stored, carry), _end(newcomer, carry)
    except (UnknownWal, ValueError):
        return False
    if broken is None or broken.cause is Cause.SWITCHED or (other and other.cause is not Cause.SWITCHED):
        return False
    common = max(broken.lsn - _start(stored) - _PADDING, 0)
    return _digest(stored, common) == _digest(newcomer, common)


def _start(copy: Copy) -> Lsn:
    with copy() as file:
        return read_header(next(decompressed(file), b"")).address


def _end(copy: Copy, carry: Carry | None = None) -> WalEnd | None:
    """Return where the WAL of a compressed segment ends before the segment does."""
    start = _start(copy)
    with copy() as file:
        return skim_all(pieces(decompressed(file), start), carry, every_crc=True).end


def _reach(copy: Copy) -> int:
    """Return how many bytes of a compressed segment, from its beginning, are WAL.

    If its records cannot be read, all but the zeros at its end may be. A record that began in the segment before is
    passed over unseen, so the zeros do not count then either.
    """
    plain = written = 0
    with copy() as file:
        for piece in decompressed(file):
            if content := piece.rstrip(b"\0"):
                written = plain + len(content)
            plain += len(piece)
    try:
        end = _end(copy)
    except (UnknownWal, ValueError):
        return written
    return min(written, max(end.lsn - _start(copy) - _PADDING, 0)) if end else written


def _digest(copy: Copy, length: int) -> bytes:
    """Return the SHA-256 of the first bytes of its plain contents."""
    digest = hashlib.sha256()
    with copy() as file:
        for piece in decompressed(file):
            digest.update(piece[:length])
            length -= len(piece)
            if length <= 0:
                break
    return digest.digest()
