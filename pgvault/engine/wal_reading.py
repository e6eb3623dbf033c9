"""Telling how far the reading of archived WAL is that nobody has read yet, and ending it: days of it take minutes."""

from __future__ import annotations

import threading

from pgvault.engine.progress import Progress
from pgvault.model.errors import Cancelled
from pgvault.model.event import Emit, PhaseStarted
from pgvault.vault.wal_facts import OnProgress

READ_LATER = "Nothing is lost: whoever asks next what can be restored reads the rest first, which takes a while then."
_WORTH_TELLING = 512 << 20
"""Plain bytes; fewer are read within a second or two."""


def reading_progress(emit: Emit, cancelled: threading.Event | None = None) -> OnProgress:
    """What tells `emit` of one reading, and ends it with Cancelled between two segments once `cancelled` is set."""
    progress = Progress(emit)

    def tell(done: int, total: int) -> None:
        if cancelled and cancelled.is_set():
            raise Cancelled("the reading of the archived WAL was cancelled", hint=READ_LATER)
        if total < _WORTH_TELLING:
            return
        if not done:
            emit(PhaseStarted("read WAL", total))
        progress.add(done - progress.done_bytes)
        if done == total:
            progress.report()

    return tell
