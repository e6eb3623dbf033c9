"""How well a server is protected: the answer, which the console draws without loading what found it; which backups
count, and whether they are as new and as many as a server's settings require.

`check`, `status`, the verdicts of retention and the console ask these rules. What is missing in the WAL between and
after the backups is in `pgvault.model.window`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING

from pgvault.model.backup import Backup, BackupStatus
from pgvault.model.errors import PgvaultError

if TYPE_CHECKING:
    from pgvault.model.window import Gap, Window

_DOUBTFUL_AFTER = timedelta(minutes=1)


class ProtectionState(Enum):
    OK = "ok"
    WARNING = "warning"
    """What the policy requires can be restored, but something needs attention."""
    FAILED = "failed"
    """The newest state, which a person would want to restore, cannot be restored."""
    UNKNOWN = "unknown"
    """The vault cannot be read."""


@dataclass(frozen=True, slots=True)
class Protection:
    """One server's protection at `read_at`. Unknown values are None or empty."""

    server: str
    state: ProtectionState
    reasons: tuple[str, ...]
    """Why the state is not OK, the worst first."""
    failure: PgvaultError | None
    """Why the vault could not be read, if the state is UNKNOWN."""
    last_backup: Backup | None
    """The newest good backup."""
    backup_count: int
    """Number of good backups."""
    window: Window | None
    """The furthest window of the newest timeline that has one."""
    latest: datetime | None
    """The last archived commit of the newest timeline, regardless of gaps."""
    gaps: tuple[Gap, ...]
    """Gaps after which no backup begins."""
    receiver: str | None
    """The receiver, in words; None if none runs."""
    unheard: timedelta | None
    """How long the receiver has heard nothing from the server, if that is too long."""
    refusal: str
    """Why the vault in its present state is not written to, in one line; empty if no reason is known."""
    stored_bytes: int | None
    """Size of the packs and the archived WAL."""
    read_at: datetime

    @property
    def reason(self) -> str:
        """The worst of the reasons; empty if all is well."""
        return self.reasons[0] if self.reasons else ""

    def is_doubtful(self, now: datetime) -> bool:
        """Return whether to read it again though its `stamp` is the same: a file that is repaired in place changes no
        stamp, so what is not well is read again after a minute."""
        return self.state is not ProtectionState.OK and now - self.read_at >= _DOUBTFUL_AFTER


def flaw_of(backup: Backup, unusable: str = "") -> str:
    """Return why a backup does not count as protection (rule 18), lower case; empty if it does.

    `unusable` is why a complete one cannot be restored, empty if it can.
    """
    if backup.status is BackupStatus.FAILED:
        return "failed"
    if backup.status is BackupStatus.STARTED:
        return "not complete yet"
    if backup.status is BackupStatus.WAITING_FOR_WALS:
        return "its WAL has not arrived"
    return unusable or ("holds pages that failed their checksum on the server" if backup.corrupt_pages else "")


def is_too_old(newest: Backup | None, limit: timedelta | None, at: datetime) -> bool:
    """Return whether `last_backup_maximum_age` is exceeded by the newest backup that counts, or by there being none."""
    return limit is not None and (newest is None or newest.age(at) > limit)


def are_too_few(counted: int, minimum_redundancy: int) -> bool:
    """Return whether fewer backups count as protection than `minimum_redundancy` requires."""
    return counted < minimum_redundancy
