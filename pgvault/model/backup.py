"""The facts of a backup, its states, and its ids."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import NamedTuple

from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment

FROM_COPY = "Bring the file back from a copy of the vault; other backups are unaffected."

_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_LEADING_DIGITS = re.compile(r"[0-9]+")
_ID_FORM = "%Y%m%dT%H%M%SZ"


def major_of(version: str) -> int:
    """Return the major version: 18 for "18.1", 19 for "19beta1", 0 for an empty version."""
    digits = _LEADING_DIGITS.match(version)
    return int(digits[0]) if digits else 0


class BackupStatus(Enum):
    STARTED = "STARTED"
    WAITING_FOR_WALS = "WAITING_FOR_WALS"
    """All files are copied, but some WAL has not arrived yet. The backup cannot be restored until it has."""
    DONE = "DONE"
    FAILED = "FAILED"

    @property
    def copied(self) -> bool:
        return self in (BackupStatus.WAITING_FOR_WALS, BackupStatus.DONE)


NEXT: Mapping[BackupStatus, frozenset[BackupStatus]] = {
    BackupStatus.STARTED: frozenset({BackupStatus.WAITING_FOR_WALS, BackupStatus.FAILED}),
    BackupStatus.WAITING_FOR_WALS: frozenset({BackupStatus.DONE}),
    BackupStatus.DONE: frozenset({BackupStatus.WAITING_FOR_WALS}),  # once its WAL turned out to be damaged
    BackupStatus.FAILED: frozenset(),
}
"""Which states may follow each. `pgvault.vault.catalog` writes them."""


class Keep(Enum):
    """What a person asked to keep of a backup, regardless of the policy."""

    FULL = "full"
    """The backup and all WAL from its start on."""
    STANDALONE = "standalone"
    """The backup and the WAL from its start to its end."""


@dataclass(frozen=True, slots=True)
class Tablespace:
    oid: int
    name: str
    location: str


@dataclass(frozen=True, slots=True)
class Backup:
    """The facts of one backup, as `backup.toml` keeps them. Sizes are in bytes, times in UTC."""

    id: str
    server: str
    status: BackupStatus
    method: str
    started_at: datetime
    system_identifier: str
    server_version: str
    """The version as the server reports it: "18.1"."""
    segment_size: int
    timeline: int
    data_directory: str
    name: str = ""
    finished_at: datetime | None = None
    """By the vault's clock, as `started_at` is."""
    begin_lsn: Lsn | None = None
    end_lsn: Lsn | None = None
    tablespaces: tuple[Tablespace, ...] = ()
    size_bytes: int = 0
    """Total size of the files on the server."""
    stored_bytes: int = 0
    """Bytes that this backup added to the vault."""
    file_count: int = 0
    manifest_sha256: str = ""
    job: str = ""
    error: str = ""
    corrupt_pages: tuple[str, ...] = field(default=())
    """Files with pages whose checksum was already wrong on the server."""
    keep: Keep | None = None
    deleted_at: datetime | None = None
    """When it ceased to be a backup; what is left of it is removed by `pgvault.vault.collection`."""
    ended_at: datetime | None = None
    """When its copy had ended, by the server's clock; None in backups of older versions."""

    @property
    def end_time(self) -> datetime | None:
        """The end among the times of commits: by the server's clock, if that is known."""
        return self.ended_at or self.finished_at

    @property
    def major(self) -> int:
        return major_of(self.server_version)

    @property
    def begin_segment(self) -> Segment | None:
        return None if self.begin_lsn is None else Segment.holding(self.timeline, self.begin_lsn, self.segment_size)

    @property
    def end_segment(self) -> Segment | None:
        return None if self.end_lsn is None else Segment.ending(self.timeline, self.end_lsn, self.segment_size)

    def moved_to(self, status: BackupStatus) -> Backup:
        """Return the backup in the next state; ValueError if that may not follow."""
        if status not in NEXT[self.status]:
            raise ValueError(f"backup {self.id} is {self.status.value}, and cannot become {status.value}")
        return replace(self, status=status)

    def age(self, at: datetime) -> timedelta:
        """Return the time since the backup ended. It is never negative, even when the clocks disagree."""
        return max(at - (self.finished_at or self.started_at), timedelta())

    @property
    def seconds(self) -> float | None:
        """How long the backup took; None while it runs."""
        return (self.finished_at - self.started_at).total_seconds() if self.finished_at else None

    @property
    def deduplication_ratio(self) -> float:
        """The share of the cluster that did not have to be stored again, 0 to 1."""
        return 1 - self.stored_bytes / self.size_bytes if self.size_bytes else 0.0


def is_backup_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


def next_backup_id(clock: datetime, latest: str | None) -> str:
    """Return the id of a backup that starts now. It is later than `latest` even when the clock was put back."""
    moment = clock.astimezone(UTC)
    if latest is not None:
        moment = max(moment, datetime.strptime(latest, _ID_FORM).replace(tzinfo=UTC) + timedelta(seconds=1))
    return moment.strftime(_ID_FORM)


class Unreadable(NamedTuple):
    """A backup whose facts cannot be read; it is shown, and never counts as protection."""

    id: str
    reason: str
    """Why it cannot be read, with the path."""
    fix: str = FROM_COPY
    """What to do, as a sentence."""

    def __str__(self) -> str:
        return f"the facts of backup {self.id} cannot be read: {self.reason}. {self.fix}"
