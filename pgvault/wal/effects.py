"""Records whose replay affects more than data files: tablespaces, the server's limits, prepared transactions.

Formats: `commands/tablespace.h`, `access/xlog_internal.h` (xl_parameter_change), and for the state of a prepared
transaction `access/transam/twophase.c` and `access/xact.h` (xl_xact_prepare). The record contains the same as its file
in pg_twophase, without the trailing checksum.
"""

from __future__ import annotations

from dataclasses import replace
from struct import Struct, error
from typing import TYPE_CHECKING

from pgvault.model.lsn import Lsn
from pgvault.model.replay import (
    MINIMAL,
    Effect,
    Limits,
    ParameterChange,
    PreparedEnded,
    PreparedTransaction,
    TablespaceCreated,
    TablespaceDropped,
)
from pgvault.wal.bodies import Relation, main_data
from pgvault.wal.record import HEAP, OPERATION, RECORD_HEADER, TABLESPACE, TRANSACTION, XLOG
from pgvault.wal.records import ALWAYS_KEPT, Reading
from pgvault.wal.rows import inserted_row
from pgvault.wal.transactions import ABORT_PREPARED, COMMIT_PREPARED, read_transaction, time_of
from pgvault.wal.transactions import OPERATION as XACT_OPERATION
from pgvault.wal.versions import FORMATS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pgvault.wal.carry import Carry
    from pgvault.wal.pieces import Piece
    from pgvault.wal.record import Record

PREPARE = 0x10
PARAMETER_CHANGE = 0x60
_CREATE, _DROP = 0x00, 0x10
PG_TABLESPACE = Relation(1664, 0, 1213)
"""The file of the catalog pg_tablespace until it is rewritten."""
_INSERT, _HEAP_OPERATION = 0x00, 0x70

_U32 = Struct("<I")
_PARAMETERS = Struct("<6i")
_ROW = Struct("<I64s")
"""The beginning of a row of pg_tablespace: oid, spcname."""
_TWO_PHASE_MAGIC = 0x57F94534
_STATE = Struct("<IBxH")
"""The header of one resource in the state: length, resource manager, info."""
_LOCK = Struct("<IIIHBBi")
_END_OF_STATE, _LOCKS_OF_STATE = 0, 1
_RELATION_LOCK = 0
_XID, _FILE, _INVALIDATION = 4, 12, 16


class Effects:
    """Collects the effects of one segment while its records are read."""

    def __init__(self) -> None:
        self._found: dict[int, Effect] = {}
        self._prepared: dict[int, int] = {}
        """Positions by xid of prepared transactions that have not ended yet."""
        self.minimal: Lsn | None = None
        """Where wal_level=minimal begins."""
        self.before_minimal: Lsn | None = None
        """Start of the record before that."""
        self.passed = 0
        """Number of transactions that were prepared and ended within the segment. They leave nothing behind."""

    def add(self, record: Record, major: int, timeline: int, segment_size: int) -> None:
        """Add the effect of a record. ValueError if it cannot be decoded."""
        effect = read_effect(record, major, timeline, segment_size)
        if effect is None:
            return
        if isinstance(effect, PreparedTransaction):
            self._prepared[effect.xid] = record.lsn
        elif isinstance(effect, PreparedEnded) and (began := self._prepared.pop(effect.xid, None)) is not None:
            del self._found[began]
            self.passed += 1
            return
        elif isinstance(effect, ParameterChange) and effect.wal_level == MINIMAL and self.minimal is None:
            self.minimal, self.before_minimal = effect.lsn, Lsn(RECORD_HEADER.unpack_from(record.data)[2])
        self._found[record.lsn] = effect

    def found(self) -> tuple[Effect, ...]:
        """Return the effects in the order of their positions."""
        return tuple(self._found.values())

    def name_tablespaces(self, data: bytes | bytearray | memoryview, start: int, carry: Carry | None) -> None:
        """Search the same WAL for the rows with the missing names of tablespaces."""
        nameless = {each.oid: each for each in self._found.values()
                    if isinstance(each, TablespaceCreated) and each.name is None}
        if not nameless:
            return
        for oid, name in _inserted_names(data, start, carry):
            if oid in nameless:
                self._found[nameless[oid].lsn] = replace(nameless[oid], name=name)


def read_effect(record: Record, major: int, timeline: int, segment_size: int) -> Effect | None:
    """Return None if the record has no such effect. ValueError if it cannot be decoded."""
    operation = record.info & OPERATION
    try:
        if record.rmid == TABLESPACE:
            return _tablespace(record, operation, timeline, segment_size)
        if record.rmid == XLOG and operation == PARAMETER_CHANGE:
            *limits, wal_level = _PARAMETERS.unpack_from(main_data(record.data))
            return ParameterChange(Lsn(record.lsn), Limits(*limits), wal_level)
        if record.rmid == TRANSACTION:
            return _prepared(record, major)
    except (ValueError, IndexError, error) as problem:
        raise ValueError(f"the record at {Lsn(record.lsn)} cannot be decoded: {problem}") from None
    return None


def effects_of(consecutive: Iterable[Piece], carry: Carry | None = None) -> Iterator[Effect]:
    """Yield effects in the order of their positions, including transactions that were prepared and ended. Tablespaces
    have no names."""
    for start, data in consecutive:
        reading = Reading(data, start, carry, rmgrs=ALWAYS_KEPT)
        for record in reading:
            if effect := read_effect(record, reading.major, reading.timeline, reading.header.segment_size):
                yield effect
        carry = reading.carry
        if carry is None:
            return


def read_two_phase(state: bytes, major: int, lsn: int = 0) -> PreparedTransaction:
    """Decode the main data of a PREPARE record or a file of pg_twophase; ValueError if that fails."""
    try:
        return _read_two_phase(state, major, lsn)
    except (IndexError, error):
        raise ValueError("the state of a prepared transaction is truncated") from None


def _tablespace(record: Record, operation: int, timeline: int, segment_size: int) -> Effect | None:
    main = main_data(record.data)
    (oid,) = _U32.unpack_from(main)
    if operation == _DROP:
        return TablespaceDropped(oid, Lsn(record.lsn))
    if operation != _CREATE:
        return None
    path = _path(main).decode("utf-8", "surrogateescape")
    return TablespaceCreated(oid, path, Lsn(record.lsn), timeline, record.lsn // segment_size, Lsn(record.end_lsn))


def _path(main: bytes) -> bytes:
    """Return the original path. After a restore blanked it (`wal.rewrite`), it follows a NUL and lacks its first
    `/`."""
    path = main[_U32.size:]
    if path[:1] == b"\0" and len(path) > 1:
        path = b"/" + path[1:]
    return path[:path.index(b"\0")]


def _prepared(record: Record, major: int) -> Effect | None:
    operation = record.info & XACT_OPERATION
    if operation == PREPARE:
        return read_two_phase(main_data(record.data), major, record.lsn)
    if operation in (COMMIT_PREPARED, ABORT_PREPARED) and (ended := read_transaction(record, major)):
        return PreparedEnded(ended.xid, Lsn(record.lsn))
    return None


def _read_two_phase(state: bytes, major: int, lsn: int) -> PreparedTransaction:
    wal = FORMATS[major]
    header = wal.two_phase_header
    magic, _, xid, database, at, owner, *counts, _, gid_length, _, _ = header.unpack_from(state)
    if magic != _TWO_PHASE_MAGIC:
        raise ValueError(f"its magic number is {magic:08X}")
    statistics = (wal.dropped_statistics.size,) * 2 if wal.dropped_statistics else ()
    sizes = (_XID, _FILE, _FILE, *statistics, _INVALIDATION)
    gid = state[header.size:header.size + gid_length - 1].decode("utf-8", "backslashreplace")
    place = header.size + _aligned(gid_length)
    for count, size in zip(counts, sizes, strict=True):
        if not 0 <= count <= len(state):
            raise ValueError(f"a list of {count} elements does not fit")
        place += _aligned(count * size)
    return PreparedTransaction(xid, gid, database, owner, time_of(at), Lsn(lsn), tuple(_locks(state, place)))


def _locks(state: bytes, place: int) -> list[tuple[int, int, int]]:
    found: list[tuple[int, int, int]] = []
    while True:
        length, whose, _ = _STATE.unpack_from(state, place)
        place += _STATE.size
        if whose == _END_OF_STATE:
            return found
        if whose == _LOCKS_OF_STATE:
            database, relation, _, _, kind, _, mode = _LOCK.unpack_from(state, place)
            if kind == _RELATION_LOCK:
                found.append((database, relation, mode))
        place += _aligned(length)


def _aligned(length: int) -> int:
    return length + 7 & -8


def _inserted_names(data: bytes | bytearray | memoryview, start: int, carry: Carry | None) -> list[tuple[int, str]]:
    """Return OID and name of each row that was visibly inserted into pg_tablespace."""
    if carry and carry.unfinished:  # only its length was kept, unless its records are always read
        rest = carry.unfinished.length - carry.unfinished.seen
        carry = replace(carry, unfinished=None, skip=rest, previous=None)
    reading = Reading(data, start, carry, rmgrs=(HEAP,))
    found = []
    for record in reading:
        if record.info & _HEAP_OPERATION == _INSERT and (row := inserted_row(record, PG_TABLESPACE, reading.major)):
            oid, name = _ROW.unpack_from(row)
            found.append((oid, name.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")))
    return found
