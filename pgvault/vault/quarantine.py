"""Files that arrived and could not be accepted, or were found damaged: kept for a person to examine, with the reason.

Each file has a text `<file>.reason` with one line each for its name, the time and the reason. pgvault never reads them
again; they may be deleted once they are understood. The copy here distinguishes a sender's second attempt from its
first.
"""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from pgvault.store.files import fsync_directory, fsync_path, make_directory, open_private, replacing, write_durably
from pgvault.store.keys import Kind
from pgvault.vault.layout import ServerVault

REASON = ".reason"


def set_aside(server: ServerVault, path: Path, reason: str) -> Path:
    """Move a file to quarantine, durably; return its new place."""
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    return _move(server, path, f"{moment}.{path.name.lstrip('.')}", path.name, reason)


def set_aside_once(server: ServerVault, path: Path, name: str, sha256: bytes, reason: str) -> Path:
    """Keep the compressed copy of what came as `name`; the same contents again, as retries bring them, add none."""
    kept = copy_of(server, name, sha256)
    if kept.exists():
        return kept
    return _move(server, path, kept.name, name, reason)


def set_aside_stored(server: ServerVault, name: str, reason: str, sha256: bytes | None = None) -> Path:
    """Keep a copy of an archived file, which stays in the archive; with the digest of its contents, only one."""
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    kept = copy_of(server, name, sha256) if sha256 else server.spool.quarantine / f"{moment}.{name}.zst"
    if not kept.exists():
        _write_reason(server, kept, name, reason)
        with server.store.stream(server.key(Kind.WAL, name)) as stored:
            _copy(stored, kept)
        fsync_directory(server.spool.quarantine)
    return kept


def copy_of(server: ServerVault, name: str, sha256: bytes) -> Path:
    """Return the place where `set_aside_once` keeps these contents, if they came before."""
    return server.spool.quarantine / f"{name}.{sha256.hex()[:12]}.zst"


def forget(kept: Path) -> None:
    """Remove a copy that was accepted after all, with its reason."""
    kept.unlink(missing_ok=True)
    kept.with_name(kept.name + REASON).unlink(missing_ok=True)


def _move(server: ServerVault, path: Path, new_name: str, name: str, reason: str) -> Path:
    kept = server.spool.quarantine / new_name
    _write_reason(server, kept, name, reason)
    if path.is_file() and not path.is_symlink():
        fsync_path(path)
    try:
        os.rename(path, kept)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with path.open("rb") as file:
            _copy(file, kept)
        path.unlink()
    fsync_directory(server.spool.quarantine)
    fsync_directory(path.parent)
    return kept


def _write_reason(server: ServerVault, kept: Path, name: str, reason: str) -> None:
    make_directory(server.spool.quarantine)
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    text = f"name: {name}\nwhen: {moment}\nwhy: {' '.join(reason.split())}\n"
    write_durably(kept.with_name(kept.name + REASON), text.encode(errors="backslashreplace"))


def _copy(file: BinaryIO, kept: Path) -> None:
    import shutil  # it is rarely needed

    with replacing(kept) as temporary, open(open_private(temporary), "wb") as out:
        shutil.copyfileobj(file, out)
