"""The transactions around a place: those that were read, whether they surround a place, and where else to read."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from pgvault.console.timeline.axis import microseconds
from pgvault.console.timeline.cursor import Cursor, position
from pgvault.console.timeline.rows import Exact
from pgvault.engine.event_neighbours import NearTransaction
from pgvault.model.lsn import Lsn

COUNT = 100
"""How many are read on either side."""
_TRIES = 6
_EDGE = 10
"""The distance to the last one that was read within which more are read."""


@dataclass(frozen=True, slots=True)
class Around:
    """Some neighbouring transactions on the path to a timeline, in order."""

    timeline: int
    found: tuple[NearTransaction, ...]
    is_first: bool
    """True if there is none before them, or none near."""
    is_last: bool

    def index_at(self, cursor: Cursor) -> int:
        """Return the index of the transaction at a place, or of the last one before it; -1 if all are after it."""
        if (lsn := position(cursor)) is not None:
            return bisect_right(self.found, lsn, key=lambda each: each.lsn) - 1
        return bisect_right(self._times, cursor.at) - 1

    def holds(self, cursor: Cursor) -> bool:
        """Return whether the surroundings of the place have been read."""
        if cursor.timeline != self.timeline:
            return False
        index = self.index_at(cursor)
        return (self.is_first or index >= _EDGE) and (self.is_last or index < len(self.found) - _EDGE)

    def exact(self, timeline: int) -> Exact | None:
        """Return the times of their commits on one timeline; None if there are too few."""
        times = sorted(microseconds(each.time) for each in self.found if each.timeline == timeline)
        commits = sorted(microseconds(each.time) for each in self.found
                         if each.timeline == timeline and each.kind.commits)
        return Exact(commits, times[0], times[-1]) if times else None

    @property
    def _times(self) -> list[int]:
        """Return the times in the order of positions, made monotonic as on the timeline."""
        return list(accumulate((microseconds(each.time) for each in self.found), max))


def find(ask: Callable[[Lsn], Sequence[NearTransaction]], cursor: Cursor, guess: Lsn) -> Around:
    """Ask at the cursor's position or, where only its time is known, ever nearer to that, beginning with an estimate.
    """
    lsn = exact if (exact := position(cursor)) is not None else guess
    around = _asked(ask, cursor.timeline, lsn)
    for _ in range(_TRIES):
        if exact is not None or around.holds(cursor) or not around.found:
            break
        behind = around.index_at(cursor) >= len(around.found) - _EDGE
        lsn = _nearer(around.found, cursor.at, behind)
        around = _asked(ask, cursor.timeline, lsn)
    return around


def _asked(ask: Callable[[Lsn], Sequence[NearTransaction]], timeline: int, lsn: Lsn) -> Around:
    found = tuple(ask(lsn))
    before = sum(each.lsn < lsn for each in found)
    return Around(timeline, found, before < COUNT, len(found) - before < COUNT)


def _nearer(found: Sequence[NearTransaction], at: int, behind: bool) -> Lsn:
    """Estimate the position for the time, as if WAL had been written at the pace between those that were found."""
    first, last = found[0], found[-1]
    times, bytes_ = microseconds(last.time) - microseconds(first.time), last.lsn - first.lsn
    edge = last if behind else first
    missing = abs(at - microseconds(edge.time))
    far = max(bytes_ // 2, bytes_ * missing // times if times > 0 else bytes_)
    return Lsn(edge.lsn + far) if behind else Lsn(max(0, edge.lsn - far))
