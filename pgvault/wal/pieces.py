"""Splits WAL into pieces of bounded size, so that a segment of 1 GiB needs no more memory than one of 16 MiB."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

PIECE_SIZE = 16 << 20
"""Bytes read at a time: whole pages of any size, and a complete segment of the default size."""

Piece = tuple[int, bytes]
"""The position of the first byte, and the WAL from there on."""


def pieces(chunks: Iterable[bytes], start: int) -> Iterator[Piece]:
    """Regroup WAL that arrives in chunks of any size, from position `start` on, into pieces of `PIECE_SIZE`."""
    gathered: list[bytes] = []
    size = 0
    for chunk in chunks:
        while size + len(chunk) >= PIECE_SIZE:
            gathered.append(chunk[:PIECE_SIZE - size])
            chunk, size = chunk[PIECE_SIZE - size:], 0
            piece = b"".join(gathered)
            gathered.clear()  # clear before yielding, so that no byte is held twice
            yield start, piece
            start += PIECE_SIZE
        gathered.append(chunk)
        size += len(chunk)
    if size:
        yield start, b"".join(gathered)
