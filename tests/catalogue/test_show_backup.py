"""Everything about one backup, laid out as in Barman's show-backup."""

from __future__ import annotations

import re

from shelf import SIZE, Shelf, at, made_backup

from pgvault.model.backup import BackupStatus, Tablespace
from pgvault.model.lsn import Lsn
from pgvault.vault import wal_index


def fields_of(text: str) -> dict[str, str]:
    return {name.strip(): value for name, value in re.findall(r"^ +(\S.*?) *: (.*)$", text, re.MULTILINE)}


def test_the_layout_is_the_one_that_people_know(shelf: Shelf) -> None:
    shelf.configure('retention_policy = "REDUNDANCY 1"')
    shelf.put(made_backup(at(1), segment=2), made_backup(at(2), segment=5, name="weekly", tablespaces=(
        Tablespace(16385, "fast", "/mnt/fast"),)), made_backup(at(3), segment=9))
    shelf.archive(1, 2, 12, stored=1 << 20)
    text = shelf.run("show-backup", "main", "20261102").text
    assert text.startswith("Backup 20261102T120000Z:\n  Server Name            : main\n")
    sections = [line.strip() for line in text.splitlines() if line.startswith("  ") and line.endswith(":")]
    assert sections == ["Tablespaces:", "Base backup information:", "WAL information:", "Catalog information:"]
    assert fields_of(text).items() >= {
        "Status": "DONE", "Backup Name": "weekly", "PostgreSQL Version": "18.1",
        "PGDATA directory": "/var/lib/postgresql/18/main", "fast (16385)": "/mnt/fast",
        "Incremental size": "2.7 MiB (-90.00%)", "Timeline": "1", "Begin WAL": "000000010000000000000005",
        "End WAL": "000000010000000000000005", "WAL number": "1", "WAL compression ratio": "93.75%",
        "Begin time": "2026-11-02 12:00:00+00", "Begin Offset": "40", "End Offset": "184",
        "Begin XLOG": "0/5000028", "End XLOG": "0/50000B8", "No of files": "3", "Last available":
        "000000010000000000000008", "Retention Policy": "OBSOLETE (outside REDUNDANCY 1, and nothing needs it)",
        "Previous Backup": "20261101T120000Z", "Next Backup": "20261103T120000Z"}.items()
    assert fields_of(shelf.run("show-backup", "main", "oldest").text)["Previous Backup"].startswith("- (this is the ol")
    assert fields_of(shelf.run("show-backup", "main", "latest").text)["Next Backup"].startswith("- (this is the latest")


def test_one_that_failed_says_why_and_claims_no_sizes(shelf: Shelf) -> None:
    shelf.put(made_backup(at(1), status=BackupStatus.FAILED, error="the server went away", end_lsn=None))
    fields = fields_of(shelf.run("show-backup", "main", "last-failed").text)
    assert fields["Error"] == "the server went away"
    assert fields["Retention Policy"] == "NOT_COUNTED (failed: does not count as protection)"
    assert fields["End WAL"] == fields["Restorable from"] == "-"
    assert "Disk usage" not in fields


def test_missing_wal_is_said_where_the_wal_is_told(shelf: Shelf) -> None:
    shelf.put(made_backup(at(1), segment=2, end_lsn=Lsn(5 * SIZE)))
    shelf.archive(1, 2, 3)
    assert fields_of(shelf.run("show-backup", "main", "latest").text)["WAL number"] == "3 (1 not archived)"


def test_it_tells_how_far_it_can_be_recovered(shelf: Shelf) -> None:
    """To the last commit before the first gap, not to the end of the archive."""
    shelf.put(made_backup(at(1), segment=2))
    shelf.archive(1, 2, 4)
    shelf.archive(1, 6, 8)
    with wal_index.writing(shelf.server()) as index:
        for number in (2, 3, 4, 6, 7, 8):
            moment = int(at(number).timestamp() * 1e6)
            index.connection.execute(
                "INSERT INTO facts (timeline, number, joined, earliest, latest) VALUES (1, ?, 1, ?, ?)",
                (number, moment, moment + 500_000))
    assert fields_of(shelf.run("show-backup", "main", "latest").text)["Restorable until"] == "2026-11-04 12:00:00.5+00"
    assert shelf.json("show-backup", "main", "latest")["restorable_until"] == "2026-11-04T12:00:00.500000Z"


def test_an_unknown_backup_is_not_found(shelf: Shelf) -> None:
    shelf.put(made_backup(at(1)))
    for name in ("20261202T120000Z", "2027", "../../etc"):
        assert "has no backup" in shelf.run("show-backup", "main", name, check=4).stderr
