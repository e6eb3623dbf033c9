"""The list of backups: one line each for people, one document for programs, whatever state they are in."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from shelf import SIZE, Shelf, at, made_backup
from support.account import account
from support.cli import pgvault

from pgvault.model.backup import BackupStatus, Tablespace
from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment
from pgvault.vault import wal_index

FIELDS = {
    "id", "server", "name", "status", "method", "started_at", "finished_at", "begin_lsn", "end_lsn", "begin_wal",
    "end_wal", "timeline", "system_identifier", "server_version", "data_directory", "tablespaces", "size_bytes",
    "stored_bytes", "file_count", "deduplication_ratio", "wal_bytes", "keep", "verified_at", "proven_at", "retention",
    "restorable_from", "restorable_until", "error"}


def test_a_line_looks_like_barmans(shelf: Shelf, lines_of: Callable[..., list[str]]) -> None:
    shelf.put(made_backup(at(1)))
    shelf.archive(1, 2, 4, stored=1 << 20)
    assert lines_of("list-backups", "main") == [
        "main 20261101T120000Z - Sun Nov  1 12:01:00 2026 UTC - Size:   26.9 MiB - WAL Size:    2.0 MiB"]
    assert lines_of("list-backup", "main") == lines_of("list-backups", "main")


def test_backups_of_all_states_and_servers_stand_in_aligned_columns(shelf: Shelf, lines_of) -> None:
    shelf.configure(servers=("main", "a-longer-name"))
    shelf.put(made_backup(at(1), name="weekly"), made_backup(at(2), status=BackupStatus.FAILED, error="disk\nfull"),
              made_backup(at(3), status=BackupStatus.WAITING_FOR_WALS),
              made_backup(at(4), status=BackupStatus.STARTED, end_lsn=None, finished_at=None),
              made_backup(at(1), server="a-longer-name"))
    shelf.archive(1, 2, 2)
    shelf.archive(1, 2, 2, server="a-longer-name")
    lines = lines_of("list-backups", "all")
    assert [line[:14].strip() for line in lines] == ["main"] * 4 + ["a-longer-name"]
    assert len({line.index(" - ") for line in lines}) == 1
    assert "20261101T120000Z 'weekly' - Sun" in lines[0]
    assert lines[1].endswith(" - FAILED - disk\\nfull")
    assert lines[2].endswith("WAITING_FOR_WALS")
    assert lines[3].endswith(" - STARTED")


def test_an_unreadable_backup_is_named_and_hides_no_other(shelf: Shelf, lines_of) -> None:
    """Case 44."""
    shelf.put(*(made_backup(at(day)) for day in range(1, 6)))
    shelf.archive(1, 2, 2)
    backups = shelf.server().backups
    (backups / "20261102T120000Z/backup.toml").write_text("status = [")
    (backups / "20261103T120000Z/backup.toml").unlink()
    wrong = backups / "20261104T120000Z/backup.toml"
    wrong.write_text(wrong.read_text().replace("size_bytes = 28206694", 'size_bytes = "many"'))
    for _ in range(2):
        lines = lines_of("list-backups", "main")
        assert [line.split()[1] for line in lines] == [f"2026110{day}T120000Z" for day in range(1, 6)]
        assert ["UNREADABLE" in line for line in lines] == [False, True, True, True, False]
        assert "Invalid value" in lines[1]
        assert "the file is missing" in lines[2]
        assert "size_bytes: expected int, got str" in lines[3]
    told = shelf.json("list-backups", "main")["backups"]
    assert [each["status"] for each in told] == ["DONE", "UNREADABLE", "UNREADABLE", "UNREADABLE", "DONE"]
    assert all(set(each) == FIELDS for each in told)
    assert "the file is missing" in told[2]["error"]
    assert shelf.run("show-backup", "main", "20261104T120000Z", check=1).stderr.count("size_bytes") == 1
    assert b"20261105" in shelf.run("show-backup", "main", "latest").stdout


def test_the_json_document_has_the_fields_of_the_contract(shelf: Shelf) -> None:
    begin = Lsn(5 * SIZE + 0x28)
    backup = made_backup(at(1), name="weekly", begin_lsn=begin, end_lsn=Lsn(7 * SIZE), tablespaces=(
        Tablespace(16385, "fast", "/mnt/fast"),))
    shelf.put(backup)
    shelf.archive(1, 5, 9)
    document = shelf.json("list-backups", "main")
    assert document["schema"] == 1
    told, = document["backups"]
    assert set(told) == FIELDS
    assert told["begin_wal"] == "000000010000000000000005"
    assert told["end_wal"] == "000000010000000000000006", "an end on a boundary belongs to the segment before"
    assert told["begin_lsn"] == "0/5000028"
    assert told["started_at"] == "2026-11-01T12:00:00Z"
    assert told["restorable_from"] == told["finished_at"] == "2026-11-01T12:01:00Z"
    assert told["tablespaces"] == [{"oid": 16385, "name": "fast", "location": "/mnt/fast"}]
    assert told["wal_bytes"] == 3000
    assert told["deduplication_ratio"] == 0.9
    assert told["retention"] == {"verdict": "VALID", "reason": "no retention policy: nothing expires"}
    assert told["error"] is told["keep"] is told["verified_at"] is None
    assert shelf.json("show-backup", "main", "latest") == {"schema": 1, **told}


def test_a_server_without_backups_is_no_error(shelf: Shelf) -> None:
    shelf.server()
    done = shelf.run("list-backups", "main")
    assert (done.stdout, done.stderr) == (b"", "main has no backups\n")
    assert shelf.json("list-backups", "main") == {"schema": 1, "backups": []}
    assert shelf.run("list-backups", "other", check=4).stdout == b""


def test_terminal_controls_from_outside_are_spelled_out(shelf: Shelf) -> None:
    """Rule 31."""
    shelf.put(made_backup(at(1), status=BackupStatus.FAILED, error="\x1b[2Jgone"))
    assert b"\x1b" not in shelf.run("--color", "never", "list-backups", "main").stdout


def test_wal_after_a_backup_is_counted_up_to_the_next(shelf: Shelf) -> None:
    shelf.put(made_backup(at(1), segment=2), made_backup(at(2), status=BackupStatus.FAILED),
              made_backup(at(3), segment=7), made_backup(at(4), segment=9))
    shelf.archive(1, 2, 12, stored=10)
    assert [each["wal_bytes"] for each in shelf.json("list-backups", "main")["backups"]] == [40, None, 10, 30]


def test_a_backup_with_a_hole_in_its_own_wal_is_not_counted(shelf: Shelf) -> None:
    """Rule 18: a gap-broken backup is no protection."""
    shelf.configure('retention_policy = "REDUNDANCY 1"')
    shelf.put(made_backup(at(1), segment=2), made_backup(at(2), segment=5, end_lsn=Lsn(8 * SIZE)))
    shelf.archive(1, 2, 5)
    shelf.archive(1, 7, 9)
    first, second = shelf.json("list-backups", "main")["backups"]
    assert first["retention"]["verdict"] == "VALID"
    assert second["retention"] == {"verdict": "NOT_COUNTED", "reason":
                                   "1 of the 3 WAL segments that it needs are not archived: "
                                   "does not count as protection"}


def test_a_backup_whose_own_wal_is_damaged_is_not_counted(shelf: Shelf) -> None:
    shelf.put(made_backup(at(1), segment=2), made_backup(at(2), segment=5, end_lsn=Lsn(8 * SIZE)))
    shelf.archive(1, 2, 9)
    with wal_index.writing(shelf.server()) as index:
        index.connection.execute("INSERT INTO facts (timeline, number, joined, whole, end_cause)"
                                 " VALUES (1, 6, 1, ?, 'damaged')", (6 * SIZE + 100,))
    first, second = shelf.json("list-backups", "main")["backups"]
    assert first["retention"]["verdict"] == "VALID"
    assert second["retention"] == {"verdict": "NOT_COUNTED", "reason":
                                   f"recovery cannot pass {Segment(1, 6).name(SIZE)}: a record is damaged: "
                                   "does not count as protection"}


def test_a_vault_without_a_wal_index_still_lists(shelf: Shelf) -> None:
    shelf.put(made_backup(at(1)))
    done = shelf.run("list-backups", "main")
    assert b"WAL Size:    unknown" in done.stdout
    assert "WAL is not shown" in done.stderr
    shelf.server().cache.wal.write_bytes(b"not a database, but long enough to be looked at" * 100)
    assert b"WAL Size:    unknown" in shelf.run("list-backups", "main").stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become an account that may not write to the vault")
def test_who_may_only_read_the_vault_sees_all_and_leaves_nothing(open_tmp: Path) -> None:
    shelf = Shelf(open_tmp / "vault", open_tmp / "pgvault.toml")
    shelf.configure()
    shelf.put(made_backup(at(1)))
    shelf.archive(1, 2, 4)
    before = sorted(shelf.home.rglob("*"))
    for path in (shelf.home, shelf.config, *before):
        path.chmod(0o755 if path.is_dir() else 0o644)
    done = pgvault("list-backups", "main", config=shelf.config, account=account(), check=0)
    assert b"Size:   26.9 MiB - WAL Size:    2.0 KiB" in done.stdout
    assert sorted(shelf.home.rglob("*")) == before
