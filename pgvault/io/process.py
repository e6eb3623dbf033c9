"""A running command as `Host` uses it: its input with backpressure, its bounded outputs, its end."""

from __future__ import annotations

import fcntl
from contextlib import suppress
from typing import IO, Final, Protocol

TAIL: Final = 64 << 10
"""Bytes kept of an output that only explains a failure."""
PIPE_BYTES: Final = 1 << 20
"""The size of a pipe: with Linux's default of 64 KiB, reader and writer would wake each other 256 times for one WAL
segment.
"""


def widen(pipe: int | IO[str]) -> None:
    """Let a pipe hold PIPE_BYTES. Do nothing where it is no pipe, on systems other than Linux, or above the kernel's
    limit for this user."""
    with suppress(OSError, AttributeError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


class Output:
    """What a command printed: the last `limit` bytes of it, and how many were dropped before them."""

    def __init__(self, limit: int) -> None:
        self.limit, self.data, self.dropped = limit, bytearray(), 0

    def feed(self, data: bytes) -> None:
        self.data += data
        if len(self.data) > 2 * self.limit:
            self._trim()

    def text(self) -> str:
        self._trim()
        return self.data.decode("utf-8", "replace").strip()

    def _trim(self) -> None:
        excess = len(self.data) - self.limit
        if excess > 0:
            self.dropped += excess
            del self.data[:excess]


class Process(Protocol):
    stdout: Output
    stderr: Output

    async def write(self, data: bytes | memoryview) -> None:
        """Send all of `data`. BrokenPipeError if the command reads no more, or has ended."""

    def write_eof(self) -> None: ...

    async def wait_exit(self) -> int:
        """Wait for the command's status. Unreachable if the connection was lost instead."""

    async def wait_closed(self) -> None:
        """Wait until its outputs are read to their end."""

    def discard(self) -> None:
        """Stop reading the output, which children of the ended command may hold open."""

    async def kill(self) -> None:
        """End the command and all its children, by TERM and then by KILL. Never raises."""
