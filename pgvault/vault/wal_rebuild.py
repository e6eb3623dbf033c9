"""Makes the WAL archive's index agree with the files again: after a crash, a copy, or the loss of the index."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from pgvault.model.errors import Corrupt, NotFound
from pgvault.model.segment import parse_wal_name
from pgvault.store.keys import Kind
from pgvault.store.leases import Concern
from pgvault.vault import wal_index
from pgvault.vault.layout import ServerVault
from pgvault.vault.wal_archive import add_to_index
from pgvault.vault.wal_fetch import read_checked
from pgvault.vault.wal_index import WalIndex


@dataclass(frozen=True, slots=True)
class Damaged:
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Reconciled:
    """The changes made to the index."""

    added: int
    removed: int
    damaged: tuple[Damaged, ...]
    """The files that cannot be read: they are left where they are, and out of the index."""


class Differences(NamedTuple):
    """The differences between the archive's files and the index, by name."""

    new: set[str]
    """The files that the index lacks."""
    gone: set[str]
    """The files that only the index has."""


def differences(server: ServerVault, index: WalIndex) -> Differences:
    """Return the differences. Equal lists of names, as they nearly always are, are compared as a whole, and only names
    that the index does not know are examined: there may be a hundred thousand.
    """
    there, known = [each.name for each in server.store.list(Kind.WAL, server.name)], index.names()
    if there == known:
        return Differences(set(), set())
    return Differences(set(filter(_is_wal, set(there).difference(known))), set(known).difference(there))


def archived_names(server: ServerVault) -> Iterator[str]:
    """Yield every file of the archive, as the store lists it."""
    return (each.name for each in server.store.list(Kind.WAL, server.name) if _is_wal(each.name))


def _is_wal(name: str) -> bool:
    try:
        parse_wal_name(name)
    except ValueError:
        return False
    return True


def reconcile(server: ServerVault) -> Reconciled:
    """Add the rows of files that the index lacks, and remove those of files that are gone.

    This takes two listings if nothing differs. Files are read outside the lock, so that archiving continues meanwhile.
    """
    with wal_index.writing(server) as index:
        new, gone = differences(server, index)
    added, damaged = _add_all(server, new)
    return Reconciled(added, _remove_all(server, gone), damaged)


def rebuild(server: ServerVault) -> Reconciled:
    """Make the index again from the files, each read and checked; afterwards their facts have to be read again."""
    try:
        with wal_index.writing(server) as index:
            index.forget_facts()
    except Corrupt:
        with server.leases.hold(Concern.ARCHIVE, wait=True):
            wal_index.discard(server)
    with wal_index.writing(server) as index:
        known = set(index.names())
    there = set(archived_names(server))
    added, damaged = _add_all(server, there)
    return Reconciled(added, _remove_all(server, known - there | {each.name for each in damaged} & known), damaged)


def _add_all(server: ServerVault, names: set[str]) -> tuple[int, tuple[Damaged, ...]]:
    added, damaged = 0, []
    for name in sorted(names):
        try:
            added += _add(server, name)
        except Corrupt as error:
            damaged.append(Damaged(name, error.detail))
    return added, tuple(damaged)


def _add(server: ServerVault, name: str) -> bool:
    """Read a file and add its row; return False if it left the archive meanwhile."""
    digest, plain = hashlib.sha256(), 0
    try:
        for piece in read_checked(server, name):
            digest.update(piece)
            plain += len(piece)
        with server.leases.hold(Concern.ARCHIVE, wait=True):
            add_to_index(server, name, plain, digest.digest())
    except NotFound:
        return False
    return True


def _remove_all(server: ServerVault, names: set[str]) -> int:
    """Remove rows; each is looked at again under the lock, since a file may have come back meanwhile."""
    removed = 0
    for name in sorted(names):
        with server.leases.hold(Concern.ARCHIVE, wait=True), wal_index.writing(server) as index:
            if not _is_readable(server, name):
                index.remove(name)
                removed += 1
    return removed


def _is_readable(server: ServerVault, name: str) -> bool:
    try:
        for _ in read_checked(server, name):
            pass
    except (NotFound, Corrupt):
        return False
    return True
