"""The catalogue of one server: its backups with their WAL, their recovery windows and retention verdicts.

It is read-only, and makes one pass over the WAL index for all backups: a thousand take tens of milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from pgvault.config.load import Config
from pgvault.config.schema import ServerConfig
from pgvault.engine.catalogue_wal import CatalogueWal, read_wal
from pgvault.model.backup import Backup, BackupStatus
from pgvault.model.catalogue import Catalogue, Catalogued
from pgvault.model.errors import PgvaultError, from_os_error, one_line
from pgvault.model.retention import RetentionVerdict, assess_retention
from pgvault.vault import catalog
from pgvault.vault.layout import ServerVault, Vault


def read_catalogue(vault: ServerVault, server: ServerConfig, now: datetime, *, reach: bool = True) -> Catalogue:
    """Read all facts about all backups. Problems are part of the result, and raise nothing.

    Without `reach`, `restorable_until` is not determined, which is most of the cost if there is much WAL.
    """
    backups, unreadable = catalog.read_all(vault)
    wal, problem = _read_wal(vault, backups, reach)
    flaws = {b.id: flaw for b in backups if b.status is BackupStatus.DONE and (flaw := wal.flaw(b))} if wal else None
    verdicts = assess_retention(backups, server.retention_policy, server.minimum_redundancy, now, unusable=flaws,
                     timelines=wal.tree if wal else None)
    entries = tuple(_entry(*neighbours, wal, verdicts, flaws or {}) for neighbours in _neighbours(backups))
    return Catalogue(server.name, entries, unreadable, problem)


def _read_wal(vault: ServerVault, backups: Sequence[Backup], reach: bool) -> tuple[CatalogueWal | None, str]:
    if not backups:
        return None, ""
    try:
        return read_wal(vault, backups, reach=reach), ""
    except PgvaultError as error:
        return None, one_line(error)
    except OSError as error:
        return None, one_line(from_os_error(error, "read the WAL archive"))


def _neighbours(backups: Sequence[Backup]) -> Iterator[tuple[Backup, Backup | None, Backup | None]]:
    """Yield each backup with its nearest complete neighbours on both sides."""
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
           verdicts: Mapping[str, RetentionVerdict], flaws: Mapping[str, str]) -> Catalogued:
    if not backup.status.copied:
        wal = None
    return Catalogued(
        backup=backup, own_wal=wal.own(backup) if wal else None, wal=wal.behind(backup, behind) if wal else None,
        retention=verdicts[backup.id], restorable_until=wal.until.get(backup.id) if wal else None,
        previous=before.id if before else None, next=behind.id if behind else None,
        flaw=flaws.get(backup.id, ""))


def backup_object(config: Config, backup: Backup) -> dict[str, object]:
    """Return the documented JSON object of a backup that was just taken."""
    server = config.server(backup.server)
    catalogue = read_catalogue(Vault.open(config.vault.home).server(server.name), server, datetime.now(UTC))
    return backup_document(catalogue.entry(backup.id))


def backup_documents(catalogue: Catalogue) -> list[dict[str, object]]:
    """Return the backup objects of one server, oldest first. An unreadable one has only its id, state and reason."""
    by_id = {entry.backup.id: backup_document(entry) for entry in catalogue.backups}
    for each in catalogue.unreadable:
        by_id[each.id] = {**dict.fromkeys(_FIELDS), "id": each.id, "server": catalogue.server, "status": "UNREADABLE",
                          "error": each.reason}
    return [by_id[backup_id] for backup_id in sorted(by_id)]


_FIELDS = (
    "id", "server", "name", "status", "method", "started_at", "finished_at", "begin_lsn", "end_lsn", "begin_wal",
    "end_wal", "timeline", "system_identifier", "server_version", "data_directory", "tablespaces", "size_bytes",
    "stored_bytes", "file_count", "deduplication_ratio", "wal_bytes", "keep", "verified_at", "proven_at", "retention",
    "restorable_from", "restorable_until", "error")


def backup_document(entry: Catalogued) -> dict[str, object]:
    """Return the documented JSON object of a backup. Unknown values are null."""
    backup, segment_size = entry.backup, entry.backup.segment_size
    begin, end = backup.begin_segment, backup.end_segment
    return dict(zip(_FIELDS, (
        backup.id, backup.server, backup.name or None, backup.status.value, backup.method, backup.started_at,
        backup.finished_at, backup.begin_lsn, backup.end_lsn, begin.name(segment_size) if begin else None,
        end.name(segment_size) if end else None, backup.timeline, backup.system_identifier, backup.server_version,
        backup.data_directory, backup.tablespaces, backup.size_bytes, backup.stored_bytes, backup.file_count,
        round(backup.deduplication_ratio, 4), entry.wal.stored if entry.wal else None,
        backup.keep.value if backup.keep else None, None, None,
        {"verdict": entry.retention.state.value, "reason": entry.retention.reason}, entry.restorable_from,
        entry.restorable_until, backup.error or None), strict=True))
