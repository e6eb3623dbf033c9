#!/usr/bin/env python3
"""How long the short commands take as whole processes: put-wal, get-wal, list-backups, show-backup.

    python3 benchmarks/commands.py [--python .venv/bin/python] [--backups 1000] [--runs 20]

Segments are made with PostgreSQL's own page headers; backups are copies of one backup.toml under other ids. Beside
each figure stands that of an empty Python process, measured in the same run.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

SEGMENT = 16 << 20
PAGE = 8192
SYSTEM = 7_000_000_000_000_000_001
MAGIC_18 = 0xD118
FACTS = """\
id = "{id}"
status = "DONE"
method = "stream"
name = ""
started_at = {time}
finished_at = {time}
system_identifier = "{system}"
server_version = "18.1"
segment_size = 16777216
timeline = 1
begin_lsn = "0/{number:X}000028"
end_lsn = "0/{number:X}000158"
data_directory = "/var/lib/postgresql/18/main"
size_bytes = 3058840804
stored_bytes = 125840711
file_count = 11532
manifest_sha256 = "{sha}"
job = ""
error = ""
corrupt_pages = []
tablespaces = []
"""


def segment(number: int) -> bytes:
    """A segment of valid pages; its content compresses about as WAL does."""
    noise = random.Random(number)
    body = b"".join(noise.randbytes(2000) + bytes(4000) + noise.randbytes(500) * 3 for _ in range(4))
    pages = []
    for page in range(SEGMENT // PAGE):
        address = number * SEGMENT + page * PAGE
        header = struct.pack("<HHIQI4x", MAGIC_18, 6 if page == 0 else 4, 1, address, 0)
        if page == 0:
            header += struct.pack("<QII", SYSTEM, SEGMENT, PAGE)
        offset = page * 37 % (len(body) - PAGE)
        pages.append(header + body[offset:offset + PAGE - len(header)])
    return b"".join(pages)


def timed(run: Callable[[int], object], runs: int) -> list[float]:
    run(0)
    seconds = []
    for number in range(1, runs + 1):
        begin = time.perf_counter()
        run(number)
        seconds.append(time.perf_counter() - begin)
    return seconds


def report(name: str, seconds: Sequence[float]) -> None:
    low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
    print(f"{name:38} {low * 1000:7.0f} {middle * 1000:7.0f} {high * 1000:7.0f}", flush=True)


def measure(python: str, backups: int, runs: int, home: Path) -> None:
    config = home / "pgvault.toml"
    config.write_text(f'[vault]\nhome = "{home}/vault"\n[servers.db]\nconninfo = "host=127.0.0.1"\n')
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}

    def pgvault(*arguments: str, data: bytes = b"") -> None:
        subprocess.run([python, "-m", "pgvault", "--config", str(config), *arguments], input=data, check=True,
                       stdout=subprocess.DEVNULL, env=environment)

    names = [f"{1:08X}{0:08X}{number:08X}" for number in range(1, runs + 2)]
    contents = [segment(number) for number in range(1, runs + 2)]
    print(f"{'milliseconds':38} {'min':>7} {'median':>7} {'max':>7}")
    report("python -c 0", timed(lambda _: subprocess.run([python, "-c", "0"], check=True), runs))
    report("put-wal of 16 MiB", timed(lambda n: pgvault("put-wal", "db", names[n], data=contents[n]), runs))
    report("get-wal of 16 MiB", timed(lambda n: pgvault("get-wal", "db", names[n]), runs))
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(backups):
        at = moment + timedelta(hours=number)
        directory = home / "vault/db/backups" / at.strftime("%Y%m%dT%H%M%SZ")
        directory.mkdir(parents=True)
        (directory / "backup.toml").write_text(FACTS.format(
            id=directory.name, time=at.isoformat(), system=SYSTEM, number=1 + number % runs, sha="0" * 64))
    report(f"list-backups of {backups}", timed(lambda _: pgvault("list-backups", "db"), runs))
    report(f"show-backup latest of {backups}", timed(lambda _: pgvault("show-backup", "db", "latest"), runs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="an interpreter that has pgvault")
    parser.add_argument("--backups", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=20)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        measure(args.python, args.backups, args.runs, Path(home))


if __name__ == "__main__":
    main()
