#!/usr/bin/env python3
"""How long the console's questions take in large vaults, each in its own temporary directory.

    .venv/bin/python benchmarks/console_queries.py [--only overview,wal,files,log,events] [--scale 1.0] [--directory DIR]

overview  50 servers with 200 backups and 2,000 segments each: protection with and without the cache, and the stamps
wal       100,000 segments whose records were read: the picture, the memory it keeps, and the timeline drawn of it
files     a manifest of 1,000,000 files: opening, pages, whole searches
log       1 GiB of a server's log: the last lines, the index, pages, whole searches
events    500 segments of 1 MiB, full of small transactions, with five tables dropped: reading facts, searches

`--scale 0.01` is for trying it out. Files are read from the page cache; what a disk takes comes on top.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import TypeVar

from pgvault.config.schema import ServerConfig
from pgvault.console.glyphs import UNICODE
from pgvault.console.timeline.chart import chart_of
from pgvault.console.timeline.frame import Frame
from pgvault.console.timeline.rows import draw
from pgvault.engine.backup_files import BackupFiles
from pgvault.engine.catalogue import read_catalogue
from pgvault.engine.events import find_events
from pgvault.engine.overview import protection, stamp
from pgvault.engine.wal_picture import wal_picture
from pgvault.io.lines import LineFile
from pgvault.model.backup import Backup, BackupStatus
from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment
from pgvault.store.files import fsync_path
from pgvault.vault import catalog, wal_index
from pgvault.vault.identity import Identity, claim
from pgvault.vault.layout import ServerVault, Vault
from pgvault.vault.manifest import Entry, Kind, ManifestWriter, Run
from pgvault.vault.wal_archive import accept
from pgvault.vault.wal_facts import read_facts

sys.path[:0] = [str(Path(__file__).parents[1] / "tests" / each) for each in ("", "events", "wal", "catalogue")]
from made_up import UPDATE, Deeds  # type: ignore[import-not-found]  # noqa: E402

SIZE = 16 << 20
SYSTEM = "7300000000000000001"
BEGAN = datetime(2026, 11, 1, tzinfo=UTC)
SEGMENT_SECONDS = 300
CARRY = "c" * 700
"""As long as what the index keeps of the end of a segment."""
T = TypeVar("T")


def timed(what: str, act: Callable[[], T], *, about: Callable[[T], str] = lambda _: "") -> T:
    began = time.perf_counter()
    result = act()
    print(f"  {what:<58} {(time.perf_counter() - began) * 1000:10.2f} ms   {about(result)}".rstrip())
    return result


def backup(server: str, number: int, every: int) -> Backup:
    """The one that begins in segment `number`."""
    started = BEGAN + timedelta(seconds=number * SEGMENT_SECONDS)
    return Backup(
        id=started.strftime("%Y%m%dT%H%M%SZ"), server=server, status=BackupStatus.DONE, method="stream",
        started_at=started, finished_at=started + timedelta(minutes=1), system_identifier=SYSTEM, server_version="18.1",
        segment_size=SIZE, timeline=1, data_directory="/var/lib/postgresql/18/main", begin_lsn=Lsn(number * SIZE + 40),
        end_lsn=Lsn(number * SIZE + 4000), size_bytes=3 << 30, stored_bytes=every << 20, file_count=1210)


def shelve(vault: ServerVault, backups: Iterable[Backup]) -> None:
    for each in backups:
        catalog.create(vault, each)


def archive(vault: ServerVault, segments: int) -> None:
    """Rows of the index, as reading the segments' records would have made them."""
    claim(vault, Identity(SYSTEM, SIZE))
    start = int(BEGAN.timestamp())

    def at(number: int) -> int:
        return (start + number * SEGMENT_SECONDS) * 1_000_000

    with wal_index.writing(vault) as index, index.connection:
        index.connection.execute("BEGIN")
        index.connection.executemany("INSERT INTO file VALUES (?, 'segment', 1, ?, ?, 4000000, ?, ?)", (
            (Segment(1, number).name(SIZE), number, SIZE, bytes(32), at(number)) for number in range(segments)))
        index.connection.executemany(
            "INSERT INTO facts (timeline, number, joined, major, records, commits, aborts, earliest, latest, carry)"
            " VALUES (1, ?, 1, 18, 90000, ?, 0, ?, ?, ?)",
            ((number, number % 1000, at(number), at(number) + 1000, CARRY) for number in range(segments)))


def overview(home: Path, scale: float) -> None:
    count, backups, segments = max(1, round(50 * scale)), 200, 2000
    print(f"{count} servers, {backups} backups and {segments} segments each")
    servers = [ServerConfig(name=f"server-{n}", conninfo="host=nowhere", last_backup_maximum_age=timedelta(days=1))
               for n in range(count)]
    for server in servers:
        vault = Vault.open_or_create(home).server(server.name)
        vault.prepare()
        archive(vault, segments)
        shelve(vault, (backup(server.name, number, 9) for number in range(0, segments, segments // backups)))
    time.sleep(2.5)  # facts that have just been written are not cached
    now = BEGAN + timedelta(seconds=segments * SEGMENT_SECONDS)

    def every() -> str:
        return ", ".join(sorted({protection(server, home, now).state.value for server in servers}))

    timed("protection of all, without the cache", every, about=str)
    timed("protection of all, with it", every, about=str)
    timed("protection of all, again", every, about=str)
    timed("stamps of all", lambda: [stamp(server, home) for server in servers])
    timed("catalogue of one", lambda: read_catalogue(Vault(home).server(servers[0].name), servers[0], now))


def wal(home: Path, scale: float) -> None:
    segments = round(100_000 * scale)
    print(f"{segments} segments")
    vault = Vault.open_or_create(home).server("main")
    vault.prepare()
    archive(vault, segments)
    shelve(vault, (backup("main", number, 9) for number in range(0, segments, max(1, segments // 200))))
    timed("picture, backups not cached", lambda: wal_picture(vault))
    list(catalog.scan(vault))
    time.sleep(2.5)
    list(catalog.scan(vault))
    for _ in range(3):
        timed("picture", lambda: wal_picture(vault), about=lambda found: f"{len(found.survey.windows)} window")
    picture = wal_picture(vault)
    chart = timed("the timeline made of it", lambda: chart_of(picture))
    whole = frame = Frame.over(chart.begin, chart.until + 1, 110)
    for close in range(0, 24, 8):
        timed(f"a frame of it, {2 ** close} times closer", lambda frame=frame: draw(  # type: ignore[misc]
            chart.lanes[0], frame, UNICODE))
        for _ in range(8):
            frame = frame.zoomed(chart.until, whole)
    server = ServerConfig(name="main", conninfo="host=nowhere")
    timed("protection", lambda: protection(server, home, datetime.now(UTC)))
    tracemalloc.start()
    again = wal_picture(vault)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(f"  memory: {kept / 1e6:.1f} MB kept for {len(again.lanes)} lane, {peak / 1e6:.1f} MB while it is read")


def files(home: Path, scale: float) -> None:
    count = round(1_000_000 * scale)
    print(f"{count} files")
    vault = Vault.open_or_create(home).server("main")
    vault.prepare()
    one = backup("main", 2, 9)
    shelve(vault, [one])
    writer = ManifestWriter(vault, one.id)
    for number in range(count):
        fork = "_fsm" if number % 7 == 0 else "_vm" if number % 11 == 0 else ""
        entry = Entry(writer.next_id(), f"base/{16384 + number // 2000}/{100_000 + number}{fork}", Kind.FILE, 8192,
                      0o600, 1_793_534_400, number * 7919 % (1 << 32))
        writer.add(entry)
        writer.add_run(entry.id, 0, Run(os.urandom(32)))
    writer.index_paths()
    writer.publish()
    with timed("open", lambda: BackupFiles(vault, one), about=lambda found: f"{len(found)} entries") as found:
        timed("first page", lambda: found.rows(0, 60))
        timed("a page near the end", lambda: found.rows(len(found) - 1000, 60))
        for text in ("_fsm", "16400/", "nowhere", "1"):
            walk = iter(found.search(text))
            first = timed(f"search {text!r}: the first block", lambda walk=walk: next(walk))  # type: ignore[misc]
            timed(f"search {text!r}: the rest", lambda walk=walk: sum(map(len, walk)),  # type: ignore[misc]
                  about=lambda rest, first=first: f"{rest + len(first)} found")  # type: ignore[misc]
        timed("search, inverted, '_': all", lambda: sum(map(len, found.search("_", invert=True))), about=str)


def log(home: Path, scale: float) -> None:
    path, size = home / "postgresql.log", round((1 << 30) * scale)
    _write_log(path, size)
    print(f"{size / (1 << 20):.0f} MiB of log")
    with timed("open", lambda: LineFile(path)) as file:
        timed("the last 60 lines", lambda: file.tail(60))
        timed("index, complete", lambda: _indexed(file), about=lambda count: f"{count} lines")
        timed("a page in the middle", lambda: file.lines(file.count // 2, 60))
        timed("the page behind it", lambda: file.lines(file.count // 2 + 60, 60))
        for text in ("nowhere", "[8888]", "LOG"):
            walk = file.search(text)
            timed(f"search {text!r}: the first block", lambda walk=walk: next(walk))  # type: ignore[misc]
            timed(f"search {text!r}: the rest", lambda walk=walk: sum(map(len, walk)), about=str)  # type: ignore[misc]


def events(home: Path, scale: float) -> None:
    count, mib = max(10, round(500 * scale)), 1 << 20
    vault = Vault.open_or_create(home).server("main")
    vault.prepare()
    deeds, xid, drops = Deeds(), 1000, set(range(count // 10, count, count // 5))
    for number in range(count):
        deeds.running(xid, xid)
        while deeds.at < deeds.start + (number + 1) * mib:
            deeds.row(xid, 20_000 + xid % 50, operation=UPDATE)
            deeds.append(bytes(100), rmid=10, xid=xid)
            deeds.end(xid)
            xid += 1
        if number in drops:
            deeds.end(xid, files=(30_000 + number,), dropped=(30_000 + number,))
            xid += 1
    for start, data in deeds.segments():
        accept(vault, Segment.holding(1, start, mib).name(mib), BytesIO(data))
    print(f"{len(deeds.segments())} segments, {len(deeds.lsns)} records")
    timed("reading the facts, once for each segment", lambda: read_facts(vault), about=lambda found: f"{found} segments")

    def search() -> None:
        timed("events, oldest first", lambda: list(find_events(vault)), about=lambda found: f"{len(found)} events")
        timed("events, the newest one", lambda: list(find_events(vault, newest_first=True, limit=1)))

    search()
    with wal_index.writing(vault) as index:
        index.connection.execute("UPDATE facts SET removals = NULL")
    print("  ... and as it would be if each segment had to be read:")
    search()


def _write_log(path: Path, size: int) -> None:
    lines = b"".join(f"2026-11-22 20:05:12.{n % 1000:03d} UTC [{n % 9000}] LOG:  statement {n}: select * from t where "
                     f"id = {n * 7919 % 100_003}\n".encode() for n in range(10_000))
    with path.open("wb") as file:
        while file.tell() < size:
            file.write(lines)
    fsync_path(path)


def _indexed(file: LineFile) -> int:
    while not file.index_some():
        pass
    return file.count


CASES: dict[str, Callable[[Path, float], None]] = {"overview": overview, "wal": wal, "files": files, "log": log,
                                                     "events": events}


def chosen(text: str) -> Sequence[str]:
    names = text.split(",")
    if unknown := set(names) - set(CASES):
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}")
    return names


def places(directory: Path | None) -> Iterator[Path]:
    """An empty directory for each case."""
    while True:
        with tempfile.TemporaryDirectory(prefix="pgvault-", dir=directory) as place:
            yield Path(place)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=chosen, default=list(CASES), help="some of the cases")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--directory", type=Path, help="where there is room for 2 GB")
    options = parser.parse_args()
    for name, place in zip(options.only, places(options.directory), strict=False):
        CASES[name](place, options.scale)


if __name__ == "__main__":
    main()
