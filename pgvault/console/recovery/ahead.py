"""A question that is asked before its answer is needed, so that the person then waits less, or not at all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from pgvault.console.commands import Answer

_FRESH_SECONDS = 30.0
"""For which an answer may be shown as what is there now."""


class Ahead:
    def __init__(self, ask: Callable[..., Coroutine[Any, Any, Answer]],
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._ask, self._clock = ask, clock
        self._words: tuple[str, ...] = ()
        self._task: asyncio.Task[Answer] | None = None
        self._began = 0.0

    def begin(self, words: Sequence[str]) -> None:
        """Ask this, and nothing else any more."""
        self.drop()
        self._words, self._began = tuple(words), self._clock()
        self._task = asyncio.create_task(self._ask(*words))
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())  # nobody may ever await it

    def take(self, words: Sequence[str]) -> Awaitable[Answer]:
        """Return the answer to these words, if it is asked for already and not too old; else ask now."""
        if self._task and tuple(words) == self._words and self._clock() - self._began < _FRESH_SECONDS:
            task, self._task = self._task, None
            return task
        self.drop()
        return self._ask(*words)

    def drop(self) -> None:
        """Nobody wants it any more: its process is ended."""
        if self._task:
            self._task.cancel()
            self._task = None
