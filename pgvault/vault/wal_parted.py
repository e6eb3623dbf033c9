"""The segment in which a backup ends, if its times alone do not show which commits follow that end."""

from __future__ import annotations

import sqlite3

from pgvault.model.errors import PgvaultError
from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment
from pgvault.model.window import LatestBetween
from pgvault.vault import wal_index
from pgvault.vault.identity import read_identity
from pgvault.vault.layout import ServerVault
from pgvault.vault.wal_facts import carry_before, microseconds, timeline_tree
from pgvault.vault.wal_fetch import read_verified
from pgvault.wal.pieces import pieces
from pgvault.wal.transactions import transactions_of


def latest_between(server: ServerVault) -> LatestBetween:
    """Return a function that reads an archived segment again. A segment that cannot be read has no known time."""

    def read(segment: Segment, begin: Lsn, end: Lsn) -> int | None:
        try:
            return _latest(server, segment, begin, end)
        except (PgvaultError, OSError, ValueError, sqlite3.Error):
            return None

    return read


def _latest(server: ServerVault, segment: Segment, begin: Lsn, end: Lsn) -> int | None:
    identity = read_identity(server)
    if identity is None:
        return None
    name, start = segment.name(identity.segment_size), segment.start(identity.segment_size)
    with wal_index.reading(server) as index:
        carry = carry_before(index, timeline_tree(server, index), segment, identity)
        ends = transactions_of(pieces(read_verified(server, name), start), carry)
        return max((microseconds(each.time) for each in ends if begin <= each.lsn < end), default=None)
