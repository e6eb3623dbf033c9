"""All data for a picture of a server's WAL, as values.

An old vault has a hundred thousand segments and more, so their data is in arrays: eight bytes a value.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from pgvault.model.backup import Backup
from pgvault.model.lsn import Lsn

if TYPE_CHECKING:
    from pgvault.model.timeline import TimelineTree
    from pgvault.model.window import Survey

NOT_KNOWN = -1
"""No transaction ended in the segment, or it was not read yet."""


class RestorePoint(NamedTuple):
    name: str
    timeline: int
    number: int
    """The number of its segment."""
    lsn: Lsn
    end_lsn: Lsn
    at: int
    """Microseconds since 1970, UTC."""


@dataclass(frozen=True, slots=True)
class Lane:
    """The archived segments of one timeline, by number. The same index in each array is the same segment.

    Times are microseconds since 1970 in UTC.
    """

    timeline: int
    numbers: array[int] = field(default_factory=lambda: array("q"))
    earliest: array[int] = field(default_factory=lambda: array("q"))
    """The earliest commit or abort in it."""
    latest: array[int] = field(default_factory=lambda: array("q"))
    accepted: array[int] = field(default_factory=lambda: array("q"))
    """When it was archived."""
    commits: array[int] = field(default_factory=lambda: array("q"))
    """Number of commits; NOT_KNOWN if it was not read yet, or could not be."""


@dataclass(frozen=True, slots=True)
class WalPicture:
    """One server's WAL at `read_at`."""

    server: str
    segment_size: int
    survey: Survey
    tree: TimelineTree
    lanes: tuple[Lane, ...]
    """The lanes by timeline; only timelines with segments have one."""
    restore_points: tuple[RestorePoint, ...]
    """The restore points by timeline and position."""
    backups: tuple[Backup, ...]
    """All readable backups, oldest first."""
    unread: int
    """Segments whose transactions are unknown, so that times may extend further than they seem to."""
    read_at: datetime
