"""Determines which instants can be restored, from the archived segments, the timelines and the backups.

A recovery window is an unbroken span of one timeline path. It begins where its oldest backup ended and extends as far
as WAL follows without a gap. A gap ends it, until a newer backup begins a window of its own.

Everything is computed in one pass over the segments, of which there may be a hundred thousand.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby, pairwise, zip_longest
from operator import attrgetter
from typing import NamedTuple, Protocol

from pgvault.model.backup import Backup
from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment
from pgvault.model.timeline import History, TimelineTree
from pgvault.model.unbroken import along, column, unbroken

DAMAGED, MINIMAL = "damaged", "minimal"
"""Why recovery cannot continue though the archive does: a record is damaged; the server ran with wal_level=minimal."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Piece(Protocol):
    """What this module needs to know about an archived segment; see `Archived`."""

    @property
    def timeline(self) -> int: ...
    @property
    def number(self) -> int: ...
    @property
    def earliest(self) -> int | None: ...
    @property
    def latest(self) -> int | None: ...
    @property
    def whole(self) -> int | None: ...
    @property
    def stops(self) -> bool: ...
    @property
    def last_at(self) -> int | None: ...
    @property
    def ends_by(self) -> str | None: ...


class Archived(NamedTuple):
    """One archived segment in the index. Times are of commits and aborts, in microseconds since 1970, UTC."""

    timeline: int
    number: int
    earliest: int | None = None
    latest: int | None = None
    whole: int | None = None
    """Where its last complete record ends; None if the segment was not read yet."""
    stops: bool = False
    """Whether recovery cannot continue after it: its WAL ends there, and not because the server closed the segment."""
    last_at: int | None = None
    """Where its last record begins; None if the segment was not read yet."""
    ends_by: str | None = None
    """Why its WAL ends before the segment does: DAMAGED, MINIMAL, or another reason that is harmless."""


@dataclass(frozen=True, slots=True)
class Range:
    """Archived segments of one timeline without a gap between them. Times are of commits, where known."""

    first: Segment
    last: Segment
    from_time: datetime | None
    until_time: datetime | None

    @property
    def segments(self) -> int:
        return self.last.number - self.first.number + 1


@dataclass(frozen=True, slots=True)
class Gap:
    """Segments that are missing between archived ones."""

    after: Segment
    """The last one before the gap. If a timeline's beginning is missing, it is on the parent timeline."""
    before: Segment
    """The first one after the gap."""
    harmless: bool
    """Whether a newer backup begins after the gap."""

    @property
    def missing(self) -> int:
        return self.before.number - self.after.number - 1


@dataclass(frozen=True, slots=True)
class Break:
    """A place in the archived WAL that recovery cannot pass."""

    segment: Segment
    lsn: Lsn
    """The end of the last record before it."""
    cause: str
    """DAMAGED, MINIMAL, or the reason why the WAL ends early though the archive continues."""
    harmless: bool
    """Whether a newer backup begins after the break."""

    @property
    def reason(self) -> str:
        return {DAMAGED: "a record is damaged",
                MINIMAL: "the server ran with wal_level=minimal, which no recovery can pass"}.get(
                    self.cause, "the rest of the segment is empty or from an older one")


@dataclass(frozen=True, slots=True)
class TimelineWal:
    timeline: int
    parent: int | None
    switch: Lsn | None
    """Where it branched off."""
    ranges: tuple[Range, ...]
    gaps: tuple[Gap, ...]


@dataclass(frozen=True, slots=True)
class Window:
    """Every instant from the end of its oldest backup to the end of its WAL can be restored on `timeline`."""

    timeline: int
    from_lsn: Lsn
    until_lsn: Lsn
    """The end of the WAL that follows without a gap."""
    from_time: datetime | None
    """When its oldest backup ended."""
    until_time: datetime | None
    """The time of the last commit, and the latest possible target. None if nothing was committed since `from_time`."""
    backups: tuple[str, ...]
    """The backups' ids, oldest first; the first one opens the window."""
    last_lsn: Lsn | None
    """Where the last record of its WAL begins, the last place to stop at; None if that was not read yet."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A backup that cannot be restored, because WAL between its start and its end is missing or cannot be passed."""

    backup: str
    missing: Segment
    """The first such segment."""
    reason: str = ""
    """Why recovery cannot pass it though it is archived; empty if it is not archived."""

    def described(self, size: int) -> str:
        """Describe the segment; `size` is the cluster's segment size in bytes."""
        name = self.missing.name(size)
        return f"recovery cannot pass {name}: {self.reason}" if self.reason else f"{name} is missing"


@dataclass(frozen=True, slots=True)
class Survey:
    timelines: tuple[TimelineWal, ...]
    windows: tuple[Window, ...]
    broken: tuple[Broken, ...]
    breaks: tuple[Break, ...] = ()

    def lacking(self, backup_id: str) -> Segment | None:
        """Decide whether a backup can be restored: None if all WAL from its start to its end is archived and intact,
        else the first segment that is not. Everything that needs this decision calls this function."""
        return next((each.missing for each in self.broken if each.backup == backup_id), None)

    @property
    def harmful_breaks(self) -> tuple[Break, ...]:
        """Breaks after which no backup begins."""
        return tuple(each for each in self.breaks if not each.harmless)

    @property
    def without_history(self) -> tuple[int, ...]:
        """Timelines whose branch point is unknown, as their history files are not archived."""
        return tuple(each.timeline for each in self.timelines if each.timeline > 1 and each.parent is None)

    @property
    def harmful_gaps(self) -> tuple[Gap, ...]:
        """Gaps after which no backup begins."""
        return tuple(gap for timeline in self.timelines for gap in timeline.gaps if not gap.harmless)


def instant(microseconds: int | None) -> datetime | None:
    """Convert microseconds since 1970."""
    return None if microseconds is None else _EPOCH + timedelta(microseconds=microseconds)


LatestBetween = Callable[[Segment, Lsn, Lsn], int | None]
"""The latest time of a commit or abort in a segment, between two positions; None if there is none or it is unknown."""


def survey(archived: Iterable[Piece], tree: TimelineTree, backups: Sequence[Backup], size: int,
           latest_between: LatestBetween = lambda segment, begin, end: None) -> Survey:
    """Survey the archive. `archived` is ordered by timeline and number; `size` is the cluster's segment size in bytes.
    `latest_between` is called if a window begins within a segment and its last commit may be in that segment."""
    wal = {timeline: list(same) for timeline, same in groupby(archived, attrgetter("timeline"))}
    copied = _copied(backups)
    paths = {each: _Path(tree.history(each), _runs(along(tree.history(each), wal, size)), size, latest_between)
             for each in _timelines(wal, copied)}
    windows = tuple(window for each in paths.values() for window in each.windows(copied))
    usable = {backup for window in windows for backup in window.backups}
    good: dict[int, Lsn] = {}
    for b in copied:
        if b.id in usable:
            good[b.timeline] = max(good.get(b.timeline, Lsn(0)), b.begin_lsn or Lsn(0))
    wals = tuple(_timeline(paths[each].history, wal, tree, good, size) for each in sorted(wal))
    breaks = tuple(_break(each, tree, good, size) for segments in wal.values() for each in _breaking(segments))
    reasons = {each.segment: each.reason for each in breaks}
    lacking = {b.id: paths[b.timeline].missing_of(b) for b in copied if b.id not in usable}
    broken = tuple(Broken(backup, segment, reasons.get(segment, "")) for backup, segment in lacking.items())
    return Survey(wals, windows, broken, breaks)


def windows_of(runs: Callable[[History], Sequence[Sequence[Piece]]], timelines: Iterable[int], tree: TimelineTree,
               backups: Sequence[Backup], size: int, latest_between: LatestBetween) -> tuple[Window, ...]:
    """Return only the windows of the survey, from the unbroken runs of segments on each path; `timelines` are those of
    which there are segments."""
    copied = _copied(backups)
    histories = map(tree.history, _timelines(timelines, copied))
    return tuple(window for each in histories
                 for window in _Path(each, runs(each), size, latest_between).windows(copied))


def _copied(backups: Sequence[Backup]) -> list[Backup]:
    """Return the backups that can open a window, ordered by their end."""
    return sorted((b for b in backups if b.status.copied and b.begin_lsn is not None and b.end_lsn is not None),
                  key=lambda b: (b.end_lsn or 0, b.id))


def _timelines(archived: Iterable[int], copied: Sequence[Backup]) -> list[int]:
    return sorted({*archived, *(b.timeline for b in copied)})


def _runs(path: Sequence[Piece]) -> list[Sequence[Piece]]:
    """Return the segments that recovery can read one after the other."""
    return [path[run] for run in unbroken(column(path, "number"), column(path, "stops"))]


class _Path:
    """The archived segments on the path to the end of one timeline."""

    def __init__(self, history: History, runs: Sequence[Sequence[Piece]], size: int,
                 latest_between: LatestBetween) -> None:
        self.history, self.runs, self.size, self._latest_between = history, runs, size, latest_between
        self._firsts = [run[0].number for run in self.runs]
        self._lasts = [run[-1] for run in self.runs]

    def missing_of(self, backup: Backup) -> Segment:
        """Return the first segment that an unusable backup needs and that is missing or cannot be read to its end."""
        begin, end = _span(backup, self.size)
        place = self._place(begin)
        if place is None:
            return self.history.segment(begin, self.size)
        last = self._lasts[place]
        stops = _broken(last) or self._place(last.number + 1) is not None
        return self.history.segment(last.number if stops else min(last.number + 1, end), self.size)

    def windows(self, backups: Sequence[Backup]) -> Iterator[Window]:
        """Yield a window for each unbroken run of segments with usable backups of this path. `backups` are ordered by
        their end."""
        by_run: dict[int, list[Backup]] = {}
        for backup in backups:
            place, end = self._place((backup.begin_lsn or Lsn(0)) // self.size), backup.end_lsn or Lsn(0)
            if place is not None and end <= self._end(place) and self.history.holds(backup.timeline, end):
                by_run.setdefault(place, []).append(backup)
        yield from (self._window(place, within) for place, within in sorted(by_run.items()))

    def _window(self, place: int, backups: list[Backup]) -> Window:
        oldest = backups[0]
        from_lsn = oldest.end_lsn or Lsn(0)
        latest = instant(self._latest(place, from_lsn, oldest.end_time))
        if latest and oldest.end_time and latest <= oldest.end_time:
            latest = None
        last = self._lasts[place].last_at
        return Window(self.history.timeline, from_lsn, self._end(place), oldest.end_time, latest,
                      tuple(b.id for b in backups), None if last is None else Lsn(last))

    def _latest(self, place: int, begin: Lsn, finished: datetime | None) -> int | None:
        """Return the latest commit at `begin` or after it. Earlier commits in that segment do not count, and may have
        later times if the clock was put back.
        """
        run, first = self.runs[place], self._firsts[place]
        behind = column(run, "latest")[max(-(-begin // self.size) - first, 0):]
        latest = max((each for each in behind if each is not None), default=None)
        within = begin // self.size - first if begin % self.size else len(run)
        parted = run[within] if 0 <= within < len(run) else None
        found = instant(parted.latest) if parted else None
        if parted is None or parted.latest is None or found is None or (finished and found <= finished) or (
                latest is not None and parted.latest <= latest) or (parted.last_at or begin) < begin:
            return latest
        between = self._latest_between(Segment(parted.timeline, parted.number), begin, self._end(place))
        return max((each for each in (latest, between) if each is not None), default=None)

    def _end(self, place: int) -> Lsn:
        last = self._lasts[place]
        return Lsn((last.number + 1) * self.size if last.whole is None else last.whole)

    def _place(self, number: int) -> int | None:
        """Return which run has this segment."""
        place = bisect_right(self._firsts, number) - 1
        return place if place >= 0 and number <= self._lasts[place].number else None


def _span(backup: Backup, size: int) -> tuple[int, int]:
    """Return the numbers of the first and the last segment that the backup needs."""
    begin, end = backup.begin_lsn or Lsn(0), backup.end_lsn or Lsn(0)
    return begin // size, max(begin // size, Segment.ending(backup.timeline, end, size).number)


def _timeline(history: History, wal: Mapping[int, Sequence[Piece]], tree: TimelineTree, good: Mapping[int, Lsn],
              size: int) -> TimelineWal:
    timeline, parent = history.timeline, history.parent
    ranges = tuple(Range(
        Segment(timeline, part[0].number), Segment(timeline, part[-1].number),
        instant(min((s.earliest for s in part if s.earliest is not None), default=None)),
        instant(max((s.latest for s in part if s.latest is not None), default=None)))
        for part in map(wal[timeline].__getitem__, unbroken(column(wal[timeline], "number"))))
    ends = [(one.last, other.first) for one, other in pairwise(ranges)]
    if parent and parent.timeline in wal and ranges[0].first.number > (begin := parent.switch // size):
        ends.insert(0, (_before_branch(history, begin, size), ranges[0].first))
    gaps = tuple(Gap(after, before, _is_passed(before, tree, good, size)) for after, before in ends)
    return TimelineWal(timeline, parent.timeline if parent else None, parent.switch if parent else None, ranges, gaps)


def _breaking(segments: Sequence[Piece]) -> Iterator[Piece]:
    """Yield the segments that recovery cannot pass. WAL that merely ends early does no harm if nothing follows it."""
    for each, following in zip_longest(segments, segments[1:]):
        if _broken(each) or (each.stops and following is not None and following.number == each.number + 1):
            yield each


def _break(segment: Piece, tree: TimelineTree, good: Mapping[int, Lsn], size: int) -> Break:
    place = Segment(segment.timeline, segment.number)
    passed = _is_passed(Segment(segment.timeline, segment.number + 1), tree, good, size)
    return Break(place, Lsn(segment.whole or place.start(size)), segment.ends_by or "", passed)


def _before_branch(history: History, number: int, size: int) -> Segment:
    """Return the segment that recovery reads before a timeline's first one."""
    start = Lsn(number * size)
    return next(history.path(Lsn(start - 1), start, size)) if number else Segment(history.timeline, -1)


def _is_passed(before: Segment, tree: TimelineTree, good: Mapping[int, Lsn], size: int) -> bool:
    """Return whether a restorable backup begins after it. `good` has the start of each timeline's newest restorable
    backup.
    """
    start = before.start(size)
    return any(begin >= start and tree.history(timeline).holds(before.timeline, start)
               for timeline, begin in good.items())


def _broken(segment: Piece) -> bool:
    """Return whether recovery cannot pass it, whatever follows."""
    return segment.ends_by in (DAMAGED, MINIMAL)
