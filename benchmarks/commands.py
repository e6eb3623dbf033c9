#!/usr/bin/env python3
"""How long the short commands take as whole processes: put-wal, get-wal, list-backups, show-backup.

    python3 -m venv /tmp/v && /tmp/v/bin/pip install .
    python3 benchmarks/commands.py --python /tmp/v/bin/python [--backups 1000] [--runs 20]

A console script starts as fast; an editable install, which has a finder of its own to import, a little slower.
Segments have PostgreSQL's page headers and small records, which compress as those of pgbench do (tenfold, in the same
time); backups are copies of one backup.toml under other ids. In the same run stand an empty Python process, and
zstd -3 on the same segment where there is one. CPU is what the process itself used, in user and kernel mode.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

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
    """A segment of valid pages full of records: a serial number, one of six bodies, four bytes that nothing foretells.
    """
    noise = random.Random(number)
    kinds = [noise.randbytes(size) for size in (34, 46, 58, 72, 90, 110)]
    records = b"".join(struct.pack("<IQ", number, at) + noise.choice(kinds) + noise.randbytes(4)
                       for at in range(SEGMENT // 64))
    pages, used = [], 0
    for page in range(SEGMENT // PAGE):
        header = struct.pack("<HHIQI4x", MAGIC_18, 6 if page == 0 else 4, 1, number * SEGMENT + page * PAGE, 0)
        if page == 0:
            header += struct.pack("<QII", SYSTEM, SEGMENT, PAGE)
        pages.append(header + records[used:used + PAGE - len(header)])
        used += PAGE - len(header)
    return b"".join(pages)


class Cost(NamedTuple):
    """Of one process, in seconds."""

    wall: float
    cpu: float


def run(argv: Sequence[str], environment: Mapping[str, str], *, stdin: Path | None = None, piped: bytes = b"") -> Cost:
    with (stdin or Path(os.devnull)).open("rb") as source:
        begin = time.perf_counter()
        process = subprocess.Popen(argv, stdin=subprocess.PIPE if piped else source, stdout=subprocess.DEVNULL,
                                   env=environment)
        if process.stdin:
            process.stdin.write(piped)
            process.stdin.close()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{argv} exited with {process.returncode}")
    return Cost(wall, usage.ru_utime + usage.ru_stime)


def report(name: str, once: Callable[[int], Cost], runs: int) -> None:
    once(0)
    costs = [once(number) for number in range(1, runs + 1)]
    walls = [cost.wall * 1000 for cost in costs]
    cpu = statistics.median(cost.cpu * 1000 for cost in costs)
    print(f"{name:38} {min(walls):7.0f} {statistics.median(walls):7.0f} {max(walls):7.0f} {cpu:7.0f}", flush=True)


def measure(python: str, backups: int, runs: int, home: Path) -> None:
    config = home / "pgvault.toml"
    config.write_text(f'[vault]\nhome = "{home}/vault"\n[servers.db]\nconninfo = "host=127.0.0.1"\n')
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"PGVAULT_CONFIG": str(config), "PYTHONSAFEPATH": "1"}  # not what lies in the working directory

    def pgvault(*arguments: str, stdin: Path | None = None, piped: bytes = b"") -> Cost:
        return run([python, "-m", "pgvault", *arguments], environment, stdin=stdin, piped=piped)

    names = [f"{1:08X}{0:08X}{number:08X}" for number in range(1, 2 * runs + 3)]
    for number, name in enumerate(names, 1):
        (home / name).write_bytes(segment(number))
    print(f"{'milliseconds':38} {'min':>7} {'median':>7} {'max':>7} {'CPU':>7}")
    report("python -c 0", lambda _: run([python, "-c", "0"], environment), runs)
    if zstd := shutil.which("zstd"):
        report("zstd -3 of 16 MiB", lambda n: run([zstd, "-3", "-q", "-c", str(home / names[n])], environment), runs)
    report("put-wal of 16 MiB, < FILE", lambda n: pgvault("put-wal", "db", names[n], stdin=home / names[n]), runs)
    piped = names[runs + 1:]
    report("put-wal of 16 MiB, through a pipe",
           lambda n: pgvault("put-wal", "db", piped[n], piped=(home / piped[n]).read_bytes()), runs)
    report("get-wal of 16 MiB, -o FILE",
           lambda n: pgvault("get-wal", "db", names[n], "-o", str(home / "restored")), runs)
    report("get-wal of 16 MiB, to /dev/null", lambda n: pgvault("get-wal", "db", names[n]), runs)
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(backups):
        at = moment + timedelta(hours=number)
        directory = home / "vault/db/backups" / at.strftime("%Y%m%dT%H%M%SZ")
        directory.mkdir(parents=True)
        (directory / "backup.toml").write_text(FACTS.format(
            id=directory.name, time=at.isoformat(), system=SYSTEM, number=1 + number % runs, sha="0" * 64))
    time.sleep(2.5)  # what changed in the last two seconds is not cached yet

    def without_cache(*arguments: str) -> Cost:
        (home / "vault/db/catalog.cache").unlink(missing_ok=True)
        return pgvault(*arguments)

    report(f"list-backups of {backups}, nothing cached", lambda _: without_cache("list-backups", "db"), runs)
    report(f"list-backups of {backups}", lambda _: pgvault("list-backups", "db"), runs)
    report(f"show-backup latest of {backups}", lambda _: pgvault("show-backup", "db", "latest"), runs)


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
