"""Returns archived WAL, whole and verified, or proves that it is absent.

PostgreSQL takes an absent file for the end of all WAL and promotes, so absence is reported only if the archive itself
answered: it could be listed, nothing of that name is in it or waits to enter it, and its index has none. Everything
else is an error, from which get-wal makes an exit code that stops PostgreSQL.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress

from pgvault.model.errors import Corrupt, InDoubt, NotFound, PgvaultError, UsageError
from pgvault.model.segment import PartialFile, Segment, SegmentFile, parse_wal_name
from pgvault.store.keys import Kind
from pgvault.vault import wal_index
from pgvault.vault.compression import PIECE, decompressed
from pgvault.vault.identity import Identity, read_identity
from pgvault.vault.layout import ServerVault
from pgvault.vault.wal_archive import accept, is_archived, key_of
from pgvault.wal.pages import check_segment, read_header


def find(server: ServerVault, name: str, *, level: int = 1) -> bool:
    """Return whether the file is archived; False if it is proven absent. Files that wait in streaming or incoming are
    archived first.
    """
    try:
        if is_archived(server, name):
            return True
    except ValueError as error:
        raise UsageError(str(error)) from None
    if read_identity(server) is None:
        raise InDoubt(f"the vault has no WAL archive of {server.name}",
                      detail=f"{server.location(Kind.IDENTITY)} is missing.",
                      hint="Check [vault] home and the server's name.")
    for waiting in (server.spool.streaming / name, server.spool.incoming / name):
        try:
            with waiting.open("rb") as source:
                accept(server, name, source, level=level, keep_rejected=False)
                return True
        except FileNotFoundError:
            continue
    if is_archived(server, name):  # it was archived while its sources were searched
        return True
    if _is_indexed(server, name):
        raise InDoubt(f"{name} was archived, and its file is gone",
                      detail=f"{server.location(Kind.WAL, name)} does not exist.",
                      hint="Bring the file back. If it is lost for good: pgvault rebuild-index "
                           f"{server.name}, and take a new backup.")
    return False


def fetch(server: ServerVault, name: str, *, level: int = 1) -> bytes | None:
    """Return the whole plain content, verified; None if it is proven absent."""
    return b"".join(read_verified(server, name)) if find(server, name, level=level) else None


def read_verified(server: ServerVault, name: str) -> Iterator[bytes]:
    """Yield the plain contents in pieces. Raises Corrupt, at the latest after the last one, so use none before all have
    come; NotFound if it is not archived.
    """
    digest = hashlib.sha256()
    for piece in read_checked(server, name):
        digest.update(piece)
        yield piece
    expected = None
    with suppress(InDoubt):  # zstd's checksum has proved the contents already
        expected = _indexed_digest(server, name)
    if expected is not None and expected != digest.digest():
        raise _damaged(server, name, "Its content is not what was archived.")


def read_checked(server: ServerVault, name: str) -> Iterator[bytes]:
    """Do the same without the index: zstd's checksum and, for WAL, the first page are the proof."""
    identity = read_identity(server)
    plain, head = 0, b""
    try:
        with server.store.stream(key_of(server, name)) as file:
            for piece in decompressed(file):
                head = head or piece
                plain += len(piece)
                yield piece
        if identity:
            _check_place(name, head, plain, identity)
    except (Corrupt, ValueError) as error:
        reason = getattr(error, "detail", str(error))
        raise _damaged(server, name, reason[:1].upper() + reason[1:]) from None


def read_stored(server: ServerVault, name: str) -> Iterator[bytes]:
    """Yield an archived file as it is stored, in pieces."""
    with server.store.stream(key_of(server, name)) as file:
        while piece := file.read(PIECE):
            yield piece


def _check_place(name: str, head: bytes, plain: int, identity: Identity) -> None:
    if not isinstance(parse_wal_name(name), SegmentFile | PartialFile):
        return
    size = identity.segment_size
    check_segment(read_header(head), plain, Segment.parse(name[:24], size), size, int(identity.system_identifier))


def _damaged(server: ServerVault, name: str, detail: str) -> Corrupt:
    return Corrupt(f"the archived file {server.location(Kind.WAL, name)} is damaged", detail=detail,
                   hint="Bring it back from a copy of the vault, or archive it again while the server still has it.")


def _indexed_digest(server: ServerVault, name: str) -> bytes | None:
    """Return the digest in the index; a missing index has none. Raises InDoubt if it cannot be read."""
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
