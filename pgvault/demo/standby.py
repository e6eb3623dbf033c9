"""Starts and stops the sandbox's standby host, and creates its keys. `ssh_host` is the program itself."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pgvault.demo.account import Account
from pgvault.demo.processes import started
from pgvault.model.errors import PgvaultError

_SECONDS: Final = 30


@dataclass(frozen=True, slots=True)
class StandbyHost:
    """`keys` is closed to all but the user who runs pgvault; `home` is where commands run."""

    keys: Path
    home: Path
    sockets: Path
    account: Account

    @property
    def identity_file(self) -> Path:
        return self.keys / "id"

    @property
    def known_hosts(self) -> Path:
        return self.keys / "known_hosts"

    def start(self) -> int:
        """Create its keys and start it. Return the port on 127.0.0.1 on which it listens."""
        import asyncssh

        from pgvault.demo.ssh_host import LISTENING

        self.keys.mkdir(mode=0o700)
        public = {}
        for name in ("host_key", "id"):
            key = asyncssh.generate_private_key("ssh-ed25519", comment="pgvault demonstration")
            (self.keys / name).touch(mode=0o600)
            (self.keys / name).write_bytes(key.export_private_key())
            public[name] = key.export_public_key().decode("ascii")
        (self.keys / "authorized_keys").write_text(public["id"])
        port = self._start_program(self.keys / LISTENING)
        self.known_hosts.write_text(f"[127.0.0.1]:{port} {public['host_key']}")
        return port

    def _start_program(self, listening: Path) -> int:
        log = self.keys / "log"
        argv = [sys.executable, "-P", "-m", "pgvault.demo.ssh_host", "--keys", self.keys, "--home", self.home,
                "--sockets", self.sockets, "--user", self.account.name, "--uid", self.account.uid,
                "--gid", self.account.gid]
        with started([str(word) for word in argv], log=log, cwd=self.keys) as process:
            deadline = time.monotonic() + _SECONDS
            while not listening.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise PgvaultError("the sandbox's SSH host did not start", detail=log.read_text()[-2000:].strip())
                time.sleep(0.02)
        return int(listening.read_text().split()[0])

    def stop(self) -> None:
        """End it with all its commands. It does nothing if it does not run."""
        with suppress(FileNotFoundError), (self.keys / "listening").open() as listening:
            _, pid = listening.read().split()
            for number in (signal.SIGTERM, signal.SIGKILL):
                if _wait(lambda: _is_free(listening.fileno()), 0):
                    return
                with suppress(ProcessLookupError):  # it holds the lock, so the pid was not reused
                    os.kill(int(pid), number)
                _wait(lambda: _is_free(listening.fileno()), 10)


def _is_free(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait(holds: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)
    return True
