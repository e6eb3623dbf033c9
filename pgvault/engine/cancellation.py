"""What a cancellation waits for: a short step to its end, or work in a thread until it has undone what it began."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def to_its_end(step: Coroutine[Any, Any, None]) -> None:
    """Complete a short step; a cancellation takes effect afterwards."""
    task = asyncio.create_task(step)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


async def run_cancellable(work: Callable[[threading.Event], T]) -> T:
    """Run `work(cancelled)` in a thread. If the caller is cancelled, the event is set, and the cancellation follows its
    end."""
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
