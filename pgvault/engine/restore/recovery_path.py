"""The archived WAL on the path to the end of one timeline, in the order of recovery, read once for all callers."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar, cast

from pgvault.engine.restore.stretch import Run, Stretch
from pgvault.model.errors import NotFound
from pgvault.model.lsn import Lsn
from pgvault.model.replay import Effect
from pgvault.model.timeline import History
from pgvault.vault.identity import Identity, read_identity
from pgvault.vault.layout import ServerVault
from pgvault.vault.wal_current import current
from pgvault.vault.wal_facts import OnProgress, microseconds
from pgvault.vault.wal_index import WalIndex
from pgvault.vault.wal_queries import one_moment
from pgvault.vault.wal_rows import Row
from pgvault.vault.wal_search import NamedPoint, WalSearch
from pgvault.wal.transactions import Transaction

T = TypeVar("T")

_XIDS = 1 << 32
_FAR_ENOUGH = 32
"""How many segments are searched for a subtransaction's top-level transaction, which nearly always ends soon after it.
"""


@dataclass(frozen=True, slots=True)
class Archive:
    """One server's WAL archive with an index that is up to date."""

    server: ServerVault
    index: WalIndex
    identity: Identity

    def search(self, *, partial: bool) -> WalSearch:
        return WalSearch(self.server, self.index, self.identity, partial=partial)


@contextmanager
def archive_of(server: ServerVault, on_progress: OnProgress) -> Iterator[Archive]:
    """Open the archive. Raises NotFound if the vault has nothing of the server. The original server is not asked.

    WAL that has not been read yet is read first; `on_progress` gets the progress.
    """
    identity = read_identity(server)
    if identity is None:
        raise NotFound(f"the vault holds nothing of {server.name}", hint=f"pgvault backup {server.name}")
    with current(server, identity, on_progress=on_progress) as index, one_moment(index):
        yield Archive(server, index, identity)


class RecoveryPath:
    """The history of one timeline with its WAL, read once for all backups on it."""

    def __init__(self, search: WalSearch, history: History) -> None:
        self.history, self.size = history, search.size
        self._search = search
        self._legs = history.legs[::-1]
        self._found: dict[Hashable, object] = {}
        self._read: tuple[str, list[Transaction]] = ("", [])

    def wal_from(self, begin: Lsn) -> Stretch | None:
        """Return what recovery can read from `begin` on, up to the first missing segment; None if that is the first."""
        number = begin // self.size
        firsts, runs = self.once("runs", self._runs)
        place = bisect_right(firsts, number) - 1
        if place >= 0:
            run = runs[place] = self._with_begun(runs[place])
            if number - firsts[place] < run.count:
                return Stretch(run, number - firsts[place])
        begun = self._search.begun(self.history, number)
        return Stretch(self.once(("begun", number), lambda: Run([begun])), 0) if begun else None

    def _runs(self) -> tuple[list[int], list[Run]]:
        """Return the runs with the numbers of their first segments."""
        runs = list(map(Run, self._search.runs(self.history)))
        return [run.first for run in runs], runs

    def _with_begun(self, run: Run) -> Run:
        """Return the run with the unfinished segment that continues it, if there is one."""
        begun = None if run.last.stops else self._search.begun(self.history, run.last.number + 1)
        return run.followed_by(begun) if begun else run

    def transactions(self, row: Row) -> list[Transaction]:
        """Return the ends of transactions in this segment, in order; the newest answer is remembered."""
        if self._read[0] != row.name:
            self._read = row.name, self._search.transactions(row)
        return self._read[1]

    def first_late(self, row: Row, first: int, begin: Lsn) -> tuple[bool, Transaction] | None:
        """Return the first end of a transaction in this segment, at `begin` or after it, that is at `first` or later;
        and whether one before it is earlier. Recovery does not read what precedes a backup's begin.
        """
        def find() -> tuple[bool, Transaction] | None:
            in_time = False
            for each in self.transactions(row):
                is_late = microseconds(each.time) >= first
                if is_late and each.lsn >= begin:
                    return in_time, each
                in_time = in_time or not is_late
            return None

        return self.once(("late", first, row.name, max(begin, row.number * self.size)), find)

    def end_of(self, row: Row, xid: int) -> Transaction | None:
        """Return the end of this transaction, if it is in this segment."""
        return self.once(("xid", xid, row.name), lambda: next(
            (each for each in self.transactions(row) if each.xid == xid), None))

    def once(self, key: Hashable, find: Callable[[], T]) -> T:
        """Return what `find` returned at the first call with this key."""
        if key not in self._found:
            self._found[key] = find()
        return cast("T", self._found[key])

    def timeline_at(self, lsn: Lsn) -> int:
        """Return the timeline on which this position is."""
        return next(leg.timeline for leg in self._legs if lsn >= leg.start)

    def name_at(self, lsn: Lsn) -> str:
        """Return the name of the segment from which recovery reads this position."""
        return self.history.segment(lsn // self.size, self.size).name(self.size)

    def break_behind(self, row: Row) -> str:
        """Return why recovery ends with this segment though the archive has more of the path; empty if it has not."""
        return self.once(("break", row.name), lambda: self._search.break_behind(self.history, row))

    def left_out(self, row: Row) -> Row | None:
        """Return the unfinished segment that would continue the WAL after `row`, the last one, if it were asked for."""
        return self.once(("left out", row.name), lambda: self._search.left_out(self.history, row))

    def points(self, begin: Lsn, name: str) -> Sequence[NamedPoint]:
        """Return the restore points of this name that recovery meets from `begin` on, in order."""
        wal = self.wal_from(begin)
        if wal is None:
            return ()
        points = self.once(("points", name, wal.run.first), lambda: self._points(wal.run.rows, name))
        return points[bisect_left(points, begin, key=lambda point: point.lsn):]

    def _points(self, rows: Sequence[Row], name: str) -> list[NamedPoint]:
        first = rows[0].number
        return [point for point in self.once(("points", name), lambda: self._search.restore_points(name))
                if 0 <= point.number - first < len(rows) and rows[point.number - first].timeline == point.timeline]

    def effects(self, row: Row) -> list[tuple[int, Effect]]:
        """Return what replay does up to the end of this segment, from the first archived one on, with the numbers of
        the segments."""
        return self._search.effects(self.history, row)

    def effects_within(self, row: Row) -> list[Effect]:
        """Return all that the records of this segment do, read again; WalMissing if it cannot be read."""
        return self._search.effects_within(row)

    def numbers(self) -> list[int]:
        """Return the numbers of the archived segments of the path, in order."""
        return self._search.numbers(self.history)

    def transaction_with(self, begin: Lsn, subxid: int) -> int | None:
        """Return the transaction of which this is a subtransaction, if it can be found."""
        wal = self.wal_from(begin)
        if wal is None:
            return None
        began = wal.fitting(("began", subxid), lambda oldest, problem: oldest is not None and not problem
                            and (subxid - oldest) % _XIDS < _XIDS // 2, "oldest_xid", "problem")
        for place in islice(reversed(list(began)), _FAR_ENOUGH):
            for transaction in self.transactions(wal.run.rows[place]):
                if subxid in transaction.subxids:
                    return transaction.xid
        return None


class RecoveryPaths:
    """One path for each timeline, made when it is first asked for."""

    def __init__(self, search: WalSearch) -> None:
        self.search = search
        self._paths: dict[int, RecoveryPath] = {}

    def to(self, timeline: int) -> RecoveryPath:
        if timeline not in self._paths:
            self._paths[timeline] = RecoveryPath(self.search, self.search.tree.history(timeline))
        return self._paths[timeline]
