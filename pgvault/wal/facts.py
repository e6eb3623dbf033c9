"""What an archived segment holds, in one fast pass: the rows of the WAL archive's index.

The facts of a segment cover the records that *end* in it (see `records`). Times are those of commits and aborts,
plain and prepared: the only records at which PostgreSQL compares a time or xid target. They are not monotonic, so the
extremes are given beside the first and the last in order of position.
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
    """Of the one with the lowest position."""
    last: datetime
    earliest: datetime
    latest: datetime


@dataclass(frozen=True, slots=True)
class Xids:
    """The range of top-level xids that ended in a segment, on PostgreSQL's circle of 2^32."""

    oldest: int
    newest: int

    def may_hold(self, xid: int) -> bool:
        """False when this transaction's end is certainly not in the segment."""
        return (xid - self.oldest) % _ROUND <= (self.newest - self.oldest) % _ROUND


@dataclass(frozen=True, slots=True)
class SegmentFacts:
    major: int
    timeline: int
    """That of the last page: at a switch the first pages may be of the parent's."""
    records: int
    first: Lsn | None
    """Start of the first record that ends here, perhaps in an earlier segment; None without any."""
    last: Lsn | None
    commits: int
    aborts: int
    times: Times | None
    xids: Xids | None
    restore_points: tuple[RestorePoint, ...]
    removals: int
    most_rows: int
    running: Mapping[int, int]
    """As in `Losses`, at the segment's end; right when it was given those of the segment before."""
    effects: tuple[Effect, ...]
    """What replay does beyond the data files, without transactions that were prepared and ended in the segment."""
    passed: int
    """How many those were."""
    whole: Lsn | None
    """The end of the last whole record, as PostgreSQL counts it: how far recovery comes when nothing follows. None when
    all that is here belongs to a record that began before it and was not seen."""
    minimal: Lsn | None
    """Where wal_level=minimal begins: no recovery passes this record, so neither do the facts of transactions, restore
    points and the last record; None as nearly always."""
    end: WalEnd | None
    """Where and why the WAL ends before the segment does; None when it is full."""
    carry: Carry | None
    """For the skim of the following segment; None when the WAL does not go on."""


class _Tally:
    """The running sums over transactions; times in microseconds since 2000."""

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
    """One pass over a segment (or a piece of one, whole pages) that is WAL from the position `start` on.

    `carry` is that of the segment before on the same timeline path; without it a record that began there is left out,
    its commit too. `losses` and `effects` are those of the piece before. `every_crc` checks each record's checksum and
    not only those of use. ValueError when the data is no WAL from `start`, UnknownWal when its version is not known;
    `end` says where damage further on is.
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
    """As `skim`, of a segment that comes in consecutive pieces; ValueError also when there is none.

    `running` is that of the segment before.
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
    """As `SegmentFacts.whole`."""
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
    """The facts of two consecutive pieces."""
    # What follows a switch is empty up to the end of the segment, and says nothing of it.
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
    """The newer of two xids on PostgreSQL's circle."""
    return other if (other - one) % _ROUND < _ROUND // 2 else one


def _before(one: int, other: int) -> int:
    return one if _behind(one, other) == other else other


def _pass(losses: Losses, effects: Effects, record: Record, reading: Reading) -> None:
    """A record that no recovery from before reaches: only what the following segments' facts need is taken from it."""
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
        # Nearly every record: a short main data right behind the header, the time first in it.
        plain = len(data) >= 34 and data[24] == _SHORT_MAIN_DATA and data[25] >= 8
        if not plain and len(data := b"\0" * 26 + main_data(data)) < 34:
            raise ValueError(f"the transaction record at {Lsn(record.lsn)} is too short")
        tally.add(operation == COMMIT, record.xid, _time_at(data, 26)[0])


def _oldest_active(record: Record, major: int) -> int:
    """The oldest xid that ran when the checkpoint began (`catalog/pg_control.h`, CheckPoint.oldestActiveXid); 0 when
    that is not told, as below wal_level replica."""
    main, at = main_data(record.data), FORMATS[major].oldest_active_xid
    return int.from_bytes(main[at:at + 4], "little") if len(main) >= at + 4 else 0


def read_restore_point(record: Record) -> RestorePoint:
    """ValueError when it cannot be understood."""
    main = main_data(record.data)
    if len(main) != _RESTORE_POINT_DATA.size:
        raise ValueError(f"the restore point at {Lsn(record.lsn)} has {len(main)} bytes")
    time, name = _RESTORE_POINT_DATA.unpack(main)
    text = name.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")
    try:
        return RestorePoint(text, Lsn(record.lsn), Lsn(record.end_lsn), time_of(time))
    except ValueError as problem:
        raise ValueError(f"the restore point at {Lsn(record.lsn)} cannot be understood: {problem}") from None
