"""The catalogue of one server: its backups with their WAL, what can be restored from each, and the verdict on each.

Read-only, and one pass over the WAL index for all backups: a thousand of them are told in tens of milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pgvault.config.schema import ServerConfig
from pgvault.engine.catalogue_wal import CatalogueWal, WalShare, read_wal
from pgvault.model.backup import Backup
from pgvault.model.errors import NotFound, PgvaultError
from pgvault.model.retention import Keep, RetentionVerdict, judge
from pgvault.vault import catalog
from pgvault.vault.catalog import Unreadable
from pgvault.vault.layout import ServerVault


@dataclass(frozen=True, slots=True)
class Catalogued:
    """A backup and what the rest of the vault says about it."""

    backup: Backup
    own_wal: WalShare | None
    """From its begin to its end: without it, it cannot be restored. None: not known."""
    wal: WalShare | None
    """Behind it, up to where the next backup begins. None: not known."""
    keep: Keep | None
    retention: RetentionVerdict
    restorable_until: datetime | None
    """The last commit that can be reached from it; None when nothing later than its end can, or is not known."""
    previous: str | None
    next: str | None

    @property
    def restorable_from(self) -> datetime | None:
        return self.backup.finished_at if self.backup.status.copied else None


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Of one server; oldest first."""

    backups: tuple[Catalogued, ...]
    unreadable: tuple[Unreadable, ...]
    wal_problem: str
    """Why what concerns WAL is not known; empty when it is."""

    def entry(self, backup_id: str) -> Catalogued:
        for each in self.backups:
            if each.backup.id == backup_id:
                return each
        raise NotFound(f"there is no backup {backup_id} any more")


def read_catalogue(vault: ServerVault, server: ServerConfig, now: datetime) -> Catalogue:
    """Everything about all backups. What cannot be read is told in it, and raises nothing."""
    found = list(catalog.scan(vault))
    backups = [backup for backup in found if isinstance(backup, Backup)]
    wal, problem = _read_wal(vault, backups)
    verdicts = judge(backups, server.retention_policy, server.minimum_redundancy, now,
                     unusable=wal.broken if wal else None, timelines=wal.tree if wal else None)
    entries = tuple(_entry(*neighbours, wal, verdicts) for neighbours in _neighbours(backups))
    return Catalogue(entries, tuple(each for each in found if isinstance(each, Unreadable)), problem)


def _read_wal(vault: ServerVault, backups: list[Backup]) -> tuple[CatalogueWal | None, str]:
    if not backups:
        return None, ""
    try:
        return read_wal(vault, backups), ""
    except PgvaultError as error:
        return None, error.message
    except OSError as error:
        return None, f"could not read {error.filename}: {error.strerror}"


def _neighbours(backups: Sequence[Backup]) -> Iterator[tuple[Backup, Backup | None, Backup | None]]:
    """Each backup with the complete ones nearest to it on both sides."""
    behind: list[Backup | None] = []
    following: Backup | None = None
    for backup in reversed(backups):
        behind.append(following)
        following = backup if backup.status.copied else following
    before: Backup | None = None
    for backup, following in zip(backups, reversed(behind), strict=True):
        yield backup, before, following
        before = backup if backup.status.copied else before


def _entry(backup: Backup, before: Backup | None, behind: Backup | None, wal: CatalogueWal | None,
           verdicts: Mapping[str, RetentionVerdict]) -> Catalogued:
    if not backup.status.copied:
        wal = None
    return Catalogued(
        backup=backup, own_wal=wal.own(backup) if wal else None, wal=wal.behind(backup, behind) if wal else None,
        keep=None, retention=verdicts[backup.id], restorable_until=wal.until.get(backup.id) if wal else None,
        previous=before.id if before else None, next=behind.id if behind else None)
