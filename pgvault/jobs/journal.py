"""A job's journal: `events.jsonl`, appended to by the job alone, and readable by anybody at any time.

The journal must not end the job: writing never raises, and `failure` remembers what could not be written. Readers skip
a line that a full disk or a crash left incomplete. The first and the last event are flushed to disk. A few blocks are
kept in reserve, so that the last event also fits on a full disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from pgvault.jobs.encoding import decode, encode
from pgvault.model.event import Event, JobFinished, JobStarted
from pgvault.store.files import fsync_directory, open_private

EVENTS = "events.jsonl"
_RESERVE = "reserve"
_RESERVED_BYTES = 64 * 1024
_EDGE_BYTES = 128 * 1024
"""More than the longest event, which `encoding.TEXT_LIMIT` bounds."""


class Journal:
    """The writing end. It is not thread-safe: `reporter.Reporter` serializes the events."""

    def __init__(self, directory: Path) -> None:
        """Open the journal; OSError if that fails, since nothing has begun yet."""
        self.failure: Exception | None = None
        self._reserve = directory / _RESERVE
        self._torn = False
        self._descriptor = open_private(directory / EVENTS, os.O_WRONLY | os.O_APPEND)
        fsync_directory(directory)  # without its name, a flushed journal would be lost
        with contextlib.suppress(OSError):
            _allocate(self._reserve)

    def emit(self, event: Event) -> None:
        try:
            line = encode(event)
            try:
                self._append(line)
            except OSError as error:
                if not (isinstance(event, JobFinished) and error.errno in (errno.ENOSPC, errno.EDQUOT)):
                    raise
                self._reserve.unlink(missing_ok=True)
                self._append(line)
            if isinstance(event, JobStarted | JobFinished):
                os.fsync(self._descriptor)
        except Exception as error:  # a job outlives its journal
            self.failure = error

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._reserve.unlink(missing_ok=True)
        os.close(self._descriptor)

    def _append(self, line: bytes) -> None:
        data = b"\n" + line if self._torn else line
        written = 0
        try:
            written = os.write(self._descriptor, data)
            if written < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._torn = False
        finally:
            self._torn = self._torn or 0 < written < len(data)


def _allocate(path: Path) -> None:
    descriptor = open_private(path, os.O_WRONLY)
    try:
        os.posix_fallocate(descriptor, 0, _RESERVED_BYTES)
    finally:
        os.close(descriptor)


class Tail:
    """Reads a journal as it grows. Each `read` returns the complete events since the previous one."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset = path, 0

    def read(self) -> list[Event]:
        try:
            with open(self._path, "rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []
        whole = data[:data.rfind(b"\n") + 1]
        self._offset += len(whole)
        return _events(whole)


def read_events(directory: Path) -> list[Event]:
    """Return all events of a job, without an incomplete line."""
    return Tail(directory / EVENTS).read()


def read_edges(directory: Path) -> tuple[JobStarted | None, JobFinished | None]:
    """Return the first and the last event, without reading those between."""
    try:
        with open(directory / EVENTS, "rb") as file:
            head = file.read(_EDGE_BYTES)
            file.seek(max(0, os.fstat(file.fileno()).st_size - _EDGE_BYTES))
            tail = file.read()
    except FileNotFoundError:
        return None, None
    first = decode(head.partition(b"\n")[0])
    last = _events(tail[:tail.rfind(b"\n") + 1], of=b'"event":"JobFinished"')
    finished = last[-1] if last else None
    return (first if isinstance(first, JobStarted) else None,
            finished if isinstance(finished, JobFinished) else None)


async def follow(directory: Path, ended: Callable[[], bool], *, poll_seconds: float = 0.2) -> AsyncIterator[Event]:
    """Yield events from the first one on, as they are written. Stops after JobFinished, or when `ended` returns
    true."""
    tail = Tail(directory / EVENTS)
    while True:
        over = ended()  # checked before reading, so that the last lines of an ended job are still read
        for event in tail.read():
            yield event
            if isinstance(event, JobFinished):
                return
        if over:
            return
        await asyncio.sleep(poll_seconds)


def _events(lines: bytes, of: bytes = b"") -> list[Event]:
    return [event for line in lines.splitlines() if of in line and (event := decode(line))]
