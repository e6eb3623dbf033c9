"""Progress reports: counting costs nothing, and one event covers many steps.

Reading archived WAL that was not read yet is reported and cancelled here, too: days of it take minutes.
"""

from __future__ import annotations

import threading
import time

from pgvault.model.errors import Cancelled
from pgvault.model.event import Emit, PhaseStarted, Progressed
from pgvault.vault.wal_facts import OnProgress

_INTERVAL = 0.25
"""Seconds between two reports: at most four a second."""
READ_LATER = "Nothing is lost: the next command that needs it reads the rest first, which takes a while."
_WORTH_REPORTING = 512 << 20
"""Bytes of uncompressed WAL; less is read within a second or two."""


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


def reading_progress(emit: Emit, cancelled: threading.Event | None = None) -> OnProgress:
    """Return a callback that reports one reading to `emit`. It raises Cancelled between segments once `cancelled` is
    set."""
    progress = Progress(emit)

    def report(done: int, total: int) -> None:
        if cancelled and cancelled.is_set():
            raise Cancelled("the reading of the archived WAL was cancelled", hint=READ_LATER)
        if total < _WORTH_REPORTING:
            return
        if not done:
            emit(PhaseStarted("read WAL", total))
        progress.add(done - progress.done_bytes)
        if done == total:
            progress.report()

    return report
