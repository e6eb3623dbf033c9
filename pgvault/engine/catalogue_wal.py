"""The WAL of a server's backups: how much belongs to each, and how far it reaches."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate

from pgvault.model.backup import Backup
from pgvault.model.errors import WalMissing
from pgvault.model.segment import Segment
from pgvault.model.timeline import History, TimelineTree
from pgvault.vault import wal_index
from pgvault.vault.layout import ServerVault
from pgvault.vault.wal_index import StoredFile, WalIndex

_SEGMENTS = "SELECT timeline, number, plain, stored FROM file WHERE kind = 'segment' ORDER BY timeline, number"


_FAR = 1 << 62
"""Behind every segment."""
Stretch = tuple[int, int, int]
"""A timeline, and the numbers of the first and the last segment on it."""

_FILES = ("SELECT * FROM file WHERE kind = 'segment' AND timeline = ? AND number BETWEEN ? AND ?"
          " ORDER BY timeline, number")


@dataclass(frozen=True, slots=True)
class WalShare:
    """Some archived segments; sizes in bytes."""

    files: int = 0
    plain: int = 0
    stored: int = 0
    last: str = ""
    """The name of the newest of them."""


class _Timeline:
    """The archived segments of one timeline, with running totals: any stretch is summed by two look-ups."""

    def __init__(self, rows: Sequence[tuple[int, int, int]]) -> None:
        self.numbers = [number for number, _, _ in rows]
        self.plain = [0, *accumulate(plain for _, plain, _ in rows)]
        self.stored = [0, *accumulate(stored for _, _, stored in rows)]


class CatalogueWal:
    """What is archived, ready to be asked for any number of backups."""

    def __init__(self, timelines: Mapping[int, _Timeline], tree: TimelineTree, until: Mapping[str, datetime],
                 broken: Mapping[str, str]) -> None:
        self._timelines, self.tree = timelines, tree
        self.until = until
        """The last commit that can be reached from each backup, by id."""
        self.broken = broken
        """Why a backup that is DONE cannot be restored, by id."""

    def own(self, backup: Backup) -> WalShare:
        """The segments from the backup's begin to its end."""
        begin, end = backup.begin_segment, backup.end_segment
        if begin is None or end is None:
            return WalShare()
        return self._share([(begin.timeline, begin.number, end.number)], backup.segment_size)

    def behind(self, backup: Backup, following: Backup | None) -> WalShare:
        """The segments after the backup's end, along its timeline path, up to where the next backup begins."""
        end, next_begin = backup.end_segment, following.begin_segment if following else None
        if end is None or backup.end_lsn is None:
            return WalShare()
        histories = self.tree.descendants(backup.timeline, backup.end_lsn)
        if following:
            histories = tuple(h for h in histories if h.timeline == following.timeline)
        # A next backup that lies on another branch leaves the WAL of this one's timeline to it.
        history = histories[-1] if histories else self.tree.history(backup.timeline)
        last = next_begin.number - 1 if next_begin and histories else _FAR
        return self._share(_stretches(history, end.number + 1, last, backup.segment_size), backup.segment_size)

    def _share(self, stretches: Iterable[Stretch], size: int) -> WalShare:
        files = plain = stored = 0
        newest = ""
        for number, first, last in stretches:
            timeline = self._timelines.get(number)
            if timeline is None:
                continue
            low = bisect_left(timeline.numbers, first)
            high = bisect_left(timeline.numbers, last + 1)
            if low < high:
                files += high - low
                plain += timeline.plain[high] - timeline.plain[low]
                stored += timeline.stored[high] - timeline.stored[low]
                newest = Segment(number, timeline.numbers[high - 1]).name(size)
        return WalShare(files, plain, stored, newest)


def _stretches(history: History, first: int, last: int, size: int) -> Iterator[Stretch]:
    """The segments `first` to `last` that recovery along this timeline reads: at a switch, the newer timeline's."""
    for leg in history.legs:
        low = max(first, leg.start // size)
        high = last if leg.end is None else min(last, leg.end // size - 1)
        if low <= high:
            yield leg.timeline, low, high


def wal_files(vault: ServerVault, backup: Backup, *, standalone: bool) -> Iterator[StoredFile]:
    """The archived segments from the backup's begin on: to its end, or to the newest on the newest timeline that goes
    on from it, with the history files of that.

    WalMissing, after the rest, when one between its begin and its end is not archived.
    """
    begin, end = backup.begin_segment, backup.end_segment
    if begin is None or end is None or backup.end_lsn is None:
        return
    needed = set(range(begin.number, end.number + 1))
    with wal_index.reading(vault) as index:
        history = _timelines(vault, index).descendants(backup.timeline, backup.end_lsn)[-1]
        if not standalone:
            for leg in history.legs[1:]:
                if row := index.find(f"{leg.timeline:08X}.history"):
                    yield row
        for stretch in [(begin.timeline, begin.number, end.number)] if standalone else \
                _stretches(history, begin.number, _FAR, backup.segment_size):
            for row in index.connection.execute(_FILES, stretch):
                file = StoredFile(*row)
                needed.discard(file.number or 0)
                yield file
    if needed:
        missing = Segment(begin.timeline, min(needed)).name(backup.segment_size)
        raise WalMissing(f"backup {backup.id} cannot be restored: WAL is missing",
                         detail=f"{len(needed)} segments that it needs are not archived, the first is {missing}.",
                         hint=f"pgvault wal {vault.name}")


def read_wal(vault: ServerVault, backups: Sequence[Backup]) -> CatalogueWal:
    """From the WAL index; NotFound and Corrupt when it cannot tell."""
    with wal_index.reading(vault) as index:
        rows: dict[int, list[tuple[int, int, int]]] = {}
        for timeline, number, plain, stored in index.connection.execute(_SEGMENTS):
            rows.setdefault(timeline, []).append((number, plain, stored))
        tree = _timelines(vault, index)
    return CatalogueWal({number: _Timeline(each) for number, each in rows.items()}, tree, {}, {})


def _timelines(vault: ServerVault, index: WalIndex) -> TimelineTree:
    """Most clusters have one timeline only, and then nothing needs to be read."""
    if not index.connection.execute("SELECT 1 FROM file WHERE kind = 'history'").fetchone():
        return TimelineTree(())
    from pgvault.vault.wal_facts import timeline_tree

    return timeline_tree(vault, index)
