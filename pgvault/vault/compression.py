"""zstd as the vault uses it: one standard frame, its content checksum on, decompressed to exactly what is expected.

Frames of backups fit in memory and are `compress`ed whole, many threads side by side: contexts are kept per thread,
since making one costs more than a small frame's compression, and both directions release the interpreter's lock. WAL
files may measure 1 GiB, so they pass through `Compression` and `decompressed` piece by piece.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO

from pgvault.model.errors import Corrupt

if TYPE_CHECKING or sys.version_info < (3, 14):
    from backports import zstd
else:
    from compression import zstd

PIECE = 256 << 10
"""The bytes that are read at a time: few enough that each piece reuses the memory of the one before, warm as it is."""

_PARAMETER = zstd.CompressionParameter

# zstd starts anew with each run, so it gets larger tables than the level has: with these, runs of 1 MiB pack as
# small as one long stream of level 3 does, at the same speed. Filling them costs small frames more than it saves.
_LARGE = 256 << 10
_LARGE_OPTIONS: dict[int, dict[int, int]] = {
    3: {_PARAMETER.hash_log: 18, _PARAMETER.chain_log: 18, _PARAMETER.min_match: 6},
}

_JOB = 512 << 10
"""The bytes that one of zstd's threads takes at a time: as few as possible, so that both threads soon have work, in
little memory. Levels above 3 look back further, and do better with zstd's own size.
"""


@cache
def _contexts() -> Any:
    """Return this thread's contexts, by level and size. put-wal has none, and does without the import."""
    import threading

    return threading.local()


def compress(data: bytes | memoryview, level: int) -> bytes:
    """Return one complete frame, with content size and checksum."""
    contexts = _contexts().__dict__.setdefault("compressors", {})
    is_large = len(data) > _LARGE
    compressor = contexts.get((level, is_large))
    if compressor is None:
        compressor = contexts[level, is_large] = zstd.ZstdCompressor(options={
            _PARAMETER.compression_level: level, _PARAMETER.checksum_flag: 1,
            **(_LARGE_OPTIONS.get(level, {}) if is_large else {})})
    compressor.set_pledged_input_size(len(data))
    frame: bytes = compressor.compress(data, zstd.ZstdCompressor.FLUSH_FRAME)
    return frame


def decompress(data: bytes | memoryview, plain_length: int) -> bytes:
    """Return the bytes of one complete frame; Corrupt unless it is intact and exactly `plain_length` bytes long.

    It never makes more than `plain_length` + 1 bytes, whatever the frame claims.
    """
    decompressor = zstd.ZstdDecompressor()
    try:
        plain: bytes = decompressor.decompress(data, max_length=plain_length + 1)
        if len(plain) <= plain_length and not decompressor.eof:
            plain += decompressor.decompress(b"", max_length=1)
    except zstd.ZstdError as error:
        raise Corrupt("stored data is damaged", detail=f"zstd says: {error}.") from None
    if len(plain) != plain_length or not decompressor.eof or decompressor.unused_data:
        raise Corrupt("stored data is damaged", detail=f"{plain_length} bytes in one whole frame were expected.")
    return plain


class Compression:
    """One frame made piece by piece; zstd's own threads compress while the caller reads and hashes the next piece."""

    def __init__(self, level: int, *, workers: int = 2) -> None:
        self._compressor = zstd.ZstdCompressor(options={
            _PARAMETER.compression_level: level, _PARAMETER.checksum_flag: 1, _PARAMETER.nb_workers: workers,
            _PARAMETER.job_size: _JOB if level <= 3 else 0})

    def add(self, piece: bytes) -> bytes:
        """Return the compressed bytes that are ready, perhaps none."""
        ready: bytes = self._compressor.compress(piece)
        return ready

    def finish(self) -> bytes:
        rest: bytes = self._compressor.flush(zstd.ZstdCompressor.FLUSH_FRAME)
        return rest


def decompressed(file: BinaryIO) -> Iterator[bytes]:
    """Yield the content of a file that is one whole frame, in pieces; Corrupt, at the latest after the last, if
    damaged."""
    decompressor = zstd.ZstdDecompressor()
    try:
        while not decompressor.eof:
            stored = file.read(PIECE) if decompressor.needs_input else b""
            if not stored and decompressor.needs_input:
                raise Corrupt("stored data is damaged", detail="It ends too early.")
            if plain := decompressor.decompress(stored, max_length=PIECE):
                yield plain
    except zstd.ZstdError as error:
        raise Corrupt("stored data is damaged", detail=f"zstd says: {error}.") from None
    if decompressor.unused_data or file.read(1):
        raise Corrupt("stored data is damaged", detail="Something follows its end.")
