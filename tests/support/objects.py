"""Where a vault's objects lie when its store is a directory: for tests that look at, damage or remove them."""

from __future__ import annotations

from pathlib import Path

from pgvault.store.keys import Kind
from pgvault.vault.layout import ServerVault


def object_path(server: ServerVault, kind: Kind, name: str = "") -> Path:
    return Path(server.location(kind, name))


def identity_path(server: ServerVault) -> Path:
    return object_path(server, Kind.IDENTITY)


def facts_path(server: ServerVault, backup_id: str) -> Path:
    return object_path(server, Kind.BACKUP, backup_id)


def backup_directory(server: ServerVault, backup_id: str) -> Path:
    return facts_path(server, backup_id).parent


def manifest_path(server: ServerVault, backup_id: str) -> Path:
    return object_path(server, Kind.MANIFEST, backup_id)


def wal_path(server: ServerVault, name: str) -> Path:
    return object_path(server, Kind.WAL, name)


def pack_path(server: ServerVault, name: str) -> Path:
    return object_path(server, Kind.PACK, name)
