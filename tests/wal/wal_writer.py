"""WAL made by hand: pages laid out as `access/transam/xlog.c` does, for what no server writes on request."""

from __future__ import annotations

import struct
from typing import NamedTuple

from crc32c import crc32c

from pgvault.model.lsn import Lsn

SYSTEM = 7_711_258_032_217_321_836
LOGICAL_MESSAGE = 21
XLOG, TRANSACTION = 0, 1
SWITCH, RESTORE_POINT = 0x40, 0x70
COMMIT = 0x00


class Writer:
    """Appends records from `start`, a segment's start, on; `segments` are whole, the last one filled with zeros."""

    def __init__(self, start: int = 3 << 20, *, size: int = 1 << 20, block: int = 8192, magic: int = 0xD118,
                 timeline: int = 1, previous: int = 0) -> None:
        self.start, self.size, self.block, self.magic, self.timeline = start, size, block, magic, timeline
        self.bytes = bytearray()
        self.previous = previous
        self.lsns: list[int] = []

    @property
    def at(self) -> int:
        return self.start + len(self.bytes)

    def page(self, remaining: int = 0, flags: int = 0) -> None:
        long = self.at % self.size == 0
        flags |= (1 if remaining else 0) | (2 if long else 0)
        self.bytes += struct.pack("<HHIQI4x", self.magic, flags, self.timeline, self.at, remaining)
        if long:
            self.bytes += struct.pack("<QII", SYSTEM, self.size, self.block)

    def append(self, body: bytes, *, rmid: int = LOGICAL_MESSAGE, info: int = 0, xid: int = 0) -> Lsn:
        """One record; its position."""
        if self.at % self.block == 0:
            self.page()
        lsn = self.at
        head = struct.pack("<IIQBBxx", 24 + len(body), xid, self.previous, info, rmid)
        crc = crc32c(head, crc32c(body))
        self._spread(head + struct.pack("<I", crc) + body)
        self.previous = lsn
        self.lsns.append(lsn)
        return Lsn(lsn)

    def commit(self, xid: int, microseconds: int, *, rest: bytes = b"", info: int = COMMIT) -> Lsn:
        return self.append(short(struct.pack("<q", microseconds) + rest), rmid=TRANSACTION, info=info, xid=xid)

    def switch(self) -> None:
        self.append(b"", rmid=XLOG, info=SWITCH)
        self.bytes += bytes(-len(self.bytes) % self.size)

    def leave_unfinished(self, length: int, seen_pages: int) -> None:
        """A record that a crash cut at the end of a page, after `seen_pages` page ends; then the page that says so."""
        kept = self.previous
        begins = self.at if self.at % self.block else self.at + (40 if self.at % self.size == 0 else 24)
        self.append(bytes(length))
        self.lsns.pop()
        self.previous = kept
        cut = (begins // self.block + seen_pages) * self.block - self.start
        assert cut < len(self.bytes), "the record was not cut"
        del self.bytes[cut:]
        self.page(flags=8)

    def segments(self) -> list[tuple[Lsn, bytes]]:
        whole = bytes(self.bytes) + bytes(-len(self.bytes) % self.size)
        return [(Lsn(self.start + at), whole[at:at + self.size]) for at in range(0, len(whole), self.size)]

    def _spread(self, record: bytes) -> None:
        while True:
            room = self.block - self.at % self.block
            self.bytes += record[:room]
            record = record[room:]
            if not record:
                break
            self.page(len(record))
        self.bytes += bytes(-len(self.bytes) % 8)


def short(main: bytes) -> bytes:
    """Main data as a record's body."""
    if len(main) < 256:
        return bytes((255, len(main))) + main
    return b"\xfe" + struct.pack("<I", len(main)) + main


def restore_point(name: str, microseconds: int = 0) -> bytes:
    return short(struct.pack("<q64s", microseconds, name.encode()))


class Image(NamedTuple):
    """A page as a record holds it: without its hole, or compressed."""

    data: bytes
    hole: int = 0
    """Where the hole begins."""
    info: int = 0x02
    """As of PostgreSQL 15: 0x01 with a hole, 0x02 replay takes it, 0x04 pglz, 0x08 lz4, 0x10 zstd."""
    hole_length: int | None = None
    """That of a compressed page's hole."""

    @property
    def head(self) -> bytes:
        length = b"" if self.hole_length is None else struct.pack("<H", self.hole_length)
        return struct.pack("<HHB", len(self.data), self.hole, self.info) + length


def one_block(relation: tuple[int, int, int], main: bytes, *, block: int = 0, data: bytes = b"",
              image: Image | None = None) -> bytes:
    """A record's body that refers to one block."""
    flags = (0x20 if data else 0) | (0x10 if image else 0)
    head = struct.pack("<BBH", 0, flags, len(data)) + (image.head if image else b"")
    return (head + struct.pack("<IIII", *relation, block) + bytes((255, len(main)))
            + (image.data if image else b"") + data + main)


def page_with_row(columns: bytes, *, offset: int = 1, header: int = 24) -> bytes:
    """A page of 8 KiB that has one row, at its end; `header` is the length of what stands before its columns."""
    row = bytes(22) + bytes((header,)) + bytes(header - 23) + columns
    page = bytearray(8192)
    start = 8192 - len(row)
    page[start:] = row
    struct.pack_into("<I", page, 24 + 4 * (offset - 1), start | 1 << 15 | len(row) << 17)
    return bytes(page)
