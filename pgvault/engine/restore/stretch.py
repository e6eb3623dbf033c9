"""Unbroken WAL, shared by all backups of a vault: what many would have to count is counted once.

Ten thousand backups may lie in a run of a hundred thousand segments. So a question is answered by binary search, in
lists that the run makes when they are first needed: running totals of bytes, the latest time from each segment on, and
the indexes of the segments that may contain a target.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

from pgvault.model.errors import WalMissing
from pgvault.model.lsn import Lsn
from pgvault.model.unbroken import column
from pgvault.vault.wal_rows import Row, RowsOfPath

Fits = Callable[..., bool]
"""Gets the values of the columns that are asked for."""


class Run:
    """Segments that recovery can read one after the other, cut where it cannot go on."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.first, self.last, self.count = rows[0].number, rows[-1], len(rows)
        self._stored: list[int] = []
        self._times: list[int] = []
        self._latest: list[int] = []
        self._places: dict[Hashable, list[int]] = {}

    def followed_by(self, row: Row) -> Run:
        return Run(self.rows.followed_by(row) if isinstance(self.rows, RowsOfPath) else [*self.rows, row])

    def stored(self, first: int, behind: int) -> int:
        self._stored = self._stored or list(accumulate(column(self.rows, "stored"), initial=0))
        return self._stored[behind] - self._stored[first]

    def latest(self, first: int) -> int:
        """Return the latest time of a commit or abort in the segments from an index on; -1 if there is none."""
        if not self._latest:
            self._latest = list(accumulate(reversed(self._known_times), max, initial=-1))[::-1]
        return self._latest[first]

    def latest_in(self, place: int) -> int:
        """Return the latest time of a commit or abort in one segment; -1 if there is none."""
        return self._known_times[place]

    @property
    def _known_times(self) -> list[int]:
        self._times = self._times or [-1 if latest is None else latest for latest in column(self.rows, "latest")]
        return self._times

    def places(self, key: Hashable, fits: Fits, *columns: str) -> list[int]:
        """Return the indexes of the segments whose values in these columns fit; they are examined once for each key."""
        if key not in self._places:
            found = map(fits, *(column(self.rows, name) for name in columns))
            self._places[key] = [place for place, is_fitting in enumerate(found) if is_fitting]
        return self._places[key]


class Part(NamedTuple):
    """Some segments of a run."""

    run: Run
    first: int
    behind: int

    @property
    def rows(self) -> Sequence[Row]:
        return self.run.rows[self.first:self.behind]

    @property
    def segments(self) -> int:
        return self.behind - self.first

    @property
    def stored(self) -> int:
        """Return their stored size in bytes."""
        return self.run.stored(self.first, self.behind)


class Stretch(NamedTuple):
    """What recovery reads from a backup's begin on: the run from one of its segments to its end."""

    run: Run
    first: int
    """The index of that segment in the run."""

    @property
    def rows(self) -> Sequence[Row]:
        return self.run.rows[self.first:]

    @property
    def last(self) -> Row:
        return self.run.last

    def up_to(self, until: Lsn, size: int) -> Part:
        """Return the segments that begin before this position."""
        behind = min(self.place(-(-until // size)), self.run.count)
        return Part(self.run, self.first, max(behind, self.first))

    def place(self, number: int) -> int:
        """Return the index in the run at which the segment of this number is, or would be."""
        return number - self.run.first

    def row(self, number: int) -> Row | None:
        """Return the segment of this number; None if it is not among these."""
        place = self.place(number)
        return self.run.rows[place] if self.first <= place < self.run.count else None

    def latest(self, number: int = 0) -> int:
        """Return the latest time of a commit or abort in these segments, from this number on; -1 if there is none."""
        return self.run.latest(min(max(self.place(number), self.first), self.run.count))

    def latest_in(self, number: int) -> int:
        """Return the latest time of a commit or abort in the segment of this number; -1 if there is none."""
        place = self.place(number)
        return self.run.latest_in(place) if self.first <= place < self.run.count else -1

    def fitting(self, key: Hashable, fits: Fits, *columns: str) -> Iterator[int]:
        """Yield the indexes of the segments whose values in these columns fit, in order; `key` identifies `fits`."""
        places = self.run.places(key, fits, *columns)
        return (places[at] for at in range(bisect_left(places, self.first), len(places)))

    def next(self, key: Hashable, fits: Fits, *columns: str) -> int | None:
        """Return the first index of them."""
        places = self.run.places(key, fits, *columns)
        at = bisect_left(places, self.first)
        return places[at] if at < len(places) else None

    def late(self, moment: int) -> Iterator[int]:
        """Yield the indexes of the segments in which a transaction ended at this time or later."""
        return self.fitting(("late", moment), lambda latest: latest is not None and latest >= moment, "latest")

    def last_commit(self) -> Row | None:
        """Return the last segment in which a transaction ends."""
        places = self.run.places("commit", _is_known, "latest")
        return self.run.rows[places[-1]] if places and places[-1] >= self.first else None

    @property
    def unread(self) -> int | None:
        """Return the first index whose records were not read."""
        return self.next("unread", _is_known, "problem")

    def refuse_unread(self, until: int | None = None) -> None:
        """Raise WalMissing at the first segment whose records were not read, up to and including an index, or at all.
        """
        place = self.unread
        if place is not None and (until is None or place <= until):
            row = self.run.rows[place]
            raise WalMissing(f"segment {row.name} was not read", detail=f"Not read: {row.problem}.",
                             hint="A restore with --target-end or --target-immediate needs no look into the WAL.")


def _is_known(value: object) -> bool:
    return value is not None
