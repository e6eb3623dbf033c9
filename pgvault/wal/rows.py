"""Reads the few rows whose content is needed from the WAL: invalid databases and new tablespaces.

Since 2023 (13.12, 14.9, 15.4) DROP DATABASE first sets `datconnlimit` to -2, in place and without a transaction, so
that a database whose removal was interrupted cannot be used. The removal begins at that record. The layouts are those
of `catalog/pg_database.h`, `storage/bufpage.h` and `access/htup_details.h`.
"""

from __future__ import annotations

from struct import Struct, error
from typing import TYPE_CHECKING, NamedTuple

from pgvault.wal.bodies import parse_body
from pgvault.wal.versions import FORMATS

if TYPE_CHECKING:
    from pgvault.wal.bodies import PageImage, Relation
    from pgvault.wal.record import Record

_U16, _U32 = Struct("<H"), Struct("<I")
_RELATION = Struct("<III")
_HAS_IMAGE, _HAS_HOLE = 0x10, 0x01
_HEADER, _BLOCK, _IMAGE = 24, 4, 5
INPLACE_SIZE = 42
"""Size of the shortest record with a block reference and two bytes of main data."""

_INVALID = -2
_LINE_POINTERS = 24
_ROW_HEADER_LENGTH = 22
_ROW_HEADER, _SHORT_ROW_HEADER = 23, 5


class InvalidDatabase(NamedTuple):
    """A database whose row says that it is being dropped."""

    oid: int
    name: str


def relation_at(data: bytes, major: int) -> int:
    """Return the offset of the 12 bytes that name the relation of a record's first block reference (spc, db,
    number)."""
    at = _HEADER + _BLOCK
    if data[_HEADER + 1] & _HAS_IMAGE:
        info = data[at + 4]
        compressed = info & FORMATS[major].image_is_compressed
        at += _IMAGE + (2 if compressed and info & _HAS_HOLE else 0)
    return at


def invalid_database(record: Record, offset: int, major: int) -> tuple[bool, InvalidDatabase | None]:
    """Return whether an in-place update of pg_database shows the row, and the database if it is marked as invalid.

    `offset` is the number of the row's line pointer, which is needed if the record has the whole page.
    """
    block = parse_body(record, major).blocks[0]
    row = block.data
    if not row and block.image:
        if block.image.compression:
            return False, None
        row = _row_of_page(block.image, offset)
    try:
        oid, name, limit = FORMATS[major].database_row.unpack_from(row)
    except error:
        return False, None
    if limit != _INVALID:
        return True, None
    return True, InvalidDatabase(oid, name.split(b"\0", 1)[0].decode("utf-8", "backslashreplace"))


def inserted_row(record: Record, relation: Relation, major: int) -> bytes:
    """Return the columns of a row that was inserted into this relation; empty if the record does not show them."""
    at = relation_at(record.data, major)
    if record.data[at:at + _RELATION.size] != _RELATION.pack(*relation):
        return b""
    body = parse_body(record, major)
    block = body.blocks[0]
    if block.data:  # infomask2, infomask, hoff; then what follows the row's fixed header
        return block.data[_SHORT_ROW_HEADER + block.data[_SHORT_ROW_HEADER - 1] - _ROW_HEADER:]
    if block.image is None or block.image.compression:
        return b""
    return _row_of_page(block.image, *_U16.unpack_from(body.main))


def _row_of_page(image: PageImage, offset: int) -> bytes:
    """Return the row's columns from the image of its page; empty if the image does not have them."""
    hole = image.hole_offset
    page = image.data[:hole] + bytes(image.hole_length) + image.data[hole:]
    pointer = _LINE_POINTERS + 4 * (offset - 1)
    if offset < 1 or pointer + 4 > len(page):
        return b""
    (item,) = _U32.unpack_from(page, pointer)
    start, length = item & 0x7FFF, item >> 17
    if not length or start + length > len(page) or start + _ROW_HEADER_LENGTH >= len(page):
        return b""
    return page[start + page[start + _ROW_HEADER_LENGTH]:start + length]
