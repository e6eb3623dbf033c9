"""The keys of a vault's objects: kind, server, name. Every path of an object is made here.

    vault.toml, README
    <server>/identity.toml
    <server>/backups/<backup id>/backup.toml, manifest.sqlite
    <server>/packs/<pack id>.pack
    <server>/wal/<16 hex>/<segment>.zst, and .partial, .backup, .history likewise
    <server>/recoveries/<8 hex>.toml
    <server>/garbage.toml
"""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple

_NAME = "[A-Za-z0-9_][A-Za-z0-9_.-]*"
_NAMES = re.compile(f"{_NAME}/(?:{_NAME})?")
"""Server and name."""


class Kind(Enum):
    """The kind of an object. The value is its path below the root of the store."""

    VAULT = "vault.toml"
    """The mark of a vault: its format and id. Where it is, absence can be proven."""
    README = "README"
    IDENTITY = "{server}/identity.toml"
    BACKUP = "{server}/backups/{name}/backup.toml"
    """A backup's facts. Written last, they are what commits a backup."""
    MANIFEST = "{server}/backups/{name}/manifest.sqlite"
    PACK = "{server}/packs/{name}.pack"
    WAL = "{server}/wal/{group}/{name}.zst"
    RECOVERY = "{server}/recoveries/{name}.toml"
    GARBAGE = "{server}/garbage.toml"
    """Packs that no backup uses any more, and since when."""

    def __init__(self, path: str) -> None:
        parts = path.split("/")
        self.is_of_vault = len(parts) == 1
        """True if it belongs to the vault itself, and to no server."""
        self.is_named = "{name}" in path
        self.directory = parts[1] if self.is_named else ""
        """The directory of all objects of the kind, below the server's; empty for the server's own."""
        self.suffix = path.rpartition("}")[2]
        """The end of the path, after the last of server and name."""


class Key(NamedTuple):
    """The name of one object. `path` raises ValueError for a name that could lead elsewhere."""

    kind: Kind
    server: str = ""
    name: str = ""
    """The name, unique within its kind: a backup's or pack's id, the name of a WAL file, a timeline."""

    @property
    def path(self) -> str:
        """Return the path relative to the root of the store, parts separated by `/`."""
        kind, server, name = self
        if kind.is_of_vault:
            return kind.suffix
        if not _NAMES.fullmatch(f"{server}/{name}") or kind.is_named == (not name):
            raise ValueError(f"no object can have the name {name!r} of server {server!r}")
        if not kind.is_named:
            return f"{server}{kind.suffix}"
        if kind is Kind.WAL:
            return f"{server}/{kind.directory}/{wal_group(name)}/{name}{kind.suffix}"
        return f"{server}/{kind.directory}/{name}{kind.suffix}"


def wal_group(name: str) -> str:
    """Return the directory of an archived WAL file: what 256 segments have in common, of a history file its timeline.
    """
    return name[:16] if len(name) >= 24 else f"{name[:8]}00000000"
