"""Columns of the index are what its rows hold, whatever part of which path they are asked for."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from making_wal import MIB, new_vault

from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment
from pgvault.model.timeline import Ancestor, History
from pgvault.model.unbroken import along, column, unbroken
from pgvault.vault import wal_index
from pgvault.vault.wal_rows import Row, Rows, RowsOfPath

ONE = History(1, ())
PATHS = (ONE, History(2, (Ancestor(1, Lsn(int(7.5 * MIB)), ""),)), History(5, (Ancestor(1, Lsn(11 * MIB), ""),)),
         History(3, (Ancestor(1, Lsn(5 * MIB), ""), Ancestor(2, Lsn(12 * MIB), ""))))


@pytest.fixture(params=range(6))
def rows(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rows]:
    """Of segments on three timelines: some are missing, some not read, some end early."""
    server, chance = new_vault(tmp_path / "v"), random.Random(request.param)
    server.prepare()
    with wal_index.writing(server) as index, index.connection:
        for timeline in (1, 2, 3):
            for number in range(2, 16):
                if chance.random() < 0.9:
                    fill(index.connection, Segment(timeline, number), chance)
        index.connection.execute("INSERT INTO file VALUES ('00000002.history', 'history', 2, NULL, 9, 9, x'', 1)")
        index.connection.execute("INSERT INTO file VALUES (?, 'partial', 1, 16, 9, 9, x'', 1)", (
            f"{Segment(1, 16).name(MIB)}.partial",))
    with wal_index.reading(server) as index:
        yield Rows(index, MIB)


def fill(index: sqlite3.Connection, segment: Segment, chance: random.Random) -> None:
    def some(first: int) -> int | None:
        return chance.choice([None, first + chance.randrange(100)])

    index.execute("INSERT INTO file VALUES (?, 'segment', ?, ?, ?, ?, x'', 1)", (
        segment.name(MIB), *segment, MIB, chance.randrange(1000)))
    if chance.random() < 0.85:
        values = {"problem": chance.choice([None, None, "damaged"]), "earliest": some(0), "latest": some(100),
                  "oldest_xid": some(700), "newest_xid": some(800), "last_lsn": some(900), "end_lsn": some(1000),
                  "end_cause": chance.choice([None, "switched", "switched", "switched", "damaged", "unwritten"]),
                  "removals": some(0), "most_rows": some(0), "passed": some(0), "whole": some(2000)}
        index.execute(f"INSERT INTO facts (timeline, number, joined, {', '.join(values)})"
                      f" VALUES (?, ?, 1, {', '.join('?' * len(values))})", (*segment, *values.values()))


def test_every_value_of_a_row_is_a_column_too(rows: Rows) -> None:
    there = [row for same in rows.all.values() for row in same]
    assert [(row.timeline, row.number) for row in there] == sorted((row.timeline, row.number) for row in there)
    assert list(rows.all) == [1, 2, 3]
    assert {(row.segment.name(MIB), row.name) for row in there} == {(row.name, row.name) for row in there}
    for name in random.Random(1).sample(Row._fields, len(Row._fields)):
        assert rows.column(name) == column(there, name), name


@pytest.mark.parametrize("history", PATHS, ids=lambda each: each.timeline)
def test_a_path_is_that_of_its_rows(rows: Rows, history: History) -> None:
    expected = along(history, rows.all, MIB)
    path = rows.along(history)
    same(path, expected)
    runs = [expected[run] for run in unbroken(column(expected, "number"), column(expected, "stops"))]
    found = list(path.unbroken())
    assert [list(run) for run in found] == runs
    for run, its in zip(found, runs, strict=True):
        same(run, its)
        begun = its[-1]._replace(number=its[-1].number + 1, name="begun")
        same(run.followed_by(begun), [*its, begun])


def same(found: RowsOfPath, expected: list[Row]) -> None:
    assert (len(found), list(found)) == (len(expected), expected)
    assert [column(found, name) for name in ("number", "latest", "stored")] == [
        column(expected, name) for name in ("number", "latest", "stored")]
    for first in range(len(expected) + 1):
        for behind in (first, first + 1, first + 4, len(expected)):
            assert found[first:behind] == expected[first:behind]
    assert [found[place] for place in range(len(expected))] == expected
    assert [found[-1 - place] for place in range(len(expected))] == expected[::-1]
    for outside in (len(expected), -len(expected) - 1):
        with pytest.raises(IndexError):
            found[outside]


def test_a_segment_is_read_once(rows: Rows) -> None:
    run = next(rows.along(ONE).unbroken())
    assert run[0] is run[0]
    assert run[len(run) - 1] is run[-1]


def test_an_empty_archive_has_empty_columns(tmp_path: Path) -> None:
    server = new_vault(tmp_path / "v")
    server.prepare()
    with wal_index.writing(server) as index:
        there = Rows(index, MIB)
        assert there.all == {}
        assert there.column("latest") == []
        assert list(there.along(ONE).unbroken()) == []
