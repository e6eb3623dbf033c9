"""The WAL of a server's backups: how much belongs to each, and how far it extends."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import accumulate, groupby
from operator import itemgetter
from typing import TYPE_CHECKING

from pgvault.model.backup import Backup
from pgvault.model.catalogue import WalShare
from pgvault.model.errors import WalMissing
from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment
from pgvault.model.timeline import History, TimelineTree
from pgvault.vault import wal_index
from pgvault.vault.layout import ServerVault
from pgvault.vault.wal_index import StoredFile, WalIndex, archived_segments, has_breaks
from pgvault.vault.wal_queries import has_histories, segment_sizes, segments_between

if TYPE_CHECKING:
    from pgvault.model.window import Survey

_FAR = 1 << 62
"""A number after that of every segment."""
Stretch = tuple[int, int, int]
"""A timeline, and the numbers of the first and the last segment on it."""


class _Timeline:
    """The archived segments of one timeline with running totals, so that any stretch is summed by two look-ups."""

    def __init__(self, rows: Sequence[tuple[int, ...]]) -> None:
        self.numbers = [row[1] for row in rows]
        self.plain = list(accumulate(map(itemgetter(2), rows), initial=0))
        self.stored = list(accumulate(map(itemgetter(3), rows), initial=0))


class CatalogueWal:
    """The archived WAL, prepared for queries about any number of backups."""

    def __init__(self, timelines: Mapping[int, _Timeline], tree: TimelineTree, until: Mapping[str, datetime],
                 broken: Mapping[str, str]) -> None:
        self._timelines, self.tree = timelines, tree
        self.until = until
        """The last commit that can be reached from each backup, by id."""
        self._broken = broken
        """Why recovery cannot reach the end of a backup though no segment may be missing, by id."""

    def flaw(self, backup: Backup) -> str:
        """Return why the backup cannot be restored; empty if its WAL is complete."""
        begin, end = _span(backup)
        if missing := end - begin + 1 - self.own(backup).files:
            return f"{missing} of the {end - begin + 1} WAL segments that it needs are not archived"
        return self._broken.get(backup.id, "")

    def own(self, backup: Backup) -> WalShare:
        """Sum up the segments from the backup's start to its end."""
        begin, end = _span(backup)
        return self._share([(backup.timeline, begin, end)])

    def behind(self, backup: Backup, following: Backup | None) -> WalShare:
        """Sum up the segments after the backup's end, along its timeline path, up to the start of the next backup."""
        first, last = _span(backup)[1] + 1, _span(following)[0] - 1 if following else _FAR
        if not self.tree.histories and (following is None or following.timeline == backup.timeline):
            return self._share([(backup.timeline, first, last)])
        paths = self.tree.descendants(backup.timeline, backup.end_lsn or Lsn(0))
        if following:
            paths = tuple(path for path in paths if path.timeline == following.timeline)
        if not paths:  # the next backup is on another branch, so all later WAL of this timeline belongs to this one
            paths, last = (self.tree.history(backup.timeline),), _FAR
        return self._share(_stretches(paths[-1], first, last, backup.segment_size))

    def _share(self, stretches: Iterable[Stretch]) -> WalShare:
        files = plain = stored = 0
        newest = None
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
                newest = number, timeline.numbers[high - 1]
        return WalShare(files, plain, stored, newest)


def _span(backup: Backup) -> tuple[int, int]:
    """Return the numbers of its first and last segment. It is called a thousand times, so it creates no Segment."""
    begin, end = backup.begin_lsn or 0, backup.end_lsn or 0
    return begin // backup.segment_size, max(end - 1, begin) // backup.segment_size


def _stretches(history: History, first: int, last: int, size: int) -> Iterator[Stretch]:
    """Yield the segments `first` to `last` that recovery along this timeline reads; at a switch, those of the newer
    timeline."""
    for leg in history.legs:
        low = max(first, leg.start // size)
        high = last if leg.end is None else min(last, leg.end // size - 1)
        if low <= high:
            yield leg.timeline, low, high


def wal_files(vault: ServerVault, backup: Backup, *, standalone: bool) -> Iterator[StoredFile]:
    """Yield the archived segments from the backup's start to its end, or to the newest of the newest timeline that
    continues from it, with that timeline's history files.

    Raises WalMissing, after all others, if one between its start and its end is not archived.
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
            for file in segments_between(index, *stretch):
                needed.discard(file.number or 0)
                yield file
    if needed:
        missing = Segment(begin.timeline, min(needed)).name(backup.segment_size)
        raise WalMissing(f"backup {backup.id} cannot be restored: WAL is missing",
                         detail=f"{len(needed)} segments that it needs are not archived, the first is {missing}.",
                         hint=f"pgvault wal {vault.name}")


def read_wal(vault: ServerVault, backups: Sequence[Backup], *, reach: bool) -> CatalogueWal:
    """Read the WAL index; NotFound and Corrupt if it is not usable. `reach` also determines how far each backup can be
    recovered.

    If all read WAL is intact, a backup is complete if no segment is missing, which a count shows. All segments are
    surveyed only otherwise, and for `reach`.
    """
    with wal_index.reading(vault) as index:
        rows = segment_sizes(index)
        surveyed = reach or has_breaks(index)
        archived = archived_segments(index) if surveyed else []
        tree = _timelines(vault, index)
    timelines = {number: _Timeline(list(each)) for number, each in groupby(rows, itemgetter(0))}
    if not surveyed:
        return CatalogueWal(timelines, tree, {}, {})
    from pgvault.model.window import survey  # listing backups does not need it
    from pgvault.vault.wal_parted import latest_between

    size = backups[-1].segment_size
    found = survey(archived, tree, backups, size, latest_between(vault))
    broken = {each.backup: each.described(size) for each in found.broken}
    return CatalogueWal(timelines, tree, _reach(found, backups) if reach else {}, broken)


def _reach(survey: Survey, backups: Sequence[Backup]) -> dict[str, datetime]:
    """Return the newest commit after its end that can be reached from each backup, along any timeline."""
    until = {backup.id: backup.end_time for backup in backups if backup.end_time}
    for window in survey.windows:
        for backup_id in window.backups:
            if window.until_time and backup_id in until:
                until[backup_id] = max(until[backup_id], window.until_time)
    return {backup.id: until[backup.id] for backup in backups if until.get(backup.id) != backup.end_time}


def _timelines(vault: ServerVault, index: WalIndex) -> TimelineTree:
    """Read the timelines. Most clusters have only one, and then nothing needs to be read."""
    if not has_histories(index):
        return TimelineTree(())
    from pgvault.vault.wal_facts import timeline_tree

    return timeline_tree(vault, index)
