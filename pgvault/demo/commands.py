"""Runs pgvault and psql in the sandbox exactly as a person would: as processes, with their real command lines."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pgvault.demo.cluster import Cluster
from pgvault.demo.events import CommandStarted, Emit, OutputLine
from pgvault.demo.processes import started
from pgvault.demo.sandbox import Sandbox
from pgvault.io.quoting import join
from pgvault.model.errors import PgvaultError

_UNDO_SECONDS: Final = 60
_SHOWN_LINES: Final = 40


@dataclass(frozen=True, slots=True)
class Commands:
    sandbox: Sandbox
    emit: Emit

    def pgvault(self, *words: str) -> None:
        """Run a verb to its end and report its output. If it fails, raise PgvaultError with its output."""
        self._run(["pgvault", "--config", str(self.sandbox.config), *words], self._pgvault(*words))

    def start_pgvault(self, log: Path, *words: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
        """Start a verb that keeps running; see `started`."""
        self.emit(CommandStarted(("pgvault", "--config", str(self.sandbox.config), *words), background=True))
        return started(self._pgvault(*words), log=log, cwd=self.sandbox.directory, env=self._environment())

    def psql(self, cluster: Cluster, command: str) -> None:
        """Run one psql command on a server of the sandbox, and report its output."""
        shown = cluster.psql("-c", command)
        self._run(shown, [str(self.sandbox.programs / "psql"), *shown[1:]])

    def _pgvault(self, *words: str) -> list[str]:
        return [sys.executable, "-P", "-m", "pgvault", "--config", str(self.sandbox.config), *words]

    def _environment(self) -> dict[str, str]:
        """Return the caller's environment, without variables that lead libpq or psql to the caller's own servers and
        files."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "PSQL"))}
        return {**kept, "PSQLRC": os.devnull, "PYTHONUNBUFFERED": "1"}

    def _run(self, shown: Sequence[str], argv: Sequence[str]) -> None:
        self.emit(CommandStarted(tuple(shown)))
        lines: list[str] = []
        with subprocess.Popen(argv, cwd=self.sandbox.directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, start_new_session=True, env=self._environment(),
                              encoding="utf-8", errors="backslashreplace") as process:
            try:
                for line in process.stdout or ():
                    lines.append(line.rstrip("\n"))
                    self.emit(OutputLine(lines[-1]))
            except BaseException:
                _end(process)
                raise
        if process.returncode:
            raise PgvaultError(f"the step failed: {shown[0]} exited with status {process.returncode}",
                               detail="\n".join((join(shown), *lines[-_SHOWN_LINES:])))


def _end(process: subprocess.Popen[str]) -> None:
    """Ask the process to stop, so that a job can undo what it began; then kill it."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_UNDO_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
