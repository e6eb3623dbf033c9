"""Accidents in the archived WAL as they are found, segment by segment, forwards or backwards.

Forwards, one ledger goes through all segments. Backwards, each segment is read by itself, and a commit in it is judged
when the segments before it have been asked what they know of its transaction. How far back that has to be is told by
what servers write every 15 s, and with each checkpoint: which xid comes next, so which transactions had not begun.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from pgvault.model.errors import PgvaultError
from pgvault.model.event import Emit, Level, Noted
from pgvault.vault.wal_records import RecordReader
from pgvault.vault.wal_search import Row
from pgvault.wal.accidents import Finding, Known, find_accidents, restore_point
from pgvault.wal.carry import Carry
from pgvault.wal.facts import RestorePoint
from pgvault.wal.transaction_changes import Ended, Ledger
from pgvault.wal.transactions import is_older

LOOK_BACK = 1024
"""Segments at most in which the beginning of a transaction is searched, backwards from its commit, or from the first
segment of interest. That it did something even earlier, which is not counted, is told."""
LEAST = 2
"""Segments that are read in any case: the mark of a dropped database is no part of the transaction, and comes shortly
before it."""

Found = tuple[Row, Finding]
KnownAt = Callable[[int], Known]
"""What is known of relations, at a position."""


@dataclass(frozen=True, slots=True)
class Rules:
    emit: Emit
    """Takes what could not be understood and is passed over."""
    rows: int
    """How many rows of one relation make a mass deletion."""
    known: KnownAt
    rewritten: frozenset[tuple[int, int]]
    """As `Ledger` takes it."""


R = TypeVar("R")
"""A segment, as it is named to who reads it."""


class Segments(ABC, Generic[R]):
    """What is read of segments."""

    def __init__(self) -> None:
        self._left_open: dict[R, Ledger] = {}

    @abstractmethod
    def read(self, row: R, ledger: Ledger) -> Iterator[Ended | RestorePoint]:
        """What ends in a segment."""

    def left_open(self, row: R, rules: Rules) -> Ledger:
        """What a segment by itself leaves open; read once, as all that end behind it ask the same."""
        if (ledger := self._left_open.get(row)) is None:
            ledger = Ledger(rules.rewritten)
            for _ in self.read(row, ledger):
                continue
            if len(self._left_open) >= LOOK_BACK:
                del self._left_open[next(iter(self._left_open))]
            self._left_open[row] = ledger
        return ledger


class Stretch(Segments[Row]):
    """Of one segment after the other; one that cannot be read is told and left out."""

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
    """In the order of positions. `earlier`, the newest first, are those before, in which transactions may have begun.
    """
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
    """Back to where none of the transactions had begun that are still running at the end."""
    oldest, number = None, 0
    for number, row in enumerate(earlier, 1):
        ledger = stretch.left_open(row, rules)
        yield ledger
        oldest = ledger.oldest if oldest is None else oldest
        if number >= LEAST and oldest is not None and ledger.following is not None \
                and not is_older(oldest, ledger.following):
            return
    if number >= LOOK_BACK:
        _tell_cut(rules)


def _tell_cut(rules: Rules) -> None:
    rules.emit(Noted(f"what a transaction did more than {LOOK_BACK:,} segments before its end was not read: deletions "
                     "may be missing, and a rewritten table may be told as dropped", Level.WARNING, "cut-off"))


def backwards(stretch: Stretch, rows: Iterable[Row], earlier: Iterable[Row], rules: Rules) -> Iterator[Found]:
    """The newest first. `rows` come newest first too, and then `earlier`, in which transactions may have begun."""
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
    """Commits whose transactions may have begun before what has been read, and what was found behind them: it comes
    out in order, so one that is not settled holds up those before it."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._queue: list[_Item] = []

    @property
    def unsettled(self) -> bool:
        return any(item.ended is not None for item in self._queue)

    def add(self, row: Row, ends: list[Ended | RestorePoint]) -> None:
        """Of one segment, in the order of positions."""
        self._queue += [_Item(row, each if isinstance(each, Ended) else None,
                              [] if isinstance(each, Ended) else _findings(each, self._rules))
                        for each in reversed(ends)]

    def settle(self, earlier: Ledger) -> Iterator[Found]:
        """Let a segment before the others say what it knows; then what has become ready."""
        for item in self._queue:
            if (ended := item.ended) is not None:
                ended.absorb(earlier)
                item.age += 1
                begins = ended.begins_within(earlier)
                if begins and (item.age >= LEAST or not ended.lacks_mark()):
                    item.find(self._rules)
                elif item.age >= LOOK_BACK:
                    if not begins:
                        _tell_cut(self._rules)
                    item.find(self._rules)
        self._queue = [item for item in self._queue if item.ended is not None or item.findings]
        ready = next((i for i, item in enumerate(self._queue) if item.ended is not None), len(self._queue))
        done, self._queue = self._queue[:ready], self._queue[ready:]
        for item in done:
            yield from item.found()

    def all(self) -> Iterator[Found]:
        """Also what could not be settled: the WAL begins there."""
        for item in self._queue:
            item.find(self._rules)
            yield from item.found()
        self._queue = []


class _Item:
    def __init__(self, row: Row, ended: Ended | None, findings: list[Finding]) -> None:
        self.row, self.ended, self.findings = row, ended, findings
        self.age = 0
        """How many segments before its own have been asked."""

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
        rules.emit(Noted(f"{error}; what it did is not told", Level.WARNING, "not-read"))
        return []
