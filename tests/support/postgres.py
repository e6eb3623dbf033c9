"""Real PostgreSQL servers for tests: make one, start it, ask it, break it.

A server listens on 127.0.0.1 and in a socket directory of its own. It does not flush (the machine does not
lose power during tests), starts no autovacuum and checkpoints only when told, so that what is in its WAL is
what the test wrote.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from support.account import account
from support.installation import Installation

SUPERUSER = "postgres"
CALM: Mapping[str, object] = {
    "fsync": "off",
    "dynamic_shared_memory_type": "mmap",  # in the data directory, so that a killed server leaves none behind
    "wal_level": "replica",
    "max_wal_senders": 10,
    "max_connections": 40,
    "shared_buffers": "16MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "1h",
    "autovacuum": "off",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    "logging_collector": "off",
}


def free_port() -> int:
    """A port on loopback that nobody uses, below those that the system hands to outgoing connections."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def quoted(value: object) -> str:
    """A value as postgresql.conf writes it."""
    return "'" + str(value).replace("'", "''") + "'"


def wait_until(holds: Callable[[], object], *, seconds: float = 30) -> None:
    """Wait for something that another process is about to do; the limit is for when it never does."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not so within {seconds} seconds"
        time.sleep(0.01)


class Server:
    """One cluster in `directory`: `data`, `log` and its sockets, all owned by the account of the tests.

    With `data` it adopts a data directory made by someone else, such as a restored one: port and sockets
    then go on the command line and no file in it is changed.
    """

    def __init__(self, installation: Installation, directory: Path, *, data: Path | None = None) -> None:
        self.installation = installation
        self.directory = directory
        self.data = data or directory / "data"
        self.log = directory / "log"
        self.sockets = directory / "s"
        self.port = free_port()
        self.password: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._adopted = data is not None
        self._databases = 0
        self.sockets.mkdir(parents=True, exist_ok=True)
        self.log.touch()
        account().own(directory)
        directory.chmod(0o755)

    def __repr__(self) -> str:
        return f"<PostgreSQL {self.installation.version} on port {self.port} in {self.data}>"

    @property
    def major(self) -> int:
        return self.installation.major

    @property
    def wal(self) -> Path:
        return self.data / "pg_wal"

    # Making it

    def initdb(self, *, password: str | None = None, wal_segsize: int = 16, checksums: bool = True) -> None:
        """Make a cluster; with a password every connection needs it (SCRAM). The segment size is in MiB."""
        options = ["--no-sync", "--encoding=UTF8", "--locale=C", f"--username={SUPERUSER}"]
        options.append(f"--wal-segsize={wal_segsize}")
        if checksums or self.major >= 18:
            options.append("--data-checksums" if checksums else "--no-data-checksums")
        if password is None:
            options.append("--auth=trust")
        else:
            secret = self.directory / "password"
            secret.write_text(password)
            account().own(secret)
            options += ["--auth=scram-sha-256", f"--pwfile={secret}"]
        account().run([self.installation.program("initdb"), "-D", self.data, *options])
        self.configure(CALM)

    def configure(self, settings: Mapping[str, object]) -> None:
        """Append to postgresql.conf; a running server needs `reload` or `restart` to notice."""
        with (self.data / "postgresql.conf").open("a") as conf:
            conf.writelines(f"{name} = {quoted(value)}\n" for name, value in settings.items())

    def allow(self, *lines: str) -> None:
        """Put lines before all others in pg_hba.conf, where the first match decides."""
        hba = self.data / "pg_hba.conf"
        hba.write_text("\n".join(lines) + "\n" + hba.read_text())

    # Its life

    def start(self, *options: str) -> Server:
        """Start it and wait until it accepts connections; a failure shows the end of its log.

        It is a child of ours, not pg_ctl's, so that nothing of it is left in the process table when it is
        killed: PostgreSQL takes a dead process that nobody waited for to be alive.
        """
        for tries_left in (2, 1, 0):  # someone may take the port between our look and PostgreSQL's
            began = self.log.stat().st_size
            argv = [self.installation.program("postgres"), "-D", self.data, *options, *self._place()]
            with self.log.open("ab") as sink:
                self._process = subprocess.Popen(
                    argv, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, cwd="/", start_new_session=True,
                    env=account().environment(), **account().popen_options(),
                )  # fmt: skip
            if self._wait_until_ready(self._process):
                return self
            said = self.log_text()[began:]
            if not tries_left or "Address already in use" not in said:
                raise AssertionError(f"{self!r} did not start:\n{said[-3000:]}")
            self.port = free_port()
        raise AssertionError("unreachable")

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> bool:
        """Follow the last line of postmaster.pid, as pg_ctl does; False if it ended instead."""
        deadline = time.monotonic() + 60
        while process.poll() is None:
            assert time.monotonic() < deadline, f"{self!r} is not ready:\n{self.log_text()[-3000:]}"
            with contextlib.suppress(OSError):
                lines = (self.data / "postmaster.pid").read_text().split()
                if lines[:1] == [str(process.pid)] and lines[-1] in ("ready", "standby"):
                    return True
            time.sleep(0.01)
        return False

    def _place(self) -> list[str]:
        """Where to listen, as command-line options for an adopted directory, else in postgresql.conf."""
        where = {"port": self.port, "unix_socket_directories": self.sockets, "listen_addresses": "127.0.0.1"}
        if self._adopted:
            return [word for name, value in where.items() for word in ("-c", f"{name}={value}")]
        if f"port = '{self.port}'\n" not in (self.data / "postgresql.conf").read_text():
            self.configure(where)
        return []

    def stop(self, mode: str = "fast") -> None:
        """Stop it in PostgreSQL's mode smart, fast or immediate; nothing happens if it does not run."""
        if self.running:
            self._ctl("stop", "-m", mode)
        if self._process:
            self._process.wait(60)
            self._process = None

    def end(self) -> None:
        """Have it gone, whatever the test did to it or to its files."""
        if self._process:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(60)
            self._process = None
        self.stop("immediate")  # one that something else started in our directory
        with contextlib.suppress(OSError, IndexError):  # killed: its shared memory outlives it
            segment = (self.data / "postmaster.pid").read_text().splitlines()[6].split()[1]
            subprocess.run(["ipcrm", "-m", segment], capture_output=True)

    def restart(self, mode: str = "fast") -> Server:
        self.stop(mode)
        return self.start()

    def reload(self) -> None:
        """Have the settings read anew, and wait until new connections see them."""
        before = self.scalar("select pg_conf_load_time()")
        self._ctl("reload")
        wait_until(lambda: self.scalar("select pg_conf_load_time()") != before)

    def crash(self) -> None:
        """Kill every process of it at once, as a power failure does; `postmaster.pid` stays behind."""
        processes = [self.pid, *_children(self.pid)]
        for pid in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._process:
            self._process.wait(30)
            self._process = None
        wait_until(lambda: not any(_alive(pid) for pid in processes))

    @property
    def pid(self) -> int:
        return int((self.data / "postmaster.pid").read_text().split()[0])

    @property
    def process(self) -> str:
        """As the system names it; a build that is run by a loader of its own has the loader's name."""
        return f"process {self.pid} ({Path(f'/proc/{self.pid}/comm').read_text().strip()})"

    @property
    def running(self) -> bool:
        try:
            return _alive(self.pid)
        except (FileNotFoundError, IndexError):  # gone, or still empty
            return False

    def log_text(self) -> str:
        return self.log.read_text(errors="replace")

    # Asking it

    def conninfo(self, dbname: str = "postgres", *, socket: bool = False, **options: Any) -> str:
        """A libpq connection string, by TCP on loopback or by its Unix socket."""
        host = str(self.sockets) if socket else "127.0.0.1"
        settings = {"user": SUPERUSER, "password": self.password, "client_encoding": "utf8", "port": self.port}
        return make_conninfo("", host=host, dbname=dbname, **{**settings, **options})

    def connect(self, dbname: str = "postgres", **options: Any) -> psycopg.Connection[Any]:
        """An autocommit connection; use it as a context manager, which closes it."""
        return psycopg.connect(self.conninfo(dbname, **options), autocommit=True)

    def sql(self, text: str, parameters: Any = None, *, dbname: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement, or several without parameters, and return the rows of the last."""
        with self.connect(dbname) as connection, connection.cursor() as cursor:
            cursor.execute(text.encode(), parameters)
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    def scalar(self, text: str, parameters: Any = None, *, dbname: str = "postgres") -> Any:
        """The first column of the first row."""
        return self.sql(text, parameters, dbname=dbname)[0][0]

    def new_database(self) -> str:
        """A database of the test's own in a server that tests share; returns its name."""
        self._databases += 1
        name = f"test_{self._databases}"
        self.sql(f"create database {name}")
        return name

    def new_tablespace(self, name: str) -> Path:
        """A tablespace beside the data directory; returns its location."""
        location = self.directory / f"tablespace-{name}"
        location.mkdir()
        account().own(location)
        self.sql(f"create tablespace {name} location {quoted(location)}")
        return location

    def switch_wal(self) -> str:
        """Close the current segment, even on an idle server, and return its name."""
        self.sql("select pg_logical_emit_message(false, 'tests', 'a segment is switched only if used')")
        return self.scalar("select pg_walfile_name(pg_switch_wal())")

    def current_lsn(self) -> str:
        return self.scalar("select pg_current_wal_insert_lsn()::text")

    def system_identifier(self) -> int:
        return self.scalar("select system_identifier from pg_control_system()")

    def waldump(self, *arguments: str) -> str:
        """pg_waldump on this server's pg_wal; arguments are its own: segments, -s, -e, -r, ..."""
        return account().run([self.installation.program("pg_waldump"), "-p", self.wal, *arguments])

    def controldata(self) -> dict[str, str]:
        """pg_controldata, as it names things."""
        said = account().run([self.installation.program("pg_controldata"), "-D", self.data])
        return {name: value.strip() for name, _, value in (line.partition(":") for line in said.splitlines())}

    def _ctl(self, verb: str, *arguments: str | Path) -> None:
        account().run([self.installation.program("pg_ctl"), verb, "-w", "-t", "60", "-D", self.data, *arguments])


def _children(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, _, rest = entry.read_text().partition(" (")
        except OSError:
            continue
        if int(rest.rpartition(") ")[2].split()[1]) == parent:
            found.append(int(pid))
    return found


def _alive(pid: int) -> bool:
    """Whether the process runs; one that ended but was not yet waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False

