"""What the timeline draws, against what is in the vault."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from shelf import SIZE, Shelf, at, made_backup

from pgvault.engine.wal_picture import wal_picture
from pgvault.model.errors import NotFound
from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment
from pgvault.model.wal_picture import NOT_KNOWN, RestorePoint
from pgvault.vault import wal_index
from pgvault.vault.layout import ServerVault
from pgvault.vault.wal_index import WalIndex
from pgvault.vault.wal_queries import _PORTION

DAY = int(at(1).timestamp()) * 1_000_000


def read_segments(vault: ServerVault, *facts: tuple[int, int, int | None, int | None, int | None]) -> None:
    """Facts of segments: timeline, number, commits, earliest, latest."""
    with wal_index.writing(vault) as index:
        index.connection.executemany(
            "INSERT INTO facts (timeline, number, joined, commits, earliest, latest) VALUES (?, ?, 1, ?, ?, ?)", facts)


def test_each_timeline_has_a_lane_with_what_is_known_of_its_segments(shelf: Shelf, vault: ServerVault) -> None:
    backup = made_backup(at(1), segment=2)
    shelf.put(backup)
    shelf.archive(1, 2, 4)
    shelf.archive(1, 7, 7)
    shelf.archive(2, 4, 5)
    read_segments(vault, (1, 2, 12, DAY, DAY + 5), (1, 3, 0, None, None), (1, 4, None, None, None), (2, 5, 1, DAY, DAY))
    with wal_index.writing(vault) as index:
        index.connection.execute("UPDATE file SET accepted_at = number")
        index.connection.execute("INSERT INTO restore_point VALUES (1, 50331700, 50331800, ?, 'before release', 3)",
                                 (DAY,))
    picture = wal_picture(vault)
    one, two = picture.lanes
    assert (picture.server, picture.segment_size, picture.backups) == ("main", SIZE, (backup,))
    assert (one.timeline, two.timeline) == (1, 2)
    assert (list(one.numbers), list(two.numbers)) == ([2, 3, 4, 7], [4, 5])
    assert list(one.commits) == [12, 0, NOT_KNOWN, NOT_KNOWN]
    assert list(one.earliest) == [DAY, NOT_KNOWN, NOT_KNOWN, NOT_KNOWN]
    assert list(one.latest) == [DAY + 5, NOT_KNOWN, NOT_KNOWN, NOT_KNOWN]
    assert list(one.accepted) == [2, 3, 4, 7]
    assert (list(two.commits), list(two.latest)) == ([NOT_KNOWN, 1], [NOT_KNOWN, DAY])
    assert picture.unread == 2
    assert picture.restore_points == (RestorePoint("before release", 1, 3, Lsn(50331700), Lsn(50331800), DAY),)
    assert [window.backups for window in picture.survey.windows] == [(backup.id,)]
    assert picture.survey.timelines[0].gaps[0].missing == 2


def test_a_server_whose_wal_has_not_come_yet(shelf: Shelf, vault: ServerVault) -> None:
    backup = made_backup(at(1))
    shelf.put(backup)
    picture = wal_picture(vault)
    assert (picture.lanes, picture.backups, picture.unread) == ((), (backup,), 0)
    assert [each.backup for each in picture.survey.broken] == [backup.id]


def test_a_server_of_which_nothing_is_there(shelf: Shelf) -> None:
    with pytest.raises(NotFound, match="nothing of main is in the vault yet"):
        wal_picture(shelf.server())


def test_an_archive_without_its_index_is_not_called_empty(shelf: Shelf, vault: ServerVault) -> None:
    (vault.wal / "0000000100000000").mkdir()
    (vault.wal / "0000000100000000" / "000000010000000000000002.zst").touch()
    with pytest.raises(NotFound, match=r"wal\.sqlite is missing") as failure:
        wal_picture(vault)
    assert failure.value.hint == "It is a cache; make it again: pgvault rebuild-index main"


@pytest.mark.parametrize("writable", [True, False])
def test_nothing_is_written(shelf: Shelf, vault: ServerVault, writable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.put(made_backup(at(1), segment=2))
    shelf.archive(1, 2, 4)
    if not writable:
        monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    before = {path: path.stat().st_mtime_ns for path in vault.home.rglob("*")}
    assert len(wal_picture(vault).lanes[0].numbers) == 3
    assert {path: path.stat().st_mtime_ns for path in vault.home.rglob("*")} == before


def test_many_segments_take_no_more_queries_than_one(
        shelf: Shelf, vault: ServerVault, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than are read in one portion; benchmarks/console_queries.py says how long it takes."""
    asked: list[str] = []
    reading = wal_index.reading

    @contextmanager
    def overheard(server: ServerVault) -> Iterator[WalIndex]:
        with reading(server) as index:
            index.connection.set_trace_callback(asked.append)
            yield index

    shelf.put(made_backup(at(1), segment=2))
    shelf.archive(1, 0, 0)
    monkeypatch.setattr(wal_index, "reading", overheard)
    wal_picture(vault)
    few, many = len(asked), 2 * _PORTION + 1
    with wal_index.writing(vault) as index, index.connection:
        index.connection.execute("BEGIN")
        index.connection.executemany(
            "INSERT INTO file VALUES (?, 'segment', 1, ?, 16777216, 1000, x'00', 0)",
            ((Segment(1, number).name(SIZE), number) for number in range(1, many)))
        index.connection.execute("INSERT INTO facts (timeline, number, joined, commits)"
                                 " SELECT 1, number, 1, 9 FROM file")
    asked.clear()
    picture = wal_picture(vault)
    assert 0 < len(asked) <= few
    [lane] = picture.lanes
    assert (len(lane.numbers), lane.numbers[-1], set(lane.commits)) == (many, many - 1, {9})
    assert picture.survey.windows[0].until_lsn == Lsn(many * SIZE)
