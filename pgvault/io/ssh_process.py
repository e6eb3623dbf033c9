"""A command at the other end of an ssh connection: one channel, see `Process`."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from typing import Final

import asyncssh

from pgvault.io.process import TAIL, Output
from pgvault.io.ssh_failure import connection_lost, no_shell

BLOCK: Final = 64 << 10
"""Bytes passed to asyncssh at once. It cuts packets off the front of a block, which costs more for larger blocks."""
_BUFFER: Final = 256 << 10
_GRACE: Final = 5.0
"""Seconds between TERM and KILL."""


class _AfterMarker:
    """Passes on what a command prints after the line `marker`, and keeps the end of what came before it."""

    def __init__(self, marker: str, output: Output) -> None:
        self._marker, self._output = f"{marker}\n".encode("ascii"), output
        self._before: bytearray | None = bytearray()

    @property
    def seen(self) -> bool:
        return self._before is None

    def feed(self, data: bytes) -> None:
        if self._before is None:
            self._output.feed(data)
            return
        self._before += data
        _, marker, after = self._before.partition(self._marker)
        if marker:
            self._before = None
            self._output.feed(bytes(after))
        else:
            del self._before[:-max(TAIL, len(self._marker))]

    def noise(self) -> str:
        return (self._before or b"").decode("utf-8", "replace").strip()


class SshProcess(asyncssh.SSHClientSession[bytes]):
    def __init__(self, where: str, marker: str, stdout_limit: int) -> None:
        self.stdout, self.stderr = Output(stdout_limit), Output(TAIL)
        self._where = where
        self._from_stdout, self._from_stderr = _AfterMarker(marker, self.stdout), _AfterMarker(marker, self.stderr)
        self._status: int | None = None
        self._lost: Exception | None = None
        self._exited, self._closed = asyncio.Event(), asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._eof = False

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        self._channel = chan
        chan.set_write_buffer_limits(high=_BUFFER)

    def data_received(self, data: bytes, datatype: int | None) -> None:
        (self._from_stderr if datatype == asyncssh.EXTENDED_DATA_STDERR else self._from_stdout).feed(data)

    def eof_received(self) -> bool:
        return True  # a command that closes its output still reads its input

    def exit_status_received(self, status: int) -> None:
        self._end(status)

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        self._end(128 + _signal_number(signal))

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = exc
        self._end(self._status)
        self._closed.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _end(self, status: int | None) -> None:
        self._status = status
        self._exited.set()
        self._writable.set()

    async def write(self, data: bytes | memoryview) -> None:
        view = memoryview(data).cast("B")
        for start in range(0, len(view), BLOCK):
            await self._writable.wait()
            if self._exited.is_set():
                raise BrokenPipeError
            self._channel.write(bytes(view[start:start + BLOCK]))
        await asyncio.sleep(0)

    def write_eof(self) -> None:
        if not self._eof and not self._exited.is_set():
            with suppress(OSError):
                self._channel.write_eof()
        self._eof = True

    async def wait_exit(self) -> int:
        await self._exited.wait()
        if self._status is None:
            raise connection_lost(self._lost, self._where)
        return self._status

    async def wait_closed(self) -> None:
        await self._closed.wait()
        if self._lost is not None:  # the end of the output is missing
            raise connection_lost(self._lost, self._where)
        if not self._from_stdout.seen:
            raise no_shell(self._where, self._from_stdout.noise() or self._from_stderr.noise())

    async def wait_gone(self) -> None:
        """Wait until the channel is closed, however it ended."""
        await self._closed.wait()

    def discard(self) -> None:
        self._channel.close()

    async def kill(self) -> None:
        """Send the signal before closing the input, as a command that sees the end of its input would consider it
        complete.

        Servers older than OpenSSH 7.9 pass on no signals: there the command only sees its channel close.
        """
        try:
            for name in ("TERM", "KILL"):
                if not self._exited.is_set():
                    with suppress(OSError):
                        self._channel.send_signal(name)
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._exited.wait(), _GRACE if name == "TERM" else 1)
        finally:
            self._channel.abort()


def _signal_number(name: str) -> int:
    try:
        return signal.Signals[f"SIG{name}"].value
    except KeyError:
        return 0
