"""Reading `global/pg_control` (src/include/catalog/pg_control.h).

The fields have kept their offsets since PostgreSQL 13, except that the checkpoint record of version 19, which precedes
most of them, is eight bytes longer. The byte order is the server's. As in PostgreSQL, the version behind the
identifier reveals it, since it is a small number.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

HEAD: Final = 240
"""Bytes of the file that hold everything read here."""

_IDENTIFIED: Final = 12
"""Bytes that hold the identifier and the version."""
_VERSIONS: Final = {1300: 0, 1700: 0, 1800: 0, 1905: 8}
"""PG_CONTROL_VERSION of 13 to 16, 17, 18 and 19, and how many bytes the fields behind the checkpoint record move. 19
also has slru_pages_per_segment before the WAL block size."""
_CHECKPOINT_TIME: Final = 104
"""Offset of `checkPointCopy.time`. It moves too, as the longer fields precede it."""
_LIMITS: Final = 180
_BLOCKS: Final = 216
_END_OF_TIME: Final = 253402300800
"""The end of Python's dates, in seconds. A damaged file can hold any number."""
LIMITS: Final = ("max_connections", "max_worker_processes", "max_wal_senders", "max_prepared_transactions",
                 "max_locks_per_transaction")
"""Settings of which a hot standby needs at least the values of the server that wrote the WAL, in the file's order."""


@dataclass(frozen=True, slots=True)
class ControlFile:
    system_identifier: int
    is_big_endian: bool
    checkpoint_at: datetime | None = None
    """When the last checkpoint began."""
    limits: Mapping[str, int] | None = None
    """The server's `LIMITS` when it wrote the file. Like the rest, None for an unknown version."""
    block_size: int | None = None
    wal_block_size: int | None = None


def read_control_file(content: bytes) -> ControlFile | None:
    """Return None if this is no control file. Fields that the bytes do not reach stay None."""
    if len(content) < _IDENTIFIED:
        return None
    for order in ("<", ">"):
        identifier, version = struct.unpack_from(f"{order}QI", content)
        if identifier and 0 < version < 1 << 16:
            moved = _VERSIONS.get(version)
            if moved is None or len(content) < HEAD:
                return ControlFile(identifier, order == ">")
            (seconds,) = struct.unpack_from(f"{order}q", content, _CHECKPOINT_TIME + moved)
            limits = struct.unpack_from(f"{order}5i", content, _LIMITS + moved)
            block, _, *_, wal_block = struct.unpack_from(f"{order}{4 if moved else 3}I", content, _BLOCKS + moved)
            return ControlFile(identifier, order == ">",
                               datetime.fromtimestamp(seconds, UTC) if 0 < seconds < _END_OF_TIME else None,
                               dict(zip(LIMITS, limits, strict=True)), block, wal_block)
    return None
