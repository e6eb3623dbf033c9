"""Two copies of one unfinished segment: whether they are of the same WAL, and which of them reaches further.

At a promotion the receiver archives the end of the old timeline as far as it came, padded with zeros, and so does the
promoted server, whose file may be a recycled one: what follows the end of the WAL is then of an earlier life. Bytes
behind the end of the WAL say nothing, so copies that agree up to the end of the shorter one agree.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from pgvault.model.errors import UnknownWal
from pgvault.vault.compression import decompressed
from pgvault.wal.facts import skim_all
from pgvault.wal.pages import read_header
from pgvault.wal.pieces import pieces

_PADDING = 7
"""At most so many bytes behind a record belong to nothing; its CRC vouches for its own last ones."""


def further(stored: Path, newcomer: Path) -> Path | None:
    """The copy whose WAL reaches further, `stored` where neither does; None when they are of different WAL."""
    reaches = {path: _reach(path) for path in (stored, newcomer)}
    common = min(reaches.values())
    if _digest(stored, common) != _digest(newcomer, common):
        return None
    return max(reaches, key=reaches.__getitem__)


def _reach(path: Path) -> int:
    """How many bytes of a compressed segment, from its beginning, are WAL.

    Where its records cannot be read, all but the zeros at its end may be. A record that began in the segment before is
    passed over unseen, so the zeros do not count then either.
    """
    head, plain, written = b"", 0, 0
    with path.open("rb") as file:
        for piece in decompressed(file):
            head = head or piece
            if content := piece.rstrip(b"\0"):
                written = plain + len(content)
            plain += len(piece)
    start = read_header(head).address
    try:
        with path.open("rb") as file:
            end = skim_all(pieces(decompressed(file), start), every_crc=True).end
    except (UnknownWal, ValueError):
        return written
    return min(written, max(end.lsn - start - _PADDING, 0)) if end else written


def _digest(path: Path, length: int) -> bytes:
    """SHA-256 of the first bytes of its plain content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for piece in decompressed(file):
            digest.update(piece[:length])
            length -= len(piece)
            if length <= 0:
                break
    return digest.digest()
