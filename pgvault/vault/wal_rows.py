"""The archived segments as recovery asks for them: a value of all at once, and all that is known of those looked at.

A question about a restore looks for a few among a hundred thousand segments, by one or two of their values: reading
these takes a fifth of the time that reading all values of all would take.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple, overload

from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment
from pgvault.model.timeline import History
from pgvault.model.unbroken import along, unbroken
from pgvault.vault.wal_index import WalIndex
from pgvault.vault.wal_unfinished import Unfinished


class Row(NamedTuple):
    """One archived segment with what its records contain; times in microseconds since 1970, UTC.

    Its values are those of the index, since there may be a hundred thousand rows.
    """

    timeline: int
    number: int
    name: str
    stored: int
    problem: str | None
    """Why its records could not be read; None if they could."""
    earliest: int | None
    """The earliest and the latest time of its commits and aborts; None if it has none."""
    latest: int | None
    oldest_xid: int | None
    newest_xid: int | None
    last_at: int | None
    """See `last_lsn`."""
    end_at: int
    """See `end`."""
    stops: bool
    """True if recovery cannot continue after it: its WAL ends there, and not because the server closed the segment."""
    removals: int | None = None
    most_rows: int | None = None
    """The most rows that one commit changed, as `wal.losses.Losses.most_rows`; None if unknown."""
    passed: int = 0
    """The number of transactions that were prepared and ended within it, which the index lacks."""
    ends_by: str = ""
    """Why its WAL ends before the segment does: a value of `wal.records.Cause`, or MINIMAL."""
    whole: int | None = None
    """The end of its last complete record, which recovery reaches if nothing follows."""
    unfinished: Unfinished | None = None
    """The unfinished segment; None for a complete one."""

    @property
    def segment(self) -> Segment:
        return Segment(self.timeline, self.number)

    @property
    def last_lsn(self) -> Lsn | None:
        """Return the start of its last record."""
        return None if self.last_at is None else Lsn(self.last_at)

    @property
    def end(self) -> Lsn:
        """Return where its WAL ends."""
        return Lsn(self.end_at)

    @property
    def reach(self) -> Lsn:
        return Lsn(self.end_at if self.whole is None else self.whole)


_SOURCES = {
    "timeline": "f.timeline", "number": "f.number", "name": "f.name", "stored": "f.stored",
    "problem": "CASE WHEN a.number IS NULL THEN 'it is new' ELSE a.problem END",
    "earliest": "a.earliest", "latest": "a.latest", "oldest_xid": "a.oldest_xid", "newest_xid": "a.newest_xid",
    "last_at": "a.last_lsn", "end_at": "coalesce(a.end_lsn, (f.number + 1) * {size})",
    "stops": "coalesce(a.end_cause, 'switched') <> 'switched'", "removals": "a.removals", "most_rows": "a.most_rows",
    "passed": "coalesce(a.passed, 0)", "ends_by": "CASE WHEN a.end_cause <> 'switched' THEN a.end_cause ELSE '' END",
    "whole": "a.whole", "unfinished": "NULL"}
"""Where the values of a Row are in the index, in their order."""
_TOGETHER = (("timeline", "number", "stored", "problem", "earliest", "latest", "stops"), ("oldest_xid", "newest_xid"))
"""Columns that are read at once, since whoever asks for one asks for the others."""
_PORTION = 8192
"""Rows."""


class Rows:
    """Every archived segment of an index that stays as it is. By name is by timeline and number."""

    def __init__(self, index: WalIndex, size: int) -> None:
        self._index, self.size = index, size
        self._columns: dict[str, list[Any]] = {}

    def column(self, name: str) -> Sequence[Any]:
        """Return this value of all, by timeline and number."""
        if name not in self._columns:
            self._read(next((each for each in _TOGETHER if name in each), (name,)))
        return self._columns[name]

    def _read(self, names: Iterable[str]) -> None:
        found = {name: list[Any]() for name in names}
        rows = self._select(found)
        while portion := rows.fetchmany(_PORTION):
            for values, column in zip(found.values(), zip(*portion, strict=True), strict=True):
                values.extend(column)
        self._columns.update(found)

    def _select(self, names: Iterable[str] = _SOURCES, where: str = "TRUE", *values: str) -> sqlite3.Cursor:
        """With the plus, rows are read as they lie instead of through the index."""
        sources = ", ".join(_SOURCES[name] for name in names).format(size=self.size)
        return self._index.connection.execute(
            f"SELECT {sources} FROM file f LEFT JOIN facts a USING (timeline, number)"
            f" WHERE +f.kind = 'segment' AND {where} ORDER BY f.name", values)

    def at(self, places: Sequence[int]) -> Iterator[Row]:
        """Yield those at these places; of one timeline, they have to follow each other."""
        for _, same in groupby(places, self.column("timeline").__getitem__):
            each = list(same)
            yield from map(Row._make, self._select(
                _SOURCES, "f.name BETWEEN ? AND ?", self._name(each[0]), self._name(each[-1])))

    def _name(self, place: int) -> str:
        return Segment(self.column("timeline")[place], self.column("number")[place]).name(self.size)

    def along(self, history: History) -> RowsOfPath:
        """Return the segments that recovery along this history reads."""
        timelines = self.column("timeline")
        there = {each: range(bisect_left(timelines, each), bisect_right(timelines, each)) for each in set(timelines)}
        return RowsOfPath(self, along(history, there, self.size, self.column("number").__getitem__))

    @cached_property
    def all(self) -> Mapping[int, Sequence[Row]]:
        """Every one with all its values, by timeline and number."""
        rows = map(Row._make, self._select())
        return {timeline: list(same) for timeline, same in groupby(rows, attrgetter("timeline"))}


class RowsOfPath(Sequence[Row]):
    """Segments that follow each other on a path: one of them is read when it is looked at, a part of them at once."""

    def __init__(self, rows: Rows, places: Sequence[int], more: Sequence[Row] = ()) -> None:
        """`places` are theirs among all rows; `more` follow behind them."""
        self._rows, self._places, self._more = rows, places, more
        self._seen: dict[int, Row] = {}

    def __len__(self) -> int:
        return len(self._places) + len(self._more)

    def column(self, name: str) -> Sequence[Any]:
        return [*map(self._rows.column(name).__getitem__, self._places), *(getattr(row, name) for row in self._more)]

    def unbroken(self) -> Iterator[RowsOfPath]:
        """Yield the runs that recovery can read without a stop."""
        for run in unbroken(self.column("number"), self.column("stops")):
            yield RowsOfPath(self._rows, self._places[run])

    def followed_by(self, row: Row) -> RowsOfPath:
        return RowsOfPath(self._rows, self._places, (*self._more, row))

    @overload
    def __getitem__(self, place: int) -> Row: ...
    @overload
    def __getitem__(self, place: slice) -> list[Row]: ...
    def __getitem__(self, place: int | slice) -> Row | list[Row]:
        if isinstance(place, slice):
            wanted = range(len(self))[place]
            return [*self._rows.at(self._places[wanted.start:wanted.stop]),
                    *(self._more[each - len(self._places)] for each in wanted if each >= len(self._places))]
        place = range(len(self))[place]
        if place not in self._seen:
            [self._seen[place]] = self[place:place + 1]
        return self._seen[place]

    def __iter__(self) -> Iterator[Row]:
        return iter(self[:])
