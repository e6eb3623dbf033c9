"""WAL pages: their headers, the known versions, and the check of an arriving segment.

Every page opens with a header (`access/xlog_internal.h`, XLogPageHeaderData). The first page of a segment has the long
form, which names the cluster. Only little-endian WAL is read, which covers practically all platforms of PostgreSQL.
Big-endian segments are refused with a message that says so.
"""

from __future__ import annotations

from contextlib import suppress
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from pgvault.model.errors import UnknownWal
from pgvault.model.lsn import Lsn
from pgvault.model.segment import is_segment_size
from pgvault.wal.versions import BY_MAGIC, FORMATS, NEWEST, OLDEST

if TYPE_CHECKING:
    from pgvault.model.segment import Segment

SHORT_HEADER = Struct("<HHIQI4x")
"""magic, flags, timeline, address, remaining bytes of the previous record"""
LONG_HEADER = Struct("<HHIQI4xQII")
"""The same, then system identifier, segment size, block size."""

_page = Struct("<H2xIQ").unpack_from

STARTS_INSIDE_RECORD = 0x1
HAS_LONG_HEADER = 0x2

_NEWEST = FORMATS[NEWEST].magic
_OLD_MAJORS = {0xD087: "9.5", 0xD093: "9.6", 0xD097: "10", 0xD098: "11", 0xD101: "12"}
_MAGICS = range(0xD000, 0xE000)


class PageHeader(NamedTuple):
    """The header of a segment's first page; sizes in bytes."""

    magic: int
    major: int | None
    """PostgreSQL's major version; None if it is newer than this program."""
    flags: int
    timeline: int
    address: Lsn
    remaining: int
    """Remaining bytes of a record that began in the previous segment."""
    system_identifier: int
    segment_size: int
    block_size: int

    def known_major(self) -> int:
        """Return the major version. Raises UnknownWal, so callers use it before they read records."""
        if self.major is None:
            raise UnknownWal(
                "the WAL of a newer PostgreSQL is not known to this version",
                detail=f"Its pages have the magic number {self.magic:04X}; known are PostgreSQL {OLDEST} to {NEWEST}.",
                hint="Archiving and restoring to the end of the WAL work; update pgvault to search in this WAL.")
        return self.major


def read_header(first_page: bytes) -> PageHeader:
    """Read the long header at the start of a segment; the first 40 bytes of the page suffice.

    ValueError if this is no first page of a segment, UnknownWal if it is from a PostgreSQL before 13. The header of a
    newer PostgreSQL is read (its layout has not changed since 9.3), with `major` None.
    """
    if len(first_page) < LONG_HEADER.size:
        raise ValueError(f"not a WAL page: only {len(first_page)} bytes")
    magic, flags, timeline, address, remaining, system, segment_size, block_size = LONG_HEADER.unpack_from(first_page)
    _check_magic(magic)
    if not flags & HAS_LONG_HEADER:
        raise ValueError("a WAL page, but not the first one of a segment")
    known = BY_MAGIC.get(magic)
    if known and flags & ~known.page_flags:
        raise ValueError(f"not a WAL page: its flags are {flags:04X}")
    if not is_segment_size(segment_size):
        raise ValueError(f"not a WAL page: {segment_size} bytes is no segment size")
    if not 1024 <= block_size <= 65536 or block_size & (block_size - 1):
        raise ValueError(f"not a WAL page: {block_size} bytes is no page size")
    if timeline == 0 or address % segment_size:
        raise ValueError(f"not a WAL page: it claims timeline {timeline} and address {Lsn(address)}")
    return PageHeader(magic, known.major if known else None, flags, timeline, Lsn(address), remaining, system,
                      segment_size, block_size)


class PageOrder:
    """Checks that the pages of a segment arriving in pieces are consecutive, in less than a millisecond.

    Behind the end of its WAL a server leaves zeros or the pages of an older segment, and no page of this segment
    follows them. A page of this segment behind such a place proves that the missing part existed.
    """

    def __init__(self) -> None:
        self._seen = self._block = self._magic = self._start = 0
        self._wrong: int | None = None
        self.broken_at: Lsn | None = None
        """Where the first missing page belongs."""
        self._timeline = 0
        self._own_from: int | None = None

    def forked(self, timeline: int, size: int) -> tuple[Lsn, Lsn]:
        """Return two positions between which the timeline of a segment of `size` bytes branched off. The page in which
        it did has the number of the previous timeline; the page after it is the timeline's first.
        """
        start = Lsn(self._start)
        if not self._block:
            return Lsn(0), Lsn((1 << 64) - 1)
        if timeline != self._timeline:
            return start, Lsn(start + size)
        return (Lsn(0), start) if self._own_from is None else \
            (Lsn(self._own_from - self._block), Lsn(self._own_from))

    def add(self, piece: bytes) -> None:
        if not self._seen:
            self._begin(piece)
        if self._block and self.broken_at is None:
            for at in range(-self._seen % self._block, len(piece) - SHORT_HEADER.size + 1, self._block):
                magic, timeline, address = _page(piece, at)
                expected = self._start + self._seen + at
                if magic == self._magic and address == expected:
                    if self._wrong is not None:
                        self.broken_at = Lsn(self._wrong)
                        break
                    if timeline > self._timeline:
                        self._timeline, self._own_from = timeline, address
                elif self._wrong is None:
                    self._wrong = expected
        self._seen += len(piece)

    def _begin(self, first: bytes) -> None:
        """Ignore data that does not begin as a segment."""
        with suppress(ValueError, UnknownWal):
            header = read_header(first)
            self._magic, self._start, self._block = header.magic, header.address, header.block_size
            self._timeline = header.timeline


def behind_last_record(start: Lsn, header: PageHeader) -> Lsn:
    """Return the end of the record that is followed by one at `start`. PostgreSQL counts a page header as part of the
    next record, so the end lies before the header."""
    size = LONG_HEADER.size if start % header.segment_size < header.block_size else SHORT_HEADER.size
    return Lsn(start - size) if start % header.block_size == size else start


def check_segment(header: PageHeader, length: int, segment: Segment, size: int, system_identifier: int) -> None:
    """Check that a file of `length` bytes with this header belongs under this name, in this cluster (rule 12); else
    ValueError.

    `size` is the cluster's segment size. A `.partial` file is checked too: it is as long as a complete segment. The
    first segment of a new timeline is a copy of the old one's up to the switch point, so its header may name an older
    timeline than the file, but never a newer one.
    """
    if header.system_identifier != system_identifier:
        raise ValueError(f"it belongs to another cluster: its system identifier is {header.system_identifier}, "
                         f"that of this one is {system_identifier}")
    if header.segment_size != size:
        raise ValueError(f"it is part of segments of {header.segment_size} bytes, not of {size}")
    if length != size:
        raise ValueError(f"it has {'more' if length > size else f'{length} bytes, fewer'} "
                         f"than a segment's {size} bytes")
    if header.address != segment.start(size):
        raise ValueError(f"it holds the WAL from {header.address}, not from {segment.start(size)}")
    if header.timeline > segment.timeline:
        raise ValueError(f"it holds WAL of timeline {header.timeline}, newer than in its name")


def _check_magic(magic: int) -> None:
    """Accept a known or a newer magic number; else ValueError, or UnknownWal for an old or unreleased PostgreSQL."""
    if magic in BY_MAGIC or _NEWEST < magic < _MAGICS.stop:
        return
    if magic == 0:
        raise ValueError("not a WAL page: it is all zeros")
    if int.from_bytes(magic.to_bytes(2, "little"), "big") in BY_MAGIC:
        raise ValueError("a WAL page from a big-endian machine, which is not supported")
    if magic not in _MAGICS:
        raise ValueError(f"not a WAL page: its magic number is {magic:04X}")
    if old := _OLD_MAJORS.get(magic):
        name = f"PostgreSQL {old}'s WAL"
    else:
        kind = f"a PostgreSQL before {OLDEST}" if magic < min(BY_MAGIC) else "an unreleased PostgreSQL"
        name = f"the WAL of {kind}"
    raise UnknownWal(f"{name} is not supported", detail=f"Its pages have the magic number {magic:04X}.",
                     hint=f"pgvault protects PostgreSQL {OLDEST} and newer.")
