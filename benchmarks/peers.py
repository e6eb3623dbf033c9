#!/usr/bin/env python3
"""Measure PostgreSQL physical-backup tools side by side. See README.md.

    python3 peers.py setup                        install what can be installed into the scratch
    python3 peers.py run --size quick --only barman-rsync,pgbackrest-zst3 --json out.json
    python3 peers.py report out.json              the tables, as Markdown
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import dataset
import report
from contestants import CONTESTANTS, Contestant
from lab import CommandFailed, Cost, Lab, enter_private_network

OPERATIONS = ("full", "incr", "incr-nochange", "restore", "restore-delta", "list", "show", "check", "wal")
WAL_SEGMENTS = 20
SCRATCH = Path(tempfile.gettempdir()) / "pgbackup-bench"
LATENCY_RUNS = 3  # of list, show and check, within one repetition

Result = dict[str, Any]


class Session:
    """One repetition of one contestant: every operation, in an order in which each makes sense."""

    def __init__(self, lab: Lab, tool: Contestant, size: dataset.Size, operations: set[str]) -> None:
        self.lab, self.tool, self.size = lab, tool, size
        self.operations = operations & tool.only if tool.only else operations

    def run(self) -> Iterator[Result]:
        lab, tool = self.lab, self.tool
        lab.empty(tool.repo)
        lab.reset_server()
        tool.prepare()
        lab.server.archive_with(tool.archive_command)
        if self.operations - {"wal"}:
            yield from self.backups()
            yield from self.latencies()
        if "wal" in self.operations and tool.archive_command != "/bin/true":
            yield from self.archiving()

    def backups(self) -> Iterator[Result]:
        lab, tool = self.lab, self.tool
        yield self.measure("full", tool.full())
        if {"incr", "incr-nochange"} & self.operations and (command := tool.incremental()):
            dataset.change(lab.server, self.size)
            self.wait_for_archiver()
            yield self.measure("incr", command)
            yield self.measure("incr-nochange", tool.incremental())
        if "restore" in self.operations and (command := tool.restore()):
            lab.empty(lab.target)
            lab.empty(lab.target_space)
            result = self.measure("restore", command)
            yield {**result, **self.verify()}
        if "restore-delta" in self.operations and (command := tool.restore_delta()):
            lab.restored.start("archive_mode=off")
            dataset.change(lab.restored, self.size, day=2)
            lab.restored.stop()
            result = self.measure("restore-delta", command)
            yield {**result, **self.verify()}

    def latencies(self) -> Iterator[Result]:
        commands = {"list": self.tool.list_backups, "show": self.tool.show_backup, "check": self.tool.check}
        for operation, command in commands.items():
            if operation in self.operations and (text := command()):
                for _ in range(LATENCY_RUNS):
                    yield self.measure(operation, text)

    def archiving(self) -> Iterator[Result]:
        """Let the server archive a backlog of segments with the tool's command."""
        server = self.lab.server
        self.wait_for_archiver()
        server.archive_with("")
        day = 10
        while (segments := self.waiting_segments()) < WAL_SEGMENTS:
            dataset.change(server, self.size, day := day + 1, one_in=10)
        with self.lab.measuring() as costs:
            server.archive_with(self.tool.archive_command)
            self.wait_for_archiver()
        yield {**self.result("wal", costs[0]), "segments": segments}

    def wait_for_archiver(self) -> None:
        while self.waiting_segments():
            time.sleep(0.02)

    def waiting_segments(self) -> int:
        return sum(1 for _ in (self.lab.data / "pg_wal/archive_status").glob("*.ready"))

    def measure(self, operation: str, command: str | None) -> Result:
        assert command
        return self.result(operation, self.lab.measure(command))

    def result(self, operation: str, cost: Cost) -> Result:
        return {"contestant": self.tool.name, "operation": operation, **asdict(cost),
                "repo_mib": self.lab.disk_mib(self.tool.repo)}

    def verify(self) -> Result:
        """Start the restored server and compare its content with the original's."""
        lab = self.lab
        start = time.monotonic()
        lab.restored.start("archive_mode=off")
        lab.restored.wait_until("NOT pg_is_in_recovery()")
        recovery = time.monotonic() - start
        wanted, got = (dataset.fingerprint(s) for s in (lab.server, lab.restored))
        lab.restored.stop()
        return {"recovery": recovery, "correct": wanted == got,
                **({} if wanted == got else {"wanted": wanted, "got": got})}


def build_dataset(lab: Lab, size: dataset.Size, tablespace: bool) -> None:
    lab.empty(lab.db)
    lab.run(f"initdb -D {lab.data} -U postgres -A trust --data-checksums --locale=C.UTF-8 -E UTF8")
    conf = lab.data / "postgresql.conf"
    conf.write_text(conf.read_text() + f"""
shared_buffers = {size.shared_buffers}
maintenance_work_mem = 256MB
wal_level = replica
archive_mode = on
archive_command = '/bin/true'
summarize_wal = on
max_wal_size = 8GB
checkpoint_timeout = 1h
autovacuum = off
max_locks_per_transaction = 256
io_method = sync
""")
    lab.server.start("fsync=off", "archive_mode=off", "summarize_wal=off", "wal_level=minimal", "max_wal_senders=0",
                     "wal_recycle=off")
    if tablespace:
        lab.empty(lab.space)
        lab.server.execute(f"CREATE TABLESPACE space LOCATION '{lab.space}'")
    dataset.create(lab.server, size, "space" if tablespace else None)
    lab.server.stop()
    lab.empty(lab.pristine)
    lab.run(f"cp -a {lab.db}/. {lab.pristine}/ && sync")


def describe(lab: Lab, size: str, tools: list[Contestant]) -> Result:
    files = lab.run(f"find {lab.pristine} -type f | wc -l")
    packed = lab.run(f"tar -C {lab.pristine} -cf - . | zstd -q -3 -T2 | wc -c")
    cpu = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), platform.processor())
    return {"size": size, "data_mib": lab.disk_mib(lab.pristine), "files": int(files), "cpu": cpu,
            "zstd3_mib": int(packed) / 2**20, "postgres": lab.run("postgres --version").strip(),
            "versions": {tool.name: tool.version() for tool in tools}}


def run(args: argparse.Namespace) -> None:
    enter_private_network()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # so that everything is stopped
    size = dataset.SIZES[args.size]
    names = args.only.split(",") if args.only else list(CONTESTANTS)
    operations = set(args.operations.split(",")) if args.operations else set(OPERATIONS)
    results: list[Result] = []
    root = args.root / (args.size + ("-tablespace" if args.tablespace else ""))
    with Lab(root, args.pg_bin.resolve(), tool_path(args)).running() as lab:
        if args.rebuild or not lab.pristine.exists():
            build_dataset(lab, size, args.tablespace)
        tools = []
        for name in names:
            tool = CONTESTANTS[name](lab)
            if reason := tool.unavailable():
                print(f"{name}: left out, {reason}", file=sys.stderr)
            else:
                tools.append(tool)
        about = describe(lab, args.size, tools)
        for repetition in range(args.repetitions):  # contestants within repetitions: noise hits all alike
            for tool in tools:
                try:
                    for result in Session(lab, tool, size, operations).run():
                        results.append({"repetition": repetition, **result})
                        print(report.line(results[-1]), file=sys.stderr, flush=True)
                except CommandFailed as failure:
                    results.append({"repetition": repetition, "contestant": tool.name, "failure": str(failure)})
                    print(f"{tool.name}: FAILED: {failure}", file=sys.stderr, flush=True)
                finally:
                    lab.restored.stop()
                    args.json.write_text(json.dumps({"about": about, "results": results}, indent=1))
                if not args.keep:
                    lab.empty(tool.repo)
    print(report.render(about, results))


def tool_path(args: argparse.Namespace) -> list[Path]:
    return [args.root / "tools/barman/bin", args.root / "tools/pgvault/bin", *args.tools]


def setup(args: argparse.Namespace) -> None:
    """Barman and pgvault into virtual environments that the postgres user may enter; say what else is there."""
    for name, packages in {
        "barman": ["barman", "psycopg2-binary", "zstandard", "lz4"],
        "pgvault": [str(Path(__file__).resolve().parent.parent)],
    }.items():
        venv = args.root / "tools" / name
        subprocess.run(["/usr/bin/python3", "-m", "venv", venv], check=True)
        subprocess.run([venv / "bin/pip", "install", "-q", "--compile", *packages], check=True)
    for program in ("rsync", "zstd", "/usr/sbin/sshd", "unshare", "setpriv", "pgbackrest"):
        where = shutil.which(program, path=":".join(map(str, [*args.tools, "/usr/bin", "/bin"])))
        print(f"{program}: {where or 'missing'}")


def print_report(args: argparse.Namespace) -> None:
    for path in args.json:
        print(report.render(**json.loads(path.read_text())))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)

    where = argparse.ArgumentParser(add_help=False)
    where.add_argument("--root", type=Path, default=SCRATCH, help="scratch folder")
    where.add_argument("--tools", type=Path, action="append", default=[], help="folder with further programs, such as pgbackrest")

    command = commands.add_parser("setup", parents=[where], help="install the peers")
    command.set_defaults(action=setup)

    command = commands.add_parser("run", parents=[where], help="measure")
    command.add_argument("--pg-bin", type=Path, required=True, help="folder of PostgreSQL's programs, 17 or later")
    command.add_argument("--size", choices=dataset.SIZES, default="quick")
    command.add_argument("--tablespace", action="store_true", help="the variant with one table in a tablespace")
    command.add_argument("--rebuild", action="store_true", help="generate the data again")
    command.add_argument("--only", help="contestants, of: " + ", ".join(CONTESTANTS))
    command.add_argument("--operations", help="of: " + ", ".join(OPERATIONS))
    command.add_argument("--repetitions", type=int, default=3)
    command.add_argument("--keep", action="store_true", help="leave the repositories for a look")
    command.add_argument("--json", type=Path, default=Path("results.json"))
    command.set_defaults(action=run)

    command = commands.add_parser("report", help="print the tables of earlier runs")
    command.add_argument("json", type=Path, nargs="+")
    command.set_defaults(action=print_report)

    args = parser.parse_args()
    args.action(args)


if __name__ == "__main__":
    main()
