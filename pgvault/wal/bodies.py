"""The parts of a record behind its header: block references, page images and the main data.

Format: `access/xlogrecord.h`. The reference is DecodeXLogRecord in `access/transam/xlogreader.c`. This is separate from
the walk over the records because most callers never need it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from struct import Struct, error
from typing import NamedTuple

from pgvault.model.lsn import Lsn
from pgvault.wal.record import HEADER_SIZE, Record
from pgvault.wal.versions import FORMATS, WalFormat

_MAX_BLOCK_ID = 32
_TOP_XID, _ORIGIN, _LONG_MAIN, _SHORT_MAIN = 252, 253, 254, 255
_SAME_RELATION, _HAS_DATA, _HAS_IMAGE, _FORK = 0x80, 0x20, 0x10, 0x0F
_HAS_HOLE = 0x01

_U16, _U32 = Struct("<H"), Struct("<I")
_BLOCK = Struct("<BH")
_IMAGE = Struct("<HHB")
_RELATION = Struct("<III")


class Relation(NamedTuple):
    """The location of a relation's files (RelFileLocator). It is not the OID, and the number changes with each
    rewrite."""

    tablespace: int
    database: int
    number: int


class Fork(Enum):
    MAIN = 0
    FSM = 1
    VM = 2
    INIT = 3


@dataclass(frozen=True, slots=True)
class PageImage:
    """A copy of a whole page, without its unused middle (the hole)."""

    data: bytes
    hole_offset: int
    hole_length: int
    compression: str
    """The method: pglz, lz4, zstd; empty if it is not compressed."""
    applied: bool
    """True if replay uses it, False if it serves consistency checks only."""


@dataclass(frozen=True, slots=True)
class BlockReference:
    id: int
    relation: Relation
    fork: Fork
    block: int
    image: PageImage | None
    data: bytes


@dataclass(frozen=True, slots=True)
class Body:
    main: bytes
    blocks: tuple[BlockReference, ...]
    origin: int
    """The replication origin, or 0."""
    top_xid: int
    """The top-level transaction's xid if a subtransaction's record names it (14+), else 0."""


class _Fragment(NamedTuple):
    """A block reference whose image and data have not been cut out of the record yet."""

    id: int
    fork: Fork
    data_length: int
    image_length: int
    image: PageImage | None
    relation: Relation
    block: int


def main_data(data: bytes) -> bytes:
    """Return the main data of a complete record without block references, such as a commit. ValueError if it has
    one."""
    at = HEADER_SIZE
    try:
        while True:
            kind = data[at]
            if kind == _SHORT_MAIN:
                length, at = data[at + 1], at + 2
            elif kind == _LONG_MAIN:
                length, at = _U32.unpack_from(data, at + 1)[0], at + 5
            elif kind in (_TOP_XID, _ORIGIN):
                at += 5 if kind == _TOP_XID else 3
                continue
            else:
                raise ValueError("the record refers to blocks")
            break
    except (IndexError, error):
        raise ValueError("the record's main data is truncated") from None
    if at + length != len(data):
        raise ValueError(f"the record's main data has {len(data) - at} bytes instead of {length}")
    return data[at:]


def parse_body(record: Record, major: int, *, block_size: int = 8192) -> Body:
    """Decode the body of a record of PostgreSQL `major`; ValueError if it is inconsistent.

    `block_size` is that of the data files: a page image does not record how long its hole is.
    """
    try:
        return _parse_body(record.data, FORMATS[major], block_size)
    except (IndexError, error):
        raise ValueError(f"the record at {Lsn(record.lsn)} is truncated") from None


def _parse_body(data: bytes, wal: WalFormat, block_size: int) -> Body:
    at, rest, main_length = HEADER_SIZE, 0, 0
    origin = top_xid = 0
    fragments: list[_Fragment] = []
    while at + rest < len(data):
        kind = data[at]
        at += 1
        if kind == _SHORT_MAIN:
            main_length, at = data[at], at + 1
        elif kind == _LONG_MAIN:
            main_length, at = _U32.unpack_from(data, at)[0], at + 4
        elif kind == _ORIGIN:
            origin, at = _U16.unpack_from(data, at)[0], at + 2
        elif kind == _TOP_XID and wal.names_top_xid:
            top_xid, at = _U32.unpack_from(data, at)[0], at + 4
        elif kind <= _MAX_BLOCK_ID:
            before = fragments[-1] if fragments else None
            if before and kind <= before.id:
                raise ValueError(f"block reference {kind} follows block reference {before.id}")
            fragment, at = _parse_block(data, at, kind, before, wal, block_size)
            fragments.append(fragment)
            rest += fragment.data_length + fragment.image_length
        else:
            raise ValueError(f"a record of PostgreSQL {wal.major} has no part of kind {kind}")
        if kind in (_SHORT_MAIN, _LONG_MAIN):
            rest += main_length
            break
    if at + rest != len(data):
        raise ValueError(f"the record has {len(data) - at} bytes of data instead of {rest}")
    blocks = []
    for fragment in fragments:
        block, at = _cut_out(data, at, fragment)
        blocks.append(block)
    return Body(data[at:], tuple(blocks), origin, top_xid)


def _parse_block(data: bytes, at: int, block_id: int, before: _Fragment | None, wal: WalFormat,
                 block_size: int) -> tuple[_Fragment, int]:
    flags, data_length = _BLOCK.unpack_from(data, at)
    at += _BLOCK.size
    if bool(flags & _HAS_DATA) != bool(data_length):
        raise ValueError(f"block reference {block_id} announces {data_length} bytes against its flags")
    image, image_length = None, 0
    if flags & _HAS_IMAGE:
        image, image_length, at = _parse_image(data, at, wal, block_size)
    if not flags & _SAME_RELATION:
        relation, at = Relation(*_RELATION.unpack_from(data, at)), at + _RELATION.size
    elif before:
        relation = before.relation
    else:
        raise ValueError("the first block reference names no relation")
    (block,) = _U32.unpack_from(data, at)
    return _Fragment(block_id, Fork(flags & _FORK), data_length, image_length, image, relation, block), at + 4


def _parse_image(data: bytes, at: int, wal: WalFormat, block_size: int) -> tuple[PageImage, int, int]:
    """Return the image without its bytes, their count, and the offset after it."""
    length, hole_offset, info = _IMAGE.unpack_from(data, at)
    at += _IMAGE.size
    applied = bool(info & wal.image_is_applied)
    compression = next((name for bit, name in wal.image_compressions if info & bit), "")
    hole_length = 0
    if compression and info & _HAS_HOLE:
        hole_length, at = _U16.unpack_from(data, at)[0], at + 2
    elif not compression:
        hole_length = block_size - length
    if hole_length < 0 or bool(info & _HAS_HOLE) != bool(hole_length) or hole_offset + hole_length > block_size:
        raise ValueError(f"a page image of {length} bytes with a hole of {hole_length} is impossible")
    return PageImage(b"", hole_offset, hole_length, compression, applied), length, at


def _cut_out(data: bytes, at: int, fragment: _Fragment) -> tuple[BlockReference, int]:
    image = fragment.image
    if image:
        image = PageImage(data[at:at + fragment.image_length], image.hole_offset, image.hole_length, image.compression,
                          image.applied)
        at += fragment.image_length
    end = at + fragment.data_length
    return BlockReference(fragment.id, fragment.relation, fragment.fork, fragment.block, image, data[at:end]), end
