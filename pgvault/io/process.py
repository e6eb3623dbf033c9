"""A running command as `Host` sees it: its input with backpressure, its outputs bounded, its end."""

from __future__ import annotations

from typing import Final, Protocol

TAIL: Final = 64 << 10
"""Bytes kept of an output that is only kept to explain a failure."""


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
        """Send all of `data`. BrokenPipeError when the command takes no more, or has ended."""

    def write_eof(self) -> None: ...

    async def wait_exit(self) -> int:
        """The command's own status. Unreachable when the connection was lost instead."""

    async def wait_closed(self) -> None:
        """Until its outputs are read to their end."""

    def discard(self) -> None:
        """Leave the ended command's children alone and read no more of their output."""

    async def kill(self) -> None:
        """End the command and all it started, by TERM and then by KILL. Never raises."""
