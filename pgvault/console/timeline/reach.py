"""Whether an instant of a timeline can be restored: from which backup, or why not and the nearest that can.

Decided by the recovery windows alone, immediately and for every move of the cursor; a plan reads the WAL itself
(`choices`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pgvault.console.timeline.axis import microseconds
from pgvault.console.timeline.chart import Chart, ChartLane, Place, WindowSpan, gap_name
from pgvault.model.backup import Backup
from pgvault.model.lsn import Lsn
from pgvault.model.window import Gap


class Reach(NamedTuple):
    """The backup, or the reason why there is none."""

    backup: Backup | None
    """The newest backup that ended before the instant."""
    segments: int | None
    """The number of segments that a restore from it would replay; None when the position is not known."""
    reason: str = ""
    earlier: int | None = None
    """The nearest instants that can be restored."""
    later: int | None = None


def reach(chart: Chart, lane: int, at: int, lsn: Lsn | None = None) -> Reach:
    """Return whether an instant can be restored; `lsn` is its position where that is known exactly."""
    here = chart.lanes[lane]
    if window := next((span for span in reversed(here.windows) if _side(span, at, lsn) == 0), None):
        return _from_backup(chart, window, at, lsn, chart.place(lane, at).lsn if lsn is None else lsn)
    before = max((span for span in here.windows if _side(span, at, lsn) > 0), key=_until, default=None)
    behind = min((span for span in here.windows if _side(span, at, lsn) < 0), key=_begin, default=None)
    reason = _reason(chart, lane, chart.place(lane, at), before, behind)
    return Reach(None, None, reason, before.until if before else None, behind.begin if behind else None)


def at_end_of(chart: Chart, lane: int, backup_id: str) -> Reach | None:
    """Return the answer for a backup's own end, which can be restored whatever follows it; None if no window of this
    timeline has it.
    """
    if not any(backup_id in span.window.backups for span in chart.lanes[lane].windows):
        return None
    backup = next(each for each in chart.picture.backups if each.id == backup_id)
    return Reach(backup, _segments(chart, backup, (backup.end_lsn or Lsn(1)) - 1))


def _side(span: WindowSpan, at: int, lsn: Lsn | None) -> int:
    """Return whether a place is before a window, -1, in it, 0, or after it, 1."""
    if lsn is not None:
        return (lsn >= span.window.until_lsn) - (lsn < span.window.from_lsn)
    return (at > span.until) - (at < span.begin)


def _until(span: WindowSpan) -> int:
    return span.until


def _begin(span: WindowSpan) -> int:
    return span.begin


def _from_backup(chart: Chart, span: WindowSpan, at: int, lsn: Lsn | None, about: Lsn | None) -> Reach:
    """Return the answer within a window. `about` is the approximate position, `lsn` the exact one, which alone decides
    the backup.
    """
    ids = set(span.window.backups)
    ended = [backup for backup in chart.picture.backups if backup.id in ids and backup.end_time
             and (microseconds(backup.end_time) <= at if lsn is None else (backup.end_lsn or lsn) <= lsn)]
    backup = max(ended, key=lambda each: each.end_lsn or Lsn(0), default=None)
    if backup is None:
        return Reach(None, None, "the backup that opens this recovery window cannot be read")
    if about is None:
        return Reach(backup, None)
    return Reach(backup, _segments(chart, backup, min(max(about, backup.end_lsn or about), span.window.until_lsn - 1)))


def _segments(chart: Chart, backup: Backup, until: int) -> int:
    """Return how many segments recovery reads from the backup's begin to a position."""
    size = chart.picture.segment_size
    return max(1, until // size - (backup.begin_lsn or until) // size + 1)


def _reason(chart: Chart, lane: int, place: Place, before: WindowSpan | None, behind: WindowSpan | None) -> str:
    here, size = chart.lanes[lane], chart.picture.segment_size
    if place.gap:
        return gap_name(place.gap, size)
    if before is None and behind is None:
        return _no_window(chart, here)
    if before is None:
        return "it is before the end of the oldest backup"
    gap = next((gap for gap in _gaps(chart, here) if gap.before.start(size) >= before.window.until_lsn), None)
    if gap and place.segment:
        return gap_name(gap, size)
    if place.segment and place.lsn is not None and place.lsn >= before.window.until_lsn:
        return f"the WAL behind {before.window.until_lsn} cannot be followed"
    if behind is None:
        return "it is later than the last archived commit"
    return "no commit is archived between the last one before it and the next backup"


def _no_window(chart: Chart, here: ChartLane) -> str:
    size = chart.picture.segment_size
    own = {backup.id for backup in chart.picture.backups if backup.timeline == here.timeline}
    broken = next((each for each in chart.picture.survey.broken if each.backup in own), None)
    if broken:
        return f"backup {broken.backup} cannot be restored: {broken.described(size)}"
    if not chart.picture.backups:
        return "there is no backup yet: WAL alone cannot be restored"
    return f"no backup lies on the path to timeline {here.timeline}, or none is complete"


def _gaps(chart: Chart, here: ChartLane) -> Iterator[Gap]:
    """Return the gaps on the path to this timeline, in order."""
    history = chart.picture.tree.history(here.timeline)
    size = chart.picture.segment_size
    for leg in history.legs:
        for lane in chart.lanes:
            if lane.timeline == leg.timeline:
                yield from (span.gap for span in lane.gaps
                            if leg.end is None or span.gap.before.start(size) <= leg.end)
