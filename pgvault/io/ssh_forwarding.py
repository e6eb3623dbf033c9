"""A local socket that leads to a server behind an ssh connection. It records why the ssh server did not forward it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Final

import asyncssh

_BLOCK: Final = 64 << 10


class Forwarding:
    """Serves connections to a Unix socket, each through a channel of its own."""

    def __init__(self, connection: asyncssh.SSHClientConnection, host: str, port: int) -> None:
        self._connection, self._host, self._port = connection, host, port
        self._serving: set[asyncio.Task[Any]] = set()
        self.refusal: asyncssh.ChannelOpenError | None = None

    async def listen(self, path: str) -> None:
        self._server = await asyncio.start_unix_server(self._serve, path)

    async def close(self) -> None:
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            with suppress(OSError, asyncssh.Error, asyncio.CancelledError):
                await self._join(reader, writer)
        finally:
            self._serving.discard(task)
            writer.close()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await self._open()
        except asyncssh.ChannelOpenError as error:
            self.refusal = error
            return
        try:
            ways = {asyncio.create_task(_copy(reader, far_writer)), asyncio.create_task(_copy(far_reader, writer))}
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)  # both directions end together
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        finally:
            far_writer.close()

    async def _open(self) -> tuple[Any, Any]:
        if self._host.startswith("/"):
            return await self._connection.open_unix_connection(f"{self._host}/.s.PGSQL.{self._port}")
        return await self._connection.open_connection(self._host, self._port)


async def _copy(source: Any, sink: Any) -> None:
    while data := await source.read(_BLOCK):
        sink.write(data)
        await sink.drain()
