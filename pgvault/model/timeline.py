"""Timelines: PostgreSQL's numbered histories, which form a tree (`access/transam/timeline.c`).

The `.history` file of a timeline lists its ancestors, oldest first, each with the position where the next one branched
off. Timeline 1 has none. The segment that contains a switch exists on both timelines; the child's copy is the one that
continues.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment


class Ancestor(NamedTuple):
    timeline: int
    switch: Lsn
    """Where the next timeline of the list branched off."""
    reason: str


class Leg(NamedTuple):
    """A part of a timeline path: WAL from `start` up to, but not including, `end` is on `timeline`."""

    timeline: int
    start: Lsn
    end: Lsn | None
    """The end; None on the path's last timeline."""


class History(NamedTuple):
    """One timeline and its ancestors."""

    timeline: int
    ancestors: tuple[Ancestor, ...]
    """Oldest first; empty for a timeline without a history file."""

    @property
    def parent(self) -> Ancestor | None:
        return self.ancestors[-1] if self.ancestors else None

    @property
    def branches(self) -> tuple[tuple[int, Lsn], ...]:
        """The ancestors without the reasons, which PostgreSQL does not read."""
        return tuple((each.timeline, each.switch) for each in self.ancestors)

    @property
    def legs(self) -> tuple[Leg, ...]:
        """The path from the first timeline to this one."""
        legs: list[Leg] = []
        start = Lsn(0)
        for ancestor in self.ancestors:
            legs.append(Leg(ancestor.timeline, start, ancestor.switch))
            start = ancestor.switch
        return (*legs, Leg(self.timeline, start, None))

    def holds(self, timeline: int, lsn: Lsn) -> bool:
        """Return whether position `lsn` on `timeline` belongs to this timeline's past."""
        for ancestor in self.ancestors:
            if ancestor.timeline == timeline:
                return lsn <= ancestor.switch
        return timeline == self.timeline

    def segment(self, number: int, size: int) -> Segment:
        """Return the segment of that number that recovery along this timeline reads."""
        return next(self.path(Lsn(number * size), Lsn(0), size))

    def path(self, begin: Lsn, until: Lsn, size: int) -> Iterator[Segment]:
        """Yield the segments that recovery along this timeline reads from `begin` up to the byte before `until`.

        As in `XLogFileReadAnyTLI`, each comes from the newest timeline that had begun by then.
        """
        legs = self.legs
        current = 0
        for number in range(begin // size, max(until - 1, begin) // size + 1):
            while current + 1 < len(legs) and legs[current + 1].start // size <= number:
                current += 1
            yield Segment(legs[current].timeline, number)


def parse_history(text: str, timeline: int) -> History:
    """Parse the text of a `.history` file; ValueError names the wrong line."""
    ancestors: list[Ancestor] = []
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split(None, 2)
        if not fields or fields[0].startswith("#"):
            continue
        if len(fields) < 2 or not fields[0].isdecimal():
            raise ValueError(f"line {number}: a timeline and the position where it ended are expected, not {line!r}")
        try:
            ancestor = Ancestor(int(fields[0]), Lsn.parse(fields[1]), fields[2].strip() if len(fields) > 2 else "")
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        if ancestors and ancestor.timeline <= ancestors[-1].timeline:
            raise ValueError(f"line {number}: timeline {ancestor.timeline} does not follow {ancestors[-1].timeline}")
        if ancestors and ancestor.switch < ancestors[-1].switch:
            raise ValueError(f"line {number}: timeline {ancestor.timeline} ends before it begins")
        ancestors.append(ancestor)
    if ancestors and ancestors[-1].timeline >= timeline:
        raise ValueError(f"timeline {timeline} cannot have timeline {ancestors[-1].timeline} as its ancestor")
    return History(timeline, tuple(ancestors))


class TimelineTree(NamedTuple):
    """All timelines of one cluster that the archive knows."""

    histories: tuple[History, ...]

    def history(self, timeline: int) -> History:
        """Return the history of a timeline; a timeline without a history file has no ancestors."""
        return next((h for h in self.histories if h.timeline == timeline), History(timeline, ()))

    def descendants(self, timeline: int, lsn: Lsn) -> tuple[History, ...]:
        """Return every timeline, itself included, whose path contains the position `lsn` of `timeline`."""
        found = [h for h in self.histories if h.holds(timeline, lsn)]
        if not any(h.timeline == timeline for h in found):
            found.append(self.history(timeline))
        return tuple(sorted(found, key=lambda h: h.timeline))
