"""Waiting for what cannot be interrupted: no call that a network may swallow holds up the program for good.

Looking up a name and logging in block in the system's and in libpq's code. They run in a thread of their own, which is
left behind, as a daemon, when nobody wants its answer any more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

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
    future: Future[T] = Future()

    def run() -> None:
        try:
            result = act()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=run, name="waited for", daemon=True).start()
    give_up = time.monotonic() + seconds
    while not wait([future], min(POLL_SECONDS, seconds)).done:
        if cancelled() or time.monotonic() >= give_up:
            future.add_done_callback(lambda done: None if done.exception() else late(done.result()))
            if cancelled():
                raise Cancelled("cancelled while a connection was made")
            raise TimeoutError
    return future.result()
