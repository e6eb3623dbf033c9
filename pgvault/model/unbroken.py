"""Which archived segments recovery reads one after the other: along a history, up to where it cannot continue.

There may be a hundred thousand. So they are asked for one of their values alone, where that is enough: a column.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from operator import attrgetter, sub
from typing import Any, Protocol, TypeVar, runtime_checkable

from pgvault.model.timeline import History

_Segment = TypeVar("_Segment")
_number: Callable[[Any], int] = attrgetter("number")


@runtime_checkable
class InColumns(Protocol):
    """A sequence of segments that can be asked for one of their values alone: of a hundred thousand, that is read
    faster than all that is known of each."""

    def column(self, name: str) -> Sequence[Any]: ...


def column(segments: Sequence[Any], name: str) -> Sequence[Any]:
    """Return the value of this name of each segment, in their order."""
    return segments.column(name) if isinstance(segments, InColumns) else [getattr(each, name) for each in segments]


def along(history: History, wal: Mapping[int, Sequence[_Segment]], size: int,
          number: Callable[[_Segment], int] = _number) -> list[_Segment]:
    """Return the archived segments that recovery along this history reads: of each timeline those from its first up to
    the one in which the next timeline begins, which is read from that one."""
    found: list[_Segment] = []
    for leg in history.legs:
        there = wal.get(leg.timeline, ())
        found += there[bisect_left(there, leg.start // size, key=number):
                       None if leg.end is None else bisect_left(there, leg.end // size, key=number)]
    return found


def unbroken(numbers: Sequence[int], stops: Iterable[bool] | None = None) -> Iterator[slice]:
    """Yield the segments of one path in runs, cut where numbers are missing and, where `stops` says so, after a
    segment."""
    begin = 0
    for i, (step, stop) in enumerate(zip(map(sub, numbers[1:], numbers), stops or repeat(False), strict=False), 1):
        if step != 1 or stop:
            yield slice(begin, i)
            begin = i
    if numbers:
        yield slice(begin, len(numbers))
