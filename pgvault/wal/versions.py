"""What differs between PostgreSQL's major versions in their WAL: one value for each known version.

To support a new major, add it here, as what it changes in the one before it; what is not in its WAL is in
`pgvault/model/majors.py`. The tests that compare with its `pg_waldump` show what else it needs. Sources:
`access/xlog_internal.h` (pages), `access/xlogrecord.h` (page images), `access/xact.h` and `access/twophase.c`
(transactions), `catalog/pg_control.h` (checkpoints), `commands/dbcommands_xlog.h` and `catalog/pg_database.h`.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple


class WalFormat(NamedTuple):
    """The WAL of one major version; offsets and sizes in bytes."""

    major: int
    magic: int
    """The magic number of its pages."""
    overwrites_record: int
    """The flag of a page that begins afresh because a crash left the previous record unfinished."""
    page_flags: int
    """All flags that a page may have."""
    names_top_xid: bool
    """Whether a subtransaction's record may name its top-level transaction."""
    image_is_applied: int
    image_compressions: tuple[tuple[int, str], ...]
    """The bits of a page image's info: whether replay applies it, and how it is compressed."""
    image_is_compressed: int
    """All bits of `image_compressions`."""
    transaction_parts: int
    """The bits of a transaction record's xinfo whose parts are known."""
    dropped_statistics: Struct | None
    """One object whose statistics a commit drops: kind, database, OID. None if commits name no such objects."""
    two_phase_header: Struct
    """The header of a prepared transaction's state, from its magic number to its origin."""
    next_xid: int
    """The offset of nextXid in a checkpoint record."""
    oldest_active_xid: int
    drop_database: int
    """The info of the record that removes a database's files."""
    database_row: Struct
    """The beginning of a row of pg_database: oid, datname, ..., datconnlimit."""


_13 = WalFormat(
    13, 0xD106,
    overwrites_record=0x8,
    page_flags=0xF,
    names_top_xid=False,
    image_is_applied=0x04,
    image_compressions=((0x02, "pglz"),),
    image_is_compressed=0x02,
    transaction_parts=0xFF,
    dropped_statistics=None,
    two_phase_header=Struct("<IIIIqI4iBxHQq"),
    next_xid=24,
    oldest_active_xid=80,
    drop_database=0x10,
    database_row=Struct("<I64s140xi"))
_14 = _13._replace(major=14, magic=0xD10D, names_top_xid=True)
_15 = _14._replace(
    major=15, magic=0xD110,
    image_is_applied=0x02,
    image_compressions=((0x04, "pglz"), (0x08, "lz4"), (0x10, "zstd")),
    image_is_compressed=0x1C,
    transaction_parts=0x1FF,  # the cumulative statistics are in shared memory, and commits drop them
    dropped_statistics=Struct("<iII"),
    two_phase_header=Struct("<IIIIqI6iBxHQq"),
    drop_database=0x20,
    database_row=Struct("<I64s12xi"))
_16 = _15._replace(major=16, magic=0xD113)
_17 = _16._replace(major=17, magic=0xD116)
_18 = _17._replace(major=18, magic=0xD118, dropped_statistics=Struct("<iIQ"))
_19 = _18._replace(
    major=19, magic=0xD122,
    overwrites_record=0x4,
    page_flags=0x7,
    next_xid=32,  # logicalDecodingEnabled precedes it
    oldest_active_xid=88)

FORMATS = {each.major: each for each in (_13, _14, _15, _16, _17, _18, _19)}
"""Formats by major version."""

BY_MAGIC = {each.magic: each for each in FORMATS.values()}

NEWEST = max(FORMATS)
OLDEST = min(FORMATS)
