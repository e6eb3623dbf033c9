"""The backups of a server: reading, writing and finding their `backup.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import tomli_w

from pgvault.model.backup import Backup, BackupStatus, Tablespace, is_backup_id
from pgvault.model.errors import NotFound, PgvaultError
from pgvault.model.lsn import Lsn
from pgvault.vault.files import write_durably
from pgvault.vault.layout import ServerVault


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A backup whose facts cannot be read; it is shown, and never counts as protection."""

    id: str
    reason: str


def directory(server: ServerVault, backup_id: str) -> Path:
    if not is_backup_id(backup_id):
        raise ValueError(f"not a backup id: {backup_id!r}")
    return server.backups / backup_id


def manifest_path(server: ServerVault, backup_id: str) -> Path:
    return directory(server, backup_id) / "manifest.sqlite"


def write(server: ServerVault, backup: Backup) -> None:
    """Durably replace the backup's facts; its directory exists."""
    write_durably(directory(server, backup.id) / "backup.toml", tomli_w.dumps(_document(backup)).encode())


def read(server: ServerVault, backup_id: str) -> Backup:
    path = directory(server, backup_id) / "backup.toml"
    try:
        return _backup(tomllib.loads(path.read_text()), server.name)
    except FileNotFoundError:
        raise NotFound(f"{server.name} has no backup {backup_id}", hint=f"pgvault list-backups {server.name}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise PgvaultError(f"could not read the facts of backup {backup_id}", detail=f"{path}: {error!r}") from None


def scan(server: ServerVault) -> Iterator[Backup | Unreadable]:
    """Every backup, oldest first, also those whose facts cannot be read."""
    if not server.backups.is_dir():
        return
    for backup_id in sorted(p.name for p in server.backups.iterdir() if is_backup_id(p.name)):
        try:
            yield read(server, backup_id)
        except (PgvaultError, OSError) as error:
            yield Unreadable(backup_id, str(error))


def backups(server: ServerVault) -> list[Backup]:
    """Every readable backup, oldest first."""
    return [b for b in scan(server) if isinstance(b, Backup)]


def find(server: ServerVault, wanted: str) -> Backup:
    """By id, unique prefix of one, `latest`, `oldest` or `last-failed`; NotFound otherwise."""
    hint = f"pgvault list-backups {server.name}"
    if is_backup_id(wanted):
        return read(server, wanted)
    known = backups(server)
    whole = [b for b in known if b.status.copied]
    named = {"latest": whole[-1:], "oldest": whole[:1],
             "last-failed": [b for b in known if b.status is BackupStatus.FAILED][-1:]}
    found = named.get(wanted) if wanted in named else [b for b in known if wanted and b.id.startswith(wanted)]
    if not found:
        raise NotFound(f"{server.name} has no backup {wanted!r}", hint=hint)
    if len(found) > 1:
        raise NotFound(f"{wanted!r} is the beginning of {len(found)} backup ids of {server.name}",
                       detail=", ".join(b.id for b in found[:10]) + ".", hint=hint)
    return found[0]


def _document(backup: Backup) -> dict[str, Any]:
    return {name: value for name, value in {
        "id": backup.id, "status": backup.status.value, "method": backup.method, "name": backup.name,
        "started_at": backup.started_at, "finished_at": backup.finished_at,
        "system_identifier": backup.system_identifier, "server_version": backup.server_version,
        "segment_size": backup.segment_size, "timeline": backup.timeline,
        "begin_lsn": None if backup.begin_lsn is None else str(backup.begin_lsn),
        "end_lsn": None if backup.end_lsn is None else str(backup.end_lsn),
        "data_directory": backup.data_directory,
        "size_bytes": backup.size_bytes, "stored_bytes": backup.stored_bytes, "file_count": backup.file_count,
        "manifest_sha256": backup.manifest_sha256, "job": backup.job, "error": backup.error,
        "corrupt_pages": list(backup.corrupt_pages),
        "tablespaces": [{"oid": t.oid, "name": t.name, "location": t.location} for t in backup.tablespaces],
    }.items() if value is not None}


def _backup(facts: dict[str, Any], server: str) -> Backup:
    def lsn(name: str) -> Lsn | None:
        return Lsn.parse(facts[name]) if name in facts else None

    def moment(name: str) -> datetime | None:
        value = facts.get(name)
        if value is not None and (not isinstance(value, datetime) or value.tzinfo is None):
            raise ValueError(f"{name} is no time with a zone")
        return value

    started_at = moment("started_at")
    if started_at is None:
        raise ValueError("started_at is missing")
    return Backup(
        id=facts["id"], server=server, status=BackupStatus(facts["status"]), method=facts["method"],
        name=facts["name"], started_at=started_at, finished_at=moment("finished_at"),
        system_identifier=facts["system_identifier"], server_version=facts["server_version"],
        segment_size=facts["segment_size"], timeline=facts["timeline"], begin_lsn=lsn("begin_lsn"),
        end_lsn=lsn("end_lsn"), data_directory=facts["data_directory"], size_bytes=facts["size_bytes"],
        stored_bytes=facts["stored_bytes"], file_count=facts["file_count"],
        manifest_sha256=facts["manifest_sha256"], job=facts["job"], error=facts["error"],
        corrupt_pages=tuple(facts["corrupt_pages"]),
        tablespaces=tuple(Tablespace(t["oid"], t["name"], t["location"]) for t in facts["tablespaces"]))
