#!/usr/bin/env python3
"""How long `restore --choices` takes to judge every backup of a large vault for a target, in a temporary directory.

    .venv/bin/python benchmarks/choices.py [--backups 10000] [--segments 100000] [--gap] [--only TEXT] [--profile] [--directory DIR]

The vault has the backups' facts, an index whose segments were read, and an empty file for each segment. It is asked as
the command and the wizard ask, once for each kind of target. `--gap` leaves every thousandth segment out, which makes a
hundred windows. Files are read from the page cache; what a disk takes comes on top.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import pstats
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from io import BytesIO
from pathlib import Path

from console_queries import BEGAN, SEGMENT_SECONDS, SIZE, backup, shelve

from pgvault.__main__ import GARBAGE
from pgvault.config.load import Config
from pgvault.config.schema import ServerConfig, VaultConfig
from pgvault.engine.restore.choices import Choices, list_choices
from pgvault.model.lsn import Lsn
from pgvault.model.restore_request import RestoreRequest
from pgvault.model.segment import Segment
from pgvault.model.target import AtLsn, AtName, AtTime, AtXid, EndOfWal, Immediate, Target
from pgvault.store.keys import Kind
from pgvault.vault import catalog, wal_index
from pgvault.vault.identity import Identity, claim
from pgvault.vault.layout import ServerVault, Vault
from pgvault.vault.wal_archive import accept

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from wal.wal_writer import SYSTEM as WRITTEN_SYSTEM  # type: ignore[import-not-found]
from wal.wal_writer import Writer

XIDS_EACH = 1000


def fill(vault: ServerVault, backups: int, segments: int, hole: int) -> None:
    """Segments that were read, and a backup in each so many of them; every `hole`th segment is missing. Two
    can be read, since targets are looked for in them: the one behind the half, and the last."""
    vault.prepare()
    claim(vault, Identity(str(WRITTEN_SYSTEM), SIZE))
    whole = (segments // 2 + 1, segments - 1)
    for number in whole:
        wal = Writer(number * SIZE, size=SIZE)
        wal.commit(number * XIDS_EACH, at(number) + 1000)
        accept(vault, Segment(1, number).name(SIZE), BytesIO(wal.segments()[0][1]))
    numbers = [number for number in range(1, segments) if not hole or number % hole != 7]
    with wal_index.writing(vault) as index, index.connection:
        index.connection.execute("BEGIN")
        index.connection.executemany("INSERT INTO file VALUES (?, 'segment', 1, ?, ?, 4000000, ?, ?)", (
            (Segment(1, number).name(SIZE), number, SIZE, bytes(32), at(number)) for number in numbers
            if number not in whole))
        index.connection.executemany(
            "INSERT INTO facts (timeline, number, joined, major, records, commits, aborts, earliest, latest, "
            "oldest_xid, newest_xid, first_lsn, last_lsn, end_lsn, whole, end_cause, removals, most_rows, passed)"
            " VALUES (1, ?, 1, 18, 90000, 999, 0, ?, ?, ?, ?, ?, ?, ?, ?, 'switched', 0, 0, 0)",
            ((n, at(n), at(n) + 1000, n * XIDS_EACH, n * XIDS_EACH + 999, n * SIZE + 40, (n + 1) * SIZE - 100,
              (n + 1) * SIZE, (n + 1) * SIZE) for n in numbers))
        index.connection.execute("INSERT INTO restore_point VALUES (1, ?, ?, ?, 'half way', ?)", (
            segments // 2 * SIZE + 400, segments // 2 * SIZE + 500, at(segments // 2), segments // 2))
    for number in numbers:
        path = Path(vault.location(Kind.WAL, Segment(1, number).name(SIZE)))
        path.parent.mkdir(exist_ok=True)
        path.touch()
    shelve(vault, (backup("main", 1 + number * segments // backups, 9) for number in range(backups)))


def at(number: int) -> int:
    return (int(BEGAN.timestamp()) + number * SEGMENT_SECONDS) * 1_000_000


def targets(segments: int) -> dict[str, Target]:
    middle, end = (BEGAN + timedelta(seconds=n * SEGMENT_SECONDS) for n in (segments // 2 + 0.5, segments + 50))
    return {"time, half way": AtTime(middle), "time, behind everything": AtTime(end),
            "time, before everything": AtTime(BEGAN), "position, half way": AtLsn(Lsn(segments // 2 * SIZE)),
            "position, behind everything": AtLsn(Lsn((segments + 9) * SIZE)),
            "transaction, half way": AtXid((segments // 2 + 1) * XIDS_EACH), "transaction, unknown": AtXid(3), "name, half way": AtName("half way"),
            "name, unknown": AtName("nowhere"), "immediate": Immediate(), "end of the WAL": EndOfWal()}


def ask(config: Config, target: Target) -> str:
    found: Choices = list_choices(RestoreRequest("main", target=target), config)
    fits = sum(each.fits for each in found.fits)
    return f"{fits} of {len(found.fits)} fit, {len(found.nearest)} nearest, {len(found.windows)} windows"


@contextmanager
def profiled(wanted: bool) -> Iterator[None]:
    profile = cProfile.Profile()
    if wanted:
        profile.enable()
    yield
    if wanted:
        profile.disable()
        pstats.Stats(profile).sort_stats("tottime").print_stats(18)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backups", type=int, default=10_000)
    parser.add_argument("--segments", type=int, default=100_000)
    parser.add_argument("--gap", action="store_true", help="leave every thousandth segment out")
    parser.add_argument("--only", default="", help="the targets that begin so")
    parser.add_argument("--profile", action="store_true", help="also say where the time goes")
    parser.add_argument("--directory", type=Path, help="where there is room for that many files")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pgvault-", dir=options.directory) as home:
        vault = Vault.open_or_create(Path(home)).server("main")
        fill(vault, options.backups, options.segments, 1000 if options.gap else 0)
        gc.set_threshold(*GARBAGE)
        print(f"{options.backups} backups, {options.segments} segments")
        time.sleep(2.5)  # facts that have just been written are not cached
        list(catalog.scan(vault))
        server = ServerConfig(name="main", conninfo="host=nowhere")
        config = Config(Path(), (), VaultConfig(home=Path(home)), {"main": server}, {}, {})
        for what, target in targets(options.segments).items():
            if what.startswith(options.only):
                with profiled(options.profile):
                    began, busy = time.perf_counter(), time.process_time()
                    found = ask(config, target)
                    took, busy = time.perf_counter() - began, time.process_time() - busy
                    print(f"  {what:<28} {took * 1000:8.0f} ms, {busy * 1000:6.0f} of the processor   {found}", flush=True)


if __name__ == "__main__":
    main()
