"""Reading `global/pg_control` (src/include/catalog/pg_control.h).

The byte order is the server's. As in PostgreSQL, the version behind the identifier reveals it, since it is a small
number. Where the fields are depends on that version (`pgvault.model.majors`).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from pgvault.model.majors import CONTROL_LAYOUTS

HEAD: Final = max(layout.wal_block_size for layout in CONTROL_LAYOUTS.values()) + 4
"""The number of bytes at the file's start that contain everything read here."""

_IDENTIFIED: Final = 12
"""The number of bytes that contain the identifier and the version."""
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
            layout = CONTROL_LAYOUTS.get(version)
            if layout is None or len(content) < HEAD:
                return ControlFile(identifier, order == ">")
            (seconds,) = struct.unpack_from(f"{order}q", content, layout.checkpoint_time)
            limits = struct.unpack_from(f"{order}{len(LIMITS)}i", content, layout.limits)
            (block,) = struct.unpack_from(f"{order}I", content, layout.block_size)
            (wal_block,) = struct.unpack_from(f"{order}I", content, layout.wal_block_size)
            return ControlFile(identifier, order == ">",
                               datetime.fromtimestamp(seconds, UTC) if 0 < seconds < _END_OF_TIME else None,
                               dict(zip(LIMITS, limits, strict=True)), block, wal_block)
    return None
