#!/usr/bin/env python3
"""How the console feels, measured through a real pty as a person on a terminal has it.

    .venv/bin/python benchmarks/console.py [--servers 50] [--backups 200] [--runs 7]
    .venv/bin/python benchmarks/console.py --recovery

- first paint: from the start of the process until the list of servers stands on the screen, beside an empty Python
  and `import textual`; then until the state of the last server is known
- key to echo: from a key to the first byte that answers it, while jobs run
- bytes: what an idle console sends in a second, and one with a running job on the view of the jobs
- quitting: from ctrl+q, while a job runs, until the process has ended
- recovery: on the demonstration, what each Enter takes from `r` to the proof, and the longest silence while it runs

The vault has that many servers with that many backups each; jobs are real ones, whose work is to tell progress.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from terminal import Terminal

from pgvault.jobs.run import Order, run_in_foreground
from pgvault.model.backup import Backup, BackupStatus
from pgvault.model.event import Emit, PhaseStarted, Progressed
from pgvault.model.job import JobKind
from pgvault.model.lsn import Lsn
from pgvault.vault import catalog
from pgvault.vault.layout import Vault

SEGMENT = 16 << 20
KEYS = 40


def build(home: Path, config: Path, servers: int, backups: int) -> None:
    """A vault of that many servers, each backed up every four hours until now."""
    names = [f"server-{number:02}" for number in range(servers)]
    config.write_text(f'[vault]\nhome = "{home}"\n' + "".join(
        f'[servers.{name}]\nconninfo = "host=127.0.0.1 port=1 connect_timeout=1"\n' for name in names))
    end = datetime.now(UTC).replace(microsecond=0)
    for name in names:
        vault = Vault.open_or_create(home).server(name)
        vault.prepare()
        for number in range(backups):
            catalog.create(vault, made_backup(name, end - timedelta(hours=4 * (backups - number)), number))


def made_backup(server: str, started: datetime, number: int) -> Backup:
    lsn = (number * 4 + 1) * SEGMENT
    return Backup(
        id=f"{started:%Y%m%dT%H%M%SZ}", server=server, status=BackupStatus.DONE, method="stream", started_at=started,
        finished_at=started + timedelta(minutes=3), system_identifier="7300000000000000001", server_version="18.1",
        segment_size=SEGMENT, timeline=1, data_directory="/var/lib/postgresql/18/main", begin_lsn=Lsn(lsn + 0x28),
        end_lsn=Lsn(lsn + 0x158), size_bytes=3_058_840_804, stored_bytes=125_840_711, file_count=11_532)


def work(home: Path, number: int) -> None:
    """A job that tells progress as a copy does, until its home has a file `stop`."""
    async def act(emit: Emit, job: str) -> str:
        total = 1 << 40
        emit(PhaseStarted("copy", total))
        done = 0
        while not (home / "stop").exists():
            done += 40 << 20
            emit(Progressed(done, files=number))
            await asyncio.sleep(0.02)
        return "copied"

    run_in_foreground(home, Order(JobKind.BACKUP, f"server-{number:02}", f"pgvault backup server-{number:02}", {}), act)


@contextmanager
def jobs(home: Path, count: int) -> Iterator[None]:
    argv = [sys.executable, __file__, "--work-in", str(home)]
    running = [subprocess.Popen([*argv, str(number)], start_new_session=True) for number in range(count)]
    try:
        yield
    finally:
        (home / "stop").touch()
        for process in running:
            process.wait()
        (home / "stop").unlink()


def environment(state: Path) -> dict[str, str]:
    names = {"TERM": "xterm-256color", "LANG": "C.UTF-8", "SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22"}
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}  # as installed
    return {**kept, **names, "XDG_STATE_HOME": str(state)}


def opened(config: Path, state: Path, columns: int = 80, lines: int = 24) -> Terminal:
    argv = [sys.executable, "-P", "-m", "pgvault", "console", "--no-check", "--config", str(config)]
    return Terminal(argv, environment(state), columns=columns, lines=lines)


def first_paint(config: Path, state: Path, servers: int) -> tuple[float, float]:
    """Seconds until the first servers stand on the screen, and until the last one's state does."""
    with opened(config, state) as terminal:
        terminal.wait_for("server-00")
        painted = time.monotonic() - terminal.began
        terminal.type("G")
        last = f"server-{servers - 1:02}"
        terminal.wait_for(lambda text: any(last in line and ("OK" in line or "FAIL" in line or "WARN" in line)
                                           for line in text.splitlines()))
        return painted, time.monotonic() - terminal.began


def keys_to_echo(terminal: Terminal) -> list[float]:
    """Seconds from a key to the first byte that comes after it, on a screen that otherwise changes twice a second."""
    took = []
    for number in range(KEYS):
        while terminal.read_one(0.03):
            pass
        began = time.monotonic()
        terminal.type("k" if number % 2 else "j")
        assert terminal.read_one(5.0), "a key was not answered"
        took.append(time.monotonic() - began)
    return took


def quitting(config: Path, state: Path) -> float:
    """Seconds from ctrl+q, while a job runs, until the process has ended."""
    with opened(config, state) as terminal:
        terminal.wait_for("1 job running")
        terminal.settle()
        began = time.monotonic()
        terminal.type("\x11")
        while terminal.process.poll() is None:
            terminal.read_one(0.005)
        return time.monotonic() - began


STEPS = (
    ("r, to the first step", "r", "a table was dropped"),
    ("Enter, to what was dropped", "enter", "just before DROP TABLE"),
    ("... until it is looked up", "", "proposed"),
    ("Enter, to where to", "enter", "where to \u2501"),
    ("Enter, to the plan", "enter", r"conditions +\d+ of"),
    ("Enter, to the job", "enter", "step 5 of 6"),
    ("... to its first phase", "", "(now|done) +(copies|flushes|starts|replays)"),
    ("... to the proof", "", "step 6 of 6"),
    ("... to PostgreSQL's word", "", "mytesttable2 is there"),
)
"""What stands for the step, the key, and what is then waited for."""


def recovery(parent: Path) -> list[float]:
    """Seconds of each step on a demonstration, and the longest time without a change from the job to the proof."""
    env = {**environment(parent / "state"), "TMPDIR": str(parent)}
    argv = [sys.executable, "-P", "-m", "pgvault", "demo", "--megabytes", "50"]
    with Terminal(argv, env) as terminal:
        terminal.wait_for("Press r", seconds=600)
        terminal.settle(3.0)
        took = []
        for name, key, shown in STEPS:
            if key:
                terminal.type(key)
            took.append(terminal.wait_for(partial(_shows, shown)))
            if name.endswith("the plan"):
                terminal.settle(1.0)
        terminal.type("ctrl+q")
        terminal.wait_for("leave the demonstration")
        terminal.type("G", "enter")
        terminal.end()
    return took


def _shows(pattern: str, text: str) -> bool:
    return re.search(pattern, text) is not None


def measure_recovery(runs: int) -> None:
    with tempfile.TemporaryDirectory(prefix="pgvault-console-") as parent:
        Path(parent).chmod(0o755)
        took = [recovery(Path(parent)) for _ in range(runs)]
    for (name, _, _), each in zip(STEPS, zip(*took, strict=True), strict=True):
        told(name, list(each))


def python(*code: str) -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "; ".join(code)], check=True)
    return time.monotonic() - began


def told(name: str, values: list[float], unit: str = "ms", scale: float = 1000) -> None:
    print(f"{name:44} median {statistics.median(values) * scale:8.0f} {unit}   "
          f"least {min(values) * scale:8.0f}   most {max(values) * scale:8.0f}", flush=True)


def measure(servers: int, backups: int, runs: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory(prefix="pgvault-console-") as parent:
        home, config, state = Path(parent, "vault"), Path(parent, "pgvault.toml"), Path(parent, "state")
        build(home, config, servers, backups)
        told("an empty Python", [python("pass") for _ in range(runs)])
        told("import textual.app, textual.widgets", [python("import textual.app, textual.widgets")
                                                     for _ in range(runs)])
        first_paint(config, state, servers)  # reads every backup.toml once; afterwards their cache is there
        paints = [first_paint(config, state, servers) for _ in range(runs)]
        told(f"first paint, {servers} servers, {servers * backups} backups", [paint for paint, _ in paints])
        told("... until the last server's state is known", [known for _, known in paints])
        for cache in home.glob("*/catalog.cache"):
            cache.unlink()
        told("first paint without the cache of backups", [first_paint(config, state, servers)[0]])
        with opened(config, state) as terminal:
            terminal.wait_for("server-00")
            terminal.settle(3.0)
            came = len(terminal.read(seconds))
            print(f"{'idle':44} {came / seconds:8.1f} bytes/s ({came} in {seconds:.0f} s; the clock's minute included)")
        with jobs(home, 3), opened(config, state) as terminal:
            terminal.wait_for("3 jobs running")
            for view, name in (("1", "overview"), ("4", "jobs")):
                terminal.type(view)
                terminal.settle(0.2)
                told(f"key to echo, three jobs running, {name}", keys_to_echo(terminal))
        with jobs(home, 1), opened(config, state) as terminal:
            terminal.wait_for("1 job running")
            for view, name in (("1", "overview"), ("4", "jobs")):
                terminal.type(view)
                terminal.settle(0.2)
                came = len(terminal.read(seconds))
                print(f"{'one running job, ' + name:44} {came / seconds:8.1f} bytes/s")
            told("quitting while a job runs", [quitting(config, state) for _ in range(runs)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", type=int, default=50)
    parser.add_argument("--backups", type=int, default=200, help="of each server")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=20, help="for which bytes are counted")
    parser.add_argument("--work-in", nargs=2, metavar=("HOME", "NUMBER"), help=argparse.SUPPRESS)
    parser.add_argument("--recovery", action="store_true", help="only the recovery, on as many demonstrations")
    args = parser.parse_args()
    if args.work_in:
        work(Path(args.work_in[0]), int(args.work_in[1]))
    elif args.recovery:
        measure_recovery(args.runs)
    else:
        measure(args.servers, args.backups, args.runs, args.seconds)


if __name__ == "__main__":
    main()
