"""What a backup says, on the screen and to programs, and what it costs while it runs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from station import NAME, Station, fill, finish
from support.postgres import Server

from pgvault.model.backup import BackupStatus

CONTRACT = (
    "schema id server name status method started_at finished_at begin_lsn end_lsn begin_wal end_wal timeline"
    " system_identifier server_version data_directory tablespaces size_bytes stored_bytes file_count"
    " deduplication_ratio wal_bytes keep verified_at proven_at retention restorable_from restorable_until error")
PLACE = r"0/[0-9A-F]+ \(00000001[0-9A-F]{16}, [0-9A-F]{8}\)"


def test_the_lines_that_administrators_know(small: Server, station: Callable[..., Station]) -> None:
    here = station(small)
    done = here.backup()
    backup = here.newest()
    talk = done.stderr
    lines = [
        rf"^Starting backup for server {NAME} in {here.vault.backups / backup.id}$",
        rf"^Backup start at WAL position {PLACE}$",
        r"^Copying files\.$",
        r"^Copy done\.$",
        r"^Asking PostgreSQL server to finalize the backup\.$",
        rf"^Backup end at WAL position {PLACE}$",
    ]
    places = [re.search(line, talk, re.M) for line in lines]
    assert all(places), talk
    assert [each.start() for each in places if each] == sorted(each.start() for each in places if each)
    assert re.fullmatch(
        r"Backup size: [\d.]+ MiB\. Actual size on disk: [\d.]+ [KM]iB \(-\d+\.\d\d% deduplication ratio\)\.\n"
        rf"Backup completed: {backup.id}\n", done.text), done.text


def test_the_document_that_programs_read(small: Server, station: Callable[..., Station]) -> None:
    here = station(small)
    done = here.backup("--format", "json", "--name", "before upgrade")
    document, backup = done.json(), here.newest()
    assert set(CONTRACT.split()) <= document.keys()
    told = {name: document[name] for name in ("schema", "id", "server", "name", "status", "begin_lsn", "end_lsn",
                                              "timeline", "size_bytes", "stored_bytes", "file_count", "error")}
    assert told == {
        "schema": 1, "id": backup.id, "server": NAME, "name": "before upgrade", "status": "DONE",
        "begin_lsn": str(backup.begin_lsn), "end_lsn": str(backup.end_lsn), "timeline": 1,
        "size_bytes": backup.size_bytes, "stored_bytes": backup.stored_bytes, "file_count": backup.file_count,
        "error": None}
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert [events[0]["event"], events[-1]["event"]] == ["JobStarted", "JobFinished"]
    assert {"checkpoint", "copy", "fetch WAL"} <= {e.get("phase") for e in events}
    copied = [event["done_bytes"] for event in events if event["event"] == "Progressed"]
    assert copied == sorted(copied)
    assert copied[-1] == backup.size_bytes


@pytest.mark.parametrize("arguments", [
    ["--jobs", "0"], ["--bwlimit", "fast"], ["--name", "two\nlines"],
])
def test_what_is_no_backup_command(arguments: list[str], small: Server, station: Callable[..., Station]) -> None:
    here = station(small)
    here.backup(*arguments, check=2)
    assert not here.home.exists() or here.backups() == []


def test_memory_does_not_grow_with_the_cluster(own_small: Callable[..., Server],
                                               station: Callable[..., Station]) -> None:  # fmt: skip
    """A cluster of a few hundred MB, four workers: the process stays below 150 MiB, first and second time."""
    server = own_small(18)
    fill(server, "junk", 60)
    server.sql("create table prose as select g, repeat(md5(g::text), 30) from generate_series(1, 150000) g")
    server.sql("create table other as table prose")
    server.sql("checkpoint")
    here = station(server)
    for _ in range(2):
        _, err = finish(here.drive([{"tell": "peak"}], "backup", NAME, "--jobs", "4"), 0)
        assert here.newest().size_bytes > 300 << 20
        peak = int(re.search(r"VmHWM:\s+(\d+) kB", err)[1])
        print(f"peak {peak / 1024:.0f} MiB of {here.newest().size_bytes >> 20} MiB")
        assert peak < 150 << 10
        server.sql("update junk set n = -n where n % 7 = 0")
        server.sql("checkpoint")
    assert here.newest().status is BackupStatus.DONE
