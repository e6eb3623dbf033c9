"""Telling how far the reading of archived WAL is that nobody has read yet: days of it may take minutes."""

from __future__ import annotations

from pgvault.engine.progress import Progress
from pgvault.model.event import Emit, PhaseStarted
from pgvault.vault.wal_facts import Told

_WORTH_TELLING = 512 << 20
"""Plain bytes; fewer are read within a second or two."""


def telling(emit: Emit) -> Told:
    """What tells `emit` of one reading."""
    progress = Progress(emit)

    def tell(done: int, total: int) -> None:
        if total < _WORTH_TELLING:
            return
        if not done:
            emit(PhaseStarted("read WAL", total))
        progress.add(done - progress.done_bytes)
        if done == total:
            progress.report()

    return tell
