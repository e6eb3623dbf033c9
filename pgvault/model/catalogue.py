"""The catalogue of a server as values: its backups and what the rest of the vault knows about them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from pgvault.model.backup import Backup, Unreadable
from pgvault.model.errors import NotFound

if TYPE_CHECKING:
    from pgvault.model.retention import RetentionVerdict


class WalShare(NamedTuple):
    """Some archived segments; sizes in bytes."""

    files: int = 0
    plain: int = 0
    stored: int = 0
    last: tuple[int, int] | None = None
    """Timeline and number of the newest of them."""


class Catalogued(NamedTuple):
    """A backup and what the rest of the vault knows about it."""

    backup: Backup
    own_wal: WalShare | None
    """WAL from the backup's start to its end, which a restore needs; None if it is unknown."""
    wal: WalShare | None
    """Later WAL, up to the start of the next backup; None if it is unknown."""
    retention: RetentionVerdict
    restorable_until: datetime | None
    """The last commit that can be reached from it; None if none follows its end, or if it is unknown."""
    previous: str | None
    next: str | None
    flaw: str = ""
    """Why it cannot be restored though it is DONE: WAL that it needs is missing. Empty also if that is unknown."""

    @property
    def restorable_from(self) -> datetime | None:
        return self.backup.end_time if self.backup.status.copied else None


class Catalogue(NamedTuple):
    """The catalogue of one server, oldest backup first."""

    server: str
    backups: tuple[Catalogued, ...]
    unreadable: tuple[Unreadable, ...]
    wal_problem: str
    """Why the facts about WAL are missing; empty if they are not."""

    def entry(self, backup_id: str) -> Catalogued:
        for each in self.backups:
            if each.backup.id == backup_id:
                return each
        raise NotFound(f"backup {backup_id} no longer exists")
