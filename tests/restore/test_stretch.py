"""What is counted once for all backups is what each would find by going through its own WAL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_archive import SIZE, MadeArchive, archives
from test_reachable import instants

from pgvault.engine.restore.choose import needed
from pgvault.engine.restore.recovery_path import RecoveryPath, RecoveryPaths
from pgvault.engine.restore.stop import NoStop, NoStopCause, Stop, find_stop
from pgvault.engine.restore.stretch import Run, Stretch
from pgvault.model.backup import Backup
from pgvault.model.errors import WalMissing
from pgvault.model.lsn import Lsn
from pgvault.model.target import AtLsn, AtName, AtTime, AtXid, EndOfWal, Target
from pgvault.model.window import DAMAGED
from pgvault.vault.wal_rows import Row
from pgvault.wal.records import Cause
from pgvault.wal.transactions import Transaction


@st.composite
def flawed(draw: st.DrawFn) -> MadeArchive:
    """With timelines, gaps and clocks put back; a segment may be damaged or empty at its end, another one unread."""
    archive = draw(archives())
    places = sorted(archive.rows)
    for segment in draw(st.sets(st.sampled_from(places), max_size=1)) if places else ():
        row = archive.rows[segment]
        archive.rows[segment] = row._replace(
            stops=True, ends_by=draw(st.sampled_from([DAMAGED, Cause.UNWRITTEN.value])), whole=(row.last_at or 0) + 64)
    for segment in draw(st.sets(st.sampled_from(places), max_size=1)) if places and draw(st.booleans()) else ():
        archive.rows[segment] = archive.rows[segment]._replace(
            problem="it is new", earliest=None, latest=None, oldest_xid=None, newest_xid=None, last_at=None)
    return archive


@st.composite
def targets(draw: st.DrawFn, archive: MadeArchive) -> Target:
    records = [each for found in archive.server.records.values() for each in found]
    record, inclusive = draw(st.sampled_from(records)), draw(st.booleans())
    return draw(st.sampled_from([AtTime(draw(instants(archive)), inclusive), AtLsn(record.lsn, inclusive), EndOfWal(),
                                 AtXid(record.xid or 3, inclusive), AtName(record.name or "a")]))


class Walk:
    """One backup's WAL, gone through segment by segment and record by record."""

    def __init__(self, archive: MadeArchive, way: RecoveryPath, backup: Backup) -> None:
        self.archive, self.way, self.backup, self.end = archive, way, backup, backup.end_lsn or Lsn(0)
        self.rows: list[Row] = []
        for segment in way.history.path(backup.begin_lsn or Lsn(0), Lsn(1 << 40), SIZE):
            if segment not in archive.rows or (self.rows and self.rows[-1].stops):
                break
            self.rows.append(archive.rows[segment])

    def stop(self, target: Target) -> Stop | NoStopCause | str:
        if not self.rows or self.rows[-1].reach < self.end:
            return NoStopCause.BROKEN
        try:
            found = self._find(target)
        except WalMissing:
            return "not read"
        return NoStopCause.TOO_EARLY if isinstance(found, Stop) and found.lsn < self.end else found

    def _find(self, target: Target) -> Stop | NoStopCause:
        match target:
            case AtTime():
                return self._at_time(target)
            case AtXid():
                ends = (each for row in self.rows for each in self._ends(row))
                found = next((each for each in ends if each.xid == target.xid), None)
                return self._at(found, target.inclusive) if found else NoStopCause.UNKNOWN
            case AtName():
                return self._at_name(target.name)
            case AtLsn():
                return self._at_lsn(target)
        last = self.rows[-1]
        if not last.stops and self.way.break_behind(last):
            return NoStopCause.TOO_LATE
        times = [each.time for row in self.rows if not row.problem for each in self._ends(row)]
        reached = max(last.segment.start(SIZE), self.end) if last.problem else last.reach
        return Stop(last.timeline, reached, True, last.end, max(times, default=None))

    def _at_time(self, target: AtTime) -> Stop | NoStopCause:
        finished, ends = self.backup.finished_at, []
        assert finished is not None
        for row in self.rows:
            late = [each for each in self._ends(row)
                    if each.time > target.time or (each.time == target.time and not target.inclusive)]
            for each in self._ends(row):
                if each in late and each.lsn >= (self.backup.begin_lsn or 0):
                    return self._at(each, False) if ends or target.time >= finished else NoStopCause.TOO_EARLY
                ends += [each] if each not in late else []
        if any(each.time == target.time and each.lsn >= (self.backup.begin_lsn or 0) for each in ends):
            return self._at(ends[-1], True)
        behind = [each for each in ends if each.lsn >= self.end]
        if target.time > finished or (behind and target.time < finished):
            return NoStopCause.TOO_LATE
        if target.time < finished:
            return NoStopCause.TOO_EARLY
        stop = self._at(ends[-1], True) if behind else self._at_lsn(AtLsn(self.end, inclusive=False))
        return stop if behind or isinstance(stop, NoStopCause) else replace(stop, time=finished)

    def _at_lsn(self, target: AtLsn) -> Stop | NoStopCause:
        for row in self.rows:
            self._refuse_unread(row)
            if row.last_at is not None and row.last_at >= target.lsn:
                return Stop(self.way.timeline_at(target.lsn), target.lsn, target.inclusive, row.end, None)
        return NoStopCause.TOO_LATE

    def _at_name(self, name: str) -> Stop | NoStopCause:
        found = False
        for row in self.rows:
            self._refuse_unread(row)
            for each in self.archive.records(row.segment):
                if each.name == name and each.lsn >= (self.backup.begin_lsn or 0):
                    found = True
                    if each.lsn >= self.end:
                        return Stop(self.way.timeline_at(each.lsn), each.lsn, True, each.end, each.time)
        return NoStopCause.TOO_EARLY if found else NoStopCause.UNKNOWN

    def _ends(self, row: Row) -> Sequence[Transaction]:
        self._refuse_unread(row)
        return self.archive.transactions(row)

    def _refuse_unread(self, row: Row) -> None:
        if row.problem:
            raise WalMissing(row.problem)

    def _at(self, transaction: Transaction, replayed: bool) -> Stop:
        return Stop(self.way.timeline_at(transaction.lsn), transaction.lsn, replayed, transaction.end_lsn,
                    transaction.time)


@pytest.mark.slow
@given(flawed(), st.data())
@settings(max_examples=300, deadline=None)
def test_every_backup_is_judged_as_if_it_were_the_only_one(archive: MadeArchive, data: st.DataObject) -> None:
    ways, asked = RecoveryPaths(archive), data.draw(st.lists(targets(archive), min_size=1, max_size=3))
    for way in map(ways.to, (history.timeline for history in archive.tree.histories)):
        for backup in data.draw(st.permutations(archive.backups)):
            walk = Walk(archive, way, backup)
            for target in asked:
                found = judged(way, backup, target)
                assert found == walk.stop(target)
                if isinstance(found, Stop):
                    need = needed(way, backup, found)
                    rows = [row for row in walk.rows if row.segment.start(SIZE) < found.until]
                    assert (need.rows, need.segments, need.stored) == (rows, len(rows), 1000 * len(rows))


def judged(way: RecoveryPath, backup: Backup, target: Target) -> Stop | NoStopCause | str:
    try:
        found = find_stop(way, backup, target)
    except WalMissing:
        return "not read"
    return found.cause if isinstance(found, NoStop) else found


# One stretch, asked by itself


def stretch(first: int = 1) -> Stretch:
    """Segments 10 to 13; transactions end in 10 and 11, and 13 was not read."""
    row = Row(1, 0, "", 7, None, None, None, None, None, None, 0, stops=False)
    rows = [row._replace(number=10, stored=1, latest=500), row._replace(number=11, stored=10, latest=300),
            row._replace(number=12, stored=100), row._replace(number=13, name="N", stored=1000, problem="damaged")]
    return Stretch(Run(rows), first)


def test_the_segments_of_a_stretch_are_those_from_its_first_on() -> None:
    part = stretch()
    assert [each.number for each in part.rows] == [11, 12, 13]
    assert part.last.number == 13
    assert [row and row.number for row in map(part.row, range(8, 16))] == [None] * 3 + [11, 12, 13, None, None]
    assert [part.place(number) for number in (10, 13)] == [0, 3]


def test_the_latest_time_is_that_of_the_segments_that_are_asked_for() -> None:
    whole, part = stretch(0), stretch()
    assert [whole.latest(number) for number in (0, 10, 11, 12, 13, 14, 99)] == [500, 500, 300, -1, -1, -1, -1]
    assert [part.latest(number) for number in (0, 10, 11, 12, 99)] == [300, 300, 300, -1, -1]
    assert part.latest() == 300


def test_the_last_commit_may_lie_before_it() -> None:
    found = [stretch(first).last_commit() for first in range(4)]
    assert [row and row.number for row in found] == [11, 11, None, None]
    assert Stretch(Run(stretch().run.rows[2:]), 0).last_commit() is None


def test_up_to_a_position() -> None:
    """It needs every segment that begins before it, and has none but its own."""
    size = 1 << 20
    for until, numbers in ((0, []), (11 * size, []), (11 * size + 1, [11]), (12 * size, [11]),
                           (12 * size + 1, [11, 12]), (14 * size, [11, 12, 13]), (99 * size, [11, 12, 13])):
        part = stretch().up_to(Lsn(until), size)
        assert [each.number for each in part.rows] == numbers
        assert part.segments == len(numbers)
        assert part.stored == sum(each.stored for each in part.rows)


def test_the_segments_that_fit_are_looked_for_once() -> None:
    asked: list[int] = []

    def even(number: int) -> bool:
        asked.append(number)
        return number % 2 == 0

    whole = stretch(0)
    assert list(whole.fitting("even", even, "number")) == [0, 2]
    assert list(Stretch(whole.run, 1).fitting("even", even, "number")) == [2]
    assert [Stretch(whole.run, first).next("even", even, "number") for first in (2, 3)] == [2, None]
    assert asked == [10, 11, 12, 13]
    assert list(whole.fitting("both", lambda number, stored: number % 2 == 1 or stored == 1, "number", "stored")) == [
        0, 1, 3]


def test_what_was_not_read_is_refused_up_to_where_it_counts() -> None:
    part = stretch()
    assert part.unread == 3
    part.refuse_unread(2)
    for until in (3, 4, None):
        with pytest.raises(WalMissing) as refusal:
            part.refuse_unread(until)
        assert (refusal.value.message, refusal.value.detail) == ("segment N was not read", "Not read: damaged.")
    Stretch(Run(part.run.rows[:3]), 0).refuse_unread()
