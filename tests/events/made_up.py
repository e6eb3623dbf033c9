"""Transactions made by hand: records of the kinds that accidents are told from."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from wal_writer import XLOG, Image, Writer, one_block, restore_point, short

from pgvault.engine.event_reading import Segments
from pgvault.model.lsn import Lsn
from pgvault.wal import transaction_changes
from pgvault.wal.facts import RestorePoint
from pgvault.wal.records import Reading
from pgvault.wal.transaction_changes import HEAP, PG_CLASS, PG_DATABASE, RMGRS, STANDBY, STORAGE, Ended, Ledger

DATABASE = 5
INSERT, DELETE, UPDATE, HOT_UPDATE = 0x00, 0x10, 0x20, 0x40
_ABORT, _HAS_XINFO = 0x20, 0x80


class Deeds(Writer):
    """A `Writer` that knows what transactions do."""

    def row(self, xid: int, number: int, *, operation: int = DELETE) -> None:
        main = struct.pack("<IHBB", xid, 1, 0, 0) if operation == DELETE else struct.pack("<IHBBIH", xid, 1, 0, 0, 0, 2)
        block = struct.pack("<BBHIIII", 0, 0, 0, 1663, DATABASE, number, 0)
        self.append(block + short(main), rmid=HEAP, info=operation, xid=xid)

    def lock(self, xid: int, oid: int) -> None:
        self.append(short(struct.pack("<IIII", 1, xid, DATABASE, oid)), rmid=STANDBY, xid=xid)

    def create(self, xid: int, number: int) -> None:
        self.append(short(struct.pack("<IIII", 1663, DATABASE, number, 0)), rmid=STORAGE, info=0x10, xid=xid)

    def class_row(self, xid: int, deed: int, place: int, to: int = 0) -> None:
        """A row of pg_class is inserted, deleted, or updated, which puts it in another place."""
        main = {INSERT: struct.pack("<HB", place, 0), DELETE: struct.pack("<IHBB", xid, place, 0, 0)}.get(
            deed) or struct.pack("<IHBBIH", xid, place, 0, 0, 0, to)
        body = one_block((1663, DATABASE, PG_CLASS), main)
        self.append(body, rmid=HEAP, info=deed, xid=xid)

    def write_page(self, xid: int, number: int) -> None:
        """A whole page is written into a file."""
        body = one_block((1663, DATABASE, number), b"", image=Image(bytes(8192)))
        self.append(body, rmid=XLOG, info=0xB0, xid=xid)

    def mark(self) -> Lsn:
        """A row of pg_database is changed in place, and the record has its whole page, compressed."""
        block = struct.pack("<BBHHHBIIII", 0, 0x10, 0, 64, 0, 0x06, 1664, 0, PG_DATABASE, 0)
        return self.append(block + bytes((255, 2)) + bytes(64) + struct.pack("<H", 1), rmid=HEAP, info=0x70)

    def mark_invalid(self, oid: int, name: bytes) -> Lsn:
        """The same, and the record has the row: as DROP DATABASE leaves it in the end."""
        row = struct.pack("<I64s12xi", oid, name, -2)
        return self.append(one_block((1664, 0, PG_DATABASE), struct.pack("<H", 1), data=row), rmid=HEAP, info=0x70)

    def delete_database(self, xid: int) -> None:
        """That row."""
        block = struct.pack("<BBHIIII", 0, 0, 0, 1664, 0, PG_DATABASE, 0)
        self.append(block + short(struct.pack("<IHBB", xid, 1, 0, 0)), rmid=HEAP, info=DELETE, xid=xid)

    def remove_database(self, xid: int, oid: int) -> Lsn:
        """Its files."""
        return self.append(short(struct.pack("<IiI", oid, 1, 1663)), rmid=transaction_changes.DATABASE, info=0x20,
                           xid=xid)

    def end(self, xid: int, *, subxids: tuple[int, ...] = (), files: tuple[int, ...] = (),
            dropped: tuple[int, ...] = (), commits: bool = True) -> None:
        """Its commit or abort; as PostgreSQL 18 writes it."""
        has = 2 * bool(subxids) | 4 * bool(files) | 256 * bool(dropped)
        rest = struct.pack("<I", has) if has else b""
        if subxids:
            rest += struct.pack(f"<i{len(subxids)}I", len(subxids), *subxids)
        if files:
            rest += struct.pack("<i", len(files)) + b"".join(struct.pack("<III", 1663, DATABASE, n) for n in files)
        if dropped:
            rest += struct.pack("<i", len(dropped)) + b"".join(struct.pack("<iIQ", 2, DATABASE, n) for n in dropped)
        self.commit(xid, self.at, rest=rest, info=(0 if commits else _ABORT) | (_HAS_XINFO if has else 0))

    def running(self, following: int, oldest: int) -> None:
        self.append(short(struct.pack("<IIB3xIII", 0, 0, 0, following, oldest, 0)), rmid=STANDBY, info=0x10)

    def checkpoint(self, following: int, oldest: int) -> None:
        """An online one, which tells the oldest xid that ran when it began."""
        main = bytearray(88)
        struct.pack_into("<Q", main, 24, following)
        struct.pack_into("<I", main, 80, oldest)
        self.append(short(bytes(main)), rmid=XLOG, info=0x10)

    def point(self, name: str) -> None:
        self.append(restore_point(name, self.at), rmid=XLOG, info=0x70)


class InMemory(Segments[int]):
    """As `event_reading.Stretch`, of segments in memory, whose rows are their numbers."""

    def __init__(self, writer: Writer) -> None:
        super().__init__()
        self.segments = writer.segments()
        self._carries: list[Any] = [None]
        for start, data in self.segments:
            reading = Reading(data, start, self._carries[-1], rmgrs=RMGRS)
            for _ in reading:
                continue
            self._carries.append(reading.carry)

    @property
    def rows(self) -> list[int]:
        return list(range(len(self.segments)))

    def read(self, row: int, ledger: Ledger) -> Iterator[Ended | RestorePoint]:
        start, data = self.segments[row]
        yield from ledger.read(Reading(data, start, self._carries[row], rmgrs=RMGRS))
