"""Where the segments of one timeline lie in time, and the conversion of an instant to a position.

Commit times are not in the order of positions, many segments have none, and those not yet read have no known one. So
each segment is given a slot: slots follow each other as the segments do, and only a gap lies between two of them.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from pgvault.model.wal_picture import NOT_KNOWN, Lane


def _longs() -> array[int]:
    return array("q")


@dataclass(frozen=True, slots=True)
class Slots:
    """The archived segments of one timeline with their times; one index is the same segment in each array."""

    timeline: int
    numbers: array[int] = field(default_factory=_longs)
    begin: array[int] = field(default_factory=_longs)
    """Where the previous slot ended, or where WAL begins again after a gap."""
    end: array[int] = field(default_factory=_longs)
    """The end of the slot, never earlier than that of the previous one."""
    busy: array[int] = field(default_factory=_longs)
    """The first commit in the slot."""
    commits: array[int] = field(default_factory=_longs)
    """The commits before the segment, in all: one value more than there are segments."""
    unknown: array[int] = field(default_factory=_longs)
    """The segments before this one that were not read: one value more."""

    def index_at(self, at: int) -> int:
        """Return the index of the segment that was being written at an instant, or else of the next one; their number
        if the instant is later.
        """
        return bisect_left(self.end, at)

    def covers(self, begin: int, until: int) -> bool:
        """Return whether a slot touches the time from `begin` up to, not including, `until`."""
        index = self.index_at(begin)
        return index < len(self.begin) and self.begin[index] < until

    def committed_before(self, at: int) -> float:
        """Return how many commits there were before an instant; within a segment they count as evenly distributed."""
        index = self.index_at(at)
        if index == len(self.end):
            return float(self.commits[index])
        before, there = self.commits[index], self.commits[index + 1] - self.commits[index]
        since, until = self.busy[index], self.end[index] + 1
        return before + there * max(0, at - since) / (until - since)

    def unread(self, begin: int, until: int) -> bool:
        """Return whether a slot in this time has transactions that are not known."""
        first = self.index_at(begin)
        last = first
        if first < len(self.begin) and self.begin[first] < until:
            last = max(first + 1, min(bisect_left(self.begin, until), len(self.begin)))
        return self.unknown[last] > self.unknown[first]

    def place_of(self, number: int) -> int | None:
        """Return a segment's index in the arrays, by its number; None if it is not archived."""
        index = bisect_left(self.numbers, number)
        return index if index < len(self.numbers) and self.numbers[index] == number else None

    def time_of(self, lsn: int, size: int) -> int | None:
        """Return about when a position was written; the nearest border of the WAL for one outside."""
        if not self.numbers:
            return None
        index = bisect_left(self.numbers, lsn // size)
        if index == len(self.numbers):
            return self.end[-1]
        begin, end, start = self.begin[index], self.end[index], self.numbers[index] * size
        return begin + (end - begin) * max(0, lsn - start) // size

    def position_in(self, index: int, at: int, size: int) -> int:
        """Return about the position that a segment's WAL had reached at an instant of its slot."""
        begin, end = self.begin[index], self.end[index]
        share = size * (min(max(at, begin), end) - begin) // (end - begin) if end > begin else size
        return self.numbers[index] * size + min(share, size - 1)


def slots_of(lane: Lane, known: Mapping[int, int]) -> Slots:
    """Return the slots, in one pass. `known` has the ends, by segment number, of segments without a commit that shows
    them.
    """
    slots = Slots(lane.timeline, lane.numbers, busy=array("q", lane.earliest))
    slots.end.extend(_ends(lane, known))
    previous, number_before = -1, None
    for index, (number, end) in enumerate(zip(lane.numbers, slots.end, strict=True)):
        earliest = lane.earliest[index]
        first = min(earliest, end) if earliest != NOT_KNOWN else end
        follows = number_before is not None and number == number_before + 1
        begin = previous if follows else max(previous, first)
        slots.begin.append(begin)
        slots.busy[index] = max(begin, first) if earliest != NOT_KNOWN else begin
        previous, number_before = end, number
    slots.commits.extend(_sums(max(0, each) for each in lane.commits))
    slots.unknown.extend(_sums(each == NOT_KNOWN for each in lane.commits))
    return slots


def _sums(values: Iterator[int]) -> Iterator[int]:
    total = 0
    yield total
    for value in values:
        total += value
        yield total


def _ends(lane: Lane, known: Mapping[int, int]) -> array[int]:
    """Return when each segment ended: by its last commit or, without one, between those of its neighbours."""
    ends = array("q", lane.latest)
    low, begin = NOT_KNOWN, 0
    for index, latest in enumerate(lane.latest):
        earliest = lane.earliest[index]
        if latest == NOT_KNOWN:
            if (known_end := known.get(lane.numbers[index])) is None:
                continue
            earliest = latest = known_end
        _fill(lane, ends, begin, index, low, latest if earliest == NOT_KNOWN else earliest)
        ends[index] = low = max(low, latest)
        begin = index + 1
    _fill(lane, ends, begin, len(ends), low, None)
    return ends


def _fill(lane: Lane, ends: array[int], begin: int, until: int, low: int, high: int | None) -> None:
    """Fill in those from `begin` to `until`, which ended between two known times: with the time of their archiving, if
    that lies between.
    """
    if begin == until:
        return
    high = None if high is None else max(low, high)
    between = _between(lane, begin, until, low, high)
    for index in range(begin, until):
        accepted = lane.accepted[index]
        fits = 0 < accepted >= low and (high is None or accepted <= high)
        low = ends[index] = max(low, accepted if fits else between(index))


def _between(lane: Lane, begin: int, until: int, low: int, high: int | None) -> Callable[[int], int]:
    """Return the time of a segment by its number, as if all took equally long."""
    if high is None or begin == 0:
        border = low if high is None else high
        return lambda index: border
    first, numbers = lane.numbers[begin - 1], lane.numbers
    span = numbers[until] - first
    return lambda index: low + (high - low) * (numbers[index] - first) // span
