"""The user that PostgreSQL servers and remote commands run as.

PostgreSQL refuses to run as root, and so does any sane remote login of a restore. Run by root, the tests use
the user `postgres` (else `nobody`) for those; run by anyone else, they use that person's own account.
"""

from __future__ import annotations

import functools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MEMORY = Path("/dev/shm")


@dataclass(frozen=True, slots=True)
class Account:
    name: str
    uid: int
    gid: int
    home: str
    shell: str

    @property
    def is_me(self) -> bool:
        return self.uid == os.geteuid()

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """What a login would give, without the caller's PG* variables or language."""
        home = self.home if os.path.isdir(self.home) else "/"
        names = {"HOME": home, "USER": self.name, "LOGNAME": self.name, "LC_ALL": "C"}
        if (state := os.environ.get("XDG_STATE_HOME")):
            names["XDG_STATE_HOME"] = f"{state}-{self.name}"
        return {"PATH": os.environ.get("PATH", os.defpath), **names, **(extra or {})}

    def popen_options(self) -> dict[str, Any]:
        """Keyword arguments that make subprocess run a program as this account."""
        return {} if self.is_me else {"user": self.uid, "group": self.gid, "extra_groups": []}

    def run(self, argv: Sequence[str | Path], *, timeout: float = 120, **options: Any) -> str:
        """Run a program as this account to its end and return its output; failure shows all it said."""
        done = subprocess.run(
            [str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
            stderr=subprocess.STDOUT, cwd="/", env=self.environment(), timeout=timeout,
            **self.popen_options(), **options,
        )  # fmt: skip
        if done.returncode:
            raise AssertionError(f"{' '.join(map(str, argv))} exited with {done.returncode}:\n{done.stdout}")
        return done.stdout

    def own(self, path: Path) -> Path:
        """Give a file or a tree to this account."""
        if os.geteuid() == 0:
            os.chown(path, self.uid, self.gid)
            for folder, names, files in os.walk(path):
                for name in names + files:
                    os.chown(os.path.join(folder, name), self.uid, self.gid, follow_symlinks=False)
        return path

    def may_read(self, path: Path) -> bool:
        """Whether this account can enter every directory on the way and read what is there."""
        mode = "-x" if path.is_dir() else "-r"
        command = ["test", mode, str(path)]
        return subprocess.run(command, cwd="/", **self.popen_options()).returncode == 0


@functools.cache
def account() -> Account:
    """Who runs PostgreSQL and answers SSH logins in this test run."""
    if os.geteuid() != 0:
        entry = pwd.getpwuid(os.geteuid())
    else:
        names = {user.pw_name: user for user in pwd.getpwall() if user.pw_uid != 0}
        entry = names.get("postgres") or names["nobody"]
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir, entry.pw_shell)


def open_directory(*, in_memory: bool = False) -> Path:
    """A new directory that every account may enter and write to; the caller removes it.

    pytest's own `tmp_path` is closed to all but the user who runs the tests. The name is short because a
    Unix socket's path may have no more than 107 bytes. In memory (where there is plenty) files come and go
    several times faster.
    """
    bases = [Path(tempfile.gettempdir()), Path("/tmp")]
    if in_memory and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 6 << 30:
        bases.insert(0, MEMORY)
    for base in bases:
        if os.access(base, os.W_OK) and account().may_read(base):
            path = Path(tempfile.mkdtemp(prefix="pgv-", dir=base))
            path.chmod(0o777)
            return path
    raise AssertionError(f"{account().name} cannot enter {' nor '.join(map(str, bases))}")


def remove_tree(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
