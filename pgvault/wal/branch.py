"""Where a timeline branched off, by its first records: exact, where the pages show it only to within one of them."""

from __future__ import annotations

from contextlib import suppress
from struct import Struct

from pgvault.model.errors import UnknownWal
from pgvault.model.lsn import Lsn
from pgvault.wal.bodies import main_data
from pgvault.wal.pages import behind_last_record
from pgvault.wal.record import OPERATION, XLOG
from pgvault.wal.records import Reading

_PROMOTIONS = (0x00, 0x90)
"""CHECKPOINT_SHUTDOWN and END_OF_RECOVERY."""
_BEFORE_PROMOTION = (0x80, 0xD0)
"""FPW_CHANGE and OVERWRITE_CONTRECORD, which a promotion may write first."""
_timelines = Struct("<8xII").unpack_from
"""This timeline and the previous one, at the same place in both promotion records."""


def branch_point(data: bytes, start: Lsn, timeline: int) -> Lsn | None:
    """Return where the segment's WAL left the previous timeline for `timeline`; None if that does not show in it."""
    begins = ends = -1
    with suppress(ValueError, UnknownWal):
        reading = Reading(data, start, rmgrs=(XLOG,))
        for record in reading:
            operation = record.info & OPERATION
            if record.rmid != XLOG or operation not in (*_PROMOTIONS, *_BEFORE_PROMOTION):
                continue
            if record.lsn != ends:
                begins = record.lsn
            ends = record.end_lsn
            if operation in _PROMOTIONS:
                this, previous = _timelines(main_data(record.data))
                if this == timeline != previous:
                    return behind_last_record(Lsn(begins), reading.header)
                ends = -1
    return None
