"""A backup's files as tar streams, made of stored frames unchanged or of plain bytes.

A host with zstd gets the stored frames unchanged: independent zstd frames one after the other are one valid stream, so
a tar header, packed as a frame of its own, precedes each file's frames, and `zstd -d | tar -x` does the rest. Every
stored frame is compared with its CRC-32C as it is read, and zstd checks its content checksum on the host; plain streams
are compared with each frame's SHA-256.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from pgvault.engine.restore.files import plain_run, run_length
from pgvault.io.tar import BLOCK, END_OF_ARCHIVE, MemberKind, make_header
from pgvault.vault.compression import compress
from pgvault.vault.manifest import Entry, Kind, Manifest, StoredRun
from pgvault.vault.packs import FRAME_SIZE, PackReader

_LEVEL = -1
"""The zstd level of headers and of runs put together from a frame and a delta. They are only transferred and not
stored, so it is a fast one.
"""
_BLOCK_SIZE = 256 << 10
"""The bytes that are gathered before they are passed on: few enough to keep memory small, and enough to make costs per
block negligible.
"""

_KINDS = {Kind.FILE: MemberKind.FILE, Kind.DIRECTORY: MemberKind.DIRECTORY, Kind.LINK: MemberKind.LINK}


@dataclass(frozen=True, slots=True)
class SmallFile:
    """A file with its content in memory: a changed configuration file, a signal file, a label."""

    path: str
    content: bytes
    mode: int = 0o600
    mtime: int = 0


@dataclass(frozen=True, slots=True)
class PackedFile:
    """A file whose content is one whole zstd frame, in pieces: an archived segment, which may measure 1 GiB."""

    path: str
    size: int
    """The size of the plain content."""
    stored: Callable[[], Iterable[bytes]]
    plain: Callable[[], Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class BackupFile:
    """A file of the backup, extracted as `path`."""

    path: str
    entry: Entry


Item = SmallFile | PackedFile | BackupFile


class TarStream:
    """Turns items into the bytes of one tar stream, compressed or plain."""

    def __init__(self, packs: PackReader, runs: Callable[[Entry], Iterable[StoredRun]], *, packed: bool,
                 wrote: Callable[[int, int], None]) -> None:
        """Make a stream. `wrote(bytes, files)` counts what was put into it, in plain bytes."""
        self._packs, self._runs, self._packed, self._wrote = packs, runs, packed, wrote
        self._parts: list[bytes] = []
        self._plain: list[bytes] = []
        self._size = 0
        self._zeros = compress(bytes(FRAME_SIZE), _LEVEL) if packed else b""

    def blocks(self, items: Iterable[Item]) -> Iterator[bytes]:
        """Yield the whole stream, in blocks of about 256 KiB to a few MiB."""
        for item in items:
            if isinstance(item, BackupFile):
                yield from self._backup_file(item)
            elif isinstance(item, PackedFile):
                yield from self._packed_file(item)
            else:
                self._text(make_header(item.path, MemberKind.FILE, len(item.content), item.mode, item.mtime))
                self._text(item.content)
                self._pad(len(item.content))
            if self._size >= _BLOCK_SIZE:
                yield self._take()
        self._text(END_OF_ARCHIVE)
        yield self._take()

    def _backup_file(self, file: BackupFile) -> Iterator[bytes]:
        entry = file.entry
        size = entry.size if entry.kind is Kind.FILE else 0
        self._text(make_header(file.path, _KINDS[entry.kind], size, entry.mode, entry.mtime, entry.link or ""))
        if size:
            for run in self._runs(entry):
                self._run(entry, run)
                self._wrote(run_length(entry, run), 0)
                if self._size >= _BLOCK_SIZE:
                    yield self._take()
            self._pad(size)
        self._wrote(0, entry.kind is Kind.FILE)

    def _packed_file(self, file: PackedFile) -> Iterator[bytes]:
        self._text(make_header(file.path, MemberKind.FILE, file.size, 0o600, 0))
        for piece in file.stored() if self._packed else file.plain():
            if self._packed:
                self._stored(piece)
            else:
                self._text(piece)
            if self._size >= _BLOCK_SIZE:
                yield self._take()
        self._pad(file.size)
        self._wrote(file.size, 0)

    def _run(self, entry: Entry, run: StoredRun) -> None:
        if not self._packed or run.delta is not None:
            self._text(plain_run(entry, run, self._packs))
        elif run.frame is not None:
            self._stored(self._packs.stored(*run.frame))
        elif run_length(entry, run) == FRAME_SIZE:
            self._stored(self._zeros)
        else:
            self._text(bytes(run_length(entry, run)))

    def _pad(self, size: int) -> None:
        if size % BLOCK:
            self._text(bytes(-size % BLOCK))

    def _text(self, plain: bytes) -> None:
        """Gather plain bytes, so that padding and the next header become one frame."""
        self._plain.append(plain)
        if not self._packed:
            self._size += len(plain)
        elif len(plain) >= _BLOCK_SIZE:
            self._pack_text()

    def _stored(self, frame: bytes) -> None:
        self._pack_text()
        self._parts.append(frame)
        self._size += len(frame)

    def _pack_text(self) -> None:
        if self._plain:
            frame = compress(b"".join(self._plain), _LEVEL)
            self._plain.clear()
            self._parts.append(frame)
            self._size += len(frame)

    def _take(self) -> bytes:
        if self._packed:
            self._pack_text()
            block = b"".join(self._parts)
            self._parts.clear()
        else:
            block = b"".join(self._plain)
            self._plain.clear()
        self._size = 0
        return block


class Shared(Iterator[Item]):
    """Distributes items among several streams, each item once."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._items = iter(items)
        self._lock = threading.Lock()

    def __iter__(self) -> Shared:
        return self

    def __next__(self) -> Item:
        with self._lock:
            return next(self._items)


def own_runs(manifest: Manifest) -> Callable[[Entry], list[StoredRun]]:
    """Return a lookup of a file's runs that several threads may share: they must not share SQLite's cursors."""
    lock = threading.Lock()

    def runs(entry: Entry) -> list[StoredRun]:
        with lock:
            return list(manifest.runs(entry))

    return runs
