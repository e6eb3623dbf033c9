"""Packs: immutable files of many frames (format in `layout.README`).

A frame is a run of at most 1 MiB of plain bytes, stored as one zstd frame of its own and named by the SHA-256 of the
plain bytes. A pack is written under a temporary name, flushed, renamed and its directory flushed; only then does
anything refer to it. The footer names every frame in it, so that every index can be made again.
"""

from __future__ import annotations

import hashlib
import os
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from crc32c import crc32c

from pgvault.model.errors import Corrupt
from pgvault.store.files import TEMPORARY, open_private, publish
from pgvault.vault.compression import decompress

FRAME_SIZE = 1 << 20
"""Plain bytes of a whole frame."""
PACK_SIZE = 64 << 20
"""Stored bytes after which a pack is closed."""

MAGIC = b"PGVPACK1"
END_MAGIC = b"PGVPEND1"
_ENTRY = struct.Struct("<32sQIII")
_TRAILER = struct.Struct("<QQ8s")


@dataclass(frozen=True, slots=True)
class Location:
    """Where a frame's stored form is, and what it must be."""

    id: bytes
    """SHA-256 of the plain bytes."""
    offset: int
    stored: int
    plain: int
    crc32c: int
    """Of the stored bytes."""


class PackWriter:
    """One pack being written. `add` frames, then `publish`; or `abandon`, which leaves nothing."""

    def __init__(self, directory: Path) -> None:
        # The name sorts by time, so that a listing shows the order of writing.
        self.name = f"{time.time_ns():016x}{os.urandom(4).hex()}"
        self._final = directory / f"{self.name}.pack"
        self._temporary = directory / f"{TEMPORARY}{self.name}.pack"
        descriptor = open_private(self._temporary)
        self._file = open(descriptor, "wb", buffering=1 << 18)  # noqa: SIM115 -- closed by publish or abandon
        self._file.write(MAGIC)
        self.entries: list[Location] = []
        self.size = len(MAGIC)

    def add(self, frame_id: bytes, stored: bytes, plain_length: int) -> None:
        self._file.write(stored)
        self.entries.append(Location(frame_id, self.size, len(stored), plain_length, crc32c(stored)))
        self.size += len(stored)

    def publish(self) -> None:
        """Durable under its name when this returns."""
        footer = b"".join(_ENTRY.pack(e.id, e.offset, e.stored, e.plain, e.crc32c) for e in self.entries)
        self._file.write(footer + hashlib.sha256(footer).digest())
        self._file.write(_TRAILER.pack(self.size, len(self.entries), END_MAGIC))
        self._file.close()
        publish(self._temporary, self._final)

    def abandon(self) -> None:
        with suppress(OSError):  # the disk may be too full for what is still buffered
            self._file.close()
        self._temporary.unlink(missing_ok=True)


def pack_path(directory: Path, name: str) -> Path:
    return directory / f"{name}.pack"


def pack_names(directory: Path) -> set[str]:
    return {path.stem for path in directory.glob("*.pack") if not path.name.startswith(TEMPORARY)}


def read_footer(path: Path) -> Iterator[Location]:
    """Every frame of a pack; Corrupt when the footer is not what was written."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(size - _TRAILER.size, 0))
        trailer = file.read()
        if len(trailer) != _TRAILER.size:
            raise Corrupt(f"pack {path} is cut short")
        start, count, magic = _TRAILER.unpack(trailer)
        if magic != END_MAGIC or start + count * _ENTRY.size + 32 + _TRAILER.size != size:
            raise Corrupt(f"pack {path} is damaged", detail="Its end is not that of a pack.")
        file.seek(start)
        footer = file.read(count * _ENTRY.size)
        if hashlib.sha256(footer).digest() != file.read(32):
            raise Corrupt(f"pack {path} is damaged", detail="Its footer does not match its hash.")
    for entry in _ENTRY.iter_unpack(footer):
        yield Location(*entry)


class PackReader:
    """Reads stored frames, each checked against its CRC-32C. Keeps the last pack open; not for several threads."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._name = ""
        self._descriptor = -1

    def __enter__(self) -> PackReader:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor, self._name = -1, ""

    def stored(self, pack: str, location: Location) -> bytes:
        """The frame as it is stored: one zstd frame; Corrupt when it is not what was written."""
        if pack != self._name:
            self.close()
            try:
                self._descriptor = os.open(pack_path(self._directory, pack), os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                raise Corrupt(f"pack {pack} is missing", detail=f"{self._directory} should hold it.",
                              hint="Restore from another backup, or bring the pack back from a copy.") from None
            self._name = pack
        stored = os.pread(self._descriptor, location.stored, location.offset)
        if len(stored) != location.stored or crc32c(stored) != location.crc32c:
            raise Corrupt(
                f"pack {pack} is damaged",
                detail=f"The {location.stored} bytes at offset {location.offset} do not match their checksum.",
                hint="Backups that do not use these bytes are unaffected: restore from another one.")
        return stored

    def plain(self, pack: str, location: Location) -> bytes:
        """The frame's plain bytes, checked against its SHA-256."""
        return check_plain(self.stored(pack, location), location.id, location.plain, pack)


def check_plain(stored: bytes, frame_id: bytes, plain_length: int, pack: str) -> bytes:
    """Unpack a stored frame; Corrupt when the plain bytes are not those its id names."""
    plain = decompress(stored, plain_length)
    if hashlib.sha256(plain).digest() != frame_id:
        raise Corrupt(f"pack {pack} is damaged", detail=f"Frame {frame_id.hex()} does not match its SHA-256.",
                      hint="Backups that do not use this frame are unaffected: restore from another one.")
    return plain
