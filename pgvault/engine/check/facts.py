"""The facts that the checks need, as values.

A fact that could not be read is replaced by the error that says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from pgvault.config.schema import ServerConfig
from pgvault.io.server_facts import ServerFacts
from pgvault.model.backup import Backup, Unreadable
from pgvault.model.errors import PgvaultError, from_os_error
from pgvault.model.lsn import Lsn
from pgvault.model.protection import flaw_of
from pgvault.model.window import Survey, Window
from pgvault.vault.identity import Identity

SETTINGS = ("archive_mode", "archive_command", "archive_library", "wal_level", "max_wal_senders",
            "max_replication_slots", "max_slot_wal_keep_size", "data_checksums")
"""The examined PostgreSQL settings. A server lacks those that are newer than it."""

UNHEARD = timedelta(minutes=3)
"""Maximum age of the last message from the server to a working receiver. It asks a silent server after one minute,
gives the connection up after two, and records every ten seconds that it received something."""

_DISCARDS = frozenset({":", "true", "/bin/true", "/usr/bin/true", "exit 0"})
T = TypeVar("T")


def or_error(read: Callable[[], T], doing: str) -> T | PgvaultError:
    """Return the result of `read`, or the error that prevented it. `doing` completes "could not ..."."""
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
    """A row of pg_stat_archiver. File names are empty, and times None, if there is none."""

    last_archived: str
    last_archived_at: datetime | None
    last_failed: str
    last_failed_at: datetime | None
    failures: int

    @property
    def fails(self) -> bool:
        """Return whether the last attempt failed."""
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
    """The oldest WAL that it retains; None if it retains none."""
    wal_status: str
    """reserved, extended, unreserved or lost; empty if it retains none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlFacts:
    """What the server reported in one SQL session."""

    server: ServerFacts
    user: str
    database: str
    settings: Mapping[str, str]
    lsn: Lsn
    """The current write position; on a standby the replay position."""
    timeline: int
    streaming_user: str
    """The role of streaming_conninfo."""
    may_replicate: bool | None
    """Whether that role has REPLICATION; None if the server has no role of this name."""
    may_switch_wal: bool
    wal_senders: int
    """WAL senders in use."""
    slots: int
    """Number of existing replication slots."""
    archiver: Archiver
    slot: Slot | None
    cluster_bytes: int | None
    """Queried only if no backup shows it; None also if the server did not answer in time."""
    is_pooled: bool = False
    """Whether the answers came through a connection pooler."""
    refusal: str = ""
    """The server's message if it rejected conninfo's database, so that `database` was queried instead."""


@dataclass(frozen=True, slots=True)
class StreamingFacts:
    """The server's answer to IDENTIFY_SYSTEM in a replication session."""

    system_identifier: str
    timeline: int


@dataclass(frozen=True, slots=True)
class Place:
    """A directory that pgvault uses."""

    path: Path
    nearest: Path
    """The directory itself, or its lowest existing parent."""
    usable: bool
    """Whether `nearest` is a directory in which this user may create and remove files."""

    @property
    def exists(self) -> bool:
        return self.path == self.nearest


@dataclass(frozen=True, slots=True)
class WalFacts:
    newest: Mapping[int, int]
    """The number of the newest archived segment of each timeline."""
    survey: Survey
    newest_at: datetime | None = None
    """When the newest of all was accepted."""
    stored_bytes: int = 0
    """Size of everything archived."""

    def behind(self, timeline: int, lsn: Lsn, size: int) -> int | None:
        """Return how many segments a server that writes at `lsn` has finished and that are not archived; None if none
        of its timeline is. `size` is that of a segment."""
        newest = self.newest.get(timeline)
        return None if newest is None else max(0, lsn // size - 1 - newest)


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultFacts:
    """One server's part of the vault."""

    places: tuple[Place, ...]
    """The vault's home first."""
    problem: PgvaultError | None
    """Why the vault cannot be used in its present state."""
    login: str
    """user@host: the address of this vault for ssh from other machines, as far as this machine knows."""
    identity: Identity | None
    """The server's identity; None if the vault has nothing of it yet."""
    backups: tuple[Backup, ...]
    unreadable: tuple[Unreadable, ...]
    wal: WalFacts | PgvaultError
    incoming: int
    """Number of files that wait in the incoming directory."""
    quarantined: int
    receiver: str | None
    """The holder of the receiver's lock, in words; None if no receiver runs."""
    heard_at: datetime | None = None
    """When the receiver last heard from the server, or started; None if no receiver runs."""
    free_bytes: int | None

    def unheard(self, at: datetime) -> timedelta | None:
        """Return how long the receiver has heard nothing; None if that is normal, or no receiver runs."""
        silence = at - self.heard_at if self.heard_at else None
        return silence if silence is not None and silence > UNHEARD else None

    @property
    def good_backups(self) -> tuple[Backup, ...]:
        """The backups that count as protection, oldest first: complete, intact, with all their WAL (rule 18)."""
        survey = self.wal.survey if isinstance(self.wal, WalFacts) else None
        broken = {each.backup for each in survey.broken} if survey else set()
        return tuple(b for b in self.backups if not flaw_of(b, "WAL is missing" if b.id in broken else ""))

    @property
    def newest_window(self) -> Window | None:
        """The window with a good backup, on the newest timeline that has one, that extends furthest."""
        good = {backup.id for backup in self.good_backups}
        windows = self.wal.survey.windows if isinstance(self.wal, WalFacts) else ()
        return max((window for window in windows if not good.isdisjoint(window.backups)),
                   key=lambda window: (window.timeline, window.until_lsn), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerState:
    """All facts about one server and its part of the vault, at one time."""

    server: ServerConfig
    at: datetime
    sql: SqlFacts | PgvaultError
    streaming: StreamingFacts | PgvaultError
    ssh: str | PgvaultError | None
    """The host that was logged in to; None if no ssh is configured."""
    vault: VaultFacts

    @property
    def sql_facts(self) -> SqlFacts:
        """The SQL facts, for checks that need "PostgreSQL" and so only run if the server was reached."""
        assert isinstance(self.sql, SqlFacts)
        return self.sql

    @property
    def is_archiving(self) -> bool:
        """Return whether PostgreSQL passes its finished segments to a command or library that keeps them."""
        command = self.sql_facts.settings.get("archive_command", "").strip()
        return self.is_archive_mode_on and (self.archive_library != "" or (command != "" and command not in _DISCARDS))

    @property
    def archive_library(self) -> str:
        """Return the library that archives in place of a command; empty if there is none."""
        return self.sql_facts.settings.get("archive_library", "")

    @property
    def is_archive_mode_on(self) -> bool:
        return self.sql_facts.settings.get("archive_mode") in ("on", "always")

    @property
    def is_streaming(self) -> bool:
        """Return whether WAL is streamed, or should be: a receiver runs, or it has a slot."""
        return self.vault.receiver is not None or self.sql_facts.slot is not None
