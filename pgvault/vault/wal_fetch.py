"""Giving archived WAL back, whole and verified, or saying for certain that it is not there.

PostgreSQL takes "not there" as the end of all WAL and promotes, so `find` returns None only when the archive itself
answered: it could be listed, nothing of that name is in it or waits to enter it, and its index knows of none. All else
is an error, from which get-wal makes an exit code that stops PostgreSQL.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pgvault.model.errors import Corrupt, InDoubt, NotFound, PgvaultError, UsageError
from pgvault.model.segment import PartialFile, Segment, SegmentFile, parse_wal_name
from pgvault.store.keys import Kind
from pgvault.vault import wal_index
from pgvault.vault.compression import decompressed
from pgvault.vault.identity import Identity, read_identity
from pgvault.vault.layout import ServerVault
from pgvault.vault.wal_archive import accept, path_of
from pgvault.wal.pages import check_segment, read_header


def find(server: ServerVault, name: str, *, level: int = 1) -> Path | None:
    """The archived file; None when it is proven absent. What waits in streaming or incoming is archived first."""
    try:
        path = path_of(server, name)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if _is_there(path):
        return path
    if read_identity(server) is None:
        raise InDoubt(f"the vault has no WAL archive of {server.name}",
                      detail=f"{server.location(Kind.IDENTITY)} is missing.",
                      hint="Check [vault] home and the server's name.")
    for waiting in (server.streaming / name, server.incoming / name):
        try:
            with waiting.open("rb") as source:
                accept(server, name, source, level=level, keep_rejected=False)
                return path
        except FileNotFoundError:
            continue
    os.listdir(server.wal)
    if _is_there(path):  # it entered while we looked where it came from
        return path
    if _is_indexed(server, name):
        raise InDoubt(f"{name} was archived, and its file is gone", detail=f"{path} does not exist.",
                      hint="Bring the file back. If it is lost for good: pgvault rebuild-index "
                           f"{server.name}, and take a new backup.")
    return None


def fetch(server: ServerVault, name: str, *, level: int = 1) -> bytes | None:
    """The whole plain content, verified; None when it is proven absent."""
    path = find(server, name, level=level)
    return None if path is None else b"".join(read_verified(server, name, path))


def read_verified(server: ServerVault, name: str, path: Path) -> Iterator[bytes]:
    """The plain content in pieces; Corrupt at the latest after the last one, so use none before all have come."""
    digest = hashlib.sha256()
    for piece in read_checked(server, name, path):
        digest.update(piece)
        yield piece
    expected = None
    with suppress(InDoubt):  # zstd's checksum has proved the content already
        expected = _indexed_digest(server, name)
    if expected is not None and expected != digest.digest():
        raise _damaged(path, "Its content is not what was archived.")


def read_checked(server: ServerVault, name: str, path: Path) -> Iterator[bytes]:
    """The same without asking the index: zstd's checksum, and for WAL the first page, are what proves it."""
    identity = read_identity(server)
    plain, head = 0, b""
    try:
        with path.open("rb") as file:
            for piece in decompressed(file):
                head = head or piece
                plain += len(piece)
                yield piece
        if identity:
            _check_place(name, head, plain, identity)
    except (Corrupt, ValueError) as error:
        reason = getattr(error, "detail", str(error))
        raise _damaged(path, reason[:1].upper() + reason[1:]) from None


def _check_place(name: str, head: bytes, plain: int, identity: Identity) -> None:
    if not isinstance(parse_wal_name(name), SegmentFile | PartialFile):
        return
    size = identity.segment_size
    check_segment(read_header(head), plain, Segment.parse(name[:24], size), size, int(identity.system_identifier))


def _damaged(path: Path, detail: str) -> Corrupt:
    return Corrupt(f"the archived file {path} is damaged", detail=detail,
                   hint="Bring it back from a copy of the vault, or archive it again while the server still has it.")


def _is_there(path: Path) -> bool:
    """As `Path.exists`, which takes errors such as a stale mount for absence."""
    try:
        os.stat(path)
    except FileNotFoundError:
        return False
    return True


def _indexed_digest(server: ServerVault, name: str) -> bytes | None:
    """What the index knows; one that is missing knows nothing. InDoubt when it cannot be asked."""
    try:
        with wal_index.reading(server) as index:
            row = index.find(name)
            return row.sha256 if row else None
    except NotFound:
        return None
    except (PgvaultError, OSError) as error:
        raise InDoubt(f"could not ask the index of {server.name}'s WAL", detail=str(error),
                      hint=f"Make it again: pgvault rebuild-index {server.name}") from None


def _is_indexed(server: ServerVault, name: str) -> bool:
    return _indexed_digest(server, name) is not None
