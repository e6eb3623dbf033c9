"""Where recovery will stop: a target, looked up in the archived WAL before a byte is moved.

PostgreSQL compares times and transaction ids only at commits and aborts, in the order of their positions, beginning at
the backup's start; it ends with FATAL when it meets the target before the backup is consistent, or never. So a target
fits a backup when what it stops at lies behind the backup's end and before the first missing segment
(`recoveryStopsBefore` and `recoveryStopsAfter` in `access/transam/xlogrecovery.c`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from pgvault.model.backup import Backup
from pgvault.model.errors import WalMissing
from pgvault.model.lsn import Lsn
from pgvault.model.target import AtLsn, AtName, AtTime, AtXid, EndOfWal, Immediate, Target
from pgvault.model.timeline import History
from pgvault.model.times import utc
from pgvault.model.window import instant
from pgvault.vault.wal_facts import microseconds
from pgvault.vault.wal_search import Row, WalSearch
from pgvault.wal.transactions import Transaction


@dataclass(frozen=True, slots=True)
class Stop:
    """The place at which recovery of one backup along one timeline will stop."""

    timeline: int
    """On which it lies: an ancestor's, when it is before the branch."""
    lsn: Lsn
    """Of the record that it stops at."""
    until: Lsn
    """The end of the last WAL that has to be there."""
    time: datetime | None
    """Of that record, where it has one."""


@dataclass(frozen=True, slots=True)
class NoStop:
    """Why it will not stop there."""

    reason: str
    too_early: bool = False
    """An older backup may do."""


def find_stop(search: WalSearch, history: History, backup: Backup, target: Target) -> Stop | NoStop:
    """Where the recovery of `backup` along `history` stops for this target."""
    begin, end = backup.begin_lsn, backup.end_lsn
    assert begin is not None
    assert end is not None
    rows = list(search.unbroken(history, begin))
    if not rows or rows[-1].end < end:
        return NoStop(f"WAL that backup {backup.id} needs is missing")
    stop = _FINDERS[type(target)](search, history, rows, backup, target)
    if isinstance(stop, Stop) and stop.lsn < end:
        return NoStop(f"it lies before the end of backup {backup.id}"
                      + (f", {utc(backup.finished_at)}" if backup.finished_at else ""), too_early=True)
    return stop


def leg_timeline(history: History, lsn: Lsn) -> int:
    """The timeline of the path on which this position lies."""
    return next(leg.timeline for leg in reversed(history.legs) if lsn >= leg.start)


def _at_time(search: WalSearch, history: History, rows: list[Row], backup: Backup, target: AtTime) -> Stop | NoStop:
    moment = microseconds(target.time)

    def is_behind(time: int) -> bool:
        return time > moment if target.inclusive else time >= moment

    for row in rows:
        _check_readable(row)
        if row.latest is not None and is_behind(row.latest):
            for transaction in search.transactions(row):
                if is_behind(microseconds(transaction.time)):
                    return _at_transaction(history, transaction)
    return NoStop(_last_commit(rows))


def _at_xid(search: WalSearch, history: History, rows: list[Row], backup: Backup, target: AtXid) -> Stop | NoStop:
    for row in rows:
        _check_readable(row)
        if row.xids is not None and row.xids.may_hold(target.xid):
            for transaction in search.transactions(row):
                if transaction.xid == target.xid:
                    return _at_transaction(history, transaction)
    return NoStop(f"no transaction {target.xid} ended in the archived WAL behind backup {backup.id}", too_early=True)


def _at_lsn(search: WalSearch, history: History, rows: list[Row], backup: Backup, target: AtLsn) -> Stop | NoStop:
    for row in rows:
        _check_readable(row)
        if row.last_lsn is not None and row.last_lsn >= target.lsn:
            return Stop(leg_timeline(history, target.lsn), target.lsn, row.end, None)
    return NoStop(f"the archived WAL ends at {rows[-1].end}")


def _at_name(search: WalSearch, history: History, rows: list[Row], backup: Backup, target: AtName) -> Stop | NoStop:
    numbers = {(row.segment.timeline, row.segment.number): row for row in rows}
    for row in rows:
        _check_readable(row)
    for point in search.restore_points(target.name):
        if (point.timeline, point.number) in numbers and point.lsn >= (backup.begin_lsn or 0):
            return Stop(leg_timeline(history, point.lsn), point.lsn, point.end_lsn, instant(point.time))
    known = search.restore_point_names()
    there = f"the archived WAL has {', '.join(repr(n) for n in known[-10:])}" if known else "it has none"
    return NoStop(f"no restore point of that name is behind backup {backup.id}; {there}", too_early=True)


def _immediate(search: WalSearch, history: History, rows: list[Row], backup: Backup, target: Immediate) -> Stop:
    end = backup.end_lsn
    assert end is not None
    return Stop(backup.timeline, end, end, backup.finished_at)


def _end_of_wal(search: WalSearch, history: History, rows: list[Row], backup: Backup, target: EndOfWal) -> Stop:
    last = max((row.latest for row in rows if row.latest is not None), default=None)
    return Stop(rows[-1].segment.timeline, rows[-1].end, rows[-1].end, instant(last))


_FINDERS: dict[type[Target], Callable[..., Stop | NoStop]] = {
    AtTime: _at_time, AtXid: _at_xid, AtLsn: _at_lsn, AtName: _at_name, Immediate: _immediate, EndOfWal: _end_of_wal}


def _at_transaction(history: History, transaction: Transaction) -> Stop:
    return Stop(leg_timeline(history, transaction.lsn), transaction.lsn, transaction.end_lsn, transaction.time)


def _check_readable(row: Row) -> None:
    if row.problem:
        raise WalMissing(f"segment {row.name} could not be read", detail=f"{row.problem}.",
                         hint="A restore with --target-end or --target-immediate needs no look into the WAL.")


def _last_commit(rows: list[Row]) -> str:
    last = instant(max((row.latest for row in rows if row.latest is not None), default=None))
    if last is None:
        return f"nothing was committed in the archived WAL, which ends at {rows[-1].end}"
    return f"the last commit in the archived WAL is of {utc(last)}"
