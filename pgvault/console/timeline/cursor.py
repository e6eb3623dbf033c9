"""The place under the cursor, and its description: clocks, position, whether it can be restored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo

from pgvault.console.fields import Field
from pgvault.console.timeline.axis import clock, fraction_digits, moment
from pgvault.console.timeline.chart import Chart, Mark, MarkKind
from pgvault.console.timeline.reach import Reach, at_end_of, reach
from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment
from pgvault.model.target import AtLsn, AtName, AtTime, Immediate, Target
from pgvault.model.text import size
from pgvault.model.times import exact

LABEL = 10
"""The width of the names at the left, in columns."""


class Cursor(NamedTuple):
    """A place on the path to a timeline."""

    timeline: int
    at: int
    mark: Mark | None = None
    """The mark that it is on; None for none."""
    lsn: Lsn | None = None
    """The exact position, where it is known better than by the time: of the end of a transaction."""
    what: str = ""
    """That transaction, in words."""

    @property
    def is_exact(self) -> bool:
        return self.mark is not None or self.lsn is not None


class RecoveryPoint(NamedTuple):
    """The request that a recovery from the cursor would make."""

    target: Target
    backup: str = "auto"


def reach_of(chart: Chart, cursor: Cursor) -> Reach:
    lane = chart.lane_of(cursor.timeline)
    own = at_end_of(chart, lane, cursor.mark.text) if cursor.mark and cursor.mark.kind is MarkKind.BACKUP else None
    return own or reach(chart, lane, cursor.at, position(cursor))


def position(cursor: Cursor) -> Lsn | None:
    """Return the exact position."""
    return cursor.lsn if cursor.lsn is not None else cursor.mark.lsn if cursor.mark else None


def recovery_point(chart: Chart, cursor: Cursor) -> RecoveryPoint:
    """Return the point at a backup's end, at a restore point, or at a position if one is known: what is judged by its
    position is requested by it. The point is before what is there, but after a restore point and after the last record.
    """
    kind = cursor.mark.kind if cursor.mark else None
    if cursor.mark and kind is MarkKind.BACKUP:
        return RecoveryPoint(Immediate(), cursor.mark.text)
    if cursor.mark and kind is MarkKind.RESTORE_POINT and _is_only(chart, cursor.mark.text):
        return RecoveryPoint(AtName(cursor.mark.text))
    if (lsn := position(cursor)) is not None:
        return RecoveryPoint(AtLsn(lsn, inclusive=kind in (MarkKind.RESTORE_POINT, MarkKind.WINDOW_END)))
    return RecoveryPoint(AtTime(moment(cursor.at)))


def _is_only(chart: Chart, name: str) -> bool:
    return [point.name for point in chart.picture.restore_points].count(name) == 1


def cursor_fields(chart: Chart, cursor: Cursor, step: int, zone: str | None,
                  here: tzinfo | None = None) -> Iterator[Field]:
    """Return five values. `step` is the span of a column, in microseconds; `zone` is the server's, `here` this
    machine's.
    """
    digits = 6 if cursor.is_exact else fraction_digits(step)
    yield _field("time", "   ".join(clocks(cursor.at, digits, zone, here)), "bold")
    yield _field("position", _position(chart, cursor))
    yield _field("here", cursor.what or _under(chart, cursor))
    yield from _restore(reach_of(chart, cursor), chart)


def clocks(at: int, digits: int, zone: str | None, here: tzinfo | None = None) -> Iterator[str]:
    """Return UTC, the server's zone where it is configured, and this machine's where that shows another time.

    The fraction of a second is the same on all of them, and is shown with the first.
    """
    time = moment(at)
    yield f"{time:%Y-%m-%d} {clock(at, digits)}Z"
    shown = {time.astimezone(UTC).utcoffset()}
    for name, area in ((zone or "", ZoneInfo(zone) if zone else None), ("here", here)):
        try:
            local = time.astimezone(area) if name else time
        except OverflowError:
            continue
        if local.utcoffset() not in shown or (name and name == zone):
            shown.add(local.utcoffset())
            date = "" if local.date() == time.date() else f"{local:%m-%d} "
            yield f"{date}{local:%H:%M:%S} {name}"


def _field(name: str, text: str, style: str = "") -> Field:
    return Field(name, text, style, LABEL)


def _position(chart: Chart, cursor: Cursor) -> str:
    exact, size_ = position(cursor), chart.picture.segment_size
    place = chart.place(chart.lane_of(cursor.timeline), cursor.at)
    if exact is not None:
        timeline = place.segment.timeline if place.segment else cursor.timeline
        is_end = cursor.mark is not None and cursor.mark.kind.is_backup
        segment = (Segment.ending if is_end else Segment.holding)(timeline, exact, size_)
        return f"{exact}   {segment.name(size_)}   timeline {timeline}"
    if place.segment and place.lsn is not None:
        return f"about {place.lsn}   {place.segment.name(size_)}   timeline {place.segment.timeline}"
    if place.gap:
        return f"in a gap behind {place.lsn}   timeline {place.gap.after.timeline}"
    return f"outside of the WAL archived of timeline {cursor.timeline}"


def _under(chart: Chart, cursor: Cursor) -> str:
    if cursor.mark is None:
        return ""
    lane = chart.lanes[chart.lane_of(cursor.timeline)]
    marks: Sequence[Mark] = [cursor.mark, *(mark for mark in lane.marks_in(cursor.at, cursor.at + 1)
                                            if mark != cursor.mark)]
    return ", ".join(_named(mark) for mark in marks)


def _named(mark: Mark) -> str:
    if mark.kind.is_backup:
        return f"{mark.kind.value} {mark.text}" + (", its end" if mark.kind is MarkKind.BACKUP else "")
    return f"restore point {mark.text}" if mark.kind is MarkKind.RESTORE_POINT else mark.text


def _restore(found: Reach, chart: Chart) -> Iterator[Field]:
    if found.backup:
        count = found.segments
        wal = f" + {count:,} segment{'s' * (count != 1)} of WAL ({size(count * chart.picture.segment_size)})" if (
            count is not None) else ""
        yield _field("restore", f"from {found.backup.id}{wal}", "good")
        yield _field("", "")
        return
    yield _field("restore", f"cannot be: {found.reason}", "bad")
    nearest = [f"{word} {exact(moment(at))}" for word, at in (
        ("earlier", found.earlier), ("later", found.later)) if at is not None]
    yield _field("nearest", "   ".join(nearest) or "none on this timeline")
