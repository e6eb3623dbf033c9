"""Finds accidents in the archived WAL segment by segment, forwards or backwards.

Forwards, one ledger goes through all segments. Backwards, each segment is read by itself, and its commits are evaluated
after the earlier segments were searched for changes of their transactions. How far back that must go follows from the
records that servers write every 15 s, and with each checkpoint: they contain the next xid, so that older records show
which transactions had not begun.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from pgvault.model.errors import PgvaultError
from pgvault.model.event import Emit, Level, Noted
from pgvault.vault.wal_records import RecordReader
from pgvault.vault.wal_rows import Row
from pgvault.wal.accidents import Finding, Known, find_accidents, restore_point
from pgvault.wal.carry import Carry
from pgvault.wal.facts import RestorePoint
from pgvault.wal.transaction_changes import Ended, Ledger
from pgvault.wal.transactions import is_older

LOOK_BACK = 1024
"""Maximum number of segments that are searched for the beginning of a transaction, backwards from its commit, or from
the first segment of interest. Earlier changes are not counted, which is reported."""
LEAST = 2
"""Segments that are always read: the mark of a dropped database is not part of the transaction, but shortly precedes
it."""

Found = tuple[Row, Finding]
KnownAt = Callable[[int], Known]
"""Returns what is known of relations at a position."""


@dataclass(frozen=True, slots=True)
class Rules:
    emit: Emit
    """Receives reports about what could not be decoded and is skipped."""
    rows: int
    """The number of rows of one relation that make a mass deletion."""
    known: KnownAt
    rewritten: frozenset[tuple[int, int]]
    """The rewritten catalogs, as passed to `Ledger`."""


R = TypeVar("R")
"""A segment, in the form that its reader uses."""


class Segments(ABC, Generic[R]):
    """Reads segments, and remembers what they leave open."""

    def __init__(self) -> None:
        self._left_open: dict[R, Ledger] = {}

    @abstractmethod
    def read(self, row: R, ledger: Ledger) -> Iterator[Ended | RestorePoint]:
        """Yield what ends in a segment."""

    def left_open(self, row: R, rules: Rules) -> Ledger:
        """Return what a segment by itself leaves open. It is read once, since all later commits ask the same."""
        if (ledger := self._left_open.get(row)) is None:
            ledger = Ledger(rules.rewritten)
            for _ in self.read(row, ledger):
                continue
            if len(self._left_open) >= LOOK_BACK:
                del self._left_open[next(iter(self._left_open))]
            self._left_open[row] = ledger
        return ledger


class Stretch(Segments[Row]):
    """Reads consecutive segments. One that cannot be read is reported and skipped."""

    def __init__(self, reader: RecordReader, emit: Emit) -> None:
        super().__init__()
        self._reader, self._emit = reader, emit
        self._carry: Carry | None = None

    def read(self, row: Row, ledger: Ledger) -> Iterator[Ended | RestorePoint]:
        try:
            for reading in self._reader.readings(row, self._carry):
                self._carry = None
                yield from ledger.read(reading)
                self._carry = reading.carry
        except (PgvaultError, ValueError) as error:
            self._carry = None
            reason = error.message if isinstance(error, PgvaultError) else str(error)
            self._emit(Noted(f"segment {row.name} was not read: {reason}", Level.WARNING, "not-read"))


def forwards(stretch: Stretch, earlier: Iterable[Row], rows: Iterable[Row], rules: Rules) -> Iterator[Found]:
    """Find in the order of positions. `earlier` are the preceding segments, newest first, in which transactions may
    have begun."""
    lead = list(_lead(stretch, earlier, rules))
    ledger = Ledger(rules.rewritten)
    for row in rows:
        for each in stretch.read(row, ledger):
            if isinstance(each, Ended) and (each.lacks_mark() or not each.begins_within(ledger)):
                for before in lead:
                    each.absorb(before)
            for finding in _findings(each, rules):
                yield row, finding


def _lead(stretch: Stretch, earlier: Iterable[Row], rules: Rules) -> Iterator[Ledger]:
    """Read back to where none of the transactions had begun that are still running at the end."""
    oldest, number = None, 0
    for number, row in enumerate(earlier, 1):
        ledger = stretch.left_open(row, rules)
        yield ledger
        oldest = ledger.oldest if oldest is None else oldest
        if number >= LEAST and oldest is not None and ledger.following is not None \
                and not is_older(oldest, ledger.following):
            return
    if number >= LOOK_BACK:
        _report_cut(rules)


def _report_cut(rules: Rules) -> None:
    rules.emit(Noted(f"what a transaction did more than {LOOK_BACK:,} segments before its end was not read: deletions "
                     "may be missing, and a rewritten table may appear as dropped", Level.WARNING, "cut-off"))


def backwards(stretch: Stretch, rows: Iterable[Row], earlier: Iterable[Row], rules: Rules) -> Iterator[Found]:
    """Find newest first. `rows` come newest first too, and then `earlier`, in which transactions may have begun."""
    waiting = _Waiting(rules)
    for row in rows:
        ledger = Ledger(rules.rewritten)
        ends = [each for each in stretch.read(row, ledger) if not isinstance(each, Ended)
                or not each.is_dull(rules.rows) or not each.begins_within(ledger)]
        yield from waiting.settle(ledger)
        waiting.add(row, ends)
    for row in earlier:
        if not waiting.unsettled:
            break
        yield from waiting.settle(stretch.left_open(row, rules))
    yield from waiting.all()


class _Waiting:
    """Commits whose transactions may have begun before what has been read, and later findings. Output is in order, so
    an unsettled commit delays those before it."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._queue: list[_Item] = []

    @property
    def unsettled(self) -> bool:
        return any(item.ended is not None for item in self._queue)

    def add(self, row: Row, ends: list[Ended | RestorePoint]) -> None:
        """Add the ends of one segment, in the order of positions."""
        self._queue += [_Item(row, each if isinstance(each, Ended) else None,
                              [] if isinstance(each, Ended) else _findings(each, self._rules))
                        for each in reversed(ends)]

    def settle(self, earlier: Ledger) -> Iterator[Found]:
        """Apply what an earlier segment contains; then yield what has become settled."""
        for item in self._queue:
            if (ended := item.ended) is not None:
                ended.absorb(earlier)
                item.age += 1
                begins = ended.begins_within(earlier)
                if begins and (item.age >= LEAST or not ended.lacks_mark()):
                    item.find(self._rules)
                elif item.age >= LOOK_BACK:
                    if not begins:
                        _report_cut(self._rules)
                    item.find(self._rules)
        self._queue = [item for item in self._queue if item.ended is not None or item.findings]
        ready = next((i for i, item in enumerate(self._queue) if item.ended is not None), len(self._queue))
        done, self._queue = self._queue[:ready], self._queue[ready:]
        for item in done:
            yield from item.found()

    def all(self) -> Iterator[Found]:
        """Yield also what could not be settled, since the WAL begins there."""
        for item in self._queue:
            item.find(self._rules)
            yield from item.found()
        self._queue = []


class _Item:
    def __init__(self, row: Row, ended: Ended | None, findings: list[Finding]) -> None:
        self.row, self.ended, self.findings = row, ended, findings
        self.age = 0
        """Number of earlier segments that have been searched."""

    def find(self, rules: Rules) -> None:
        if self.ended is not None:
            self.findings = _findings(self.ended, rules)
            self.ended = None

    def found(self) -> Iterator[Found]:
        return ((self.row, finding) for finding in reversed(self.findings))


def _findings(each: Ended | RestorePoint, rules: Rules) -> list[Finding]:
    if isinstance(each, RestorePoint):
        return [restore_point(each)]
    try:
        return [] if each.is_dull(rules.rows) else find_accidents(each, rules.rows, rules.known(each.lsn))
    except ValueError as error:
        rules.emit(Noted(f"{error}; its changes are not shown", Level.WARNING, "not-read"))
        return []
