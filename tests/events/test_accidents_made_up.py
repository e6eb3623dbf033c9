"""The rules by themselves, and that segments can be read in any order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import UPDATE, Deeds, InMemory

from pgvault.engine.event_reading import Rules, backwards, forwards
from pgvault.model.event import discard
from pgvault.wal.accidents import EventKind, Finding, nothing_known

TABLE = 20000
RULES = Rules(discard, 100, lambda lsn: nothing_known, frozenset())


def found(deeds: Deeds) -> list[Finding]:
    """Forwards, and backwards it has to be the same, and of the second half by itself."""
    wal: Any = InMemory(deeds)
    rows, half = wal.rows, len(wal.rows) // 2
    there = list(forwards(wal, [], rows, RULES))
    assert list(backwards(wal, rows[::-1], [], RULES)) == there[::-1]
    late = [each for each in there if each[0] >= half]
    assert list(forwards(wal, rows[:half][::-1], rows[half:], RULES)) == late
    assert list(backwards(wal, rows[half:][::-1], rows[:half][::-1], RULES)) == late[::-1]
    return [each for _, each in there]


def fill(deeds: Deeds, segments: float = 1) -> None:
    until = deeds.at + int(segments * deeds.size)
    while deeds.at < until:
        deeds.append(bytes(200_000))


def test_a_transaction_that_crosses_many_segments() -> None:
    """Older ones go on meanwhile, newer ones come and go, and it is silent for a while."""
    deeds = Deeds()
    deeds.row(1000, TABLE + 1)
    for _ in range(3):
        deeds.row(1001, TABLE)
    fill(deeds)
    for _ in range(60):
        deeds.row(1001, TABLE)
    for xid in range(1002, 1010):
        deeds.row(xid, TABLE + 2)
        deeds.end(xid)
        fill(deeds, 0.5)
    for _ in range(40):
        deeds.row(1001, TABLE, operation=UPDATE)
    fill(deeds, 2)
    deeds.end(1001)
    deeds.end(1000)
    [event] = found(deeds)
    [rows] = event.rows
    assert (event.kind, event.xid, rows.relation.number, rows.deleted, rows.updated) == (
        EventKind.DELETE, 1001, TABLE, 63, 40)


def test_a_transaction_that_was_silent_while_only_an_older_one_wrote() -> None:
    """A person looks at what was deleted before it is committed, while a load goes on: no other transaction begins."""
    deeds = Deeds()
    deeds.row(1000, TABLE + 1)
    for _ in range(120):
        deeds.row(1001, TABLE)
    for _ in range(6):
        deeds.row(1000, TABLE + 1)
        fill(deeds)
    deeds.end(1001)
    [event] = found(deeds)
    assert (event.kind, event.xid) == (EventKind.DELETE, 1001)


def test_no_more_is_read_than_where_transactions_may_have_begun() -> None:
    """Told by the server's markers, or by more commits than sessions can have had open."""
    for commits, marked in ((1, True), (2100, False)):
        deeds, xid = Deeds(), 1000
        for _ in range(8):
            if marked:
                deeds.running(xid, xid)
            for _ in range(commits):
                deeds.row(xid, TABLE)
                deeds.end(xid)
                xid += 1
            for _ in range(100):
                deeds.row(xid, TABLE)
            deeds.end(xid)
            xid += 1
            fill(deeds)
        wal: Any = Counting(deeds)
        assert next(backwards(wal, wal.rows[::-1], [], RULES))[1].xid == xid - 1
        assert len(wal.read_rows) <= 4
        if marked:
            wal.read_rows.clear()
            assert len(list(forwards(wal, wal.rows[5::-1], [6], RULES))) == 1
            assert sorted(wal.read_rows) == [4, 5, 6]


@pytest.mark.parametrize("oldest", [499, 500])
def test_what_runs_is_told_between_a_transaction_and_its_subtransaction(oldest: int) -> None:
    """Nothing of the subtransaction lies before that place, and the half of the top one does."""
    deeds = Deeds()
    deeds.row(400, TABLE + 1)
    for _ in range(60):
        deeds.row(500, TABLE)
    fill(deeds)
    deeds.running(501, oldest)
    for _ in range(60):
        deeds.row(501, TABLE)
    fill(deeds)
    deeds.running(502, oldest)
    deeds.end(500, subxids=(501,))
    [event] = found(deeds)
    assert (event.xid, event.rows[0].deleted) == (500, 120)


def test_subtransactions_count_and_those_rolled_back_do_not() -> None:
    deeds = Deeds()
    for xid in (500, 501, 502):
        for _ in range(60):
            deeds.row(xid, TABLE)
    deeds.end(502, commits=False)
    fill(deeds)
    deeds.end(500, subxids=(501,))
    [event] = found(deeds)
    assert event.rows[0].deleted == 120


def test_what_a_crash_left_is_forgotten() -> None:
    """The xid comes again after 2^32 others: what was done under it before the crash is not its doing."""
    deeds = Deeds()
    for _ in range(200):
        deeds.row(700, TABLE)
    deeds.running(following=800, oldest=790)
    deeds.row(700, TABLE)
    deeds.end(700)
    assert found(deeds) == []


def test_xids_go_round() -> None:
    deeds = Deeds()
    for _ in range(120):
        deeds.row(2**32 - 2, TABLE)
    fill(deeds)
    deeds.row(5, TABLE + 1)
    deeds.end(5)
    deeds.end(2**32 - 2)
    [event] = found(deeds)
    assert event.xid == 2**32 - 2


def test_a_drop_and_what_only_looks_like_one() -> None:
    deeds = Deeds()
    deeds.lock(300, TABLE)
    deeds.end(300, files=(TABLE, TABLE + 1), dropped=(TABLE + 1, TABLE))  # DROP TABLE with an index
    deeds.lock(301, TABLE + 10)
    deeds.create(301, TABLE + 20)
    deeds.end(301, files=(TABLE + 10,))  # TRUNCATE
    deeds.lock(302, TABLE + 20)
    deeds.create(302, TABLE + 30)
    deeds.end(302, files=(TABLE + 20,), dropped=(TABLE + 30,))  # a rewrite by way of a transient table
    deeds.create(303, TABLE + 40)
    deeds.end(303, files=(TABLE + 40,), dropped=(TABLE + 40,))  # made and dropped
    deeds.lock(304, 1259)
    deeds.create(304, TABLE + 50)
    deeds.end(304, files=(TABLE + 45,), dropped=(TABLE + 50,))  # VACUUM FULL pg_class, not for the first time
    deeds.end(305, files=(2608,))
    deeds.end(306, dropped=(TABLE + 60,))  # a view, or a temporary table: no files
    deeds.end(307, files=(TABLE + 70,), commits=False)  # rolled back: what it had made goes
    drop, truncation, rewrite = found(deeds)
    assert [each.kind for each in (drop, truncation, rewrite)] == [
        EventKind.DROP, EventKind.TRUNCATE, EventKind.REWRITE]
    assert (drop.oids, drop.exact, drop.first_locked) == ((TABLE, TABLE + 1), True, TABLE)
    assert truncation.oids == (TABLE + 10,)


@pytest.mark.parametrize("segments", [0, 0.5, 1, 3])
def test_dropping_a_database_begins_at_its_mark_however_long_the_checkpoint_behind_it_takes(segments: float) -> None:
    """With wal_compression the mark's row cannot be seen: it is the mark by being next to the deletion."""
    deeds = Deeds()
    deeds.running(900, 900)
    mark = deeds.mark()
    deeds.delete_database(900)
    fill(deeds, segments)
    deeds.remove_database(900, 30000)
    deeds.end(900)
    [event] = found(deeds)
    assert (event.kind, event.database, event.lsn) == (EventKind.DROP_DATABASE, 30000, mark)


def test_what_was_changed_in_place_long_before_a_database_was_dropped_is_no_mark() -> None:
    """Servers of before 2023 make none: there it is VACUUM's."""
    deeds = Deeds()
    deeds.running(900, 900)
    deeds.mark()
    fill(deeds, 1.5)
    deeds.delete_database(900)
    removal = deeds.remove_database(900, 30000)
    deeds.end(900)
    [event] = found(deeds)
    assert (event.kind, event.lsn) == (EventKind.DROP_DATABASE, removal)


class Counting(InMemory):
    def __init__(self, deeds: Deeds) -> None:
        super().__init__(deeds)
        self.read_rows: list[int] = []

    def read(self, row: int, ledger: Any) -> Any:
        self.read_rows.append(row)
        return super().read(row, ledger)


actions = st.lists(st.tuples(
    st.sampled_from(["row", "sub", "lock", "create", "commit", "abort", "drop", "fill", "point", "running"]),
    st.integers(0, 5), st.integers(0, 3), st.integers(1, 90)), max_size=60)


@settings(max_examples=150, deadline=None)
@given(actions)
def test_backwards_finds_what_forwards_finds(actions: list[tuple[str, int, int, int]]) -> None:
    """Six sessions at a time; each one's next transaction is newer than all before. Markers come seldom."""
    deeds, following = Deeds(), 1000
    xids: dict[int, list[int]] = {}
    for action, session, table, count in actions:
        if action in ("fill", "running", "point"):
            if action == "fill":
                fill(deeds, count / 180)
            elif action == "point":
                deeds.point("here")
            else:
                deeds.running(following, min((xid for mine in xids.values() for xid in mine), default=following))
            continue
        if session not in xids or action == "sub":
            xids.setdefault(session, []).append(following)
            following += 1
        mine = xids[session]
        if action in ("row", "sub"):
            for _ in range(count):
                deeds.row(mine[-1], TABLE + table)
        elif action == "lock":
            deeds.lock(mine[0], TABLE + table)
        elif action == "create":
            deeds.create(mine[-1], TABLE + 100 + count)
        else:
            files = (TABLE + table,) if action == "drop" else ()
            deeds.end(mine[0], subxids=tuple(mine[1:]), files=files, dropped=files, commits=action != "abort")
            del xids[session]
    found(deeds)
