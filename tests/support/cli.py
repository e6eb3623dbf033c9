"""The command line as people and cron use it: a process of its own, with its output, its talk and its code."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support import prepared
from support.account import Account
from support.installation import REPOSITORY

PYTHONPATH = f"{REPOSITORY}:{Path(msgspec.__file__).parents[1]}"  # pgvault and what it stands on


@dataclass(frozen=True, slots=True)
class Completed:
    """How a command ended; standard output is data (bytes), standard error is talk (text)."""

    argv: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: str

    @property
    def text(self) -> str:
        return self.stdout.decode()

    def json(self) -> Any:
        return json.loads(self.stdout)

    def json_lines(self) -> list[Any]:
        return [json.loads(line) for line in self.stdout.splitlines()]

    def __str__(self) -> str:
        shown = self.stdout.decode(errors="backslashreplace")
        return f"pgvault {' '.join(self.argv)} exited with {self.returncode}\n{shown}\n{self.stderr}"


@functools.cache
def python_for(account: Account | None) -> str:
    """An interpreter that the account may run and that finds pgvault; skips the test if there is none.

    The tests' own may lie in somebody's closed home; Debian's of the same version then serves.
    """
    if account is None or account.is_me:
        return sys.executable
    debian = f"/usr/bin/python3.{sys.version_info.minor}"
    for python in (sys.executable, debian):
        with contextlib.suppress(OSError, AssertionError):
            account.run(["env", f"PYTHONPATH={PYTHONPATH}", python, "-c", "import pgvault.cli, msgspec, asyncssh"])
            return python
    pytest.skip(f"{account.name} may not run {sys.executable}, and {debian} cannot import pgvault or is not here")


def pgvault_argv(*args: str | Path, config: Path | None = None, account: Account | None = None) -> list[str]:
    """The whole command, for a Popen with `environment`."""
    chosen = ["--config", str(config)] if config else []
    return [python_for(account), "-m", "pgvault", *chosen, *map(str, args)]


def pgvault_shell(*args: str | Path, config: Path | None = None, account: Account | None = None) -> str:
    """The command as a line for a shell, such as an archive_command: `%p` and `%f` stay as they are."""
    return shlex.join(["env", f"PYTHONPATH={PYTHONPATH}", *pgvault_argv(*args, config=config, account=account)])


def environment(account: Account | None = None, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The caller's environment without what would lead pgvault or libpq to the caller's own things."""
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(("PG", "XDG_")) or name == "XDG_STATE_HOME"}
    return {**kept, "PYTHONPATH": PYTHONPATH, **(account.environment() if account else {}), **(extra or {})}


def pgvault(
    *args: str | Path,
    config: Path | None = None,
    input: bytes = b"",
    env: Mapping[str, str] | None = None,
    check: int | None = None,
    account: Account | None = None,
    timeout: float = 300,
) -> Completed:
    """Run pgvault to its end; with `check` any other exit code fails the test and shows what was said.

    It is a process of its own that was forked from one that has loaded pgvault, unless `env` has another PYTHONPATH.
    `account` runs it as another user (root only), `timeout` is in seconds.
    """
    argv, environ = pgvault_argv(*args, config=config, account=account), environment(account, env)
    if environ["PYTHONPATH"] == PYTHONPATH and "PGVAULT_TEST_FRESH" not in os.environ:
        code, out, err = prepared.run(argv[0], argv[3:], env=environ, input=input, timeout=timeout, account=account)
    else:
        done = subprocess.run(argv, input=input, capture_output=True, env=environ, timeout=timeout, cwd="/",
                              **(account.popen_options() if account else {}))
        code, out, err = done.returncode, done.stdout, done.stderr
    completed = Completed(tuple(argv[3:]), code, out, err.decode(errors="replace"))
    if check is not None:
        assert completed.returncode == check, str(completed)
    return completed
