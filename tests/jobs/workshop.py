"""A vault's home with nothing in it, and the command line with a verb that works until it is told to end."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from support.cli import Completed, environment, pgvault, pgvault_argv
from support.installation import REPOSITORY

from pgvault.jobs.registry import jobs_directory, read_job
from pgvault.model.job import Job

VERB = Path(__file__).parent / "verb"


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Not a matter of time: the limit only ends a test that would hang."""
    limit = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < limit, f"never happened: {what}"
        time.sleep(0.01)


@dataclass
class Workshop:
    """A home, a place where the job works, and the processes that were started."""

    home: Path
    place: Path
    config: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def env(self) -> dict[str, str]:
        return environment(extra={"PYTHONPATH": os.pathsep.join([str(VERB), str(REPOSITORY)])})

    def run(self, *args: str | Path, check: int | None = None) -> Completed:
        return pgvault(*args, config=self.config, env=self.env, check=check)

    def start(self, *args: str | Path, **options: object) -> subprocess.Popen[bytes]:
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        argv = pgvault_argv(*args, config=self.config)
        process = subprocess.Popen(argv, env=self.env, stdin=subprocess.DEVNULL, **streams)
        self.processes.append(process)
        return process

    def start_working(self, *args: str | Path, **options: object) -> subprocess.Popen[bytes]:
        """A foreground job, in the middle of its work."""
        process = self.start(*args, "work", self.place, **options)
        self.wait_for("begun")
        return process

    def wait_for(self, name: str) -> None:
        wait_until((self.place / name).exists, f"{name} in the job's place")

    def directory(self) -> Path:
        """Of the only job."""
        found, = jobs_directory(self.home).iterdir()
        return found

    def job(self) -> Job:
        return read_job(self.directory())

    def let_go(self) -> None:
        (self.place / "go").touch()
