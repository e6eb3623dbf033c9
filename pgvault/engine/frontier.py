"""Determines where streaming begins: right after the archived WAL, or at the next position at which the server still
has WAL.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment
from pgvault.model.timeline import History


@dataclass(frozen=True, slots=True)
class Frontier:
    """`begin` is streamed next. If it is not the neighbour of `after`, nothing in between is archived."""

    begin: Segment
    after: Segment | None

    @property
    def missing(self) -> int:
        return 0 if self.after is None else self.begin.number - self.after.number - 1


def frontier(history: History, archived: Collection[Segment], flushed: Lsn, held_from: Lsn | None, size: int,
             not_before: int = 0) -> Frontier:
    """Determine it on the path of `history`, the server's timeline, up to `flushed`, its end.

    `archived` are the archived segments. `held_from` is where the slot's WAL begins: a gap after it can be filled.
    `not_before` is the number below which the server no longer has WAL.
    """
    current = flushed // size
    lowest = min((each.number for each in archived), default=current)
    path = {each.number: each for each in history.path(Lsn(lowest * size), Lsn((current + 1) * size), size)}
    have = [number for number, segment in path.items() if segment in archived]
    if have:
        start = have[-1] + 1
        if held_from is not None:
            held = max(held_from // size, have[0])
            start = next((n for n in range(held, start) if n not in path or path[n] not in archived), start)
    else:
        start = current if held_from is None else min(held_from // size, current)
    start = max(start, not_before)
    before = max((number for number in have if number < start), default=None)
    return Frontier(_on_path(history, start, size), None if before is None else path[before])


def _on_path(history: History, number: int, size: int) -> Segment:
    start = Lsn(number * size)
    return next(history.path(start, Lsn(start + 1), size))
