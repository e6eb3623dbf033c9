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
from pgvault.vault.wal_search import Row

Fits = Callable[[Row], bool]


class Run:
    """Segments that recovery can read one after the other, cut where it cannot go on."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self._stored: list[int] = []
        self._latest: list[int] = []
        self._places: dict[Hashable, list[int]] = {}

    def stored(self, first: int, behind: int) -> int:
        self._stored = self._stored or list(accumulate((row.stored for row in self.rows), initial=0))
        return self._stored[behind] - self._stored[first]

    def latest(self, first: int) -> int:
        """Return the latest time of a commit or abort in the segments from an index on; -1 if there is none."""
        if not self._latest:
            times = (-1 if row.latest is None else row.latest for row in reversed(self.rows))
            self._latest = list(accumulate(times, max, initial=-1))[::-1]
        return self._latest[first]

    def places(self, key: Hashable, fits: Fits) -> list[int]:
        """Return the indexes of the segments that fit; they are examined once for each key."""
        if key not in self._places:
            self._places[key] = [place for place, row in enumerate(self.rows) if fits(row)]
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
        return self.run.rows[-1]

    def up_to(self, until: Lsn, size: int) -> Part:
        """Return the segments that begin before this position."""
        behind = min(self.place(-(-until // size)), len(self.run.rows))
        return Part(self.run, self.first, max(behind, self.first))

    def place(self, number: int) -> int:
        """Return the index in the run at which the segment of this number is, or would be."""
        return number - self.run.rows[0].number

    def row(self, number: int) -> Row | None:
        """Return the segment of this number; None if it is not among these."""
        place = self.place(number)
        return self.run.rows[place] if self.first <= place < len(self.run.rows) else None

    def latest(self, number: int = 0) -> int:
        """Return the latest time of a commit or abort in these segments, from this number on; -1 if there is none."""
        return self.run.latest(min(max(self.place(number), self.first), len(self.run.rows)))

    def fitting(self, key: Hashable, fits: Fits) -> Iterator[int]:
        """Yield the indexes of the segments that fit, in order; `key` identifies `fits`."""
        places = self.run.places(key, fits)
        return (places[at] for at in range(bisect_left(places, self.first), len(places)))

    def next(self, key: Hashable, fits: Fits) -> int | None:
        """Return the first index of them."""
        places = self.run.places(key, fits)
        at = bisect_left(places, self.first)
        return places[at] if at < len(places) else None

    def last_commit(self) -> Row | None:
        """Return the last segment in which a transaction ends."""
        places = self.run.places("commit", _has_commit)
        return self.run.rows[places[-1]] if places and places[-1] >= self.first else None

    @property
    def unread(self) -> int | None:
        """Return the first index whose records were not read."""
        return self.next("unread", _is_unread)

    def refuse_unread(self, until: int | None = None) -> None:
        """Raise WalMissing at the first segment whose records were not read, up to and including an index, or at all.
        """
        place = self.unread
        if place is not None and (until is None or place <= until):
            row = self.run.rows[place]
            raise WalMissing(f"segment {row.name} was not read", detail=f"Not read: {row.problem}.",
                             hint="A restore with --target-end or --target-immediate needs no look into the WAL.")


def _is_unread(row: Row) -> bool:
    return row.problem is not None


def _has_commit(row: Row) -> bool:
    return row.latest is not None
