"""WAL in pieces of bounded size, so that a segment of 1 GiB needs no more memory than one of 16 MiB."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

PIECE_SIZE = 16 << 20
"""Bytes read at a time: whole pages of any size, and all of a segment of the default size."""

Piece = tuple[int, bytes]
"""The position of its first byte, and the WAL from there on."""


def pieces(chunks: Iterable[bytes], start: int) -> Iterator[Piece]:
    """The WAL from the position `start` on that comes in chunks of any size, in pieces of `PIECE_SIZE`."""
    gathered = bytearray()
    for chunk in chunks:
        gathered += chunk
        while len(gathered) >= PIECE_SIZE:
            yield start, bytes(gathered[:PIECE_SIZE])
            del gathered[:PIECE_SIZE]
            start += PIECE_SIZE
    if gathered:
        yield start, bytes(gathered)
