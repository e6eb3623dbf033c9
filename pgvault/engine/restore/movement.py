"""Whether a restored server makes progress: how far its replay is, and for how long nothing has changed."""

from __future__ import annotations

import time
from collections.abc import Iterable

from pgvault.model.event import Emit, Noted, Progressed
from pgvault.model.lsn import Lsn
from pgvault.model.text import span

_MENTION_SECONDS = 30.0
"""The seconds without a change after which that is reported, and again each time they have doubled."""


class Advance:
    """Reports how far the replay is, once a second, and for how long it has not moved."""

    def __init__(self, emit: Emit, begin: Lsn, stop: Lsn | None) -> None:
        self._emit, self._begin, self._stop = emit, begin, stop
        self._lsn: Lsn | None = None
        self._moved = self._reported = time.monotonic()

    @property
    def stands_for(self) -> float:
        return time.monotonic() - self._moved

    def to(self, lsn: Lsn | None) -> bool:
        """Note the position; return whether it moved."""
        if lsn is None or lsn == self._lsn:
            return False
        self._lsn, self._moved = lsn, time.monotonic()
        if self._moved - self._reported > 1:
            self._reported = self._moved
            self._report(lsn)
        return True

    def end(self) -> None:
        if (lsn := self._stop or self._lsn) is not None:
            self._report(lsn)

    def _report(self, lsn: Lsn) -> None:
        """Report the bytes, at most the total: replay may run past the stop by what belongs to no record, and a standby
        does.
        """
        self._emit(Progressed(max(min(lsn, self._stop or lsn) - self._begin, 0)))


class Stillness:
    """The time since the last change. A server that does the same again and again, as after crashes, does not count as
    changing.
    """

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._seen: set[str] = set()
        self._moved, self._mention = time.monotonic(), _MENTION_SECONDS

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._moved

    def look(self, signs: Iterable[str], lsn: Lsn | None, doing: str) -> bool:
        """Return whether something changed since the last call."""
        if new := set(signs) - self._seen:
            self._seen |= new
            self._moved, self._mention = time.monotonic(), _MENTION_SECONDS
        elif self.seconds > self._mention:
            where = f" at {lsn}" if lsn is not None else ""
            self._emit(Noted(f"nothing has moved for {span(round(self.seconds))}: the restored server stands still"
                             f"{where}{f' ({doing})' if doing else ''}", code="standing"))
            self._mention *= 2
        return bool(new)
