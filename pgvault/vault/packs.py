"""Packs: immutable files of many frames (format in `layout.README`).

A frame is a run of at most 1 MiB of plain bytes, stored as one zstd frame of its own and named by the SHA-256 of the
plain bytes. A pack is durable in the store before anything refers to it. The footer names every frame in it, so that
every index can be made again.
"""

from __future__ import annotations

import hashlib
import os
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from crc32c import crc32c

from pgvault.model.errors import Corrupt, NotFound, PgvaultError
from pgvault.store.keys import Kind
from pgvault.vault.compression import decompress
from pgvault.vault.layout import ServerVault

FRAME_SIZE = 1 << 20
"""The plain bytes of a whole frame."""
PACK_SIZE = 64 << 20
"""The stored bytes after which a pack is closed."""

MAGIC = b"PGVPACK1"
END_MAGIC = b"PGVPEND1"
_ENTRY = struct.Struct("<32sQIII")
_TRAILER = struct.Struct("<QQ8s")

_TAIL = 64 << 10
"""The bytes at the end of a pack that contain the footer of most packs."""
_AHEAD = 4 << 20
"""The most bytes that are read at once."""
_PACKS_AT_ONCE = 2
"""The number of packs that stay open: those of the frames, and those of their deltas' parents."""


@dataclass(frozen=True, slots=True)
class Location:
    """The place of a frame's stored form, and its expected contents."""

    id: bytes
    """The SHA-256 of the plain bytes."""
    offset: int
    stored: int
    plain: int
    crc32c: int
    """The checksum of the stored bytes."""


class PackWriter:
    """One pack being written. `add` frames, then `publish`; or `abandon`, which leaves nothing."""

    def __init__(self, server: ServerVault) -> None:
        # The name sorts by time, so that a listing shows the order of writing.
        self.name = f"{time.time_ns():016x}{os.urandom(4).hex()}"
        self._store, self._key = server.store, server.key(Kind.PACK, self.name)
        self._spool = self._store.spool(self._key)
        self._spool.write(MAGIC)
        self.entries: list[Location] = []
        self.size = len(MAGIC)

    def add(self, frame_id: bytes, stored: bytes, plain_length: int) -> None:
        self._spool.write(stored)
        self.entries.append(Location(frame_id, self.size, len(stored), plain_length, crc32c(stored)))
        self.size += len(stored)

    def publish(self) -> None:
        """Publish the pack; it is durable under its name when this returns."""
        footer = b"".join(_ENTRY.pack(e.id, e.offset, e.stored, e.plain, e.crc32c) for e in self.entries)
        self._spool.write(footer + hashlib.sha256(footer).digest())
        self._spool.write(_TRAILER.pack(self.size, len(self.entries), END_MAGIC))
        self._store.put(self._key, self._spool)

    def abandon(self) -> None:
        self._spool.discard()


def pack_names(server: ServerVault) -> set[str]:
    return {each.name for each in server.store.list(Kind.PACK, server.name)}


def read_footer(server: ServerVault, name: str) -> Iterator[Location]:
    """Return every frame of a pack. Raises Corrupt if the footer is not what was written."""
    key, pack = server.key(Kind.PACK, name), server.location(Kind.PACK, name)
    found = server.store.stat(key)
    size = found.size if found else 0
    if size < _TRAILER.size:
        raise Corrupt(f"pack {pack} is cut short")
    tail = server.store.read(key, at := max(size - _TAIL, 0))
    start, count, magic = _TRAILER.unpack(tail[-_TRAILER.size:])
    length = count * _ENTRY.size
    if magic != END_MAGIC or start + length + 32 + _TRAILER.size != size:
        raise Corrupt(f"pack {pack} is damaged", detail="Its end is not that of a pack.")
    whole = tail[start - at:] if start >= at else server.store.read(key, start)
    footer, digest = whole[:length], whole[length:length + 32]
    if hashlib.sha256(footer).digest() != digest:
        raise Corrupt(f"pack {pack} is damaged", detail="Its footer does not match its hash.")
    for entry in _ENTRY.iter_unpack(footer):
        yield Location(*entry)


class _Range(NamedTuple):
    """Some bytes of a pack."""

    start: int
    data: bytes

    @property
    def end(self) -> int:
        return self.start + len(self.data)

    def holds(self, offset: int, length: int) -> bool:
        return self.start <= offset and offset + length <= self.end


class PackReader:
    """Reads stored frames, each checked against its CRC-32C. It is not for several threads.

    Frames are mostly read in the order of their places: a file's one after the other, and the parents of its deltas
    likewise in an older pack. So a frame that follows the previous one is read together with those after it, in one
    range.
    """

    def __init__(self, server: ServerVault) -> None:
        self._server = server
        self._ranges: dict[str, _Range] = {}
        """The last range read of each pack; the most recently used pack is last."""

    def __enter__(self) -> PackReader:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._ranges.clear()

    def stored(self, pack: str, location: Location) -> bytes:
        """Return the frame as it is stored, one zstd frame. Raises Corrupt if it is not what was written."""
        try:
            stored = self._read(pack, location.offset, location.stored)
        except NotFound:
            raise Corrupt(f"pack {pack} is missing", detail=f"{self._server.location(Kind.PACK, pack)} should be it.",
                          hint="Restore from another backup, or bring the pack back from a copy.") from None
        except Corrupt:
            stored = b""
        if len(stored) != location.stored or crc32c(stored) != location.crc32c:
            raise Corrupt(
                f"pack {pack} is damaged",
                detail=f"The {location.stored} bytes at offset {location.offset} do not match their checksum.",
                hint="Backups that do not use these bytes are unaffected: restore from another one. If the index of "
                     f"frames names a wrong place, pgvault rebuild-index {self._server.name} corrects that.")
        return stored

    def _read(self, pack: str, offset: int, length: int) -> bytes:
        before = self._ranges.pop(pack, None)
        if before is None or not before.holds(offset, length):
            follows = before is not None and before.start <= offset <= before.end
            before = self._read_range(pack, offset, length, ahead=follows)
        self._ranges[pack] = before
        if len(self._ranges) > _PACKS_AT_ONCE:
            del self._ranges[next(iter(self._ranges))]
        return before.data[offset - before.start:offset - before.start + length]

    def _read_range(self, pack: str, offset: int, length: int, *, ahead: bool) -> _Range:
        store, key = self._server.store, self._server.key(Kind.PACK, pack)
        if ahead and length < _AHEAD and (found := store.stat(key)):
            with suppress(PgvaultError):  # the following frames may be damaged, and are not needed yet
                return _Range(offset, store.read(key, offset, min(max(found.size - offset, length), _AHEAD)))
        return _Range(offset, store.read(key, offset, length))

    def plain(self, pack: str, location: Location) -> bytes:
        """Return the frame's plain bytes, checked against its SHA-256."""
        return check_plain(self.stored(pack, location), location.id, location.plain, pack)


def check_plain(stored: bytes, frame_id: bytes, plain_length: int, pack: str) -> bytes:
    """Unpack a stored frame. Raises Corrupt if the plain bytes are not those that its id names."""
    plain = decompress(stored, plain_length)
    if hashlib.sha256(plain).digest() != frame_id:
        raise Corrupt(f"pack {pack} is damaged", detail=f"Frame {frame_id.hex()} does not match its SHA-256.",
                      hint="Backups that do not use this frame are unaffected: restore from another one.")
    return plain
