"""The facts of a server's backups as they were last read: `catalog.cache`, next to the directory `backups`.

A thousand backup.toml take a third of a second to read, their cache a hundredth. It is only a cache: an entry is valid
while its object has the same version, the whole file while its checksum is right, and deleting it loses nothing.

The first line is `pgvault catalog 2 <fields> <CRC-32 of the rest>`, where the fields are those of a Backup; the rest is
JSON: {backup id: [version, backup]}.
"""

from __future__ import annotations

import os
import time
import zlib
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path

import msgspec

from pgvault.model.backup import Backup
from pgvault.model.lsn import Lsn
from pgvault.store.files import TEMPORARY, open_private
from pgvault.store.store import Facts
from pgvault.vault.layout import ServerVault

_FIELDS = ",".join(field.name for field in fields(Backup))
_SETTLED = 2_000_000_000
"""The nanoseconds for which an object must have been unchanged: before, another change may leave its version the same.
"""
_ABANDONED = 60
"""The age in seconds after which a half-written cache counts as left by a process that died."""
_Entries = dict[str, tuple[str, Backup]]


class CatalogCache:
    """The cached facts, and those that are found to be current."""

    def __init__(self, server: ServerVault) -> None:
        """Read the cache; it is empty if there is none, or none that can be used."""
        self._path = server.cache.catalog
        self._server = server.name
        self._known: _Entries = {}
        self._now: _Entries = {}
        self._is_changed = False
        self._loaded_at = time.time_ns()
        with suppress(OSError, msgspec.DecodeError):
            head, _, text = self._path.read_bytes().partition(b"\n")
            if head == _head(text):
                self._known = msgspec.json.decode(text, type=_Entries, dec_hook=_lsn)

    def get(self, backup_id: str, facts: Facts) -> Backup | None:
        """Return the backup; None if its object must be read."""
        version, backup = self._known.get(backup_id, ("", None))
        if backup is None or version != facts.version:
            return None
        self._now[backup_id] = version, backup
        return backup if backup.server == self._server else replace(backup, server=self._server)

    def note(self, backup: Backup, facts: Facts) -> None:
        """Cache a backup that was read from an object which had these facts before it was read."""
        if self._loaded_at - facts.modified > _SETTLED:
            self._now[backup.id] = facts.version, backup
            self._is_changed = True

    def save(self) -> None:
        """Replace the file if anything has changed; a vault that cannot be written to has none."""
        if self._now.keys() == self._known.keys() and not self._is_changed:
            return
        text = msgspec.json.encode(self._now, enc_hook=int)
        with suppress(OSError):
            _replace(self._path, _head(text) + b"\n" + text)


def _head(text: bytes) -> bytes:
    return f"pgvault catalog 2 {_FIELDS} {zlib.crc32(text):08x}".encode()


def _lsn(_: type, value: int) -> Lsn:
    return Lsn(value)


def _replace(path: Path, content: bytes) -> None:
    """Write the file without flushing it: the checksum shows damage after a power failure. There is one temporary name,
    so crashes leave at most one file.
    """
    temporary = path.with_name(f"{TEMPORARY}{path.name}")
    try:
        descriptor = open_private(temporary)
    except FileExistsError:
        if time.time() - temporary.stat().st_mtime > _ABANDONED:
            temporary.unlink()
        return
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
