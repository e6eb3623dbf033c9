"""Reports and cancels the reading of archived WAL that was not read yet: reading days of it takes minutes."""

from __future__ import annotations

import threading

from pgvault.engine.progress import Progress
from pgvault.model.errors import Cancelled
from pgvault.model.event import Emit, PhaseStarted
from pgvault.vault.wal_facts import OnProgress

READ_LATER = "Nothing is lost: the next command that needs it reads the rest first, which takes a while."
_WORTH_REPORTING = 512 << 20
"""Bytes of uncompressed WAL; less is read within a second or two."""


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
