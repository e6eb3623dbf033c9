"""What differs between PostgreSQL's major versions in their WAL: one value for each known version.

To support a new major, add it here. The tests that compare with its `pg_waldump` show what else it needs. Sources:
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


_PGLZ_14 = ((0x02, "pglz"),)
_COMPRESSIONS = ((0x04, "pglz"), (0x08, "lz4"), (0x10, "zstd"))


def _format(major: int, magic: int) -> WalFormat:
    with_statistics = major >= 15  # added with the cumulative statistics in shared memory
    compressions = _COMPRESSIONS if major >= 15 else _PGLZ_14
    longer_checkpoint = 8 if major >= 19 else 0  # logicalDecodingEnabled precedes nextXid
    return WalFormat(
        major, magic,
        overwrites_record=0x4 if major >= 19 else 0x8,
        page_flags=0x7 if major >= 19 else 0xF,
        names_top_xid=major >= 14,
        image_is_applied=0x02 if major >= 15 else 0x04,
        image_compressions=compressions,
        image_is_compressed=sum(bit for bit, _ in compressions),
        transaction_parts=0x1FF if with_statistics else 0xFF,
        dropped_statistics=(Struct("<iIQ") if major >= 18 else Struct("<iII")) if with_statistics else None,
        two_phase_header=Struct("<IIIIqI6iBxHQq") if with_statistics else Struct("<IIIIqI4iBxHQq"),
        next_xid=24 + longer_checkpoint,
        oldest_active_xid=80 + longer_checkpoint,
        drop_database=0x20 if major >= 15 else 0x10,
        database_row=Struct("<I64s12xi") if major >= 15 else Struct("<I64s140xi"))


FORMATS = {major: _format(major, magic) for major, magic in (
    (13, 0xD106), (14, 0xD10D), (15, 0xD110), (16, 0xD113), (17, 0xD116), (18, 0xD118), (19, 0xD122))}
"""Formats by major version."""

BY_MAGIC = {each.magic: each for each in FORMATS.values()}

NEWEST = max(FORMATS)
OLDEST = min(FORMATS)
