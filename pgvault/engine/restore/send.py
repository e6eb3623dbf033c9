"""Sends tar streams to a host: several at once, each into a `tar -x` of its own there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress

from pgvault.engine.restore.stream import Item, Shared, TarStream
from pgvault.io.host import Host
from pgvault.vault.layout import ServerVault
from pgvault.vault.manifest import Entry, StoredRun
from pgvault.vault.packs import PackReader

_UNPACK = ("zstd", "-q", "-d", "-c")
_EXTRACT = """umask 077 && cd "$1" || exit
case $(tar --version 2>/dev/null) in
  bsdtar*) exec tar -x -p -P -f - ;; # else it follows no link to a tablespace
  *) exec tar -x -p -f - ;;
esac"""
"""The command that extracts a stream. It contains its directory, by which a later restore recognizes it."""
_AHEAD_SECONDS = 0.2
"""How far ahead of the limit the streams may be, in seconds, so that small blocks do not wait one by one."""


class RateLimit:
    """Makes all streams wait so that together they send no more than `rate` bytes a second."""

    def __init__(self, rate: int | None, *, clock: Callable[[], float] = time.monotonic,
                 sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._rate, self._clock, self._sleep = rate, clock, sleep
        self._free_at = 0.0

    async def take(self, count: int) -> None:
        if self._rate:
            now = self._clock()
            self._free_at = max(self._free_at, now) + count / self._rate
            await self._sleep(max(self._free_at - now - _AHEAD_SECONDS, 0))


class Sender:
    """Sends items of one backup into one directory of a host."""

    def __init__(self, host: Host, directory: str, server: ServerVault, runs: Callable[[Entry], Iterable[StoredRun]], *,
                 packed: bool, limit: RateLimit, wrote: Callable[[int, int], None]) -> None:
        self._host, self._directory, self._server, self._runs = host, directory, server, runs
        self._packed, self._limit, self._wrote = packed, limit, wrote

    async def send(self, items: Iterable[Item], streams: int = 1) -> None:
        """Send the items; everything is written there when this returns. The first failure ends all streams."""
        shared = Shared(items)
        async with asyncio.TaskGroup() as group:
            for _ in range(streams):
                group.create_task(self._stream(shared))

    async def _stream(self, items: Iterable[Item]) -> None:
        extract = ["sh", "-c", _EXTRACT, "pgvault", self._directory]
        stages = [list(_UNPACK), extract] if self._packed else [extract]
        with PackReader(self._server) as packs:
            stream = TarStream(packs, self._runs, packed=self._packed, wrote=self._wrote)
            async with await self._host.open_sink(*stages, into=self._directory) as sink:
                await self._feed(stream.blocks(items), sink.write)
                await sink.finish()

    async def _feed(self, blocks: Iterator[bytes], write: Callable[[bytes], Awaitable[None]]) -> None:
        """Read the next block in a thread while this one is sent. When it ends, for whatever reason, no thread is
        reading: packs and manifest are closed next.
        """
        ahead = asyncio.create_task(asyncio.to_thread(next, blocks, b""))
        try:
            while block := await asyncio.shield(ahead):
                ahead = asyncio.create_task(asyncio.to_thread(next, blocks, b""))
                await self._limit.take(len(block))
                await write(block)
        finally:
            while not ahead.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([ahead])
            ahead.exception()  # reported already, or irrelevant next to the error being raised
