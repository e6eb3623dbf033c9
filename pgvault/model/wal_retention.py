"""Decides which archived WAL no backup needs any more (rule 19): by the timeline tree and by exact positions.

Pure. WAL goes only if it is certain that no recovery can read it: it lies on the path from none of the backups that
stay. In doubt it is kept: where no backup stays from which recovery can go on, and on a timeline without an archived
history that may descend from that of a backup.
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
        stay = [backup for backup in backups if backup.status.copied]
        self._known = {1, *(history.timeline for history in tree.histories)}
        self._oldest = min((backup.timeline for backup in stay if backup.keep is not Keep.STANDALONE), default=None)
        """The oldest timeline of a backup from which recovery can go on; None if none stays."""
        self._stretches: dict[int, list[Stretch]] = {}
        for stretch in sorted(each for backup in stay for each in _needed(backup, tree)):
            merged = self._stretches.setdefault(stretch.timeline, [])
            if merged and stretch.first <= merged[-1].last + 1:
                merged[-1] = merged[-1]._replace(last=max(merged[-1].last, stretch.last))
            else:
                merged.append(stretch)

    def needs(self, timeline: int, number: int) -> bool:
        """Return whether a backup needs the segment, or whether that cannot be ruled out."""
        if self._oldest is None or (timeline not in self._known and timeline > self._oldest):
            return True  # an unknown timeline may descend from any older one
        stretches = self._stretches.get(timeline, ())
        at = bisect_right(stretches, (timeline, number, _FAR)) - 1
        return at >= 0 and number <= stretches[at].last


def _needed(backup: Backup, tree: TimelineTree) -> Iterator[Stretch]:
    begin, end = backup.begin_segment, backup.end_segment
    if begin is None or end is None:
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
