"""The sandbox's PostgreSQL servers: created, started, queried and stopped with PostgreSQL's own programs.

They listen only on Unix sockets, in directories that only their account (and root) may enter. So no password is needed,
and no other user of this machine can reach a superuser's connection.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pgvault.demo.account import Account
from pgvault.demo.processes import run, started
from pgvault.model.errors import PgvaultError

PORT: Final = 5432
"""The port number of every socket here: each server has its own socket directory."""
SUPERUSER: Final = "postgres"
DATABASE: Final = "mytestdb"
_SECONDS: Final = 60
_SETTINGS: Final[dict[str, object]] = {
    "listen_addresses": "", "port": PORT, "shared_buffers": "64MB", "max_wal_size": "2GB", "timezone": "UTC",
    "log_timezone": "UTC", "logging_collector": "off",
    "max_parallel_workers_per_gather": 0, "max_parallel_maintenance_workers": 0,  # a container's /dev/shm is small
}


@dataclass(frozen=True, slots=True)
class Cluster:
    """A data directory and the socket directory of its server; both belong to the account."""

    programs: Path
    account: Account
    data: Path
    sockets: Path

    @property
    def home(self) -> Path:
        return self.data.parent

    def make(self) -> None:
        """Run initdb, without a locale and without a password."""
        self.account.run(
            [self.programs / "initdb", "-D", self.data, "--no-sync", "--encoding=UTF8", "--locale=C",
             f"--username={SUPERUSER}", "--auth-local=trust", "--auth-host=reject"],
            home=self.home, doing="create the primary's cluster")
        with (self.data / "postgresql.conf").open("a") as conf:
            conf.writelines(f"{name} = '{value}'\n"
                            for name, value in {**_SETTINGS, "unix_socket_directories": self.sockets}.items())

    def start(self, log: Path) -> None:
        """Start the server and wait until it accepts connections."""
        with started([self.programs / "postgres", "-D", self.data], log=log, cwd=self.data,
                     env=self.account.environment(self.home), **self.account.popen_options()) as process:
            deadline = time.monotonic() + _SECONDS
            while not self._is_ready(process.pid):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise PgvaultError("the sandbox's primary did not start",
                                       detail="\n".join(log.read_text("utf-8", "replace").splitlines()[-20:]))
                time.sleep(0.02)

    def _is_ready(self, pid: int) -> bool:
        """Read the last line of postmaster.pid, as pg_ctl does."""
        with suppress(OSError):
            lines = (self.data / "postmaster.pid").read_text().split()
            return lines[:1] == [str(pid)] and lines[-1] == "ready"
        return False

    def stop(self) -> None:
        """Stop the server immediately, if it runs, as its data is about to be removed."""
        if (self.data / "postmaster.pid").exists():
            with suppress(PgvaultError):  # it has just ended
                self.account.run([self.programs / "pg_ctl", "stop", "-D", self.data, "-m", "immediate", "-w"],
                                 home=self.home, doing="stop the server")

    def psql(self, *arguments: str, database: str = DATABASE) -> list[str]:
        """Return the psql command line for this server, as a person types it. PGPORT has the port."""
        return ["psql", "-h", str(self.sockets), "-U", SUPERUSER, "-d", database, *arguments]

    def sql(self, text: str, *, database: str = DATABASE) -> str:
        """Run SQL and return its output, unaligned and without headers; PgvaultError if a statement fails."""
        words = self.psql("-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", "-", database=database)
        status, output = run([self.programs / "psql", *words[1:]], input=text, cwd=self.home,
                             env=self.account.environment(self.home))
        if status:
            raise PgvaultError("the sandbox's server rejected a statement", detail=output.strip())
        return output.strip()
