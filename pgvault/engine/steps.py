"""Steps that are short and must not be cut in two."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def to_its_end(step: Coroutine[Any, Any, None]) -> None:
    """Run a step that is short and must not be cut in two; a cancellation comes out after it."""
    task = asyncio.create_task(step)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise
