"""Short steps that must not be interrupted."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def to_its_end(step: Coroutine[Any, Any, None]) -> None:
    """Complete a short step; a cancellation takes effect afterwards."""
    task = asyncio.create_task(step)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise
