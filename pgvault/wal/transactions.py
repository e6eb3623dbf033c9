"""The ends of transactions: the only records at which a recovery to a time or a transaction can stop.

Formats: `access/xact.h`. The references are ParseCommitRecord and ParseAbortRecord in `access/rmgrdesc/xactdesc.c`.
Commit order is the order of positions. The times in the records are taken earlier and are not monotonic.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from struct import Struct, error
from typing import TYPE_CHECKING, NamedTuple

from pgvault.model.lsn import Lsn
from pgvault.wal.bodies import Relation, main_data
from pgvault.wal.record import TRANSACTION
from pgvault.wal.records import Reading
from pgvault.wal.versions import FORMATS, WalFormat

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pgvault.wal.carry import Carry
    from pgvault.wal.record import Record

OPERATION = 0x70
HAS_XINFO = 0x80
COMMIT, ABORT, COMMIT_PREPARED, ABORT_PREPARED = 0x00, 0x20, 0x30, 0x40

_DATABASE, SUBXACTS, RELATIONS, _INVALIDATIONS, PREPARED, _ORIGIN, _GID, _DROPPED = (
    1 << bit for bit in (0, 1, 2, 3, 4, 5, 7, 8))
_PLAIN_FLAGS = 1 << 6 | 0b111 << 29
_INVALIDATION_SIZE = 16

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_FIRST_TIME, _LAST_TIME = ((datetime(year, 1, 1, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
                           for year in (1970, 9000))
_TIME, _U32, _COUNT = Struct("<q"), Struct("<I"), Struct("<i")
_RELATION = Struct("<III")
_ORIGIN_SIZE = 16


class Kind(Enum):
    COMMIT = COMMIT
    ABORT = ABORT
    COMMIT_PREPARED = COMMIT_PREPARED
    ABORT_PREPARED = ABORT_PREPARED

    @property
    def commits(self) -> bool:
        return self in (Kind.COMMIT, Kind.COMMIT_PREPARED)


class DroppedStatistics(NamedTuple):
    """An object whose statistics were dropped with it (15+): kind 1 database, 2 relation, 3 function, and their
    OIDs."""

    kind: int
    database: int
    object: int


@dataclass(frozen=True, slots=True)
class Transaction:
    """How and when a top-level transaction ended."""

    lsn: Lsn
    end_lsn: Lsn
    kind: Kind
    xid: int
    """The top-level transaction's xid, as in recovery_target_xid; for a prepared transaction its own."""
    time: datetime
    database: int
    """0 if the record does not name it."""
    subxids: tuple[int, ...]
    gid: str
    """The name of a prepared transaction."""
    relations: tuple[Relation, ...]
    """Relations whose files were removed when the transaction ended: dropped, truncated or rewritten."""
    dropped: tuple[DroppedStatistics, ...]


def transactions(data: bytes | bytearray | memoryview, start: int, carry: Carry | None = None) -> Iterator[Transaction]:
    """Yield the transactions that end in `data`, WAL from the position `start` on, in order of position.

    ValueError if `data` cannot be read at all, or an intact record cannot be decoded; an early end of the WAL ends the
    iteration. `carry` as for `Reading`.
    """
    return transactions_of([(start, data)], carry)


def transactions_of(consecutive: Iterable[tuple[int, bytes | bytearray | memoryview]],
                    carry: Carry | None = None) -> Iterator[Transaction]:
    """Do the same as `transactions`, for WAL in consecutive pieces."""
    for start, data in consecutive:
        reading = Reading(data, start, carry, rmgrs=(TRANSACTION,))
        for record in reading:
            if transaction := read_transaction(record, reading.major):
                yield transaction
        carry = reading.carry
        if carry is None:
            return


def read_transaction(record: Record, major: int) -> Transaction | None:
    """Return the transaction that ends in the record; None if none does. ValueError if the record cannot be decoded."""
    if record.rmid != TRANSACTION or record.info & OPERATION not in (COMMIT, ABORT, COMMIT_PREPARED, ABORT_PREPARED):
        return None
    try:
        return _read(record, main_data(record.data), FORMATS[major])
    except (ValueError, IndexError, error) as problem:
        raise ValueError(f"the transaction record at {Lsn(record.lsn)} cannot be decoded: {problem}") from None


def time_of(microseconds: int) -> datetime:
    """Convert PostgreSQL's TimestampTz, microseconds since 2000; ValueError if no server's clock can have been there.

    The type spans 292,000 years. The last years that Python knows are excluded too, so that a time can be shown in any
    zone and used in arithmetic.
    """
    if not _FIRST_TIME <= microseconds < _LAST_TIME:
        raise ValueError("its time is impossible")
    return EPOCH + timedelta(microseconds=microseconds)


def _read(record: Record, main: bytes, wal: WalFormat) -> Transaction:
    kind = Kind(record.info & OPERATION)
    (time,) = _TIME.unpack_from(main)
    has = _U32.unpack_from(main, 8)[0] if record.info & HAS_XINFO else 0
    if unknown := has & ~wal.transaction_parts & ~_PLAIN_FLAGS:
        raise ValueError(f"it has parts of unknown kinds, {unknown:X}")
    at = 12 if record.info & HAS_XINFO else 8
    database, xid, gid = 0, record.xid, ""
    subxids: tuple[int, ...] = ()
    relations: tuple[Relation, ...] = ()
    dropped: tuple[DroppedStatistics, ...] = ()
    if has & _DATABASE:
        (database,), at = _U32.unpack_from(main, at), at + 8
    if has & SUBXACTS:
        rows, at = _array(main, at, _U32)
        subxids = tuple(row[0] for row in rows)
    if has & RELATIONS:
        rows, at = _array(main, at, _RELATION)
        relations = tuple(Relation(*row) for row in rows)
    if has & _DROPPED and wal.dropped_statistics:
        rows, at = _array(main, at, wal.dropped_statistics)
        dropped = tuple(DroppedStatistics(*row) for row in rows)
    if has & _INVALIDATIONS and kind.commits:
        at += _COUNT.size + _count(main, at, _INVALIDATION_SIZE) * _INVALIDATION_SIZE
    if has & PREPARED:
        (xid,), at = _U32.unpack_from(main, at), at + 4
        if has & _GID:
            end = main.index(b"\0", at)
            gid, at = main[at:end].decode("utf-8", "backslashreplace"), end + 1
    if has & _ORIGIN:
        at += _ORIGIN_SIZE
    if at != len(main):
        raise ValueError(f"{len(main)} bytes of data, of which {at} were expected")
    return Transaction(Lsn(record.lsn), Lsn(record.end_lsn), kind, xid, time_of(time), database, subxids, gid,
                       relations, dropped)


def _count(main: bytes, at: int, size: int) -> int:
    """Return the number of elements of `size` bytes in the array at `at`; ValueError if that many do not fit."""
    count: int = _COUNT.unpack_from(main, at)[0]
    if not 0 <= count <= (len(main) - at - _COUNT.size) // size:
        raise ValueError(f"a list of {count} elements does not fit")
    return count


def _array(main: bytes, at: int, element: Struct) -> tuple[list[tuple[int, ...]], int]:
    """Return the elements, and the offset after them."""
    count = _count(main, at, element.size)
    at += _COUNT.size
    end = at + count * element.size
    return list(element.iter_unpack(main[at:end])), end


def is_older(xid: int, other: int) -> bool:
    """Compare xids modulo 2^32, as PostgreSQL does."""
    return 0 < (other - xid) % (1 << 32) < 1 << 31
