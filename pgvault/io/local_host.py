"""This machine as a `Host`: commands are children of this process, in sessions of their own."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final, cast

from pgvault.io.host import Host, OnCommand, SocketAddress
from pgvault.io.process import PIPE_BYTES, TAIL, Output, widen
from pgvault.io.quoting import encode

_GRACE: Final = 5.0
"""Seconds between TERM and KILL."""

_RUN: Final = 'exec "$@"'
_RUN_IN_ENGLISH: Final = 'LC_ALL=C; export LC_ALL; exec "$@"'


class LocalHost(Host):
    def __init__(self, name: str = "localhost", *, on_command: OnCommand | None = None) -> None:
        super().__init__(name, on_command=on_command)

    @property
    def description(self) -> str:
        return "this machine"

    async def _start(self, argv: Sequence[str], *, plain: bool, stdout_limit: int) -> LocalProcess:
        command = ["sh", "-c", _RUN if plain else _RUN_IN_ENGLISH, "sh", *argv]
        home = os.path.expanduser("~")
        read_end, write_end = os.pipe()
        try:
            _, protocol = await asyncio.get_running_loop().subprocess_exec(
                lambda: LocalProcess(write_end, stdout_limit), *map(encode, command), stdin=read_end,
                cwd=home if os.path.isdir(home) else "/", start_new_session=True)
        except BaseException:
            os.close(write_end)
            raise
        finally:
            os.close(read_end)
        return protocol

    async def interact(self, argv: Sequence[str]) -> int:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the program handles Ctrl-C itself
        try:
            process = await asyncio.create_subprocess_exec(
                *map(encode, argv), preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
            return await process.wait()
        finally:
            signal.signal(signal.SIGINT, before)

    @asynccontextmanager
    async def forward_socket(self, host: str, port: int) -> AsyncIterator[SocketAddress]:
        yield SocketAddress(host, port)

    async def close(self) -> None:
        """Do nothing: no connection is kept open between commands."""


class LocalProcess(asyncio.SubprocessProtocol):
    """See `Process`. Its input is a pipe that is written directly from the caller's buffer, without a copy."""

    def __init__(self, write_end: int, stdout_limit: int) -> None:
        self.stdout, self.stderr = Output(stdout_limit), Output(TAIL)
        self._input: int | None = write_end
        self._exited, self._closed = asyncio.Event(), asyncio.Event()
        self._writable: asyncio.Future[None] | None = None
        os.set_blocking(write_end, False)
        widen(write_end)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast('asyncio.SubprocessTransport', transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        (self.stderr if fd == 2 else self.stdout).feed(data)

    def process_exited(self) -> None:
        self._exited.set()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed.set()
        self.write_eof()
        self._transport.close()

    async def write(self, data: bytes | memoryview) -> None:
        left = memoryview(data).cast("B")
        while left:
            if self._input is None or self._exited.is_set():
                raise BrokenPipeError
            try:
                left = left[os.write(self._input, left[:PIPE_BYTES]):]
            except BlockingIOError:
                await self._wait_writable(self._input)
        await asyncio.sleep(0)  # a reader that is always ready must not starve the other tasks

    async def _wait_writable(self, fd: int) -> None:
        loop = asyncio.get_running_loop()
        self._writable = loop.create_future()
        loop.add_writer(fd, self._wake)
        try:
            await self._writable
        finally:
            loop.remove_writer(fd)

    def _wake(self) -> None:
        if self._writable and not self._writable.done():
            self._writable.set_result(None)

    def write_eof(self) -> None:
        if self._input is not None:
            os.close(self._input)
            self._input = None

    async def wait_exit(self) -> int:
        await self._exited.wait()
        status = self._transport.get_returncode()
        assert status is not None
        return status if status >= 0 else 128 - status

    async def wait_closed(self) -> None:
        await self._closed.wait()

    def discard(self) -> None:
        self._transport.close()

    async def kill(self) -> None:
        """Send the signal before closing the input, as a command that sees the end of its input would consider it
        complete."""
        try:
            self._signal(signal.SIGTERM)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._exited.wait(), _GRACE)
        finally:
            self._signal(signal.SIGKILL)
            self.write_eof()
            self._transport.close()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._transport.get_pid(), number)
