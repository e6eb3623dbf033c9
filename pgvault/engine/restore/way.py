"""The archived WAL on the way to the end of one timeline, as recovery reads it, read once for all who ask."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pgvault.model.errors import NotFound
from pgvault.model.lsn import Lsn
from pgvault.model.replay import Effect
from pgvault.model.timeline import History
from pgvault.vault.identity import Identity, read_identity
from pgvault.vault.layout import ServerVault
from pgvault.vault.wal_current import current
from pgvault.vault.wal_facts import Told
from pgvault.vault.wal_index import WalIndex
from pgvault.vault.wal_search import NamedPoint, Row, WalSearch
from pgvault.wal.transactions import Transaction

_XIDS = 1 << 32
_FAR_ENOUGH = 32
"""Segments that are read in search of a subtransaction's transaction, which ends soon after it nearly always."""


@dataclass(frozen=True, slots=True)
class Archive:
    """One server's WAL archive with an index that is up to date."""

    server: ServerVault
    index: WalIndex
    identity: Identity

    def search(self, *, partial: bool) -> WalSearch:
        return WalSearch(self.server, self.index, self.identity, partial=partial)


@contextmanager
def archive_of(server: ServerVault, told: Told) -> Iterator[Archive]:
    """NotFound when the vault holds nothing of the server; the original server is not asked.

    WAL that nobody has read yet is read first, and `told` how far that is.
    """
    identity = read_identity(server)
    if identity is None:
        raise NotFound(f"the vault holds nothing of {server.name}", hint=f"pgvault backup {server.name}")
    with current(server, identity, told=told) as index:
        yield Archive(server, index, identity)


class Way:
    """Along the history of one timeline. Ask for the oldest backup first: newer ones then share what was read."""

    def __init__(self, search: WalSearch, history: History) -> None:
        self.history, self.size = history, search.size
        self._search = search
        self._runs: list[list[Row]] = []
        self._read: tuple[str, list[Transaction]] = ("", [])

    def rows(self, begin: Lsn) -> list[Row]:
        """The segments that recovery can read one after the other from `begin` on, up to the first that is missing."""
        number = begin // self.size
        for run in self._runs:
            if 0 <= (skipped := number - run[0].segment.number) < len(run):
                return run[skipped:]
        run = list(self._search.unbroken(self.history, begin))
        if run:
            self._runs.append(run)
        return run

    def transactions(self, row: Row) -> list[Transaction]:
        """The ends of transactions in this segment, in order; the newest answer is remembered."""
        if self._read[0] != row.name:
            self._read = row.name, self._search.transactions(row)
        return self._read[1]

    def timeline_at(self, lsn: Lsn) -> int:
        """The timeline on which this position lies."""
        return next(leg.timeline for leg in reversed(self.history.legs) if lsn >= leg.start)

    def name_at(self, lsn: Lsn) -> str:
        """Of the segment that recovery reads this position from."""
        return next(self.history.path(lsn, Lsn(lsn + 1), self.size)).name(self.size)

    def break_behind(self, row: Row) -> str:
        """Why recovery ends with this segment though the archive has more of the way; empty when it has not."""
        return self._search.break_behind(self.history, row)

    def left_out(self, row: Row) -> Row | None:
        """The unfinished segment with which the WAL would go on behind `row`, the last one, were it asked for."""
        return self._search.left_out(self.history, row)

    def points(self, begin: Lsn, name: str) -> Iterator[tuple[Row, NamedPoint]]:
        """The restore points of this name that recovery meets from `begin` on, in order."""
        rows = {(row.segment.timeline, row.segment.number): row for row in self.rows(begin)}
        for point in self._search.restore_points(name):
            row = rows.get((point.timeline, point.number))
            if row is not None and point.lsn >= begin:
                yield row, point

    def effects(self, row: Row) -> list[tuple[int, Effect]]:
        """What replay does up to the end of this segment, from the first archived one on, with segments' numbers."""
        return self._search.effects(self.history, row)

    def effects_within(self, row: Row) -> list[Effect]:
        """All that the records of this segment do, read again; WalMissing when it cannot be read."""
        return self._search.effects_within(row)

    def numbers(self) -> list[int]:
        """Of the archived segments along the way, in order."""
        return self._search.numbers(self.history)

    def transaction_with(self, begin: Lsn, subxid: int) -> int | None:
        """The transaction of which this is a subtransaction, where it can be found."""
        rows = [row for row in self.rows(begin)
                if row.xids is not None and not row.problem and (subxid - row.xids.oldest) % _XIDS < _XIDS // 2]
        for row in rows[:-_FAR_ENOUGH - 1:-1]:
            for transaction in self.transactions(row):
                if subxid in transaction.subxids:
                    return transaction.xid
        return None


class Ways:
    """One for each timeline, made when it is first asked for."""

    def __init__(self, search: WalSearch) -> None:
        self.search = search
        self._ways: dict[int, Way] = {}

    def to(self, timeline: int) -> Way:
        if timeline not in self._ways:
            self._ways[timeline] = Way(self.search, self.search.tree.history(timeline))
        return self._ways[timeline]
