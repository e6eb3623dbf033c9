"""Why a commit removed files: a drop, TRUNCATE, or a rewrite, told as each major's WAL allows."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from made_up import DELETE, HOT_UPDATE, INSERT, UPDATE, Deeds, InMemory

from pgvault.engine.event_reading import Rules, forwards
from pgvault.model.event import discard
from pgvault.wal.accidents import EventKind, Finding
from pgvault.wal.versions import FORMATS

TABLE, TRANSIENT = 20000, 30000
DROP, TRUNCATE, REWRITE = EventKind.DROP, EventKind.TRUNCATE, EventKind.REWRITE


def found(deeds: Deeds, kinds: dict[int, str] | None = None) -> list[Finding]:
    """`kinds` are those of relations that a backup knows."""
    rules = Rules(discard, 100, lambda lsn: lambda database, oid: (kinds or {}).get(oid, ""), frozenset())
    wal: Any = InMemory(deeds)
    return [each for _, each in forwards(wal, [], wal.rows, rules)]


def before_15() -> Deeds:
    """Its commits name no OIDs: the rows of pg_class have to tell."""
    return Deeds(magic=FORMATS[14].magic)


@pytest.mark.parametrize(("rows", "kind"), [
    ([(DELETE, 1)], DROP),  # DROP TABLE
    ([(UPDATE, 1, 2)], TRUNCATE), ([(HOT_UPDATE, 1, 2)], TRUNCATE),  # the table's row names another file
    ([(INSERT, 5), (DELETE, 5)], REWRITE),  # the transient table of VACUUM FULL
    ([(INSERT, 5), (UPDATE, 5, 6), (DELETE, 6)], REWRITE),  # and its row was changed meanwhile
    ([(UPDATE, 4, 5), (DELETE, 5)], DROP),  # changed before it went
    ([(INSERT, 5), (DELETE, 5), (DELETE, 1), (DELETE, 2)], REWRITE),  # with the TOAST table of old and its index
    ([(INSERT, 5), (DELETE, 5), (DELETE, 1), (DELETE, 2), (DELETE, 3)], DROP)])
def test_before_postgresql_15_the_rows_of_pg_class_tell(rows: list[tuple[int, ...]], kind: EventKind) -> None:
    deeds = before_15()
    deeds.lock(500, TABLE)
    for row in rows:
        deeds.class_row(500, *row)
    deeds.end(500, files=(TABLE,))
    [event] = found(deeds)
    assert (event.kind, event.oids, event.exact, event.first_locked) == (kind, (TABLE,), False, TABLE)
    assert [each.number for each in event.files] == [TABLE]


@pytest.mark.parametrize(("files", "made", "kind"), [
    ((TABLE,), (), DROP), ((TABLE,), (TRANSIENT,), TRUNCATE),
    ((TABLE, TABLE + 1), (TRANSIENT,), DROP), ((TABLE,), (TRANSIENT, TRANSIENT + 1), TRUNCATE)])
def test_where_pg_class_was_rewritten_the_numbers_of_files_tell(
        files: tuple[int, ...], made: tuple[int, ...], kind: EventKind) -> None:
    """Its own file is then not known, so no row of it is seen: as many new files as went are no drop."""
    deeds = before_15()
    deeds.lock(500, TABLE)
    for number in made:
        deeds.create(500, number)
    deeds.end(500, files=files)
    assert [each.kind for each in found(deeds)] == [kind]


@pytest.mark.parametrize(("page", "kind"), [(False, TRUNCATE), (True, REWRITE)])
def test_truncate_leaves_its_first_file_without_a_page(page: bool, kind: EventKind) -> None:
    deeds = Deeds()
    deeds.lock(500, TABLE)
    deeds.create(500, TRANSIENT)
    deeds.create(500, TRANSIENT + 1)  # that of an index, which has one in either case
    deeds.write_page(500, TRANSIENT + 1)
    if page:
        deeds.write_page(500, TRANSIENT)
    deeds.end(500, files=(TABLE,))
    assert [each.kind for each in found(deeds)] == [kind]


@pytest.mark.parametrize(("page", "kind"), [(False, TRUNCATE), (True, REWRITE)])
@pytest.mark.parametrize("xids", [(500, 501), (501, 500), (501, 502)])
def test_what_subtransactions_did_is_added_up(xids: tuple[int, int], page: bool, kind: EventKind) -> None:
    """One locked the table, another made the file."""
    deeds = Deeds()
    deeds.lock(xids[0], TABLE)
    deeds.create(xids[1], TRANSIENT)
    if page:
        deeds.write_page(xids[1], TRANSIENT)
    deeds.lock(500, TABLE + 1)
    deeds.end(500, subxids=(501, 502), files=(TABLE,))
    [event] = found(deeds)
    assert (event.kind, sorted(event.oids)) == (kind, [TABLE, TABLE + 1])


@pytest.mark.parametrize(("dropped", "kinds", "kind"), [
    ((TABLE, TRANSIENT), {}, REWRITE), ((TABLE, TRANSIENT), {TABLE: "r"}, DROP),
    ((TABLE, TRANSIENT), {TABLE: "t"}, REWRITE), ((TABLE, TABLE + 1, TRANSIENT), {}, REWRITE),
    ((TABLE, TABLE + 1, TABLE + 2, TRANSIENT), {}, DROP), ((TABLE,), {}, DROP), ((), {TABLE: "i"}, REWRITE),
    ((), {TABLE: "I"}, REWRITE), ((), {TABLE: "r"}, TRUNCATE), ((), {}, TRUNCATE)])
def test_what_a_backup_knows_of_a_relation_tells(
        dropped: tuple[int, ...], kinds: dict[int, str], kind: EventKind) -> None:
    """A rewrite may take a TOAST table of old and its index with it; REINDEX locks indexes alone."""
    deeds = Deeds()
    deeds.lock(500, TABLE)
    deeds.create(500, TRANSIENT)
    deeds.end(500, files=(TABLE,), dropped=dropped)
    assert [each.kind for each in found(deeds, kinds)] == [kind]


def test_of_what_was_dropped_that_which_was_named_comes_first() -> None:
    """In the order of the locks; what was not locked behind, and nothing of the system's."""
    deeds = Deeds()
    for oid in (TABLE + 2, TABLE, TABLE + 1):
        deeds.lock(500, oid)
    deeds.end(500, files=(TABLE, TABLE + 1), dropped=(TABLE + 9, TABLE, TABLE + 1, TABLE + 2, 1247))
    [event] = found(deeds)
    assert (event.oids, event.first_locked) == ((TABLE + 2, TABLE, TABLE + 1, TABLE + 9), TABLE + 2)
    assert (event.xid, event.database, event.lsn, event.end_lsn) == (500, 5, deeds.lsns[-1], deeds.at)


@pytest.mark.parametrize(("number", "seen"), [(16383, 0), (16384, 1)])
def test_what_goes_of_the_system_s_own_is_nobody_s_loss(number: int, seen: int) -> None:
    deeds = Deeds()
    deeds.end(500, files=(number,), dropped=(number,))
    for _ in range(100):
        deeds.row(501, number)
    deeds.end(501)
    deeds.lock(502, number)
    deeds.end(502, files=(TABLE,), dropped=(TABLE,))
    assert len(found(deeds)) == 3 * seen


def test_many_rows_are_told_by_relation_with_most_first() -> None:
    deeds = Deeds()
    for table, deleted, updated in ((TABLE, 100, 0), (TABLE + 1, 60, 90), (TABLE + 2, 99, 0), (TABLE + 3, 0, 120)):
        for _ in range(deleted):
            deeds.row(500, table)
        for _ in range(updated):
            deeds.row(500, table, operation=UPDATE)
    deeds.create(500, TABLE + 4)
    for _ in range(200):
        deeds.row(500, TABLE + 4)
    deeds.end(500)
    [event] = found(deeds)
    assert (event.kind, event.database, event.xid) == (EventKind.DELETE, 5, 500)
    assert [(each.relation.number, each.deleted, each.updated, each.total) for each in event.rows] == [
        (TABLE + 1, 60, 90, 150), (TABLE + 3, 0, 120, 120), (TABLE, 100, 0, 100)], "its own table is no loss"


@pytest.mark.parametrize(("gid", "told"), [(b"a gid\0", "a gid"), (b"", "")])
def test_what_was_prepared_earlier_says_by_what_name(gid: bytes, told: str) -> None:
    deeds = Deeds()
    for _ in range(100):
        deeds.row(500, TABLE)
    parts = 1 << 4 | (1 << 7 if gid else 0)
    deeds.commit(0, deeds.at, rest=struct.pack("<II", parts, 500) + gid, info=0x30 | 0x80)
    for _ in range(100):
        deeds.row(501, TABLE)
    deeds.end(501)
    assert [(each.xid, each.prepared) for each in found(deeds)] == [(500, told), (501, None)]


def test_a_restore_point_is_of_no_database_and_no_transaction() -> None:
    deeds = Deeds()
    deeds.point("before the upgrade")
    [event] = found(deeds)
    assert (event.kind, event.name, event.lsn, event.database, event.xid, event.rows, event.files) == (
        EventKind.RESTORE_POINT, "before the upgrade", deeds.lsns[0], 0, 0, (), ())


def test_a_dropped_database_has_the_name_that_its_row_had() -> None:
    deeds = Deeds()
    deeds.running(900, 900)
    deeds.mark_invalid(30001, b"another")
    mark = deeds.mark_invalid(30000, b"shop")
    deeds.delete_database(900)
    deeds.remove_database(900, 30000)
    deeds.end(900)
    [event] = found(deeds)
    assert (event.kind, event.database, event.name, event.lsn) == (EventKind.DROP_DATABASE, 30000, "shop", mark)
