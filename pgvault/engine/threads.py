"""Running blocking work in a thread so that a cancelled task waits for it to undo what it began."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def run_cancellable(work: Callable[[threading.Event], T]) -> T:
    """Run `work(cancelled)` in a thread. A cancelled caller sets the event, waits for the end, then is cancelled."""
    cancelled = threading.Event()
    task = asyncio.create_task(asyncio.to_thread(work, cancelled))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        cancelled.set()
        await asyncio.wait([task])
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error from None
        raise
