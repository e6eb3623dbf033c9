"""The walk over WAL records, shared by everything that reads them.

A `Reading` passes once over whole pages (a segment, or a piece of one), counts every record, and yields those of the
requested resource managers. A record may begin in one run of pages and end in a later one. It belongs to the run in
which it *ends*, so that chained readings count every record once: what one leaves unfinished is its `carry`, passed to
the next. `pg_waldump --start --end` counts in the same way.

Formats: `access/xlogrecord.h`; the rules for the end of WAL: `access/transam/xlogreader.c`. The walk checks each page
header, the link of each record to the previous one, and the CRC-32C of every record that is yielded, crosses a page, or
is the last before an early end; with `every_crc`, of all records. Positions are plain integers, as this is the hot
path.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from struct import Struct
from typing import TYPE_CHECKING

from crc32c import crc32c

from pgvault.model.lsn import Lsn
from pgvault.wal.carry import Carry, Growing, Unfinished
from pgvault.wal.pages import (
    HAS_LONG_HEADER,
    LONG_HEADER,
    SHORT_HEADER,
    STARTS_INSIDE_RECORD,
    read_header,
)
from pgvault.wal.record import HEADER_SIZE, HEAP, OPERATION, RECORD_HEADER, TABLESPACE, TRANSACTION, XLOG, Record
from pgvault.wal.versions import FORMATS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

EVERY_RMGR = range(256)
ALWAYS_KEPT = (XLOG, TRANSACTION, TABLESPACE)
_SWITCH = 0x40
_MAX_LENGTH = (1 << 30) - 1
"""PostgreSQL writes no longer record (XLogRecordMaxSize, and before 16 the largest allocation)."""

_CHANGES_ROW = bytes(info & 0x70 in (0x10, 0x20, 0x40) for info in range(256))
"""Whether a heap record with this info deletes or updates a row (`access/heapam_xlog.h`)."""

_peek = Struct("<I4xQxB").unpack_from
_length = Struct("<I").unpack_from


class Cause(Enum):
    SWITCHED = "switched"
    """The server closed the segment early; the WAL continues in the next one."""
    UNWRITTEN = "unwritten"
    """The server had not written further: zeros, or the old content of a recycled file."""
    DAMAGED = "damaged"
    """What follows is neither WAL nor what a server leaves behind its end."""


@dataclass(frozen=True, slots=True)
class WalEnd:
    """Where the WAL ends before the segment does. No valid record begins at or after `lsn` in it."""

    lsn: Lsn
    cause: Cause
    text: str


class Reading:
    """One pass over the records that end in `data`, which is WAL from the position `start` on.

    `data` is whole pages of one segment. Without a `carry` it must start with a segment's first page; a record that
    began before is then skipped. ValueError if `data` cannot be read at all, UnknownWal if its version is not known;
    damage further on is an early `end`. Iterate once; the other attributes are valid afterwards.

    `rows` counts the rows deleted and updated under each xid, from the record headers alone, up to the yielded record.
    """

    def __init__(self, data: bytes | bytearray | memoryview, start: int, carry: Carry | None = None, *,
                 rmgrs: Collection[int] = EVERY_RMGR, every_crc: bool = False,
                 rows: dict[int, int] | None = None) -> None:
        self._data = data if isinstance(data, bytes) else bytes(data)
        self._start = start
        self._fresh = carry is None
        self.header = header = read_header(self._data) if carry is None else carry.header
        self.major = header.known_major()
        self._overwrites_record = FORMATS[self.major].overwrites_record
        at = header.address if carry is None else carry.at
        if start != at:
            raise ValueError(f"the WAL at hand starts at {at}, not at {Lsn(start)}")
        if start % header.segment_size + len(self._data) > header.segment_size:
            raise ValueError(f"{len(self._data)} bytes from {Lsn(start)} are more than one segment")
        self.timeline = header.timeline if carry is None else carry.timeline
        self.records = 0
        self.end: WalEnd | None = None
        """Set if the WAL ends before `data` does."""
        self._first: int | None = None
        self._previous = carry.previous if carry else None
        self._resume = carry.resume if carry else 0
        self._skip = carry.skip if carry else 0
        self._growing = Growing(carry.unfinished) if carry and carry.unfinished else None
        self._wanted = bytes(rmid in rmgrs for rmid in range(256))
        # A carry must serve any later reading, so these are kept even if they are not wanted.
        self._kept = bytes(rmid in rmgrs or rmid in ALWAYS_KEPT for rmid in range(256))
        self._examined = b"\x01" * 256 if every_crc else self._kept
        self._rows, self._counted = {} if rows is None else rows, -1 if rows is None else HEAP
        self._check_carried_bytes()

    @property
    def first(self) -> Lsn | None:
        """Start of the first record that ends here, perhaps in an earlier segment."""
        return Lsn(self._first) if self.records and self._first is not None else None

    @property
    def last(self) -> Lsn | None:
        """Start of the last record that ends here."""
        return Lsn(self._previous) if self.records and self._previous is not None else None

    @property
    def carry(self) -> Carry | None:
        """State for the reading of what follows; None if nothing can follow."""
        if self.end and self.end.cause is not Cause.SWITCHED:
            return None
        unfinished = self._growing.frozen() if self._growing else None
        return Carry(Lsn(self._start + len(self._data)), self.header, self.timeline, self._previous, self._resume,
                     self._skip, unfinished)

    def __iter__(self) -> Iterator[Record]:
        block = self.header.block_size
        skipped = max(0, self._resume - self._start)
        whole = len(self._data) - len(self._data) % block
        for page in range(skipped - skipped % block, whole, block):
            at = self._enter_page(page)
            if self.end:
                return
            if self._growing or self._skip:
                record, at = self._continue(at, page + block)
                if record:
                    yield record
            if not self.end:
                yield from self._records_of_page(at, page + block)
            if self.end:
                return
        if whole < len(self._data) and self._resume <= self._start + whole:
            self._stop(whole, Cause.DAMAGED, "the file is truncated inside a page")

    def _check_carried_bytes(self) -> None:
        part = self._growing
        if part is None or len(part.head) < HEADER_SIZE or not self._kept[part.head[17]]:
            return
        if sum(map(len, part.kept)) != part.seen - HEADER_SIZE:
            raise ValueError("the reading before did not keep the records that are now requested")

    def _enter_page(self, page: int) -> int:
        """Return where the page's content begins. Sets `end` if this is not the expected page."""
        magic, flags, timeline, address, remaining = SHORT_HEADER.unpack_from(self._data, page)
        expected = self._start + page
        long = expected % self.header.segment_size == 0
        if magic == 0 and not any(self._data[page:page + SHORT_HEADER.size]):
            self._stop(page, Cause.UNWRITTEN, "the page is empty")
        elif magic != self.header.magic:
            self._stop(page, Cause.DAMAGED, f"the page's magic number is {magic:04X}")
        elif address != expected:
            cause = Cause.UNWRITTEN if address < expected else Cause.DAMAGED
            self._stop(page, cause, f"the page belongs at {Lsn(address)}")
        elif timeline < self.timeline:
            self._stop(page, Cause.DAMAGED, f"the page is of timeline {timeline}, those before of {self.timeline}")
        elif long != bool(flags & HAS_LONG_HEADER) or (long and not self._is_same_cluster(page)):
            self._stop(page, Cause.DAMAGED, "the page's header is not that of this cluster")
        else:
            self.timeline = timeline
            self._expect_rest(page, flags, remaining)
        return page + (LONG_HEADER.size if long else SHORT_HEADER.size)

    def _is_same_cluster(self, page: int) -> bool:
        *_, system, segment_size, block_size = LONG_HEADER.unpack_from(self._data, page)
        header = self.header
        return (system, segment_size, block_size) == (header.system_identifier, header.segment_size, header.block_size)

    def _expect_rest(self, page: int, flags: int, remaining: int) -> None:
        """Check that the page continues with exactly what the previous record lacks."""
        continues = bool(flags & STARTS_INSIDE_RECORD)
        if flags & self._overwrites_record:
            self._growing, self._skip = None, 0
        lacking = self._growing.length - self._growing.seen if self._growing else self._skip
        if self._fresh and page == 0:
            self._skip = remaining if continues else 0
        elif continues != bool(lacking) or (lacking and remaining != lacking):
            self._stop(page, Cause.DAMAGED, f"the page continues a record by {remaining if continues else 0} bytes, "
                                            f"but {lacking} were missing")

    def _continue(self, at: int, page_end: int) -> tuple[Record | None, int]:
        """Take the rest of the record that crosses into this page. Return it, if complete and wanted, and where the
        next begins."""
        growing = self._growing
        if growing is None:
            taken = min(self._skip, page_end - at)
            self._skip -= taken
            return None, at + taken + 7 & -8
        taken = min(growing.length - growing.seen, page_end - at)
        growing.add(self._data[at:at + taken], self._kept)
        at = at + taken + 7 & -8
        if growing.seen < growing.length:
            return None, at
        return self._finish(growing, at), at

    def _finish(self, growing: Growing, at: int) -> Record | None:
        _, xid, prev, info, rmid, crc = RECORD_HEADER.unpack(growing.head)
        if not self._follows(prev, growing.lsn):
            self._stop(at, Cause.DAMAGED, "the record does not link to the one before")
        elif crc32c(growing.head[:20], growing.crc) != crc:
            self._stop(at, Cause.DAMAGED, "the record's checksum is wrong")
        else:
            self._growing = None
            self._count(growing.lsn, 1, growing.lsn)
            if rmid == self._counted and _CHANGES_ROW[info]:
                self._rows[xid] = self._rows.get(xid, 0) + 1
            end_lsn = self._switch(at) if rmid == XLOG and info & OPERATION == _SWITCH else self._start + at
            if self._wanted[rmid]:
                return Record(growing.lsn, end_lsn, xid, rmid, info, growing.head + b"".join(growing.kept))
        return None

    def _follows(self, prev: int, lsn: int) -> bool:
        return prev < lsn if self._previous is None else prev == self._previous

    def _count(self, first: int, records: int, last: int) -> None:
        if self._first is None:
            self._first = first
        self.records += records
        self._previous = last

    def _records_of_page(self, at: int, page_end: int) -> Iterator[Record]:
        """Yield the wanted records that begin and end in one page, from offset `at` of the data on. This is the hot
        loop."""
        data, start, wanted, examined = self._data, self._start, self._wanted, self._examined
        unpack, counted, rows = RECORD_HEADER.unpack_from, self._counted, self._rows
        first, records, previous = start + at, 0, self._previous
        last_header = page_end - HEADER_SIZE
        problem = None
        while at <= last_header:
            length, prev, rmid = _peek(data, at)
            if (prev != previous or length < HEADER_SIZE) and (problem := self._link_problem(at, previous)):
                break
            end = at + length
            if end > page_end:
                break
            previous = start + at
            if examined[rmid]:
                record = data[at:end]
                _, xid, _, info, _, crc = unpack(record)
                if crc32c(record[:20], crc32c(record[HEADER_SIZE:])) != crc:
                    problem, previous = (Cause.DAMAGED, "the record's checksum is wrong"), prev
                    break
                is_switch = rmid == XLOG and info & OPERATION == _SWITCH
                end_lsn = self._switch(end + 7 & -8) if is_switch else start + (end + 7 & -8)
                if wanted[rmid]:
                    yield Record(previous, end_lsn, xid, rmid, info, record)
                if is_switch:
                    records, at = records + 1, end + 7 & -8
                    break
            if rmid == counted and _CHANGES_ROW[data[at + 16]]:
                (xid,) = _length(data, at + 4)
                rows[xid] = rows.get(xid, 0) + 1
            records += 1
            at = end + 7 & -8
        if records:
            self._count(first, records, previous if previous is not None else first)
        if problem:
            self._stop(at, *problem)
        elif not self.end and at < page_end:
            self._begin(at, page_end)

    def _link_problem(self, at: int, previous: int | None) -> tuple[Cause, str] | None:
        """Return why no record begins at `at`; None if it is the first one read, which has nothing to link to."""
        length, _, prev, *_ = RECORD_HEADER.unpack_from(self._data, at)
        if length == 0:
            return Cause.UNWRITTEN, "no record follows"
        if length < HEADER_SIZE:
            return Cause.DAMAGED, f"a record of {length} bytes is too short"
        if previous is None and prev < self._start + at:
            return None
        return Cause.DAMAGED, "the record does not link to the one before"

    def _begin(self, at: int, page_end: int) -> None:
        """Start a record that crosses into the next page. Even its header may cross, but never its length."""
        (length,) = _length(self._data, at)
        if length == 0:
            self._stop(at, Cause.UNWRITTEN, "no record follows")
        elif not HEADER_SIZE <= length <= _MAX_LENGTH:
            self._stop(at, Cause.DAMAGED, f"a record cannot have {length} bytes")
        else:
            self._growing = Growing(Unfinished(self._start + at, length, 0, b"", 0, ()))
            self._growing.add(self._data[at:page_end], self._kept)

    def _switch(self, at: int) -> int:
        """Handle the rest of a segment that the server left empty. Return where the next segment begins."""
        size = self.header.segment_size
        self._resume = -(-(self._start + at) // size) * size
        self.end = WalEnd(Lsn(self._start + at), Cause.SWITCHED, "the server switched to the next segment")
        return self._resume

    def _stop(self, at: int, cause: Cause, text: str) -> None:
        lsn = self._growing.lsn if self._growing else self._drop_torn_records(self._start + at)
        self._growing, self._skip = None, 0
        self.end = WalEnd(Lsn(lsn), cause, text)

    def _drop_torn_records(self, lsn: int) -> int:
        """Return where the WAL ends, given that no record begins at `lsn`.

        A file that was truncated or never flushed may end in records with a header and no content. On the last page
        such records are taken back while their CRC is wrong. Those that cross pages have been checked.
        """
        block = self.header.block_size
        page_start = (lsn - 1) // block * block
        while self.records and self._previous is not None and self._previous >= max(page_start, self._start):
            at = self._previous - self._start
            length, _, prev, _, _, crc = RECORD_HEADER.unpack_from(self._data, at)
            record = self._data[at:at + length]
            if self._previous + length > page_start + block or crc32c(record[:20], crc32c(record[HEADER_SIZE:])) == crc:
                break
            lsn, self._previous, self.records = self._previous, prev, self.records - 1
        return lsn


def follow(pieces: Iterable[tuple[int, bytes]], *, rmgrs: Collection[int] = EVERY_RMGR,
           carry: Carry | None = None) -> Iterator[Record]:
    """Yield the records of consecutive (start, data) pieces on one timeline path, up to the first early end of the
    WAL."""
    for start, data in pieces:
        reading = Reading(data, start, carry, rmgrs=rmgrs)
        yield from reading
        carry = reading.carry
        if carry is None:
            return
