"""The `Emit` of a job: it serializes the events of all threads and passes them to the listeners.

It never raises: a listener that fails (a closed terminal) is dropped and the job continues. Progress is counted always
and reported rarely: at most four times a second, and once more before any other event. Secrets are masked here, before
they reach a disk or a screen.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from pgvault.jobs.encoding import guarded
from pgvault.model.event import Emit, Event, JobFinished, Progressed

PROGRESS_SECONDS = 0.25


class Reporter:
    def __init__(self, listeners: Iterable[Emit], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._listeners, self._clock = list(listeners), clock
        self._turn = threading.RLock()  # a signal handler may emit while its own thread is emitting
        self._told_at = float("-inf")
        self._pending: Progressed | None = None
        self._finished = False

    def __call__(self, event: Event) -> None:
        with self._turn:
            if self._finished:
                return
            if isinstance(event, Progressed):
                if self._clock() - self._told_at < PROGRESS_SECONDS:
                    self._pending = event
                    return
                self._told_at, self._pending = self._clock(), None
            elif self._pending:
                pending, self._pending = self._pending, None
                self._deliver(pending)
            self._finished = isinstance(event, JobFinished)
            self._deliver(guarded(event))

    def _deliver(self, event: Event) -> None:
        for listener in list(self._listeners):
            try:
                listener(event)
            except Exception:  # whatever a screen does, the job continues
                self._listeners.remove(listener)
