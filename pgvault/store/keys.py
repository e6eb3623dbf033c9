"""The keys of a vault's objects: kind, server, name. Every path of an object is made here.

    vault.toml, README
    <server>/identity.toml
    <server>/backups/<backup id>/backup.toml, manifest.sqlite
    <server>/packs/<pack id>.pack
    <server>/wal/<16 hex>/<segment>.zst, and .partial, .backup, .history likewise
    <server>/recoveries/<8 hex>.toml
"""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


class Kind(Enum):
    """What an object is. The value is its path below its server's directory; of the first two, below the root."""

    VAULT = "vault.toml"
    """The mark of a vault: its format and id. Where it is, absence can be proven."""
    README = "README"
    IDENTITY = "identity.toml"
    BACKUP = "backups/{name}/backup.toml"
    """A backup's facts. Written last, they are what commits a backup."""
    MANIFEST = "backups/{name}/manifest.sqlite"
    PACK = "packs/{name}.pack"
    WAL = "wal/{group}/{name}.zst"
    RECOVERY = "recoveries/{name}.toml"

    @property
    def is_of_vault(self) -> bool:
        """Whether it belongs to the vault itself, and to no server."""
        return self in (Kind.VAULT, Kind.README)

    @property
    def directory(self) -> str:
        """The directory of all objects of the kind, below the server's; empty where that itself is it."""
        return self.value.partition("/")[0] if "{" in self.value else ""

    @property
    def suffix(self) -> str:
        """What follows the name in the last part of the path."""
        return self.value.rpartition("}")[2]


class Key(NamedTuple):
    """The name of one object. `path` raises ValueError for a name that could lead elsewhere."""

    kind: Kind
    server: str = ""
    name: str = ""
    """What tells it from others of its kind: a backup's or pack's id, the name of a WAL file, a timeline."""

    @property
    def path(self) -> str:
        """Relative to the root of the store, parts separated by `/`."""
        kind, server, name = self
        if kind.is_of_vault:
            return kind.value
        if not _NAME.fullmatch(server) or ("{" in kind.value and not _NAME.fullmatch(name)):
            raise ValueError(f"no object can have the name {name!r} of server {server!r}")
        return f"{server}/{kind.value.format(name=name, group=wal_group(name))}"


def wal_group(name: str) -> str:
    """The directory of an archived WAL file: what 256 segments have in common, of a history file its timeline."""
    return name[:16] if len(name) >= 24 else f"{name[:8]}00000000"
