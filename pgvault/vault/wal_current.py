"""The index of the WAL archive, brought up to date and with the records of every segment read, as plans require.

If the vault cannot be written to (a copy on a read-only medium, a full disk), a copy of the index in memory is brought
up to date in its place.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pgvault.model.errors import Corrupt, NoSpace, NotFound
from pgvault.vault import wal_index
from pgvault.vault.identity import Identity
from pgvault.vault.layout import ServerVault
from pgvault.vault.wal_archive import key_of
from pgvault.vault.wal_facts import OnProgress, read_facts, read_facts_into
from pgvault.vault.wal_fetch import read_checked
from pgvault.vault.wal_index import WalIndex
from pgvault.vault.wal_rebuild import differences, reconcile


@contextmanager
def current(server: ServerVault, identity: Identity, *, on_progress: OnProgress | None = None) -> Iterator[WalIndex]:
    """Open the index, brought up to date. This takes two listings, and about a twentieth of a second for each segment
    of 16 MiB that was not read yet.
    """
    if os.access(server.home, os.W_OK) and _brought_up_to_date(server, on_progress):
        with wal_index.reading(server) as index:
            yield index
        return
    with wal_index.copied(server) as index:
        _reconcile(index, server, identity)
        read_facts_into(index, server, identity, on_progress=on_progress)
        yield index


def _brought_up_to_date(server: ServerVault, on_progress: OnProgress | None) -> bool:
    """Bring the index up to date; return False if the vault is full."""
    try:
        reconcile(server)
        read_facts(server, on_progress=on_progress)
    except NoSpace:
        return False
    return True


def _reconcile(index: WalIndex, server: ServerVault, identity: Identity) -> None:
    """Do what `wal_rebuild.reconcile` does in a vault that may be written to."""
    new, gone = differences(server, index)
    for name in gone:
        index.remove(name)
    for name in sorted(new):
        with suppress(Corrupt, NotFound):
            digest, plain = hashlib.sha256(), 0
            for piece in read_checked(server, name):
                digest.update(piece)
                plain += len(piece)
            if found := server.store.stat(key_of(server, name)):
                index.add(wal_index.describe(found, name, identity.segment_size, plain, digest.digest()))
