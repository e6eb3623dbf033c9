"""The facts of a server's backups as they were last read: `catalog.cache`, beside the directory `backups`.

A thousand backup.toml take a third of a second to read, their cache a hundredth. It is a cache only: an entry counts
while its object has the same version, the whole counts while its checksum is right, and deleting it loses nothing.

The first line is `pgvault catalog <fields> <CRC-32 of the rest>`, where the fields are those of a Backup, in order;
the rest is JSON: {backup id: [version, [value of each field]]}.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from contextlib import suppress
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any

from pgvault.model.backup import Backup, BackupStatus, Tablespace
from pgvault.model.lsn import Lsn
from pgvault.store.files import TEMPORARY, open_private
from pgvault.store.store import Facts
from pgvault.vault.layout import ServerVault

_FIELDS = tuple(field.name for field in fields(Backup))
_SERVER, _STATUS, _CORRUPT, _SPACES = map(_FIELDS.index, ("server", "status", "corrupt_pages", "tablespaces"))
_TIMES = tuple(map(_FIELDS.index, ("started_at", "finished_at")))
_LSNS = tuple(map(_FIELDS.index, ("begin_lsn", "end_lsn")))
_STATUSES = {status.value: status for status in BackupStatus}
_SETTLED = 2_000_000_000
"""Nanoseconds for which an object must not have changed: before, another change may leave its version as it is."""
_ABANDONED = 60
"""Seconds after which a half-written cache is taken to be that of a process that died."""


class CatalogCache:
    """What was cached, and what is found to be right now."""

    def __init__(self, server: ServerVault) -> None:
        """Empty when there is none, or none that can be used."""
        self._path = server.cache.catalog
        self._server = server.name
        self._known: dict[str, tuple[str, list[Any]]] = {}
        self._now: dict[str, tuple[str, list[Any] | Backup]] = {}
        self._loaded_at = time.time_ns()
        with suppress(OSError):
            head, _, text = self._path.read_bytes().partition(b"\n")
            if head == _head(text):
                self._known = json.loads(text)

    def get(self, backup_id: str, facts: Facts) -> Backup | None:
        """None when its object must be read."""
        cached = self._known.get(backup_id)
        if cached is None or cached[0] != facts.version:
            return None
        self._now[backup_id] = facts.version, cached[1]
        return _decoded(cached[1], self._server)

    def note(self, backup: Backup, facts: Facts) -> None:
        """The backup was read from an object that had these facts before it was read."""
        if self._loaded_at - facts.modified > _SETTLED:
            self._now[backup.id] = facts.version, backup

    def save(self) -> None:
        """Replace the file if that changes anything; a vault that cannot be written to goes without."""
        if self._now.keys() == self._known.keys() and not any(isinstance(b, Backup) for _, b in self._now.values()):
            return
        text = json.dumps(self._now, separators=(",", ":"), default=_encoded).encode()
        with suppress(OSError):
            _replace(self._path, _head(text) + b"\n" + text)


def _head(text: bytes) -> bytes:
    return f"pgvault catalog {','.join(_FIELDS)} {zlib.crc32(text):08x}".encode()


def _encoded(value: object) -> Any:
    if isinstance(value, Backup):
        return [int(each) if isinstance(each := getattr(value, name), Lsn) else each for name in _FIELDS]
    if isinstance(value, Tablespace):
        return [value.oid, value.name, value.location]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, BackupStatus):
        return value.value
    raise TypeError(type(value).__name__)


def _decoded(cached: list[Any], server: str) -> Backup:
    values = cached.copy()
    values[_SERVER] = server
    values[_STATUS] = _STATUSES[values[_STATUS]]
    values[_CORRUPT] = tuple(values[_CORRUPT])
    values[_SPACES] = tuple(Tablespace(*each) for each in values[_SPACES])
    for i in _TIMES:
        values[i] = values[i] and datetime.fromisoformat(values[i])
    for i in _LSNS:
        values[i] = None if values[i] is None else Lsn(values[i])
    return Backup(*values)


def _replace(path: Path, content: bytes) -> None:
    """Not flushed: after a power failure the checksum tells. One temporary name, so crashes leave one file at most."""
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
