"""Progress reports: counting costs nothing, and one event covers many steps."""

from __future__ import annotations

import time

from pgvault.model.event import Emit, Progressed

_INTERVAL = 0.25
"""Seconds between two reports: at most four a second."""


class Progress:
    """Counts bytes and files of one phase. Call `report` at its end, so that the last count is reported."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._next = 0.0
        self.done_bytes = 0
        self.files = 0

    def add(self, done_bytes: int, files: int = 0) -> None:
        self.done_bytes += done_bytes
        self.files += files
        if time.monotonic() >= self._next:
            self.report()

    def report(self) -> None:
        self._next = time.monotonic() + _INTERVAL
        self._emit(Progressed(self.done_bytes, self.files))
