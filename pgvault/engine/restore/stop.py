"""Where recovery will stop: looks a target up in the archived WAL before a byte is moved.

PostgreSQL stops for times and transaction ids only at commits and aborts, in the order of their positions, beginning at
the backup's start; it ends with FATAL if it meets the target before the backup is consistent, or never. So a target
fits a backup if the record at which it stops lies after the backup's end and before the first missing segment
(`recoveryStopsBefore` and `recoveryStopsAfter` in `access/transam/xlogrecovery.c`). The result is a position, which is
then given to PostgreSQL as the target.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum, auto
from functools import partial

from pgvault.engine.restore.recovery_path import RecoveryPath
from pgvault.engine.restore.stretch import Stretch
from pgvault.model.backup import Backup
from pgvault.model.errors import WalMissing
from pgvault.model.lsn import Lsn
from pgvault.model.target import AtLsn, AtName, AtTime, AtXid, EndOfWal, Immediate, Target
from pgvault.model.times import utc
from pgvault.model.window import MINIMAL, instant
from pgvault.vault.wal_facts import microseconds
from pgvault.vault.wal_rows import Row
from pgvault.wal.facts import may_hold
from pgvault.wal.transactions import Transaction

_XIDS = 1 << 32


@dataclass(frozen=True, slots=True)
class Stop:
    """The place at which recovery of one backup along one timeline will stop."""

    timeline: int
    """The timeline of the place: an ancestor's if the place is before the branch."""
    lsn: Lsn
    """The position of the record at which recovery stops."""
    replayed: bool
    """Whether that record is the last one replayed, or the first one that is not."""
    until: Lsn
    """The end of the last WAL that has to be there."""
    time: datetime | None
    """The time of that record, if it has one."""


class NoStopCause(Enum):
    """Why there is no stop."""

    TOO_EARLY = auto()
    """The target lies before the backup's end."""
    UNKNOWN = auto()
    """The WAL after the backup does not have it."""
    BROKEN = auto()
    """WAL that the backup itself needs is missing."""
    TOO_LATE = auto()
    """The target lies after what can be replayed: no older backup reaches further, unless the clock was put back."""


@dataclass(frozen=True, slots=True)
class NoStop:
    """Why recovery does not stop for the target, with the reason in words."""

    cause: NoStopCause
    reason: str
    """The reason, with the target as its subject."""
    of_backup: str = ""
    """The reason as the continuation of a sentence that begins with the backup's name."""
    backup: Backup | None = None
    timeline: int = 0
    """The timeline whose end the path leads to."""
    last: datetime | None = None
    """For TOO_LATE, the last commit after the backup that can be replayed."""


def find_stop(path: RecoveryPath, backup: Backup, target: Target) -> Stop | NoStop:
    """Return where the recovery of `backup` along `path` stops for this target; it is searched for once."""
    return path.once(("stop", backup.id, target), lambda: _find_stop(path, backup, target))


def _find_stop(path: RecoveryPath, backup: Backup, target: Target) -> Stop | NoStop:
    begin, end = backup.begin_lsn, backup.end_lsn
    assert begin is not None
    assert end is not None
    wal = path.wal_from(begin)
    if wal is None or wal.last.reach < end:
        missing = path.name_at(wal.last.segment.end(path.size) if wal else begin)
        return NoStop(NoStopCause.BROKEN, f"WAL that backup {backup.id} needs is missing: segment {missing}",
                      f"needs segment {missing}, which is missing", backup, path.history.timeline)
    stop = _FINDERS[type(target)](path, wal, backup, target)
    if isinstance(stop, Stop) and stop.lsn < end:
        return _too_early(path, backup)
    return stop


def _at_time(path: RecoveryPath, wal: Stretch, backup: Backup, target: AtTime) -> Stop | NoStop:
    """Stop before the first commit or abort that is too late. At exactly the time of the archive's newest, stop after
    the last; at exactly the time of the backup's end, stop there or, if none is later, after the last.
    """
    begin, first = backup.begin_lsn or Lsn(0), microseconds(target.time) + target.inclusive  # first one too late
    reached = backup.end_time is not None and target.time >= backup.end_time
    for place in wal.late(first):
        wal.refuse_unread(place)
        in_time = wal.next(("in time", first), lambda earliest: earliest is not None and earliest < first, "earliest")
        reached = reached or (in_time is not None and in_time < place)
        all_late = in_time is None and (place > wal.first or wal.unread is None)
        if not reached and (all_late or (in_time is not None and wal.first < place < in_time)):
            return _too_early(path, backup)
        if late := path.first_late(wal.run.rows[place], first, begin):
            follows, transaction = late
            # Without a commit at or before it here, it may lie long before the backup.
            return _at_transaction(path, transaction, replayed=False) if reached or follows else \
                _too_early(path, backup)
    wal.refuse_unread()
    if _last_commit(path, wal, begin) == target.time and (last := wal.last_commit()):
        return _at_transaction(path, path.transactions(last)[-1], replayed=True)
    return _with_none_later(path, wal, backup, target.time)


def _with_none_later(path: RecoveryPath, wal: Stretch, backup: Backup, time: datetime) -> Stop | NoStop:
    """Stop at the end of a backup, which is shown as an instant that can be restored, even if no commit is later. What
    came before it is only in an older backup, if nothing was committed since."""
    end, finished = backup.end_lsn or Lsn(0), backup.end_time
    behind = _last_commit(path, wal, end)
    if finished is None or time > finished or (behind and time < finished):
        return _too_late(path, wal, backup)
    if time < finished:
        return _too_early(path, backup)
    if behind and (last := wal.last_commit()):
        return _at_transaction(path, path.transactions(last)[-1], replayed=True)
    stop = _at_lsn(path, wal, backup, AtLsn(end, inclusive=False))
    return replace(stop, time=finished) if isinstance(stop, Stop) else stop


def _at_xid(path: RecoveryPath, wal: Stretch, backup: Backup, target: AtXid) -> Stop | NoStop:
    xid = target.xid % _XIDS
    for place in wal.fitting(("xid", xid), partial(may_hold, xid=xid), "oldest_xid", "newest_xid"):
        wal.refuse_unread(place)
        if found := path.end_of(wal.run.rows[place], xid):
            return _at_transaction(path, found, replayed=target.inclusive)
    wal.refuse_unread()
    return _unknown(path, wal, backup, f"no transaction {xid} ended in the archived WAL behind backup {backup.id}")


def _at_lsn(path: RecoveryPath, wal: Stretch, backup: Backup, target: AtLsn) -> Stop | NoStop:
    row = path.once(("lsn", target.lsn, max(wal.first, wal.place(target.lsn // path.size)), wal.run.first),
                    lambda: _row_at(path, wal, target.lsn))
    wal.refuse_unread(row and wal.place(row.number))
    if row is None:
        return _too_late(path, wal, backup)
    return Stop(path.timeline_at(target.lsn), target.lsn, target.inclusive, row.end, None)


def _row_at(path: RecoveryPath, wal: Stretch, lsn: Lsn) -> Row | None:
    """Return the first segment in which a record begins at this position or after it: that of the position, if it is
    not one of those behind it."""
    for place in range(max(wal.first, wal.place(lsn // path.size)), wal.run.count):
        row = wal.run.rows[place]
        if row.last_lsn is not None and row.last_lsn >= lsn:
            return row
        wal.refuse_unread(place)
    return None


def _at_name(path: RecoveryPath, wal: Stretch, backup: Backup, target: AtName) -> Stop | NoStop:
    points = path.points(backup.begin_lsn or Lsn(0), target.name)
    place = bisect_left(points, backup.end_lsn or Lsn(0), key=lambda point: point.lsn)
    if place < len(points):
        point = points[place]
        wal.refuse_unread(wal.place(point.number))
        return Stop(path.timeline_at(point.lsn), point.lsn, True, point.end_lsn, point.time)
    wal.refuse_unread()
    if points:
        return _too_early(path, backup)
    return _unknown(path, wal, backup, f"no restore point of that name is behind backup {backup.id} on the path to "
                                      f"timeline {path.history.timeline}")


def _immediate(path: RecoveryPath, wal: Stretch, backup: Backup, target: Immediate) -> Stop:
    end = backup.end_lsn
    assert end is not None
    return Stop(backup.timeline, end, True, end, backup.end_time)


def _end_of_wal(path: RecoveryPath, wal: Stretch, backup: Backup, target: EndOfWal) -> Stop | NoStop:
    """Stop at the end. Of an unread last segment only the beginning is certain to be reached. A gap is no end; the last
    place to which a complete segment can be replayed is one, since no segment that may still arrive continues from it.
    """
    last, minimal = wal.last, wal.last.ends_by == MINIMAL
    if not minimal and (last.unfinished or not last.stops) and path.break_behind(last):
        return _too_late(path, wal, backup)
    reached = max(last.segment.start(path.size), backup.end_lsn or Lsn(0)) if last.problem else \
        last.end if minimal else last.reach
    return Stop(last.segment.timeline, reached, not minimal, last.end, _last_commit(path, wal, Lsn(0)))


_FINDERS: dict[type[Target], Callable[..., Stop | NoStop]] = {
    AtTime: _at_time, AtXid: _at_xid, AtLsn: _at_lsn, AtName: _at_name, Immediate: _immediate, EndOfWal: _end_of_wal}


def _at_transaction(path: RecoveryPath, transaction: Transaction, *, replayed: bool) -> Stop:
    return Stop(path.timeline_at(transaction.lsn), transaction.lsn, replayed, transaction.end_lsn, transaction.time)


def _last_commit(path: RecoveryPath, wal: Stretch, begin: Lsn) -> datetime | None:
    """Return the latest time of a commit or abort at `begin` or after it."""
    latest = wal.latest(-(-begin // path.size))
    is_parted = begin % path.size and wal.latest_in(begin // path.size) > latest
    if is_parted and (parted := wal.row(begin // path.size)):
        with suppress(WalMissing):  # code that has to read the segment reports the error
            latest = max([latest, *(microseconds(each.time) for each in path.transactions(parted)
                                    if each.lsn >= begin)])
    return instant(latest) if latest >= 0 else None


def _too_early(path: RecoveryPath, backup: Backup) -> NoStop:
    when = utc(backup.end_time) if backup.end_time else ""
    return NoStop(NoStopCause.TOO_EARLY, f"it lies before the end of backup {backup.id}{when and f', {when}'}",
                  f"ends after the target{when and f', at {when}'}", backup, path.history.timeline)


def _too_late(path: RecoveryPath, wal: Stretch, backup: Backup) -> NoStop:
    """Describe how far the WAL goes, and what ends it."""
    end, gap = wal.last.reach, path.break_behind(wal.last)
    last = _last_commit(path, wal, backup.end_lsn or Lsn(0))
    commit = f"{end}, where the last commit is of {utc(last)}" if last else ""
    reach = commit or f"{end}, and nothing was committed behind backup {backup.id}"
    reason = f"on timeline {path.history.timeline} the archived WAL reaches to {reach}{gap and f'; {gap}'}"
    only = f"reaches only to {commit or f'{end}; nothing was committed behind it'}"
    return NoStop(NoStopCause.TOO_LATE, f"{reason}{_left_out(path, wal)}", f"cannot go so far: {gap}" if gap else only,
                  backup, path.history.timeline, last)


def _unknown(path: RecoveryPath, wal: Stretch, backup: Backup, reason: str) -> NoStop:
    gap = path.break_behind(wal.last)
    return NoStop(NoStopCause.UNKNOWN, f"{reason}{gap and f'; {gap}'}{_left_out(path, wal)}",
                  "has no such target in the WAL behind it", backup, path.history.timeline)


def _left_out(path: RecoveryPath, wal: Stretch) -> str:
    """Describe, as the end of a sentence, an unfinished segment that was not requested."""
    row = path.left_out(wal.last)
    return f"; with --partial {reach_of(row)}" if row else ""


def reach_of(unfinished: Row) -> str:
    """Describe how far recovery continues with an unfinished segment."""
    commit = f", where the last commit is of {utc(last)}" if (last := instant(unfinished.latest)) else ""
    return f"it goes on to {unfinished.end} in the unfinished {unfinished.name}{commit}"
