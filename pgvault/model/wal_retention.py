"""Decides which archived WAL no backup needs any more (rule 19): by the timeline tree and by exact positions.

Pure. WAL goes only if it is certain that no recovery can read it: it lies on the path from none of the backups that
stay. In doubt it is kept: where no backup stays, and on a timeline whose history is not archived.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pgvault.model.backup import Backup, Keep
from pgvault.model.lsn import Lsn
from pgvault.model.timeline import TimelineTree

_FAR = 1 << 62
"""A number behind every segment."""


class Stretch(NamedTuple):
    """Segments `first` to `last` of a timeline, by number."""

    timeline: int
    first: int
    last: int


class NeededWal:
    """The WAL that the backups that stay need."""

    def __init__(self, backups: Iterable[Backup], tree: TimelineTree) -> None:
        """`backups` are those that stay; `tree` has the archived histories."""
        self._known = {1, *(history.timeline for history in tree.histories)}
        self._stretches: dict[int, list[Stretch]] = {}
        self._is_none = True
        for stretch in sorted(each for backup in backups for each in _needed(backup, tree)):
            self._is_none = False
            merged = self._stretches.setdefault(stretch.timeline, [])
            if merged and stretch.first <= merged[-1].last + 1:
                merged[-1] = merged[-1]._replace(last=max(merged[-1].last, stretch.last))
            else:
                merged.append(stretch)

    def needs(self, timeline: int, number: int) -> bool:
        """Return whether a backup needs the segment, or whether that cannot be ruled out."""
        if self._is_none or timeline not in self._known:
            return True
        stretches = self._stretches.get(timeline, ())
        at = bisect_right(stretches, (timeline, number, _FAR)) - 1
        return at >= 0 and number <= stretches[at].last


def _needed(backup: Backup, tree: TimelineTree) -> Iterator[Stretch]:
    begin, end = backup.begin_segment, backup.end_segment
    if not backup.status.copied or begin is None or end is None:
        return
    if backup.keep is Keep.STANDALONE:
        yield Stretch(backup.timeline, begin.number, end.number)
        return
    for history in tree.descendants(backup.timeline, backup.end_lsn or Lsn(0)):
        for leg in history.legs:
            # Both timelines have the segment of a switch: recovery reads the newer one's, if it is there.
            first = max(begin.number, leg.start // backup.segment_size)
            last = _FAR if leg.end is None else leg.end // backup.segment_size
            if first <= last:
                yield Stretch(leg.timeline, first, last)
