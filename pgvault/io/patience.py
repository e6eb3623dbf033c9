"""Waiting for what cannot be interrupted: no call that a network may swallow holds up the program for good.

Looking up a name and logging in block in the system's and in libpq's code. They run in a thread of their own, which is
left behind, as a daemon, when nobody wants its answer any more. asyncio and concurrent.futures would wait for such a
thread when the program ends.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, wait
from typing import Any, TypeVar

from pgvault.model.errors import Cancelled

T = TypeVar("T")
Wish = Callable[[], bool]
"""Whether somebody wants the work to end."""

POLL_SECONDS = 0.2
"""A wish is noticed after so long."""


def never() -> bool:
    """Nobody does."""
    return False


def _drop(_: object) -> None:
    """What needs no closing."""


def within(seconds: float, act: Callable[[], T], *, cancelled: Wish = never,
           late: Callable[[T], object] = _drop) -> T:
    """What `act` returns or raises; TimeoutError after so many seconds, Cancelled when that is wished before.

    `late` closes what `act` returns when nobody waits for it any more.
    """
    future = _in_background(act)
    give_up = time.monotonic() + seconds
    while not wait([future], min(POLL_SECONDS, seconds)).done:
        if cancelled() or time.monotonic() >= give_up:
            future.add_done_callback(lambda done: None if done.exception() else late(done.result()))
            if cancelled():
                raise Cancelled("cancelled while a connection was made")
            raise TimeoutError
    return future.result()


class Loop(asyncio.SelectorEventLoop):
    """asyncio's own, but name servers that answer nobody hold up neither its end nor the program's."""

    async def getaddrinfo(self, host: Any, port: Any, **hints: Any) -> Any:
        return await asyncio.wrap_future(_in_background(lambda: socket.getaddrinfo(host, port, **hints)), loop=self)


def runner() -> asyncio.Runner:
    """Runs coroutines one after the other in one `Loop`."""
    return asyncio.Runner(loop_factory=Loop)


def run(act: Coroutine[Any, Any, T]) -> T:
    """One coroutine in a `Loop` of its own."""
    with runner() as loop:
        return loop.run(act)


def _in_background(act: Callable[[], T]) -> Future[T]:
    future: Future[T] = Future()

    def run() -> None:
        future.set_running_or_notify_cancel()
        try:
            result = act()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=run, name="waited for", daemon=True).start()
    return future
