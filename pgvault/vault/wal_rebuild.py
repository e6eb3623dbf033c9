"""Making the WAL archive's index agree with the files again: after a crash, a copy, or the loss of the index."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from pgvault.model.errors import Corrupt
from pgvault.vault import wal_index
from pgvault.vault.layout import ServerVault
from pgvault.vault.lock import Concern, locked
from pgvault.vault.wal_archive import SUFFIX, add_to_index, directory_of, path_of
from pgvault.vault.wal_fetch import read_checked


@dataclass(frozen=True, slots=True)
class Damaged:
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What was done to the index."""

    added: int
    removed: int
    damaged: tuple[Damaged, ...]
    """Files that cannot be read: they are left where they are, and out of the index."""


def archived_names(server: ServerVault) -> Iterator[str]:
    """Every file of the archive, as the directories have it."""
    for directory in os.scandir(server.wal):
        if not directory.is_dir():
            continue
        for name in os.listdir(directory.path):
            plain = name.removesuffix(SUFFIX)
            if plain != name and _belongs(plain, directory.name):
                yield plain


def reconcile(server: ServerVault) -> Reconciled:
    """Add the rows of files that the index does not know, and remove those of files that are gone.

    Costs two listings where nothing is amiss. Files are read outside the lock, so that archiving goes on meanwhile.
    """
    known, there = _indexed(server), set(archived_names(server))
    added, damaged = _add_all(server, there - known)
    return Reconciled(added, _remove_all(server, known - there), damaged)


def rebuild(server: ServerVault) -> Reconciled:
    """Make the index again from the files, each read and checked; their facts have to be read again after it."""
    try:
        with wal_index.writing(server) as index:
            index.forget_facts()
    except Corrupt:
        with locked(server.locks, Concern.ARCHIVE, wait=True):
            wal_index.discard(server)
    known, there = _indexed(server), set(archived_names(server))
    added, damaged = _add_all(server, there)
    return Reconciled(added, _remove_all(server, known - there | {each.name for each in damaged} & known), damaged)


def _indexed(server: ServerVault) -> set[str]:
    with wal_index.writing(server) as index:
        return index.names()


def _add_all(server: ServerVault, names: set[str]) -> tuple[int, tuple[Damaged, ...]]:
    added, damaged = 0, []
    for name in sorted(names):
        try:
            added += _add(server, name)
        except Corrupt as error:
            damaged.append(Damaged(name, error.detail))
    return added, tuple(damaged)


def _add(server: ServerVault, name: str) -> bool:
    """Read a file and have its row; False when it left the archive meanwhile."""
    path, digest, plain = path_of(server, name), hashlib.sha256(), 0
    try:
        for piece in read_checked(server, name, path):
            digest.update(piece)
            plain += len(piece)
        with locked(server.locks, Concern.ARCHIVE, wait=True):
            add_to_index(server, name, plain, digest.digest())
    except FileNotFoundError:
        return False
    return True


def _remove_all(server: ServerVault, names: set[str]) -> int:
    """Remove rows; each is looked at again under the lock, since a file may have come back meanwhile."""
    removed = 0
    for name in sorted(names):
        with locked(server.locks, Concern.ARCHIVE, wait=True), wal_index.writing(server) as index:
            if not _is_readable(server, name):
                index.remove(name)
                removed += 1
    return removed


def _is_readable(server: ServerVault, name: str) -> bool:
    try:
        for _ in read_checked(server, name, path_of(server, name)):
            pass
    except (FileNotFoundError, Corrupt):
        return False
    return True


def _belongs(name: str, directory: str) -> bool:
    try:
        return directory_of(name) == directory
    except ValueError:
        return False

