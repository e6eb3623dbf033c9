"""The files of a backup and the WAL that belongs to it, streamed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from shelf import SIZE, Shelf, at, made_backup
from support.cli import environment, pgvault_argv
from support.objects import backup_directory, manifest_path

from pgvault.model.backup import BackupStatus
from pgvault.model.lsn import Lsn
from pgvault.store.files import make_directory
from pgvault.vault import catalog
from pgvault.vault.manifest import Entry, Kind, ManifestWriter

FILES = {"PG_VERSION": b"18\n", "base/1/1259": b"x" * 8192, "base/10/1": b"", "pg_tblspc/16385/PG_18/5/6": b"t",
         "odd\n\x1b[31mname": b"", os.fsdecode(b"base/1/\xff\xfe"): b"raw", "base/1/ü": b"u"}


@pytest.fixture
def stored(shelf: Shelf) -> Shelf:
    shelf.with_files(made_backup(at(1), segment=5, end_lsn=Lsn(7 * SIZE)), FILES, directories=("base", "pg_wal"))
    shelf.archive(1, 4, 9)
    return shelf


def lines(shelf: Shelf, *args: str) -> list[bytes]:
    return shelf.run("list-files", "main", "latest", *args).stdout.splitlines()


def test_files_are_listed_in_their_order_and_controls_are_spelled_out(stored: Shelf) -> None:
    assert lines(stored) == [
        b"PG_VERSION", b"base/1/1259", b"base/10/1", b"pg_tblspc/16385/PG_18/5/6", rb"odd\n\x1b[31mname",
        rb"base/1/\udcff\udcfe", "base/1/ü".encode()]


def test_the_wal_of_each_target(stored: Shelf) -> None:
    def wal(target: str) -> list[str]:
        return [line.decode()[-1] for line in lines(stored, "--target", target) if line.startswith(b"0000")]

    assert wal("standalone") == ["5", "6"], "an end on a boundary needs no further segment"
    assert wal("wal") == wal("full") == ["5", "6", "7", "8", "9"]
    assert wal("data") == []
    assert lines(stored, "--target", "full")[:7] == lines(stored)
    assert len(lines(stored, "--target", "wal")) == 5


def test_below_a_directory_names_that_are_not_utf_8_are_found_too(stored: Shelf) -> None:
    found = [b"base/1/1259", rb"base/1/\udcff\udcfe", "base/1/ü".encode()]
    assert lines(stored, "--under", "base/1") == lines(stored, "--under", "/base/1/") == found
    assert lines(stored, "--under", "base/1/ü") == ["base/1/ü".encode()]
    assert lines(stored, "--under", os.fsdecode(b"base/1/\xff\xfe")) == [rb"base/1/\udcff\udcfe"]
    assert lines(stored, "--under", "pg_wal") == [], "an empty directory"
    assert "has no 'base/2'" in stored.run("list-files", "main", "latest", "--under", "base/2", check=4).stderr
    assert stored.run("list-files", "main", "latest", "--under", "base/%", check=4).stdout == b""


def test_json_has_one_object_a_line(stored: Shelf) -> None:
    told = stored.run("--format", "json", "list-files", "main", "latest", "--target", "standalone").json_lines()
    assert [each["path"] for each in told] == [*FILES, "000000010000000000000005", "000000010000000000000006"]
    assert told[1] == {"schema": 1, "path": "base/1/1259", "kind": "file", "size": 8192, "mode": "0600",
                       "modified_at": "2026-11-01T12:00:00Z", "crc32c": None, "tablespace": None, "link": None}
    assert told[-1]["kind"] == "wal"
    assert told[-1]["size"] == SIZE


def test_the_long_form_has_size_and_time(stored: Shelf) -> None:
    assert lines(stored, "-l")[1] == b"-rw-------          8192 2026-11-01 12:00:00+00  base/1/1259"


@pytest.mark.parametrize("modified", [-(1 << 60), 1 << 60])
def test_a_time_of_no_calendar_is_no_time(shelf: Shelf, modified: int) -> None:
    """A damaged file system tells such; the file is listed all the same."""
    shelf.with_files(made_backup(at(1), segment=5), {"PG_VERSION": b"18\n"}, modified=modified)
    assert lines(shelf, "-l") == [b"-rw-------             3 -  PG_VERSION"]
    assert shelf.run("--format", "json", "list-files", "main", "latest").json()["modified_at"] is None


def test_missing_wal_is_an_error_after_the_list(stored: Shelf) -> None:
    with_hole = made_backup(at(2), segment=8, end_lsn=Lsn(13 * SIZE))
    stored.with_files(with_hole, {"PG_VERSION": b"18\n"})
    done = stored.run("list-files", "main", "latest", "--target", "standalone", check=9)
    assert len(done.stdout.splitlines()) == 3
    assert "00000001000000000000000A" in done.stderr


def test_a_damaged_manifest_is_not_listed(stored: Shelf) -> None:
    path = manifest_path(stored.server(), "20261101T120000Z")
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    done = stored.run("list-files", "main", "latest", check=8)
    assert done.stdout == b""


def test_a_backup_that_failed_has_no_files(shelf: Shelf) -> None:
    shelf.put(made_backup(at(1), status=BackupStatus.FAILED, error="x"))
    assert "It is FAILED." in shelf.run("list-files", "main", "last-failed", check=5).stderr


@pytest.mark.slow
def test_many_files_take_no_memory(shelf: Shelf) -> None:
    """A hundred thousand names of 200 bytes would be 40 MB as objects; the reader goes away in the middle, too."""
    backup = made_backup(at(1))
    make_directory(backup_directory(shelf.server(), backup.id))
    manifest = ManifestWriter(shelf.server(), backup.id)
    for number in range(100_000):
        manifest.add(Entry(manifest.next_id(), f"base/{number:0200}", Kind.FILE, 0, 0o600, 0))
    manifest.index_paths()
    from dataclasses import replace

    catalog.write(shelf.server(), replace(backup, manifest_sha256=manifest.publish()))
    script = ("import resource, sys; from pgvault.cli.main import main; code = main();"
              "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr); sys.exit(code)")

    def peak(target: str) -> tuple[int, int]:
        argv = [sys.executable, "-c", script, *pgvault_argv("list-files", "main", "latest", "--under", target,
                                                            config=shelf.config)[3:]]
        done = subprocess.run(argv, capture_output=True, env=environment(), check=True)
        return int(done.stderr.split()[-1]), done.stdout.count(b"\n")

    (few, one), (many, all_of_them) = peak(f"base/{7:0200}"), peak("base")
    assert (one, all_of_them) == (1, 100_000)
    assert many - few < 8 * 1024, f"{many} KiB for all, {few} KiB for one"
    process = subprocess.Popen(pgvault_argv("list-files", "main", "latest", config=shelf.config), env=environment(),
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout
    assert process.stderr
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 141
