"""What a backup says, on the screen and to programs, and what it costs while it runs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from station import NAME, Station, fill, finish
from support.postgres import Server

from pgvault.engine.backup.copy import Copier
from pgvault.engine.progress import Progress
from pgvault.io.tar import MemberKind, make_header
from pgvault.model.backup import BackupStatus
from pgvault.model.event import discard
from pgvault.vault.frames import FrameStore
from pgvault.vault.layout import Vault
from pgvault.vault.manifest import ManifestWriter

MIB = 1 << 20
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
    phases = told_by_phase(events)
    assert phases.keys() == {"checkpoint", "copy", "fetch WAL"}
    assert phases["copy"] == sorted(phases["copy"])
    assert phases["copy"][-1] == backup.size_bytes
    fetched = next(event["total_bytes"] for event in events if event.get("phase") == "fetch WAL")
    assert phases["fetch WAL"] == sorted(phases["fetch WAL"])
    assert phases["fetch WAL"][-1] == fetched


def told_by_phase(events: list[dict[str, Any]]) -> dict[str, list[int]]:
    """The bytes that were told in each phase."""
    phases: dict[str, list[int]] = {}
    told: list[int] = []
    for event in events:
        if event["event"] == "PhaseStarted":
            told = phases.setdefault(event["phase"], [])
        elif event["event"] == "Progressed":
            told.append(event["done_bytes"])
    return phases


def test_a_large_file_is_told_as_it_comes(tmp_path: Path) -> None:
    """Else a file of a gigabyte, at a limited rate, is minutes of silence."""
    vault = Vault.open_or_create(tmp_path / "vault").server(NAME)
    vault.prepare()
    (vault.backups / "20260101T000000Z").mkdir()
    content = bytes(range(256)) * (20 * MIB // 256)
    stream = memoryview(make_header("base/5/1", MemberKind.FILE, len(content), 0o600, 1) + content)
    progress = Progress(discard)
    with ExitStack() as scope:
        manifest = ManifestWriter(vault, "20260101T000000Z")
        scope.callback(manifest.abandon)
        store = scope.enter_context(FrameStore(vault))
        copier = scope.enter_context(Copier(vault, store, manifest, None, level=1, workers=2, progress=progress))
        for start in range(0, len(stream), 64 << 10):
            copier.tar(stream[start:start + (64 << 10)])
            arrived = max(0, min(start + (64 << 10), len(stream)) - 512)
            assert progress.done_bytes == arrived
        assert progress.files == 1


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
