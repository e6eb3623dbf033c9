"""The configuration and the status of one server, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from pgvault.config.schema import ServerConfig, settings_of
from pgvault.engine.check.facts import ServerState, SqlFacts, WalFacts
from pgvault.engine.check.run import evaluate_checks
from pgvault.engine.check.server_state import ask
from pgvault.engine.overview import protection
from pgvault.model.backup import Backup, BackupStatus
from pgvault.model.check import Finding, Outcome
from pgvault.model.errors import PgvaultError
from pgvault.model.protection import ProtectionState
from pgvault.model.segment import Segment
from pgvault.model.window import Window
from pgvault.vault.layout import Vault


@dataclass(frozen=True, slots=True)
class Described:
    """One server's configuration, its directories, and what it reports about itself."""

    name: str
    settings: Mapping[str, str | int | bool | None]
    """Every setting, as the configuration writes it; None if it is not set."""
    directories: Mapping[str, Path]
    """The directories in the vault, by Barman's names."""
    sql: SqlFacts | PgvaultError


def describe(server: ServerConfig, home: Path) -> Described:
    """Describe a server, even if it cannot be reached."""
    vault = Vault(home).server(server.name)
    values = {key: (setting, getattr(server, key)) for key, setting in settings_of(ServerConfig).items()}
    try:
        sql: SqlFacts | PgvaultError = ask(server)
    except PgvaultError as error:
        sql = error
    return Described(
        server.name, {key: None if value is None else setting.kind.write(value)
                      for key, (setting, value) in values.items()},
        {"backup_directory": vault.home, "basebackups_directory": vault.backups,
         "incoming_wals_directory": vault.spool.incoming, "streaming_wals_directory": vault.spool.streaming,
         "wals_directory": vault.wal}, sql)


@dataclass(frozen=True, slots=True)
class Status:
    """How well one server is protected. Sizes are in bytes."""

    server: str
    description: str
    unreachable: str
    """Why the server cannot be reached; empty if it can."""
    version: str
    timeline: int | None
    last_backup: Backup | None
    """The newest good backup."""
    last_backup_age: timedelta | None
    backups: Mapping[str, int]
    """How many backups are good, and how many have each other status."""
    windows: tuple[Window, ...]
    newest_segment: str
    """The newest archived segment of the server's timeline; empty if there is none."""
    segments_behind: int | None
    """Segments that the server has finished and that are not archived yet; None if unknown."""
    receiver: str | None
    heard_at: datetime | None
    """When the receiver last heard from the server, or started."""
    protection: ProtectionState
    """The protection as the console shows it, from the vault alone."""
    reasons: tuple[str, ...]
    """Why the protection is not OK, the worst first."""
    outcome: Outcome
    problems: tuple[Finding, ...]


def status(state: ServerState, home: Path) -> Status:
    """Determine the status from the facts of `check`, and the protection from the vault alone, like the console."""
    stands = protection(state.server, home, state.at)
    sql = state.sql if isinstance(state.sql, SqlFacts) else None
    good, report, wal = state.vault.good_backups, evaluate_checks(state), state.vault.wal
    newest = good[-1] if good else None
    segment, behind = _wal(state, sql)
    return Status(
        server=state.server.name, description=state.server.description,
        unreachable=state.sql.message if isinstance(state.sql, PgvaultError) else "",
        version=sql.server.version if sql else "", timeline=sql.timeline if sql else None, last_backup=newest,
        last_backup_age=newest.age(state.at) if newest else None,
        backups=_counts(state, good), windows=wal.survey.windows if isinstance(wal, WalFacts) else (),
        newest_segment=segment, segments_behind=behind, receiver=state.vault.receiver,
        heard_at=state.vault.heard_at, protection=stands.state, reasons=stands.reasons, outcome=report.outcome,
        problems=report.problems)


def _counts(state: ServerState, good: tuple[Backup, ...]) -> dict[str, int]:
    fine = {backup.id for backup in good}
    others = Counter("unusable" if b.status is BackupStatus.DONE else b.status.value
                     for b in state.vault.backups if b.id not in fine)
    if state.vault.unreadable:
        others["unreadable"] = len(state.vault.unreadable)
    return {"good": len(good), **others}


def _wal(state: ServerState, sql: SqlFacts | None) -> tuple[str, int | None]:
    identity, wal = state.vault.identity, state.vault.wal
    if identity is None or not isinstance(wal, WalFacts) or not wal.newest:
        return "", None
    timeline = sql.timeline if sql else max(wal.newest)
    newest = wal.newest.get(timeline)
    if newest is None:
        return "", None
    name = Segment(timeline, newest).name(identity.segment_size)
    return name, wal.behind(timeline, sql.lsn, identity.segment_size) if sql else None
