"""WAL segments: their names and arithmetic (`access/xlog_internal.h`).

All sizes are in bytes. A cluster's segment size is a power of two from 1 MiB to 1 GiB; nothing here assumes 16 MiB.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from pgvault.model.lsn import Lsn

DEFAULT_SEGMENT_SIZE = 16 << 20

_SEGMENT = re.compile(r"[0-9A-F]{24}")
# These files are rare, so their patterns are compiled on first use.
_PARTIAL = r"([0-9A-F]{24})\.partial"
_LABEL = r"([0-9A-F]{24})\.([0-9A-F]{8})\.backup"
_HISTORY = r"([0-9A-F]{8})\.history"


def is_segment_size(size: int) -> bool:
    return 1 << 20 <= size <= 1 << 30 and size & (size - 1) == 0


class Segment(NamedTuple):
    """One WAL segment of one timeline; `number` counts segments from position 0/0."""

    timeline: int
    number: int

    @classmethod
    def parse(cls, name: str, size: int) -> Segment:
        """Parse a 24-digit file name; ValueError if it is invalid for this segment size."""
        if not _SEGMENT.fullmatch(name):
            raise ValueError(f"not a WAL segment's name: {name!r}")
        timeline, log, part = (int(name[i:i + 8], 16) for i in (0, 8, 16))
        per_log = (1 << 32) // size
        if timeline == 0 or part >= per_log:
            raise ValueError(f"not a WAL segment's name for segments of {size} bytes: {name!r}")
        return cls(timeline, log * per_log + part)

    @classmethod
    def holding(cls, timeline: int, lsn: int, size: int) -> Segment:
        """Return the segment with the byte at `lsn`."""
        return cls(timeline, lsn // size)

    @classmethod
    def ending(cls, timeline: int, lsn: int, size: int) -> Segment:
        """Return the segment with the last byte before `lsn`: an end exactly on a boundary belongs to the previous
        segment."""
        return cls(timeline, max(lsn - 1, 0) // size)

    def name(self, size: int) -> str:
        per_log = (1 << 32) // size
        return f"{self.timeline:08X}{self.number // per_log:08X}{self.number % per_log:08X}"

    def start(self, size: int) -> Lsn:
        return Lsn(self.number * size)

    def end(self, size: int) -> Lsn:
        """The position after the segment's last byte."""
        return Lsn((self.number + 1) * size)

    def next(self) -> Segment:
        return Segment(self.timeline, self.number + 1)


class SegmentFile(NamedTuple):
    """`000000010000000000000001`"""

    name: str


class PartialFile(NamedTuple):
    """`000000010000000000000001.partial`: the end of a timeline that a promotion left behind."""

    name: str
    segment: str


class LabelFile(NamedTuple):
    """`000000010000000000000001.00000028.backup`: where a backup started, written by PostgreSQL when it ends."""

    name: str
    segment: str


class HistoryFile(NamedTuple):
    """`00000002.history`: where a timeline branched off."""

    name: str
    timeline: int


WalFile = SegmentFile | PartialFile | LabelFile | HistoryFile


def parse_wal_name(name: str) -> WalFile:
    """Return which kind of archived file has this name; ValueError for a name that PostgreSQL does not archive."""
    if _SEGMENT.fullmatch(name):
        return SegmentFile(name)
    if match := re.fullmatch(_PARTIAL, name):
        return PartialFile(name, match[1])
    if match := re.fullmatch(_LABEL, name):
        return LabelFile(name, match[1])
    if match := re.fullmatch(_HISTORY, name):
        return HistoryFile(name, int(match[1], 16))
    raise ValueError(f"not the name of a file that PostgreSQL archives: {name!r}")
