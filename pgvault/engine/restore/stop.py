"""Where recovery will stop: a target, looked up in the archived WAL before a byte is moved.

PostgreSQL stops for times and transaction ids only at commits and aborts, in the order of their positions, beginning
at the backup's start; it ends with FATAL when it meets the target before the backup is consistent, or never. So a
target fits a backup when what it stops at lies behind the backup's end and before the first missing segment
(`recoveryStopsBefore` and `recoveryStopsAfter` in `access/transam/xlogrecovery.c`). What is found is a position, and
that is what PostgreSQL is then told to stop at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

from pgvault.model.backup import Backup
from pgvault.model.errors import WalMissing
from pgvault.model.lsn import Lsn
from pgvault.model.target import AtLsn, AtName, AtTime, AtXid, EndOfWal, Immediate, Target
from pgvault.model.timeline import History
from pgvault.model.times import utc
from pgvault.model.window import instant
from pgvault.vault.wal_facts import microseconds
from pgvault.vault.wal_search import NamedPoint, Row, WalSearch
from pgvault.wal.transactions import Transaction

_XIDS = 1 << 32
_FAR_ENOUGH = 32
"""Segments that are read in search of a subtransaction's transaction, which ends soon after it nearly always."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The place at which recovery of one backup along one timeline will stop."""

    timeline: int
    """On which it lies: an ancestor's, when it is before the branch."""
    lsn: Lsn
    """Of the record that it stops at."""
    replayed: bool
    """Whether that record is the last one replayed, or the first one that is not."""
    until: Lsn
    """The end of the last WAL that has to be there."""
    time: datetime | None
    """Of that record, where it has one."""


class Because(Enum):
    """Why there is no stop."""

    TOO_EARLY = auto()
    """It lies before the backup's end."""
    UNKNOWN = auto()
    """The WAL behind the backup does not have it."""
    BROKEN = auto()
    """WAL that the backup itself needs is missing."""
    TOO_LATE = auto()
    """It lies behind what can be replayed: no older backup reaches further."""


@dataclass(frozen=True, slots=True)
class NoStop:
    """Why it will not stop there, in words too."""

    because: Because
    reason: str


def find_stop(search: WalSearch, history: History, backup: Backup, target: Target) -> Stop | NoStop:
    """Where the recovery of `backup` along `history` stops for this target."""
    begin, end = backup.begin_lsn, backup.end_lsn
    assert begin is not None
    assert end is not None
    rows = list(search.unbroken(history, begin))
    if not rows or rows[-1].end < end:
        return NoStop(Because.BROKEN, f"WAL that backup {backup.id} needs is missing")
    stop = _FINDERS[type(target)](search, history, rows, backup, target)
    if isinstance(stop, Stop) and stop.lsn < end:
        return _too_early(backup)
    return stop


def leg_timeline(history: History, lsn: Lsn) -> int:
    """The timeline of the path on which this position lies."""
    return next(leg.timeline for leg in reversed(history.legs) if lsn >= leg.start)


def points_on(search: WalSearch, history: History, begin: Lsn, name: str) -> Iterator[tuple[Row, NamedPoint]]:
    """The restore points of this name that recovery along this path meets from `begin` on, in order."""
    rows = {(row.segment.timeline, row.segment.number): row for row in search.unbroken(history, begin)}
    for point in search.restore_points(name):
        row = rows.get((point.timeline, point.number))
        if row is not None and point.lsn >= begin:
            yield row, point


def transaction_with(search: WalSearch, history: History, begin: Lsn, subxid: int) -> int | None:
    """The transaction of which this is a subtransaction, where it can be found."""
    rows = [row for row in search.unbroken(history, begin)
            if row.xids is not None and not row.problem and (subxid - row.xids.oldest) % _XIDS < _XIDS // 2]
    for row in rows[:-_FAR_ENOUGH - 1:-1]:
        for transaction in search.transactions(row):
            if subxid in transaction.subxids:
                return transaction.xid
    return None


def _at_time(search: WalSearch, history: History, rows: list[Row], backup: Backup, target: AtTime) -> Stop | NoStop:
    """Before the first commit or abort that is too late; at the very time of the archive's newest, after the last."""
    moment = microseconds(target.time)
    reached = backup.finished_at is not None and target.time >= backup.finished_at
    on_time, last = False, None
    for row in _read(rows):
        if row.latest is None:
            continue
        if row.latest > moment or (row.latest == moment and not target.inclusive):
            for transaction in search.transactions(row):
                time = microseconds(transaction.time)
                if time > moment or (time == moment and not target.inclusive):
                    # With no commit at or before it in sight, it may lie long before the backup.
                    return _at_transaction(history, transaction, replayed=False) if reached else _too_early(backup)
                reached = True
        on_time = on_time or row.latest == moment
        reached, last = True, row
    if on_time and last is not None:
        return _at_transaction(history, search.transactions(last)[-1], replayed=True)
    return _too_late(search, history, rows)


def _at_xid(search: WalSearch, history: History, rows: list[Row], backup: Backup, target: AtXid) -> Stop | NoStop:
    xid = target.xid % _XIDS
    for row in _read(rows):
        if row.xids is not None and row.xids.may_hold(xid):
            for transaction in search.transactions(row):
                if transaction.xid == xid:
                    return _at_transaction(history, transaction, replayed=target.inclusive)
    return NoStop(Because.UNKNOWN, f"no transaction {xid} ended in the archived WAL behind backup {backup.id}"
                                   f"{_left_out(search, history, rows)}")


def _at_lsn(search: WalSearch, history: History, rows: list[Row], backup: Backup, target: AtLsn) -> Stop | NoStop:
    for row in _read(rows):
        if row.last_lsn is not None and row.last_lsn >= target.lsn:
            return Stop(leg_timeline(history, target.lsn), target.lsn, target.inclusive, row.end, None)
    return _too_late(search, history, rows)


def _at_name(search: WalSearch, history: History, rows: list[Row], backup: Backup, target: AtName) -> Stop | NoStop:
    end = backup.end_lsn or Lsn(0)
    found = list(points_on(search, history, backup.begin_lsn or Lsn(0), target.name))
    for row, point in found:
        if point.lsn >= end:
            for _ in _read(rows[:rows.index(row) + 1]):
                continue
            return Stop(leg_timeline(history, point.lsn), point.lsn, True, point.end_lsn, point.time)
    for _ in _read(rows):
        continue
    if found:
        return _too_early(backup)
    return NoStop(Because.UNKNOWN, f"no restore point of that name is behind backup {backup.id} on the way to "
                                   f"timeline {history.timeline}{_left_out(search, history, rows)}")


def _immediate(search: WalSearch, history: History, rows: list[Row], backup: Backup, target: Immediate) -> Stop:
    end = backup.end_lsn
    assert end is not None
    return Stop(backup.timeline, end, True, end, backup.finished_at)


def _end_of_wal(search: WalSearch, history: History, rows: list[Row], backup: Backup,
                target: EndOfWal) -> Stop | NoStop:
    """Of a last segment that was not read, only the beginning is sure to be reached. A gap is no end."""
    if search.break_behind(history, rows[-1]):
        return _too_late(search, history, rows)
    last = max((row.latest for row in rows if row.latest is not None), default=None)
    reached = max(rows[-1].segment.start(search.size), backup.end_lsn or Lsn(0)) if rows[-1].problem else rows[-1].end
    return Stop(rows[-1].segment.timeline, reached, True, rows[-1].end, instant(last))


_FINDERS: dict[type[Target], Callable[..., Stop | NoStop]] = {
    AtTime: _at_time, AtXid: _at_xid, AtLsn: _at_lsn, AtName: _at_name, Immediate: _immediate, EndOfWal: _end_of_wal}


def _at_transaction(history: History, transaction: Transaction, *, replayed: bool) -> Stop:
    return Stop(leg_timeline(history, transaction.lsn), transaction.lsn, replayed, transaction.end_lsn,
                transaction.time)


def _read(rows: Iterable[Row]) -> Iterator[Row]:
    """The rows, as long as their records could be read; WalMissing at the first whose were not."""
    for row in rows:
        if row.problem:
            raise WalMissing(f"segment {row.name} was not read", detail=f"Not read: {row.problem}.",
                             hint="A restore with --target-end or --target-immediate needs no look into the WAL.")
        yield row


def _too_early(backup: Backup) -> NoStop:
    when = f", {utc(backup.finished_at)}" if backup.finished_at else ""
    return NoStop(Because.TOO_EARLY, f"it lies before the end of backup {backup.id}{when}")


def _too_late(search: WalSearch, history: History, rows: list[Row]) -> NoStop:
    """How far the WAL goes, and what ends it."""
    last = instant(max((row.latest for row in rows if row.latest is not None), default=None))
    commit = f"the last commit is of {utc(last)}" if last else "nothing was committed"
    reach = f"on timeline {history.timeline} the archived WAL reaches to {rows[-1].end}, where {commit}"
    if reason := search.break_behind(history, rows[-1]):
        reach += f"; {reason}"
    return NoStop(Because.TOO_LATE, f"{reach}{_left_out(search, history, rows)}")


def _left_out(search: WalSearch, history: History, rows: list[Row]) -> str:
    """What the end of a sentence says of an unfinished segment that was not asked for."""
    row = search.left_out(history, rows[-1])
    return f"; with --partial {reach_of(row)}" if row else ""


def reach_of(unfinished: Row) -> str:
    """How far it goes on with an unfinished segment, in words."""
    commit = f", where the last commit is of {utc(last)}" if (last := instant(unfinished.latest)) else ""
    return f"it goes on to {unfinished.end} in the unfinished {unfinished.name}{commit}"
