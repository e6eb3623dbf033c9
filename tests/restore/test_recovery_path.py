"""The archived WAL on the way to the end of one timeline, asked by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
from choosing import at, branched, lived
from made_archive import SIZE, MadeArchive, Server
from test_fit_rules import Shelf, begun

from pgvault.engine.restore.recovery_path import RecoveryPath, RecoveryPaths
from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment
from pgvault.vault.wal_facts import microseconds
from pgvault.vault.wal_rows import Row
from pgvault.wal.transactions import Transaction


def path(archive: MadeArchive, timeline: int = 1) -> RecoveryPath:
    return RecoveryPaths(archive).to(timeline)


def numbers(found: RecoveryPath, begin: int) -> list[int] | None:
    wal = found.wal_from(Lsn(begin))
    return None if wal is None else [row.number for row in wal.rows]


# What follows without a gap


@pytest.mark.parametrize(("begin", "expected"), [
    (0x100000, None), (0x1FFFFF, None), (0x200000, [2, 3]), (0x2FFFFF, [2, 3]), (0x300000, [3]), (0x400000, None),
    (0x500000, [5]), (0x600000, None), (0x700000, None)])
def test_from_a_position_to_the_first_gap(begin: int, expected: list[int] | None) -> None:
    assert numbers(path(MadeArchive(lived(), frozenset([Segment(1, 4)]))), begin) == expected


def test_an_unfinished_segment_goes_on_when_it_is_asked_for() -> None:
    search = Shelf(lived(), begun_row=begun(), counts=True)
    found = path(search)
    assert numbers(found, 0x400028) == [4, 5, 6]
    assert numbers(found, 0x600028) == [6]
    assert numbers(found, 0x700028) is None
    behind_a_gap = path(Shelf(lived(), frozenset([Segment(1, 5)]), begun_row=begun(), counts=True))
    assert (numbers(behind_a_gap, 0x400028), numbers(behind_a_gap, 0x600028)) == ([4], [6])
    alone = behind_a_gap.wal_from(Lsn(0x600028))
    assert alone is not None
    assert (alone.first, alone.last.number) == (0, 6)
    without = path(replace(search, counts=False))
    assert (numbers(without, 0x400028), numbers(without, 0x600028)) == ([4, 5], None)


def test_an_unfinished_segment_does_not_go_on_from_where_recovery_stops() -> None:
    search = Shelf(lived(), begun_row=begun(), counts=True)
    search.rows[Segment(1, 5)] = search.rows[Segment(1, 5)]._replace(stops=True)
    assert numbers(path(search), 0x400028) == [4, 5]


def test_an_unfinished_segment_that_has_another_number_follows_nothing() -> None:
    assert numbers(path(Shelf(lived(), begun_row=begun(number=8), counts=True)), 0x400028) == [4, 5]


def test_where_a_position_lies_and_which_segment_has_it() -> None:
    two = path(branched(), 2)
    assert [two.timeline_at(Lsn(lsn)) for lsn in (0, 0x300027, 0x300028, 0x900000)] == [1, 1, 2, 2]
    assert [two.name_at(Lsn(lsn)) for lsn in (0x2FFFFF, 0x300000)] == [
        "000000010000000000000002", "000000020000000000000003"]
    paths = RecoveryPaths(branched())
    assert paths.to(2) is paths.to(2)


# Transactions


def ends(*seconds: int) -> tuple[RecoveryPath, Row, list[Transaction]]:
    """Of one segment, at so many seconds past noon."""
    server = Server()
    server.backup()
    for each in seconds:
        server.clock = at(12, 0, each)
        server.commit()
    archive = MadeArchive(server)
    found = path(archive)
    row = archive.rows[Segment(1, 3)]
    return found, row, found.transactions(row)


@pytest.mark.parametrize(("seconds", "begin", "expected"), [
    ((10, 30), 0, (True, 1)), ((30, 10), 0, (False, 0)), ((30, 10, 30), 0, (False, 0)), ((10, 10), 0, None),
    ((20, 30), 0, (False, 0)), ((19, 20), 0, (True, 1)),
    ((30, 30), 1, (False, 1)), ((30, 10, 30), 1, (True, 2)), ((10, 30), 1, (True, 1)), ((30, 10), 1, None)])
def test_the_first_that_is_too_late(seconds: tuple[int, ...], begin: int, expected: tuple[bool, int] | None) -> None:
    """At a position or behind it, and whether one before it is in time: recovery does not stop at what it does not
    meet, and what is before the backup tells that its clock has gone on."""
    found, row, there = ends(*seconds)
    first = microseconds(at(12, 0, 20))
    position = there[begin].lsn if begin else Lsn(0)
    late = found.first_late(row, first, position)
    assert late == (None if expected is None else (expected[0], there[expected[1]]))
    assert found.first_late(row, first, position) == late


def test_a_transaction_is_found_by_its_number() -> None:
    found, row, there = ends(1, 2)
    assert [found.end_of(row, each.xid) for each in there] == there
    assert found.end_of(row, 1) is None


class Reading(MadeArchive):
    """Counts what is read; each transaction has a subtransaction."""

    def transactions(self, row: Row) -> list[Transaction]:
        READ.append(row.number)
        return [replace(each, subxids=(each.xid + 1000,)) for each in super().transactions(row)]


READ: list[int] = []


def test_a_subtransactions_transaction_ends_soon_after_it_or_is_not_found() -> None:
    """Of a long archive only the newest segments are read in search of it."""
    server = Server()
    server.backup()
    for _ in range(40):
        server.commit()
        server.switch()
    archive = Reading(server)
    found, rows = path(archive), archive.archived
    first = rows[1].oldest_xid or 0
    READ.clear()
    assert found.transaction_with(Lsn(2 * SIZE), first + 1000) is None
    assert [row.number for row in rows[:-33:-1]] == READ
    assert found.transaction_with(Lsn(2 * SIZE), first + 1000 + 39) == first + 39
    assert found.transaction_with(Lsn(2 * SIZE), first + 1000 + 8) == first + 8
    assert found.transaction_with(Lsn(2 * SIZE), first + 1000 + 7) is None
    assert found.transaction_with(Lsn(99 * SIZE), first + 1000 + 39) is None
    READ.clear()
    assert found.transaction_with(Lsn(2 * SIZE), first - 1) is None
    assert READ == []  # those all began later


# Restore points


def test_the_points_of_a_name_that_recovery_meets() -> None:
    found = path(MadeArchive(lived()))
    assert [point.lsn for point in found.points(Lsn(0x200028), "deploy")] == [0x300068, 0x500068]
    assert [point.lsn for point in found.points(Lsn(0x300068), "deploy")] == [0x300068, 0x500068]
    assert [point.lsn for point in found.points(Lsn(0x300069), "deploy")] == [0x500068]
    assert list(found.points(Lsn(0x900000), "deploy")) == []
    assert list(found.points(Lsn(0x200028), "nope")) == []
    gap = path(MadeArchive(lived(), frozenset([Segment(1, 4)])))
    assert [point.lsn for point in gap.points(Lsn(0x200028), "deploy")] == [0x300068]
    assert [point.lsn for point in gap.points(Lsn(0x500000), "deploy")] == [0x500068]
    assert list(path(branched(), 2).points(Lsn(0x200028), "deploy")) == []


def test_what_is_asked_twice_is_looked_for_once() -> None:
    archive = MadeArchive(lived())
    asked: list[str] = []

    class Counted(MadeArchive):
        def break_behind(self, history: object, row: Row) -> str:
            asked.append(f"break {row.number}")
            return super().break_behind(history, row)  # type: ignore[arg-type]

        def left_out(self, history: object, row: Row) -> None:
            asked.append(f"left out {row.number}")

        def transactions(self, row: Row) -> list[Transaction]:
            asked.append(f"read {row.number}")
            return super().transactions(row)

    found = path(Counted(archive.server))
    rows = archive.archived
    for _ in range(2):
        assert found.break_behind(rows[-1]) == ""
        found.left_out(rows[-1])
        assert len(found.transactions(rows[1])) == 2
    assert asked == ["break 5", "left out 5", "read 3"]
    found.transactions(rows[2])
    found.transactions(rows[1])
    assert asked[3:] == ["read 4", "read 3"]  # the newest answer alone is kept
