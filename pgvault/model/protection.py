"""Which backups count as protection, and whether they are as new and as many as a server's settings require.

`check`, `status`, the verdicts of retention and the console ask these rules. What is missing in the WAL between and
behind the backups is in `pgvault.model.window`.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from pgvault.model.backup import Backup, BackupStatus


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
