"""Removes the paths from tablespace records in WAL that is sent to be replayed elsewhere.

Replay of CREATE TABLESPACE creates the directory at the path in the record and links `pg_tblspc/OID` to it, replacing
an existing link. A restore decides where a tablespace goes, so it makes the path empty. The record is then one of a
tablespace inside the data directory, for which replay creates a directory `pg_tblspc/OID` unless that name exists, and
uses it (`create_tablespace_directories` in `commands/tablespace.c`). A link that the restore created beforehand
therefore stays and leads to the chosen place, however long the paths are.

Only the path's first byte and the record's CRC-32C change. The rest of the path stays behind the NUL, which PostgreSQL
does not read, so the WAL of the restored server still shows where the tablespace once was.
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
    """One changed byte of WAL, at a position."""

    at: int
    old: int
    new: int


def record_at(data: bytes, start: int, lsn: int, *, block: int, size: int) -> bytes | None:
    """Return the record at `lsn` from whole pages that start at position `start`; None if it continues after them.

    ValueError if there is none. `block` is the size of a page, `size` that of a segment.
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
    """Return the changes that give this tablespace creation an empty path; none if it already has one.

    ValueError if the record is no tablespace creation.
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
    """Yield WAL in consecutive pieces with the changes applied that fall into them. ValueError if it is other WAL."""
    for start, data in pieces:
        within = [each for each in changes if start <= each.at < start + len(data)]
        if within:
            changed = bytearray(data)
            for at, old, new in within:
                if changed[at - start] != old:
                    raise ValueError(f"the WAL at {Lsn(at)} has changed")
                changed[at - start] = new
            data = bytes(changed)
        yield data


def _crc(record: bytes | bytearray) -> int:
    return crc32c(bytes(record[:_CRC_AT]), crc32c(bytes(record[HEADER_SIZE:])))


def _position(lsn: int, offset: int, block: int, size: int) -> int:
    """Return the position of a record's byte, skipping the page headers in between."""
    room = block - lsn % block
    while offset >= room:
        lsn, offset = lsn + room, offset - room
        lsn += (LONG_HEADER if lsn % size == 0 else SHORT_HEADER).size
        room = block - lsn % block
    return lsn + offset
