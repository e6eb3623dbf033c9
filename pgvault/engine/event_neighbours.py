"""The transactions around a position in the WAL, from which a person chooses where to stop."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from pgvault.engine.event_names import NameBook, NamesAt, WalObject
from pgvault.engine.events import path_to, removed_files
from pgvault.model.errors import NotFound, WalMissing
from pgvault.model.lsn import Lsn
from pgvault.model.target import AtLsn
from pgvault.vault.identity import read_identity
from pgvault.vault.layout import ServerVault
from pgvault.vault.wal_current import current
from pgvault.vault.wal_rows import Row
from pgvault.vault.wal_search import WalSearch
from pgvault.wal.transactions import Kind, Transaction

_FAR_ENOUGH = 8
"""Most segments that are read on either side."""


@dataclass(frozen=True, slots=True)
class NearTransaction:
    """The end of one transaction, with the position that a restore stops at, before or after it."""

    lsn: Lsn
    end_lsn: Lsn
    time: datetime
    xid: int
    kind: Kind
    timeline: int
    """The timeline to restore along."""
    removed: int
    """How many relation files it removed."""
    objects: tuple[WalObject, ...]
    """The relations whose files it removed, as far as they are known, the main one first."""

    @property
    def before(self) -> AtLsn:
        return AtLsn(self.lsn, inclusive=False)

    @property
    def after(self) -> AtLsn:
        return AtLsn(self.lsn)


def transactions_near(server: ServerVault, timeline: int, lsn: Lsn, count: int, *,
                      partial: bool = False) -> list[NearTransaction]:
    """Return up to `count` transactions that ended before a position, and as many that ended at or after it, in order.

    Those that ended far away, or in unreadable segments, are left out. NotFound if there is no WAL of the timeline. A
    call takes about 0.1 s.
    """
    identity = read_identity(server)
    if identity is None:
        raise NotFound(f"nothing of {server.name} is in the vault yet", hint=f"pgvault check {server.name}")
    with current(server, identity) as index:
        search = WalSearch(server, index, identity, partial=partial)
        history = path_to(server, search, timeline)
        rows = list(search.on_path(history))
        place = next((i for i, row in enumerate(rows) if row.segment.end(search.size) > lsn), len(rows))
        before: deque[tuple[Row, Transaction]] = deque(maxlen=count)
        behind: list[tuple[Row, Transaction]] = []
        for row, transaction in _ends(search, rows[place:place + 1]):
            if transaction.lsn < lsn:
                before.append((row, transaction))
            elif len(behind) < count:
                behind.append((row, transaction))
        behind += islice(_ends(search, rows[place + 1:place + 1 + _FAR_ENOUGH]), count - len(behind))
        for row in reversed(rows[max(place - _FAR_ENOUGH, 0):place]):
            if len(before) == count:
                break
            earlier = list(_ends(search, [row]))
            before.extendleft(reversed(earlier[-(count - len(before)):]))
        with NameBook(server, history) as book:
            return [_near(row, transaction, book.at(transaction.lsn)) for row, transaction in (*before, *behind)]


def _ends(search: WalSearch, rows: Iterable[Row]) -> Iterator[tuple[Row, Transaction]]:
    for row in rows:
        try:
            for transaction in search.transactions(row):
                yield row, transaction
        except WalMissing:
            continue


def _near(row: Row, transaction: Transaction, names: NamesAt) -> NearTransaction:
    return NearTransaction(transaction.lsn, transaction.end_lsn, transaction.time, transaction.xid, transaction.kind,
                           row.segment.timeline, len(transaction.relations),
                           removed_files(transaction.relations, names))
