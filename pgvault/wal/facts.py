"""Summarizes an archived segment in one fast pass, for the index of the WAL archive.

The facts of a segment cover the records that *end* in it (see `records`). Times are those of commits and aborts, plain
and prepared: the only records at which PostgreSQL compares a time or xid target. They are not monotonic, so the
extremes are recorded as well as the first and the last in order of position.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from struct import Struct
from typing import TYPE_CHECKING

from pgvault.model.lsn import Lsn
from pgvault.wal.bodies import main_data
from pgvault.wal.effects import PARAMETER_CHANGE, PREPARE, Effects
from pgvault.wal.losses import Losses
from pgvault.wal.pages import behind_last_record
from pgvault.wal.record import OPERATION, TABLESPACE, TRANSACTION, XLOG
from pgvault.wal.records import Cause, Reading, WalEnd
from pgvault.wal.transactions import ABORT, ABORT_PREPARED, COMMIT, COMMIT_PREPARED, EPOCH, read_transaction, time_of
from pgvault.wal.transactions import OPERATION as XACT_OPERATION
from pgvault.wal.versions import FORMATS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pgvault.model.replay import Effect
    from pgvault.wal.carry import Carry
    from pgvault.wal.pieces import Piece
    from pgvault.wal.record import Record

_ENDS = frozenset((COMMIT, ABORT, COMMIT_PREPARED, ABORT_PREPARED))
_CHECKPOINT_ONLINE, _RESTORE_POINT = 0x10, 0x70
_RESTORE_POINT_DATA = Struct("<q64s")
_SHORT_MAIN_DATA = 255
_time_at = Struct("<q").unpack_from
_MICROSECOND = timedelta(microseconds=1)
_ROUND = 1 << 32


@dataclass(frozen=True, slots=True)
class RestorePoint:
    name: str
    lsn: Lsn
    end_lsn: Lsn
    time: datetime


@dataclass(frozen=True, slots=True)
class Times:
    """When the transactions of a segment ended."""

    first: datetime
    """The time of the transaction end with the lowest position."""
    last: datetime
    earliest: datetime
    latest: datetime


@dataclass(frozen=True, slots=True)
class Xids:
    """The range of top-level xids that ended in a segment, modulo 2^32 as in PostgreSQL."""

    oldest: int
    newest: int


def may_hold(oldest: int | None, newest: int | None, xid: int) -> bool:
    """Return False if this transaction certainly did not end in a segment with this range, or with none. It makes no
    Xids: there may be a hundred thousand segments to ask."""
    return oldest is not None and newest is not None and (xid - oldest) % _ROUND <= (newest - oldest) % _ROUND


@dataclass(frozen=True, slots=True)
class SegmentFacts:
    major: int
    timeline: int
    """The timeline of the last page. At a switch the first pages may belong to the parent."""
    records: int
    first: Lsn | None
    """Start of the first record that ends here, perhaps in an earlier segment; None if there is none."""
    last: Lsn | None
    commits: int
    aborts: int
    times: Times | None
    xids: Xids | None
    restore_points: tuple[RestorePoint, ...]
    removals: int
    most_rows: int
    running: Mapping[int, int]
    """See `Losses.rows`; its state at the segment's end. It is correct if that of the previous segment was passed."""
    effects: tuple[Effect, ...]
    """Effects of replay beyond the data files, without transactions that were prepared and ended in the segment."""
    passed: int
    """Number of those transactions."""
    whole: Lsn | None
    """End of the last complete record as PostgreSQL counts it, which recovery reaches if nothing follows. None if
    everything here belongs to a record whose beginning was not read."""
    minimal: Lsn | None
    """Where wal_level=minimal begins. No recovery passes this record, so the facts of transactions, restore points and
    the last record end there. Usually None."""
    end: WalEnd | None
    """Where and why the WAL ends before the segment does; None if the segment is full."""
    carry: Carry | None
    """For the skim of the following segment; None if the WAL does not continue."""


class _Tally:
    """Running totals over transactions. Times are in microseconds since 2000."""

    def __init__(self) -> None:
        self.commits = self.aborts = 0
        self.first = self.last = self.earliest = self.latest = 0
        self.oldest = self.newest = 0

    def add(self, commits: bool, xid: int, time: int) -> None:
        if not self.commits and not self.aborts:
            self.first = self.earliest = self.latest = time
        if commits:
            self.commits += 1
        else:
            self.aborts += 1
        self.last = time
        if time > self.latest:
            self.latest = time
        elif time < self.earliest:
            self.earliest = time
        if not xid:
            return
        if not self.newest:
            self.oldest = self.newest = xid
        elif 0 < (xid - self.newest) % _ROUND < _ROUND // 2:
            self.newest = xid
        elif 0 < (self.oldest - xid) % _ROUND < _ROUND // 2:
            self.oldest = xid

    def times(self) -> Times | None:
        if not self.commits and not self.aborts:
            return None
        try:
            return Times(*map(time_of, (self.first, self.last, self.earliest, self.latest)))
        except ValueError:
            raise ValueError("the time of a transaction in it is impossible") from None

    def xids(self) -> Xids | None:
        return Xids(self.oldest, self.newest) if self.newest else None


def skim(data: bytes | bytearray | memoryview, start: int, carry: Carry | None = None, *,
         every_crc: bool = False, losses: Losses | None = None, effects: Effects | None = None) -> SegmentFacts:
    """Read a segment (or a piece of one, whole pages) once; it is WAL from the position `start` on.

    `carry` is that of the previous segment on the same timeline path. Without it, a record that began there is omitted,
    even if it is a commit. `losses` and `effects` are those of the previous piece. `every_crc` checks the checksum of
    every record, not only of those needed. ValueError if the data is no WAL from `start`, UnknownWal if its version is
    not known; `end` describes damage further on.
    """
    losses, effects = losses or Losses(), effects or Effects()
    reading = Reading(data, start, carry, rmgrs=(XLOG, TRANSACTION, TABLESPACE), every_crc=every_crc, rows=losses.rows)
    tally, points = _Tally(), []
    for record in reading:
        if effects.minimal is not None:
            _pass(losses, effects, record, reading)
        elif record.rmid == TRANSACTION:
            _add_transaction(tally, losses, effects, record, reading)
        elif record.rmid == TABLESPACE or record.info & OPERATION == PARAMETER_CHANGE:
            effects.add(record, reading.major, reading.timeline, reading.header.segment_size)
        elif record.info & OPERATION == _RESTORE_POINT:
            points.append(read_restore_point(record))
        elif record.info & OPERATION == _CHECKPOINT_ONLINE and (oldest := _oldest_active(record, reading.major)):
            losses.forget(oldest)
    effects.name_tablespaces(data, start, carry)
    last = reading.last if effects.minimal is None else effects.before_minimal
    return SegmentFacts(reading.major, reading.timeline, reading.records, reading.first, last, tally.commits,
                        tally.aborts, tally.times(), tally.xids(), tuple(points), losses.removals, losses.most_rows,
                        dict(losses.rows), effects.found(), effects.passed, _whole(reading, effects),
                        effects.minimal, reading.end, reading.carry)


def skim_all(consecutive: Iterable[Piece], carry: Carry | None = None, *, every_crc: bool = False,
             running: Mapping[int, int] | None = None) -> SegmentFacts:
    """Do the same as `skim` for a segment in consecutive pieces. ValueError also if there is none.

    `running` is that of the previous segment.
    """
    losses, effects = Losses(running), Effects()
    facts: SegmentFacts | None = None
    for start, data in consecutive:
        read = skim(data, start, carry, every_crc=every_crc, losses=losses, effects=effects)
        facts = read if facts is None else _joined(facts, read)
        carry = facts.carry
        if carry is None:
            break
    if facts is None:
        raise ValueError("it is empty")
    return facts


def _whole(reading: Reading, effects: Effects) -> Lsn | None:
    """Compute `SegmentFacts.whole`."""
    if effects.minimal is not None:
        return behind_last_record(effects.minimal, reading.header)
    if reading.end:
        switched = reading.end.cause is Cause.SWITCHED
        return reading.end.lsn if switched else behind_last_record(reading.end.lsn, reading.header)
    carry = reading.carry
    if carry is None or carry.skip:
        return None
    return behind_last_record(Lsn(carry.unfinished.lsn), reading.header) if carry.unfinished else carry.at


def _joined(one: SegmentFacts, other: SegmentFacts) -> SegmentFacts:
    """Join the facts of two consecutive pieces."""
    # What follows a switch is empty up to the end of the segment, and carries no information.
    switched = one.end if one.carry and one.carry.resume > one.carry.at else None
    times = [times for times in (one.times, other.times) if times]
    xids = [xids for xids in (one.xids, other.xids) if xids]
    return SegmentFacts(
        other.major, other.timeline, one.records + other.records, one.first if one.first is not None else other.first,
        other.last if other.last is not None else one.last, one.commits + other.commits, one.aborts + other.aborts,
        Times(times[0].first, times[-1].last, min(t.earliest for t in times), max(t.latest for t in times))
        if times else None,
        Xids(_before(xids[0].oldest, xids[-1].oldest), _behind(xids[0].newest, xids[-1].newest)) if xids else None,
        one.restore_points + other.restore_points, other.removals, other.most_rows, other.running, other.effects,
        other.passed, one.whole if switched else other.whole, other.minimal, other.end or switched, other.carry)


def _behind(one: int, other: int) -> int:
    """Return the newer of two xids, modulo 2^32."""
    return other if (other - one) % _ROUND < _ROUND // 2 else one


def _before(one: int, other: int) -> int:
    return one if _behind(one, other) == other else other


def _pass(losses: Losses, effects: Effects, record: Record, reading: Reading) -> None:
    """Take from a record that recovery cannot reach only what the facts of later segments need."""
    effects.add(record, reading.major, reading.timeline, reading.header.segment_size)
    if record.rmid == TRANSACTION and record.info & XACT_OPERATION in _ENDS:
        losses.end(record, reading.major)


def _add_transaction(tally: _Tally, losses: Losses, effects: Effects, record: Record, reading: Reading) -> None:
    major = reading.major
    operation = record.info & XACT_OPERATION
    if operation in _ENDS:
        losses.end(record, major)
    if operation in (PREPARE, COMMIT_PREPARED, ABORT_PREPARED):
        effects.add(record, major, reading.timeline, reading.header.segment_size)
    if operation in (COMMIT_PREPARED, ABORT_PREPARED):
        if ended := read_transaction(record, major):
            tally.add(ended.kind.commits, ended.xid, (ended.time - EPOCH) // _MICROSECOND)
    elif operation in (COMMIT, ABORT):
        data = record.data
        # Nearly every record has short main data right behind the header, which starts with the time.
        plain = len(data) >= 34 and data[24] == _SHORT_MAIN_DATA and data[25] >= 8
        if not plain and len(data := b"\0" * 26 + main_data(data)) < 34:
            raise ValueError(f"the transaction record at {Lsn(record.lsn)} is too short")
        tally.add(operation == COMMIT, record.xid, _time_at(data, 26)[0])


def _oldest_active(record: Record, major: int) -> int:
    """Return the oldest xid that ran when the checkpoint began (`catalog/pg_control.h`, CheckPoint.oldestActiveXid); 0
    if it is not recorded, as below wal_level replica."""
    main, at = main_data(record.data), FORMATS[major].oldest_active_xid
    return int.from_bytes(main[at:at + 4], "little") if len(main) >= at + 4 else 0


def read_restore_point(record: Record) -> RestorePoint:
    """Decode a restore point; ValueError if that fails."""
    main = main_data(record.data)
    if len(main) != _RESTORE_POINT_DATA.size:
        raise ValueError(f"the restore point at {Lsn(record.lsn)} has {len(main)} bytes")
    time, name = _RESTORE_POINT_DATA.unpack(main)
    text = name.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")
    try:
        return RestorePoint(text, Lsn(record.lsn), Lsn(record.end_lsn), time_of(time))
    except ValueError as problem:
        raise ValueError(f"the restore point at {Lsn(record.lsn)} cannot be decoded: {problem}") from None
