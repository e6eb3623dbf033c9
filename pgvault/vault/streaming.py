"""Segments while they are being streamed: `streaming/<segment>.partial` until complete, then `streaming/<segment>`.

A file is never truncated when streaming begins anew: what is in it may be the only copy of the server's last commits,
and the same positions always hold the same bytes.
"""

from __future__ import annotations

import os
from pathlib import Path

from pgvault.model.lsn import Lsn
from pgvault.model.segment import PartialFile, Segment, parse_wal_name
from pgvault.store.files import fsync_directory, naming, open_private, publish
from pgvault.vault.layout import ServerVault

PARTIAL = ".partial"


class StreamedSegment:
    """The segment that is being written. `written` is how far it is, `flushed` how far it survives a power failure.

    Its directory is not created here: if it is gone, so is the vault's file system.
    """

    def __init__(self, server: ServerVault, segment: Segment, size: int) -> None:
        self.segment, self._size = segment, size
        self._complete = server.spool.streaming / segment.name(size)
        self.path = server.spool.streaming / (segment.name(size) + PARTIAL)
        self._file = open_private(self.path, os.O_RDWR)
        fsync_directory(server.spool.streaming)
        self.written = self.flushed = segment.start(size)

    @property
    def is_full(self) -> bool:
        return self.written == self.segment.end(self._size)

    def write(self, data: bytes | memoryview) -> int:
        """Write what fits, in order of position; return how many bytes that was."""
        rest = memoryview(data)[:self.segment.end(self._size) - self.written]
        taken = len(rest)
        with naming(self.path):
            while rest:
                count = os.pwrite(self._file, rest, self.written % self._size)
                self.written = Lsn(self.written + count)
                rest = rest[count:]
        return taken

    def flush(self) -> None:
        if self.flushed < self.written:
            with naming(self.path):
                os.fdatasync(self._file)
            self.flushed = self.written

    def finish(self) -> Path:
        """Give a full segment the name of a complete one, durably, and return its file."""
        self.close()
        publish(self.path, self._complete)
        self.flushed = self.written
        return self._complete

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def pad(path: Path, size: int) -> bool:
    """Extend a partial segment with zeros to the length of a whole one, as PostgreSQL's own are; return False if it is
    empty.
    """
    with naming(path), path.open("r+b") as file:
        if not file.seek(0, os.SEEK_END):
            return False
        file.truncate(size)
        os.fsync(file.fileno())
    return True


def partials(server: ServerVault) -> list[str]:
    """Return the names of partly streamed segments."""
    found = []
    for name in sorted(os.listdir(server.spool.streaming)):
        try:
            file = parse_wal_name(name)
        except ValueError:
            continue
        if isinstance(file, PartialFile):
            found.append(file.segment)
    return found
