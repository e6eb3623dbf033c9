"""The index as a cache: it may be lost, damaged, behind the files, or on a disk that cannot be written to."""

from __future__ import annotations

import os
import shutil
from io import BytesIO
from pathlib import Path

import pytest
from making_wal import new_vault, put, rows
from support.account import account
from support.objects import wal_path

from pgvault.engine.wal_status import wal_status
from pgvault.model.errors import Corrupt
from pgvault.model.window import Archived
from pgvault.vault import wal_index, wal_rebuild
from pgvault.vault.layout import ServerVault, Vault
from pgvault.vault.wal_archive import accept
from pgvault.vault.wal_index import archived_segments
from pgvault.vault.wal_rebuild import Damaged, Reconciled, differences, rebuild, reconcile

ONE, TWO, THREE = (f"00000001000000000000000{i}" for i in range(1, 4))
HISTORY = "00000002.history"


@pytest.fixture
def server(tmp_path: Path) -> ServerVault:
    server = new_vault(tmp_path / "v")
    for name in (ONE, TWO, THREE):
        put(server, name)
    return server


def test_files_without_a_row_and_rows_without_a_file_are_put_right(server: ServerVault) -> None:
    """What a crash between rename and index leaves, and what someone removed by hand."""
    before = rows(server)["file"]
    with wal_index.writing(server) as index:
        index.remove(TWO)
    wal_path(server, THREE).rename(server.home / THREE)
    done = reconcile(server)
    assert (done.added, done.removed, done.damaged) == (1, 1, ())
    (server.home / THREE).rename(wal_path(server, THREE))
    assert reconcile(server).added == 1
    assert rows(server)["file"] == before
    assert reconcile(server) == type(done)(0, 0, ())


def test_a_history_is_found_in_the_first_directory_of_its_timeline(server: ServerVault) -> None:
    """As `wal_group` has it, and it is missed there."""
    accept(server, HISTORY, BytesIO(b"1\t0/100000\tno recovery target specified\n"))
    put(server, ONE.replace("1", "2", 1))
    with wal_index.reading(server) as index:
        assert differences(server, index) == (set(), set())
        wal_path(server, HISTORY).unlink()
        assert differences(server, index) == (set(), {HISTORY})


def test_a_file_in_another_directory_than_its_own_is_not_there(server: ServerVault) -> None:
    elsewhere = wal_path(server, ONE[:15] + "1" + ONE[16:])
    elsewhere.parent.mkdir()
    wal_path(server, TWO).rename(elsewhere.with_name(wal_path(server, TWO).name))
    assert reconcile(server).removed == 1


def test_a_whole_directory_that_is_gone_is_missed(server: ServerVault) -> None:
    shutil.rmtree(wal_path(server, ONE).parent)
    assert reconcile(server).removed == 3
    assert rows(server)["file"] == []


def test_names_that_the_index_has_are_not_looked_into(server: ServerVault, monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be a hundred thousand, at every question about a restore."""
    label = f"START WAL LOCATION: 0/1000028 (file {ONE})\n".encode()
    accept(server, f"{ONE}.00000028.backup", BytesIO(label))
    looked_into: list[str] = []
    monkeypatch.setattr(wal_rebuild, "parse_wal_name", looked_into.append)
    assert reconcile(server) == Reconciled(0, 0, ())
    assert looked_into == []


@pytest.mark.parametrize("content", [b"", b"no database" * 1000, None], ids=["empty", "garbage", "missing"])
def test_an_unusable_index_stops_neither_archiving_nor_looking(server: ServerVault, content: bytes | None) -> None:
    """Archiving goes on into a new index, and the next look finds every file again."""
    before = rows(server)["file"]
    wal_index.discard(server)
    if content is not None:
        server.cache.wal.write_bytes(content)
    fourth = ONE[:-1] + "4"
    assert put(server, fourth).new
    assert wal_status(server).survey.timelines[0].ranges[0].segments == 4
    assert [row for row in rows(server)["file"] if row[0] != fourth] == before


def test_rebuilding_names_what_is_damaged_and_keeps_the_rest(server: ServerVault) -> None:
    """Case 34: a flipped byte is named, and the segment counts as missing until it is brought back."""
    path = wal_path(server, TWO)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    done = rebuild(server)
    assert (done.added, done.removed) == (2, 1)
    [damaged] = done.damaged
    assert isinstance(damaged, Damaged)
    assert damaged.name == TWO
    assert [row[0] for row in rows(server)["file"]] == [ONE, THREE]
    status = wal_status(server)
    assert [each.name for each in status.damaged] == [TWO]
    assert [gap.missing for gap in status.survey.timelines[0].gaps] == [1]
    assert put(server, TWO).new
    assert wal_status(server).damaged == ()


def test_a_damaged_index_is_told_with_the_remedy(server: ServerVault) -> None:
    server.cache.wal.write_bytes(b"no database" * 1000)
    with pytest.raises(Corrupt) as told, wal_index.reading(server):
        pass
    assert "rebuild-index main" in told.value.hint


@pytest.mark.skipif(os.geteuid() != 0, reason="root is needed to become somebody who may not write")
def test_a_vault_that_may_not_be_written_to_is_read(server: ServerVault, open_tmp: Path) -> None:
    """Case 33: a copy on another machine, mounted read-only, with what SQLite had not yet put into the main file."""
    with wal_index.writing(server) as index:
        index.connection.execute("PRAGMA wal_autocheckpoint = 0")
        index.connection.execute("UPDATE file SET accepted_at = 7")
        copy = open_tmp / "main"
        shutil.copytree(server.home, copy)
    assert (copy / "wal.sqlite-wal").stat().st_size
    for path in (open_tmp, *open_tmp.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = sorted(path.name for path in copy.iterdir())
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgid(account().gid)
            os.setuid(account().uid)
            theirs = Vault(copy.parent).server("main")
            with wal_index.reading(theirs) as index:
                seen = {row[7] for row in index.connection.execute("SELECT * FROM file")}
            code = 0 if seen == {7} and wal_status(theirs).survey.timelines else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert sorted(path.name for path in copy.iterdir()) == before


def test_many_segments_are_read_by_one_query_and_one_is_found_without_looking_at_all(server: ServerVault) -> None:
    with wal_index.writing(server) as index, index.connection:
        index.connection.execute("BEGIN")
        index.connection.executemany(
            "INSERT OR REPLACE INTO file VALUES (?, 'segment', 1, ?, 1048576, 1000, x'00', 0)",
            ((f"{i:024X}", i) for i in range(20_000)))
    asked: list[str] = []
    with wal_index.reading(server) as index:
        index.connection.set_trace_callback(asked.append)
        assert len(archived_segments(index)) == 20_000 + 3
        assert index.find(f"{7_777:024X}")
        index.connection.set_trace_callback(None)
        _, finding = asked
        assert "SEARCH file USING" in str(index.connection.execute(f"EXPLAIN QUERY PLAN {finding}").fetchall())


def test_rows_for_the_model_say_where_recovery_stops(server: ServerVault) -> None:
    with wal_index.writing(server) as index:
        index.connection.execute("INSERT INTO facts (timeline, number, joined, last_lsn, whole, end_cause, earliest, "
                                 "latest) VALUES (1, 2, 1, 2090000, 2100000, 'damaged', 5, 6), "
                                 "(1, 3, 1, 3190000, 3200000, 'switched', 7, 8)")
    with wal_index.reading(server) as index:
        assert archived_segments(index) == [
            Archived(1, 1), Archived(1, 2, 5, 6, 2100000, True, 2090000, "damaged"),
            Archived(1, 3, 7, 8, 3200000, False, 3190000, "switched")]
