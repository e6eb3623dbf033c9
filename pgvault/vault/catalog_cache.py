"""The facts of a server's backups as they were last read: `catalog.cache`, beside the directory `backups`.

A thousand backup.toml take a third of a second to read, their cache some milliseconds. It is a cache only: an entry
counts while its file has the same stamp, the whole counts while its hash is right, and deleting it loses nothing.

The first line is `pgvault catalog 1 <SHA-256 of the rest>`, the rest is JSON: {backup id: [stamp, facts]}.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from pgvault.vault.files import TEMPORARY
from pgvault.vault.layout import ServerVault

Stamp = tuple[int, int, int, int]
"""Modification and change time in nanoseconds, size, inode."""
Facts = dict[str, Any]

_FORMAT = "pgvault catalog 1"
_SETTLED = 2_000_000_000
"""Nanoseconds for which a file must not have changed: before, another change may leave its stamp as it is."""
_ABANDONED = 60
"""Seconds after which a half-written cache is taken to be that of a process that died."""
_TIMES = ("started_at", "finished_at")


def stamp(path: str) -> Stamp:
    """OSError when the file is not there."""
    found = os.stat(path)
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


class CatalogCache:
    """What was cached, and what is found to be right now."""

    def __init__(self, path: Path, known: dict[str, tuple[Stamp, Facts]]) -> None:
        self._path, self._known = path, known
        self._now: dict[str, tuple[Stamp, Facts]] = {}
        self._loaded_at = time.time_ns()

    def facts(self, backup_id: str, stamp: Stamp) -> Facts | None:
        """None when they must be read from the file."""
        cached = self._known.get(backup_id)
        return cached[1] if cached and cached[0] == stamp else None

    def note(self, backup_id: str, stamp: Stamp, facts: Facts) -> None:
        """These facts were read from, or cached for, a file that has had this stamp since before it was read."""
        if self._loaded_at - max(stamp[:2]) > _SETTLED:
            self._now[backup_id] = stamp, facts

    def save(self) -> None:
        """Replace the file if that changes anything; a vault that cannot be written to goes without."""
        if {i: s for i, (s, _) in self._now.items()} == {i: s for i, (s, _) in self._known.items()}:
            return
        text = json.dumps(self._now, separators=(",", ":"), default=datetime.isoformat).encode()
        with suppress(OSError):
            _replace(self._path, f"{_FORMAT} {hashlib.sha256(text).hexdigest()}\n".encode() + text)


def load(server: ServerVault) -> CatalogCache:
    """Empty when there is none, or none that can be used."""
    path = server.home / "catalog.cache"
    known: dict[str, tuple[Stamp, Facts]] = {}
    with suppress(OSError):
        head, _, text = path.read_bytes().partition(b"\n")
        if head == f"{_FORMAT} {hashlib.sha256(text).hexdigest()}".encode():
            known = {backup_id: (tuple(stamp), _timed(facts)) for backup_id, (stamp, facts) in json.loads(text).items()}
    return CatalogCache(path, known)


def _timed(facts: Facts) -> Facts:
    for name in _TIMES:
        if name in facts:
            facts[name] = datetime.fromisoformat(facts[name])
    return facts


def _replace(path: Path, content: bytes) -> None:
    """Not flushed: after a power failure the hash tells. One name for all, so that crashes leave one file at most."""
    temporary = path.with_name(f"{TEMPORARY}{path.name}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
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
