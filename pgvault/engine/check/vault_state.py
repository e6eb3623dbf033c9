"""Examines one server's part of the vault without changing it: nothing is created, cached, locked or waited for."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from pgvault.engine.check.facts import Place, VaultFacts, WalFacts, or_error
from pgvault.model.backup import Backup, Unreadable
from pgvault.model.errors import NotFound, PgvaultError
from pgvault.model.segment import DEFAULT_SEGMENT_SIZE
from pgvault.model.timeline import TimelineTree
from pgvault.model.window import instant, survey
from pgvault.store.files import TEMPORARY
from pgvault.store.leases import Concern
from pgvault.vault import catalog, wal_index
from pgvault.vault.catalog import Found
from pgvault.vault.identity import Identity, read_identity
from pgvault.vault.index_files import DatabaseError
from pgvault.vault.layout import ServerVault, Vault
from pgvault.vault.quarantine import REASON
from pgvault.vault.wal_facts import read_facts_into, timeline_tree, unread
from pgvault.vault.wal_index import archived_segments
from pgvault.vault.wal_parted import latest_between
from pgvault.vault.wal_queries import newest_accepted
from pgvault.vault.wal_rebuild import archived_names

_DOING = "read the vault"
_NOTHING_ARCHIVED = WalFacts({}, survey((), TimelineTree(()), (), DEFAULT_SEGMENT_SIZE))


def read_backups(server: ServerVault) -> Found:
    try:
        return catalog.read_all(server, save=False)
    except PgvaultError:  # the check of the directories reports why
        return Found((), ())


def read_vault(server: ServerVault, home: Path, backups: tuple[Backup, ...],
               unreadable: tuple[Unreadable, ...], *, segments: int = 0) -> VaultFacts:
    """Read the vault after querying the server, so that the index has all segments that the server reports as archived.

    The records of at most `segments` unread segments are read, without storing the result in the index.
    """
    vault_id = or_error(lambda: Vault.writable(home), _DOING)
    exists = or_error(lambda: Vault(home).is_there, _DOING)
    identity = or_error(lambda: read_identity(server), _DOING) if exists else None
    known = identity if isinstance(identity, Identity) else None
    receiving = server.leases.held(Concern.RECEIVE)
    problem = next((p for p in (vault_id, identity) if isinstance(p, PgvaultError)), None)
    return VaultFacts(
        places=tuple(_places(server, home)), problem=problem, login=f"{_user()}@{socket.gethostname()}",
        identity=known, backups=backups, unreadable=unreadable,
        wal=or_error(lambda: _read_wal(server, backups, known, segments), _DOING) if exists else _NOTHING_ARCHIVED,
        incoming=_count(server.spool.incoming),
        quarantined=_count(server.spool.quarantine, without=REASON), receiver=str(receiving) if receiving else None,
        heard_at=receiving.renewed_at if receiving else None, free_bytes=_free_bytes(_nearest(server.home)))


def _places(server: ServerVault, home: Path) -> Iterator[Place]:
    for path in (home, server.home, *server.directories):
        nearest = _nearest(path)
        yield Place(path, nearest, nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK))


def _nearest(path: Path) -> Path:
    return next((each for each in (path, *path.parents) if os.path.lexists(each)), Path("/"))


def _read_wal(server: ServerVault, backups: tuple[Backup, ...], identity: Identity | None, segments: int) -> WalFacts:
    size = identity.segment_size if identity else DEFAULT_SEGMENT_SIZE
    try:
        with ExitStack() as scope:
            index = scope.enter_context(wal_index.reading(server))
            if segments and identity and unread(index):
                index = scope.enter_context(wal_index.copied(server))
                read_facts_into(index, server, identity, limit=segments)
            archived = archived_segments(index)
            tree = timeline_tree(server, index)
            stored, newest_at = index.stored_bytes(), newest_accepted(index)
    except NotFound:
        if any(archived_names(server)):
            raise
        return WalFacts({}, survey((), TimelineTree(()), backups, size))
    except DatabaseError as error:
        raise PgvaultError(f"could not read {server.cache.wal}", detail=f"SQLite says: {error}.",
                           hint=f"pgvault rebuild-index {server.name}") from None
    newest = {segment.timeline: segment.number for segment in archived}
    found = survey(archived, tree, backups, size, latest_between(server))
    return WalFacts(newest, found, instant(newest_at), stored)


def _count(directory: Path, *, without: str = TEMPORARY) -> int:
    """Count the files in a directory, except those being written and those whose names end in `without`."""
    try:
        return sum(not name.startswith(TEMPORARY) and not name.endswith(without) for name in os.listdir(directory))
    except OSError:
        return 0


def _free_bytes(path: Path) -> int | None:
    try:
        found = os.statvfs(path)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without an account
        return str(os.geteuid())
