"""Tablespaces in WAL that is sent to be replayed elsewhere: the paths in their records are taken away.

Replay of CREATE TABLESPACE makes the directory at the path in the record and links `pg_tblspc/OID` to it, also over a
link that is there. A restore decides where a tablespace goes, so it makes the path empty: the record then is one of a
tablespace inside the data directory, for which replay makes a directory `pg_tblspc/OID` unless something of that name
is there, and goes through it (`create_tablespace_directories` in `commands/tablespace.c`). A link that the restore made
beforehand therefore stays and leads to the place that was chosen, however long the paths are.

Only the path's first byte and the record's CRC-32C change. The rest of the path stays behind the NUL, where
PostgreSQL does not look: the WAL of the restored server still says where the tablespace once was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from struct import Struct
from typing import NamedTuple

from crc32c import crc32c

from pgvault.model.lsn import Lsn
from pgvault.wal.bodies import main_data
from pgvault.wal.pages import LONG_HEADER, SHORT_HEADER
from pgvault.wal.pieces import Piece
from pgvault.wal.record import HEADER_SIZE, OPERATION, RECORD_HEADER

TABLESPACE = 5
_CREATE = 0x00
_CRC_AT = 20
_OID = 4
_U32 = Struct("<I")


class Change(NamedTuple):
    """One byte of WAL, at a position."""

    at: int
    old: int
    new: int


def record_at(data: bytes, start: int, lsn: int, *, block: int, size: int) -> bytes | None:
    """The record at `lsn`, taken out of whole pages from the position `start` on; None when it goes on behind them.

    ValueError when there is none. `block` is the size of a page, `size` that of a segment.
    """
    behind = start + len(data)
    if not start <= lsn <= behind - 4:
        raise ValueError(f"no record at {Lsn(lsn)} in the WAL from {Lsn(start)} to {Lsn(behind)}")
    (length,) = _U32.unpack_from(data, lsn - start)
    if length < HEADER_SIZE:
        raise ValueError(f"no record at {Lsn(lsn)}")
    if _position(lsn, length - 1, block, size) >= behind:
        return None
    record = bytes(data[_position(lsn, offset, block, size) - start] for offset in range(length))
    if _crc(record) != RECORD_HEADER.unpack_from(record)[-1]:
        raise ValueError(f"the checksum of the record at {Lsn(lsn)} is wrong")
    return record


def without_path(record: bytes, lsn: int, *, block: int, size: int) -> tuple[Change, ...]:
    """What to change so that this creation of a tablespace has an empty path; nothing when it has one already.

    ValueError when the record is no such creation.
    """
    *_, info, rmid, _ = RECORD_HEADER.unpack_from(record)
    if rmid != TABLESPACE or info & OPERATION != _CREATE:
        raise ValueError(f"the record at {Lsn(lsn)} creates no tablespace")
    at = len(record) - len(main_data(record)) + _OID
    if at >= len(record):
        raise ValueError(f"the record at {Lsn(lsn)} has no path")
    changed = bytearray(record)
    changed[at] = 0
    changed[_CRC_AT:HEADER_SIZE] = _U32.pack(_crc(changed))
    return tuple(Change(_position(lsn, offset, block, size), old, new)
                 for offset, (old, new) in enumerate(zip(record, changed, strict=True)) if old != new)


def rewritten(pieces: Iterable[Piece], changes: Sequence[Change]) -> Iterator[bytes]:
    """WAL in consecutive pieces, with those changes that fall into them; ValueError when it is not the WAL of these."""
    for start, data in pieces:
        within = [each for each in changes if start <= each.at < start + len(data)]
        if within:
            changed = bytearray(data)
            for at, old, new in within:
                if changed[at - start] != old:
                    raise ValueError(f"the WAL at {Lsn(at)} is not what it was")
                changed[at - start] = new
            data = bytes(changed)
        yield data


def _crc(record: bytes | bytearray) -> int:
    return crc32c(bytes(record[:_CRC_AT]), crc32c(bytes(record[HEADER_SIZE:])))


def _position(lsn: int, offset: int, block: int, size: int) -> int:
    """Of a record's byte: between its pages lie their headers."""
    room = block - lsn % block
    while offset >= room:
        lsn, offset = lsn + room, offset - room
        lsn += (LONG_HEADER if lsn % size == 0 else SHORT_HEADER).size
        room = block - lsn % block
    return lsn + offset
