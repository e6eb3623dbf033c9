"""The account that runs the sandbox's servers: this user, or another one for root, as whom PostgreSQL cannot run."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgvault.demo.processes import run
from pgvault.model.errors import PgvaultError, Refused


@dataclass(frozen=True, slots=True)
class Account:
    name: str
    uid: int
    gid: int

    @property
    def is_me(self) -> bool:
        return self.uid == os.geteuid()

    def popen_options(self) -> dict[str, Any]:
        """Return the arguments with which subprocess runs a program as this account."""
        return {} if self.is_me else {"user": self.uid, "group": self.gid, "extra_groups": []}

    def environment(self, home: Path) -> dict[str, str]:
        """Return the environment of a login, without the caller's PG* variables and without a locale."""
        path = os.environ.get("PATH") or os.defpath
        names = {"USER": self.name, "LOGNAME": self.name, "SHELL": "/bin/sh"}
        return {"PATH": path, "HOME": str(home), **names}

    def own(self, path: Path) -> Path:
        """Give `path` to this account, closed to all others but root."""
        path.chmod(0o700)
        if not self.is_me:
            os.chown(path, self.uid, self.gid)
        return path

    def may(self, test: str, path: Path) -> bool:
        """Run test(1) as this account: `-x` for a directory that may be entered, `-r` for a readable file."""
        done = subprocess.run(["test", test, str(path)], cwd="/", stdin=subprocess.DEVNULL, **self.popen_options())
        return done.returncode == 0

    def run(self, argv: Sequence[str | Path], *, home: Path, doing: str) -> str:
        """Run a program to its end and return its output. `doing` completes the message "could not ..."."""
        status, output = run(argv, cwd=home, env={**self.environment(home), "LC_ALL": "C"}, **self.popen_options())
        if status:
            raise PgvaultError(f"could not {doing}", detail=f"{argv[0]} exited with status {status}.\n{output.strip()}")
        return output


def server_account() -> Account:
    """Return this user, or for root `postgres` or else `nobody`; Refused if neither exists."""
    if os.geteuid() != 0:
        return Account(_name(os.geteuid()), os.geteuid(), os.getegid())
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            if entry.pw_uid != 0:
                return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise Refused("PostgreSQL cannot be run as root, and there is no user postgres or nobody",
                  hint="Run the demonstration as an ordinary user.")


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
