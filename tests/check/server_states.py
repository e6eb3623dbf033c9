"""A healthy server as `check` sees it, to be changed in the one point that a test is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pgvault.config.address import SshAddress
from pgvault.config.schema import ServerConfig
from pgvault.engine.check.facts import (
    Archiver,
    Place,
    ServerState,
    Slot,
    SqlFacts,
    StreamingFacts,
    VaultFacts,
    WalFacts,
)
from pgvault.engine.check.run import evaluate_checks
from pgvault.io.server_facts import ServerFacts
from pgvault.model.backup import Backup, BackupStatus
from pgvault.model.check import Finding
from pgvault.model.lsn import Lsn
from pgvault.model.timeline import TimelineTree
from pgvault.model.window import Archived, survey
from pgvault.vault.identity import Identity

NOW = datetime(2026, 11, 22, 20, 5, 12, tzinfo=UTC)
MIB = 1 << 20
SIZE = 16 * MIB
SYSTEM = "7711263246874697762"
HOME = Path("/vault")
SETTINGS = {"archive_mode": "on", "archive_command": "ssh pgvault@vault pgvault put-wal main %f < %p",
            "archive_library": "", "wal_level": "replica", "max_wal_senders": "10", "max_replication_slots": "10",
            "max_slot_wal_keep_size": "64", "data_checksums": "on"}  # fmt: skip
ARCHIVES = Archiver("000000010000000000000009", NOW - timedelta(minutes=1), "", None, 0)
SLOT = Slot("pgvault", "physical", True, Lsn(10 * SIZE), "reserved")
RECEIVER = "process 17 on vault since 2026-11-22 08:00:00Z"


def backup(number: int = 3, *, hours_ago: float = 5, **changes: Any) -> Backup:
    """A complete one that begins and ends in the segment of that number."""
    ended = NOW - timedelta(hours=hours_ago)
    return replace(Backup(
        id=f"{ended - timedelta(minutes=1):%Y%m%dT%H%M%SZ}", server="main", status=BackupStatus.DONE, method="stream",
        started_at=ended - timedelta(minutes=1), finished_at=ended, system_identifier=SYSTEM, server_version="18.6",
        segment_size=SIZE, timeline=1, data_directory="/data", begin_lsn=Lsn(number * SIZE + 40),
        end_lsn=Lsn(number * SIZE + 400), size_bytes=100 * MIB, stored_bytes=10 * MIB), **changes)


def wal(numbers: Mapping[int, list[int]] | None = None, backups: tuple[Backup, ...] = ()) -> WalFacts:
    """Archived segments, by timeline."""
    numbers = {1: list(range(1, 10))} if numbers is None else numbers
    archived = [Archived(timeline, number) for timeline in sorted(numbers) for number in numbers[timeline]]
    return WalFacts({timeline: max(each) for timeline, each in numbers.items() if each},
                    survey(archived, TimelineTree(()), backups, SIZE))


def healthy(*, server: Mapping[str, Any] | None = None, settings: Mapping[str, str] | None = None,
            facts: Mapping[str, Any] | None = None, sql: Any = None, streaming: Any = None, ssh: Any = None,
            backups: tuple[Backup, ...] | None = None, segments: Mapping[int, list[int]] | None = None,
            **vault: Any) -> ServerState:
    """`facts` changes what SQL told, `settings` PostgreSQL's, `sql` and `streaming` replace all that was told."""
    config = ServerConfig(**{"name": "main", "conninfo": "host=db user=pgvault", "last_backup_maximum_age":
                             timedelta(days=1), "ssh": SshAddress.parse("postgres@db"), **(server or {})})
    told = SqlFacts(**{
        "server": ServerFacts(SYSTEM, "18.6", 18, SIZE, "/data", False), "user": "pgvault", "database": "postgres",
        "settings": {**SETTINGS, **(settings or {})}, "lsn": Lsn(10 * SIZE + 500), "timeline": 1,
        "streaming_user": "pgvault", "may_replicate": True, "may_switch_wal": True, "wal_senders": 0, "slots": 1,
        "archiver": ARCHIVES, "slot": None, "cluster_bytes": None, **(facts or {})})
    backups = (backup(),) if backups is None else backups
    known = VaultFacts(**{
        "places": (Place(HOME, HOME, True), Place(HOME / "main", HOME / "main", True)), "problem": None,
        "login": "pgvault@vault", "identity": Identity(SYSTEM, SIZE), "backups": backups, "unreadable": (),
        "wal": wal(segments, backups), "incoming": 0, "quarantined": 0, "receiver": None, "free_bytes": 1000 * MIB,
        **vault})
    return ServerState(server=config, at=NOW, sql=told if sql is None else sql,
                       streaming=StreamingFacts(SYSTEM, 1) if streaming is None else streaming,
                       ssh="db" if ssh is None else ssh, vault=known)


def streamed(**changes: Any) -> ServerState:
    """Archiving is off; a receiver and its slot are at work."""
    settings = {"archive_mode": "off", "archive_command": "", **changes.pop("settings", {})}
    facts = {"slot": SLOT, "archiver": Archiver("", None, "", None, 0), **changes.pop("facts", {})}
    return healthy(settings=settings, facts=facts, **{"receiver": RECEIVER, **changes})


def findings(state: ServerState) -> dict[str, Finding]:
    return {finding.name: finding for finding in evaluate_checks(state).findings}
