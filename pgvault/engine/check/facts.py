"""What is looked at before anything is judged: all that the checks need to know, as values.

Where something could not be learnt, the error that says why stands in the place of its facts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from pgvault.config.schema import ServerConfig
from pgvault.io.server_facts import ServerFacts
from pgvault.model.backup import Backup, BackupStatus
from pgvault.model.errors import PgvaultError, from_os_error
from pgvault.model.lsn import Lsn
from pgvault.model.window import Survey, Window
from pgvault.vault.catalog import Unreadable
from pgvault.vault.identity import Identity

SETTINGS = ("archive_mode", "archive_command", "archive_library", "wal_level", "max_wal_senders",
            "max_replication_slots", "max_slot_wal_keep_size", "data_checksums")
"""Those of PostgreSQL that are looked at; a server does not have the ones that are newer than it."""

UNHEARD = timedelta(minutes=3)
"""A receiver has heard from its server more recently. It asks a silent one for a word after one minute, gives the
connection up after two, and tells every ten seconds that it hears something."""

_DISCARDS = frozenset({":", "true", "/bin/true", "/usr/bin/true", "exit 0"})
T = TypeVar("T")


def or_error(read: Callable[[], T], doing: str) -> T | PgvaultError:
    """What could be learnt, or the error that says why not; `doing` reads after "could not"."""
    try:
        return read()
    except PgvaultError as error:
        return error
    except OSError as error:
        return from_os_error(error, doing)
    except ValueError as error:
        return PgvaultError(f"could not {doing}", detail=str(error))


@dataclass(frozen=True, slots=True)
class Archiver:
    """A row of pg_stat_archiver. File names are empty, and times None, when there was none."""

    last_archived: str
    last_archived_at: datetime | None
    last_failed: str
    last_failed_at: datetime | None
    failures: int

    @property
    def fails(self) -> bool:
        """The last attempt failed."""
        return self.last_failed_at is not None and (
            self.last_archived_at is None or self.last_failed_at > self.last_archived_at)


@dataclass(frozen=True, slots=True)
class Slot:
    """A row of pg_replication_slots."""

    name: str
    kind: str
    """physical or logical"""
    active: bool
    restart_lsn: Lsn | None
    """The oldest WAL that it keeps; None while it keeps none."""
    wal_status: str
    """reserved, extended, unreserved or lost; empty while it keeps none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlFacts:
    """What the server said in one SQL session."""

    server: ServerFacts
    user: str
    database: str
    settings: Mapping[str, str]
    lsn: Lsn
    """Where WAL is written, on a standby how far it is replayed."""
    timeline: int
    streaming_user: str
    """The role of streaming_conninfo."""
    may_replicate: bool | None
    """Whether that role has REPLICATION; None when the server knows no role of this name."""
    may_switch_wal: bool
    wal_senders: int
    """In use."""
    slots: int
    """Replication slots that exist."""
    archiver: Archiver
    slot: Slot | None
    cluster_bytes: int | None
    """Asked only where no backup tells; None also when the server did not tell in time."""
    is_pooled: bool = False
    """It said so through a connection pooler."""
    refusal: str = ""
    """What the server said when the database of conninfo let nobody in, and `database` was asked instead."""


@dataclass(frozen=True, slots=True)
class StreamingFacts:
    """What the server said in one replication session, to IDENTIFY_SYSTEM."""

    system_identifier: str
    timeline: int


@dataclass(frozen=True, slots=True)
class Place:
    """A directory that pgvault uses."""

    path: Path
    nearest: Path
    """Itself, or the lowest of its parents that is there."""
    usable: bool
    """`nearest` is a directory in which this user may make and remove files."""

    @property
    def exists(self) -> bool:
        return self.path == self.nearest


@dataclass(frozen=True, slots=True)
class WalFacts:
    newest: Mapping[int, int]
    """The number of the newest archived segment of each timeline."""
    survey: Survey
    newest_at: datetime | None = None
    """When the newest of them all was accepted."""
    stored_bytes: int = 0
    """Of everything archived."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultFacts:
    """One server's part of the vault."""

    places: tuple[Place, ...]
    """The vault's home first."""
    problem: PgvaultError | None
    """Why the vault cannot be used as it stands."""
    login: str
    """user@host: how other machines reach this vault by ssh, as far as this machine knows."""
    identity: Identity | None
    """None when nothing of this server is in the vault yet."""
    backups: tuple[Backup, ...]
    unreadable: tuple[Unreadable, ...]
    wal: WalFacts | PgvaultError
    incoming: int
    """Files that wait in the incoming directory."""
    quarantined: int
    receiver: str | None
    """Who receives WAL: the holder of the lock, in words; None when nobody does."""
    heard_at: datetime | None = None
    """When the receiver last heard from the server, or began; None when nobody receives."""
    free_bytes: int | None

    def unheard(self, at: datetime) -> timedelta | None:
        """How long the receiver has heard nothing; None while that is as usual, and when nobody receives."""
        silence = at - self.heard_at if self.heard_at else None
        return silence if silence is not None and silence > UNHEARD else None

    @property
    def good_backups(self) -> tuple[Backup, ...]:
        """Those that count as protection, oldest first: complete, whole pages, none of their WAL missing (rule 18)."""
        survey = self.wal.survey if isinstance(self.wal, WalFacts) else None
        broken = {each.backup for each in survey.broken} if survey else set()
        return tuple(b for b in self.backups
                     if b.status is BackupStatus.DONE and not b.corrupt_pages and b.id not in broken)

    @property
    def newest_window(self) -> Window | None:
        """Of those that a good backup lies in, on the newest timeline that has any: the one that reaches furthest."""
        good = {backup.id for backup in self.good_backups}
        windows = self.wal.survey.windows if isinstance(self.wal, WalFacts) else ()
        return max((window for window in windows if not good.isdisjoint(window.backups)),
                   key=lambda window: (window.timeline, window.until_lsn), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerState:
    """Everything that was learnt about one server and its part of the vault, at one time."""

    server: ServerConfig
    at: datetime
    sql: SqlFacts | PgvaultError
    streaming: StreamingFacts | PgvaultError
    ssh: str | PgvaultError | None
    """The host that was logged in to; None when no ssh is configured."""
    vault: VaultFacts

    @property
    def sql_facts(self) -> SqlFacts:
        """For checks that need "PostgreSQL": the server was reached."""
        assert isinstance(self.sql, SqlFacts)
        return self.sql

    @property
    def is_archiving(self) -> bool:
        """PostgreSQL hands its finished segments to something that keeps them."""
        settings = self.sql_facts.settings
        command = settings.get("archive_command", "").strip()
        return self.is_archive_mode_on and (bool(settings.get("archive_library"))
                                            or (command != "" and command not in _DISCARDS))

    @property
    def is_archive_mode_on(self) -> bool:
        return self.sql_facts.settings.get("archive_mode") in ("on", "always")

    @property
    def is_streaming(self) -> bool:
        """WAL is streamed, or is meant to be: there is a receiver, or a slot for one."""
        return self.vault.receiver is not None or self.sql_facts.slot is not None
