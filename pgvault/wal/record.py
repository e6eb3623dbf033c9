"""A WAL record and its header: `access/xlogrecord.h`; resource managers: `access/rmgrlist.h`."""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

RECORD_HEADER = Struct("<IIQBBxxI")
"""total length, xid, start of the previous record, info, resource manager, CRC-32C"""
HEADER_SIZE = RECORD_HEADER.size

XLOG, TRANSACTION, TABLESPACE, HEAP = 0, 1, 5, 10
OPERATION = 0xF0
"""The bits of a record's info that give its kind within the resource manager; the others are flags."""


class Record(NamedTuple):
    """One complete record whose CRC is right."""

    lsn: int
    end_lsn: int
    """Where the next record may begin: PostgreSQL's end position, aligned to 8 bytes."""
    xid: int
    rmid: int
    info: int
    data: bytes
    """The whole record, including the header."""
