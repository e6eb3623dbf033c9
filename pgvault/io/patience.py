"""Timeouts for calls that cannot be interrupted, so that no lost packet blocks the program for good.

Name lookups and logins block in the system's and in libpq's code. They run in a daemon thread, which is abandoned when
nobody waits for its result any more. asyncio and concurrent.futures would wait for such a thread at exit.
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
IsCancelled = Callable[[], bool]
"""Returns whether the work is to be cancelled."""

POLL_SECONDS = 0.2
"""Interval at which cancellation is checked, in seconds."""


def never() -> bool:
    """Return False: the default for work that is never cancelled."""
    return False


def _drop(_: object) -> None:
    """Ignore a result that needs no closing."""


def within(seconds: float, act: Callable[[], T], *, cancelled: IsCancelled = never,
           late: Callable[[T], object] = _drop) -> T:
    """Return or raise the result of `act`. TimeoutError after that many seconds, Cancelled if `cancelled` says so
    first.

    `late` closes a result that comes when nobody waits for it any more.
    """
    future = _in_background(act)
    give_up = time.monotonic() + seconds
    while not wait([future], min(POLL_SECONDS, seconds)).done:
        if cancelled() or time.monotonic() >= give_up:
            future.add_done_callback(lambda done: None if done.exception() else late(done.result()))
            if cancelled():
                raise Cancelled("cancelled while connecting")
            raise TimeoutError
    return future.result()


class Loop(asyncio.SelectorEventLoop):
    """An asyncio loop in which unresponsive name servers delay neither its end nor the program's."""

    async def getaddrinfo(self, host: Any, port: Any, **hints: Any) -> Any:
        return await asyncio.wrap_future(_in_background(lambda: socket.getaddrinfo(host, port, **hints)), loop=self)


def runner() -> asyncio.Runner:
    """Run several coroutines, one after another, in one `Loop`."""
    return asyncio.Runner(loop_factory=Loop)


def run(act: Coroutine[Any, Any, T]) -> T:
    """Run one coroutine in a `Loop` of its own."""
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
