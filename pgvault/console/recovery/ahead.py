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
        self._answered = 0.0

    def begin(self, words: Sequence[str]) -> None:
        """Ask this, and drop any other question."""
        self.drop()
        self._words = tuple(words)
        self._task = asyncio.create_task(self._ask(*words))
        self._task.add_done_callback(self._note)

    def _note(self, task: asyncio.Task[Answer]) -> None:
        self._answered = self._clock()
        if not task.cancelled():
            task.exception()  # nobody may ever await it

    def take(self, words: Sequence[str]) -> Awaitable[Answer]:
        """Return the answer to these words, if it is on its way or may still be shown; else ask now."""
        if self._task and tuple(words) == self._words and (not self._task.done() or self._is_usable(self._task)):
            task, self._task = self._task, None
            return task
        self.drop()
        return self._ask(*words)

    def _is_usable(self, task: asyncio.Task[Answer]) -> bool:
        """Return whether the answer is fresh and says that all is well: what failed may have been repaired since."""
        if task.cancelled() or task.exception() or self._clock() - self._answered >= _FRESH_SECONDS:
            return False
        answer = task.result()
        conditions = answer.document.get("preconditions", ())
        return not answer.failure and all(each["outcome"] != "failed" for each in conditions)

    def drop(self) -> None:
        """End the question, which is not needed any more."""
        if self._task:
            self._task.cancel()
            self._task = None
