"""All that is drawn of one picture of the WAL, laid onto time once, so that drawing only looks things up."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from typing import NamedTuple

from pgvault.console.timeline.axis import microseconds
from pgvault.console.timeline.lane import Slots, slots_of
from pgvault.model.backup import Backup, BackupStatus
from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment
from pgvault.model.timeline import History
from pgvault.model.wal_picture import Lane, WalPicture
from pgvault.model.window import Gap, Window


class MarkKind(Enum):
    """The kinds of marks, in the order of precedence within a column."""

    ACCIDENT = "accident"
    RESTORE_POINT = "restore point"
    BACKUP = "backup"
    BACKUP_RUNNING = "running backup"
    BACKUP_UNUSABLE = "backup that cannot be restored"
    WINDOW_END = "last archived commit"
    GAP = "gap"
    BRANCH = "branch"

    @property
    def is_backup(self) -> bool:
        return self in (MarkKind.BACKUP, MarkKind.BACKUP_RUNNING, MarkKind.BACKUP_UNUSABLE)


_ORDER = {kind: place for place, kind in enumerate(MarkKind)}


class Mark(NamedTuple):
    """Something at one instant of a lane that the cursor can go to."""

    at: int
    kind: MarkKind
    text: str
    """A few words: the name of a restore point, the id of a backup."""
    lsn: Lsn | None = None
    key: str = ""
    """An accident's key, which is unique; empty for other marks."""


class GapSpan(NamedTuple):
    begin: int
    until: int
    gap: Gap


class WindowSpan(NamedTuple):
    begin: int
    until: int
    """The end, included."""
    window: Window


@dataclass(frozen=True, slots=True)
class ChartLane:
    """One timeline, drawn as a lane."""

    timeline: int
    slots: Slots
    gaps: tuple[GapSpan, ...]
    windows: tuple[WindowSpan, ...]
    """The recovery windows on the path to this timeline: they may begin on an ancestor."""
    parent: int | None
    branch: int | None
    """When the timeline left its parent."""
    marks: tuple[Mark, ...]
    """The marks in the order of time."""

    def marks_in(self, begin: int, until: int) -> Sequence[Mark]:
        """Return the marks from one instant up to, not including, another."""
        low = bisect_left(self.marks, begin, key=_at)
        return self.marks[low:bisect_left(self.marks, until, lo=low, key=_at)]

    def gap_in(self, begin: int, until: int) -> GapSpan | None:
        """Return the first gap that touches this time."""
        for span in self.gaps[bisect_left(self.gaps, begin, key=_until):]:
            return span if span.begin < until else None
        return None


class Place(NamedTuple):
    """The WAL that was being written at an instant."""

    segment: Segment | None
    """The segment; None outside of the archive and in a gap."""
    lsn: Lsn | None
    """The approximate position; None outside of the archive."""
    gap: Gap | None = None


@dataclass(frozen=True, slots=True)
class Chart:
    picture: WalPicture
    lanes: tuple[ChartLane, ...]
    """The lanes by timeline: all that have WAL or a backup."""
    begin: int
    until: int
    """The end of the time for which there is anything; `until` is included."""

    def lane_of(self, timeline: int) -> int:
        """Return a timeline's index in `lanes`; the last one if the timeline is gone."""
        return next((i for i, lane in enumerate(self.lanes) if lane.timeline == timeline), len(self.lanes) - 1)

    def place(self, lane: int, at: int) -> Place:
        """Return the place on the path to a lane's timeline: before that branched off, a place on its parent."""
        here = self.lanes[lane]
        if here.branch is not None and at < here.branch:
            parents = (i for i, each in enumerate(self.lanes) if each.timeline == here.parent)
            if (parent := next(parents, None)) is not None:
                return self.place(parent, at)
        slots, size = here.slots, self.picture.segment_size
        index = slots.index_at(at)
        if index < len(slots.end) and slots.begin[index] <= at:
            return Place(Segment(slots.timeline, slots.numbers[index]), Lsn(slots.position_in(index, at, size)))
        if span := here.gap_in(at, at + 1):
            return Place(None, span.gap.after.end(size), span.gap)
        return Place(None, None)

    def with_accidents(self, accidents: Sequence[tuple[int, Mark]]) -> Chart:
        """Return the chart with these marks, each of a timeline, added to all others; earlier accidents are removed."""
        def marked(lane: ChartLane) -> ChartLane:
            kept = [mark for mark in lane.marks if mark.kind is not MarkKind.ACCIDENT]
            new = [_settled(mark, lane.slots, self.picture.segment_size) for timeline, mark in accidents
                   if timeline == lane.timeline]
            return replace(lane, marks=tuple(sorted([*kept, *new], key=_by_time)))
        return replace(self, lanes=tuple(map(marked, self.lanes)))


def chart_of(picture: WalPicture) -> Chart:
    """Make the chart. It takes a quarter of a second for a hundred thousand segments: call it in a thread."""
    by_timeline = {lane.timeline: lane for lane in picture.lanes}
    timelines = sorted({*by_timeline, *(_timeline(picture, backup) for backup in picture.backups)})
    slots = {each: slots_of(by_timeline.get(each, Lane(each)), _known_ends(picture, each)) for each in timelines}
    lanes = tuple(_lane(picture, slots, timeline) for timeline in timelines)
    instants = [at for lane in lanes for at in _instants(lane)]
    return Chart(picture, lanes, min(instants, default=0), max(instants, default=0))


def _known_ends(picture: WalPicture, timeline: int) -> dict[int, int]:
    """Return segments whose end is known without their commits: those that contain a backup's end or a restore point.
    """
    ends = {point.number: point.at for point in picture.restore_points if point.timeline == timeline}
    for backup in picture.backups:
        if backup.timeline == timeline and backup.end_time and backup.end_segment:
            ends[backup.end_segment.number] = microseconds(backup.end_time)
    return ends


def _lane(picture: WalPicture, slots: dict[int, Slots], timeline: int) -> ChartLane:
    history = picture.tree.history(timeline)
    own = next((each for each in picture.survey.timelines if each.timeline == timeline), None)
    branch = _branch(history, slots, picture.segment_size)
    gaps = tuple(sorted((_gap_span(gap, slots) for gap in (own.gaps if own else ())), key=_begin))
    windows = tuple(_window_span(window) for window in picture.survey.windows if window.timeline == timeline)
    marks = [*_backup_marks(picture, timeline), *_point_marks(picture, slots[timeline]),
             *(Mark(span.until, MarkKind.WINDOW_END, "the last commit that can be restored", span.window.last_lsn)
               for span in windows if span.window.until_time),
             *(Mark(span.begin, MarkKind.GAP, gap_name(span.gap, picture.segment_size)) for span in gaps)]
    if branch is not None and history.parent:
        parent = history.parent
        marks.append(Mark(branch, MarkKind.BRANCH, f"timeline {timeline} left timeline {parent.timeline}",
                          parent.switch))
    return ChartLane(timeline, slots[timeline], gaps, windows, history.parent.timeline if history.parent else None,
                     branch, tuple(sorted(marks, key=_by_time)))


def gap_name(gap: Gap, size: int) -> str:
    """Describe how many segments are missing, and after which one."""
    return f"{gap.missing:,} segment{'s' * (gap.missing != 1)} missing behind {gap.after.name(size)}"


def _gap_span(gap: Gap, slots: dict[int, Slots]) -> GapSpan:
    behind = slots[gap.before.timeline]
    index = behind.place_of(gap.before.number)
    until = behind.begin[index] if index is not None else 0
    front = slots.get(gap.after.timeline)
    place = front.place_of(gap.after.number) if front else None
    return GapSpan(min(front.end[place], until) if front and place is not None else until, until, gap)


def _window_span(window: Window) -> WindowSpan:
    until = window.until_time or window.from_time
    begin = microseconds(window.from_time) if window.from_time else 0
    return WindowSpan(begin, max(begin, microseconds(until) if until else begin), window)


def _branch(history: History, slots: dict[int, Slots], size: int) -> int | None:
    """Return when the timeline left its parent, by the parent's WAL, or else by the timeline's own first WAL, which
    begins there.
    """
    if history.parent is None:
        return None
    own = slots[history.timeline]
    front = slots.get(history.parent.timeline)
    at = front.time_of(history.parent.switch, size) if front else None
    first = own.begin[0] if own.begin else None
    if at is None or first is None:
        return at if first is None else first
    if own.numbers[0] <= history.parent.switch // size:
        own.begin[0] = min(at, first)
    return min(at, first)


def _backup_marks(picture: WalPicture, timeline: int) -> Iterator[Mark]:
    broken = {each.backup for each in picture.survey.broken}
    for backup in picture.backups:
        if _timeline(picture, backup) == timeline:
            yield Mark(microseconds(_end(backup)), _backup_kind(backup, broken), backup.id, backup.end_lsn)


def _timeline(picture: WalPicture, backup: Backup) -> int:
    """Return a backup's timeline; of one that failed before the server reported it, the newest one."""
    return backup.timeline or max((lane.timeline for lane in picture.lanes), default=1)


def _end(backup: Backup) -> datetime:
    return backup.end_time or backup.started_at


def _backup_kind(backup: Backup, broken: set[str]) -> MarkKind:
    if backup.status is BackupStatus.STARTED:
        return MarkKind.BACKUP_RUNNING
    is_good = backup.status is BackupStatus.DONE and backup.id not in broken
    return MarkKind.BACKUP if is_good else MarkKind.BACKUP_UNUSABLE


def _point_marks(picture: WalPicture, slots: Slots) -> Iterator[Mark]:
    for point in picture.restore_points:
        if point.timeline == slots.timeline:
            yield _settled(Mark(point.at, MarkKind.RESTORE_POINT, point.name, point.lsn), slots, picture.segment_size)


def _settled(mark: Mark, slots: Slots, size: int) -> Mark:
    """Move the mark into the slot of its segment, whatever its clock was."""
    index = slots.place_of(mark.lsn // size) if mark.lsn is not None else None
    if index is None:
        return mark
    return mark._replace(at=max(slots.begin[index], min(mark.at, slots.end[index])))


def _instants(lane: ChartLane) -> Iterator[int]:
    if lane.slots.end:
        yield from (lane.slots.begin[0], lane.slots.end[-1])
    for span in lane.windows:
        yield from (span.begin, span.until)
    yield from (mark.at for mark in lane.marks)


def next_mark(marks: Sequence[Mark], current: Mark | None, at: int, *, back: bool = False) -> Mark | None:
    """Return the mark after, or before, the current one; without one, the nearest to an instant in this direction."""
    if current in marks:
        place = marks.index(current) + (-1 if back else 1)
    else:
        place = bisect_left(marks, at, key=_at) - 1 if back else bisect_right(marks, at, key=_at)
    return marks[place] if 0 <= place < len(marks) else None


def _at(mark: Mark) -> int:
    return mark.at


def _by_time(mark: Mark) -> tuple[int, int]:
    return mark.at, _ORDER[mark.kind]


def foremost(marks: Sequence[Mark]) -> Mark | None:
    """Return, of several marks in a column, the one that is drawn and that the cursor snaps to."""
    return min(marks, key=lambda mark: _ORDER[mark.kind], default=None)


def _begin(span: GapSpan) -> int:
    return span.begin


def _until(span: GapSpan) -> int:
    return span.until
