"""What `global/pg_control` says, by its bytes: src/include/catalog/pg_control.h.

The fields have had the same places since PostgreSQL 13, but that 19's checkpoint record, which stands before most of
them, is eight bytes longer. The file has its server's byte order, which the version behind the identifier tells, as it
does to PostgreSQL: it is a small number.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

HEAD: Final = 240
"""Bytes of the file that hold all that is read here."""

_IDENTIFIED: Final = 12
"""Bytes with the identifier and the version."""
_VERSIONS: Final = {1300: 0, 1700: 0, 1800: 0, 1905: 8}
"""PG_CONTROL_VERSION of 13 to 16, 17, 18 and 19: by how much all behind the checkpoint record is moved. 19 also has
slru_pages_per_segment before the size of a WAL page."""
_CHECKPOINT_TIME: Final = 104
"""The offset of `checkPointCopy.time`, which is moved too: what makes the record longer stands before it."""
_LIMITS: Final = 180
_BLOCKS: Final = 216
_END_OF_TIME: Final = 253402300800
"""What Python's dates end before; garbage may say any number."""
LIMITS: Final = ("max_connections", "max_worker_processes", "max_wal_senders", "max_prepared_transactions",
                 "max_locks_per_transaction")
"""What a hot standby must have at least as much of as the server that wrote the WAL; in the file's order."""


@dataclass(frozen=True, slots=True)
class ControlFile:
    system_identifier: int
    is_big_endian: bool
    checkpoint_at: datetime | None = None
    """When the last checkpoint began."""
    limits: Mapping[str, int] | None = None
    """The server's `LIMITS` when it wrote the file; None, as the rest, for a version that is not known."""
    block_size: int | None = None
    wal_block_size: int | None = None


def read_control_file(content: bytes) -> ControlFile | None:
    """None when it is no such file. What the bytes do not hold stays unknown."""
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
