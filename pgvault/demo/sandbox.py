"""The sandbox: one directory with a primary, a standby host, a vault and the configuration that joins them.

    pgvault.toml           the configuration
    environment            for a shell: puts pgvault and psql into PATH, and names pgvault.toml
    main-db-server/        the primary: data, its socket's directory, log
    standby-db-server/     the standby host: data once restored, and its server's socket directory
    ssh/                   keys and log of the standby host's SSH server
    vault/                 the repository
    pgvault.log            the log of its commands
    sandbox.json           what is needed to end and remove the sandbox, even from another process

Everything runs in sessions of its own and outlives a screen; `remove` ends it and leaves nothing.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pgvault.demo import data
from pgvault.demo.account import Account, server_account
from pgvault.demo.cluster import DATABASE, PORT, SUPERUSER, Cluster
from pgvault.demo.programs import find_programs
from pgvault.demo.standby import StandbyHost
from pgvault.jobs.hold import is_alive
from pgvault.jobs.registry import jobs_directory, read_job, request_cancel
from pgvault.model.errors import NoSpace, NotFound, PgvaultError, Refused
from pgvault.model.text import size
from pgvault.vault import mount_guard
from pgvault.vault.layout import Vault

PRIMARY: Final = "main-db-server"
STANDBY: Final = "standby-db-server"
_STATE: Final = "sandbox.json"
_PREFIX: Final = "pgvault-demo-"
_JOB_SECONDS: Final = 30
_SOCKET_BYTES: Final = 100
"""The path of a Unix socket is limited to 107 bytes on Linux, 103 elsewhere, and PostgreSQL appends a file name."""
_PLAIN: Final = re.compile(r"[A-Za-z0-9_./+@-]+")
"""Directories that need no quoting in any configuration file."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    directory: Path
    sockets: Path
    """`directory`, or a shorter one if its path is too long for a Unix socket."""
    programs: Path
    account: Account
    removes_directory: bool
    """Whether the directory itself is removed at the end; false if it existed before."""

    @property
    def config(self) -> Path:
        return self.directory / "pgvault.toml"

    @property
    def environment_file(self) -> Path:
        return self.directory / "environment"

    @property
    def vault(self) -> Path:
        return self.directory / "vault"

    @property
    def primary(self) -> Cluster:
        return self._cluster(PRIMARY)

    @property
    def restored(self) -> Cluster:
        return self._cluster(STANDBY)

    @property
    def standby(self) -> StandbyHost:
        return StandbyHost(self.directory / "ssh", self.directory / STANDBY, self.sockets / STANDBY, self.account)

    def _cluster(self, name: str) -> Cluster:
        return Cluster(self.programs, self.account, self.directory / name / "data", self.sockets / name / "s")

    def build(self, megabytes: int) -> Iterator[str]:
        """Create and start everything. Yields the next step before it does it."""
        yield f"Start PostgreSQL's primary, {PRIMARY}"
        for name in (PRIMARY, STANDBY):
            for home in {self.directory / name, self.sockets / name}:
                home.mkdir()
                self.account.own(home)
            socket_directory = self._cluster(name).sockets
            socket_directory.mkdir()
            self.account.own(socket_directory)
        self.primary.make()
        self.primary.start(self.directory / PRIMARY / "log")
        yield f"Fill it with about {megabytes} MB of customers and orders, and the tutorial's two tables"
        self.primary.sql(data.CREATE_DATABASE, database="postgres")
        self.primary.sql(data.fill(megabytes))
        yield f"Start the SSH host {STANDBY}: it has PostgreSQL's programs and no database"
        port = self.standby.start()
        self._configure(port)

    def _configure(self, ssh_port: int) -> None:
        """Write pgvault.toml and the shell's environment."""
        import tomli_w

        standby, restored = self.standby, self.restored
        tables: dict[str, Any] = {
            "vault": {"home": str(self.vault), "log_file": str(self.directory / "pgvault.log"),
                      "immediate_checkpoint": True},
            "servers": {PRIMARY: {
                "description": "Main DB Server",
                "conninfo": f"host={self.primary.sockets} port={PORT} user={SUPERUSER} dbname={DATABASE}",
                "retention_policy": "RECOVERY WINDOW OF 7 DAYS", "timezone": "UTC"}},
            "hosts": {STANDBY: {
                "ssh": f"postgres@127.0.0.1:{ssh_port}", "identity_file": str(standby.identity_file),
                "known_hosts": str(standby.known_hosts), "bin_directory": str(self.programs), "port": PORT,
                "socket_directory": str(restored.sockets), "data_directory": str(restored.data)}},
        }
        self.config.write_text(tomli_w.dumps(tables))
        path = shlex.quote(f"{Path(sys.executable).parent}:{self.programs}")
        self.environment_file.write_text(
            f"PATH={path}:$PATH\nPGVAULT_CONFIG={shlex.quote(str(self.config))}\nPGPORT={PORT}\n"
            "export PATH PGVAULT_CONFIG PGPORT\n")

    def remove(self) -> None:
        """End every server and process of the sandbox, then remove its files."""
        _stop_jobs(self.vault)
        self._stop_receiver()
        self.standby.stop()
        for pid_file in (*self.directory.glob("*/postmaster.pid"), *self.directory.glob("*/*/postmaster.pid")):
            Cluster(self.programs, self.account, pid_file.parent, self.sockets).stop()
        if self.sockets != self.directory and self.sockets.name.startswith(_PREFIX):
            _remove_tree(self.sockets)
        _clear(self.directory, self.removes_directory)
        mount_guard.forget(self.vault)

    def _stop_receiver(self) -> None:
        from pgvault.engine.receive import stop_running

        receiver = Vault(self.vault).server(PRIMARY)
        if receiver.locks.is_dir():
            with suppress(PgvaultError):
                stop_running(receiver)

    def save(self) -> None:
        facts = {"sockets": str(self.sockets), "programs": str(self.programs), "account": self.account.name,
                 "uid": self.account.uid, "gid": self.account.gid, "removes_directory": self.removes_directory}
        (self.directory / _STATE).write_text(json.dumps({"pgvault-demo": 1, **facts}) + "\n")


def new_sandbox(directory: Path | None, megabytes: int) -> Sandbox:
    """Return an empty sandbox in an empty or new directory, or in a temporary one.

    Refused if the place is unsuitable, NoSpace if it is too small. Nothing is left behind then.
    """
    account = server_account()
    with ExitStack() as undo:
        place, made = (_temporary(account), True) if directory is None else _given(directory)
        undo.callback(_clear, place, made)
        _check_place(place, account, megabytes)
        sockets = place
        if not _fits_sockets(place):
            sockets = _temporary(account, short=True)
            undo.callback(_remove_tree, sockets)
        sandbox = Sandbox(place, sockets, find_programs(account, place / "programs"), account, made)
        mount_guard.forget(sandbox.vault)  # left by an earlier sandbox that was removed by hand
        sandbox.save()
        undo.pop_all()
    return sandbox


def open_sandbox(directory: Path) -> Sandbox:
    """Return the sandbox in a directory; NotFound if there is none, Refused if another user created it."""
    state = directory.absolute() / _STATE
    try:
        facts = json.loads(state.read_bytes())
        account = Account(facts["account"], facts["uid"], facts["gid"])
        sandbox = Sandbox(state.parent, Path(facts["sockets"]), Path(facts["programs"]), account,
                          facts["removes_directory"])
    except (OSError, ValueError, KeyError, TypeError):
        raise NotFound(f"there is no sandbox in {directory}") from None
    if state.stat().st_uid != os.geteuid():
        raise Refused(f"the sandbox in {directory} was created by another user", hint="Let that user remove it.")
    return sandbox


def _given(directory: Path) -> tuple[Path, bool]:
    """Return the requested directory, and whether it is new."""
    place = Path(os.path.realpath(directory))
    if not place.exists():
        place.mkdir(mode=0o755)
        return place, True
    if not place.is_dir() or any(place.iterdir()):
        raise Refused(f"{place} is not an empty directory",
                      hint="Name an empty directory or one that does not exist yet, or omit --dir.")
    return place, False


def _temporary(account: Account, *, short: bool = False) -> Path:
    """Create a directory that the account may enter; with `short` its path leaves room for that of a socket."""
    for base in dict.fromkeys((*([] if short else [tempfile.gettempdir()]), "/tmp", "/var/tmp", "/dev/shm")):
        if os.access(base, os.W_OK | os.X_OK) and account.may("-x", Path(base)):
            place = Path(os.path.realpath(tempfile.mkdtemp(prefix=_PREFIX, dir=base)))
            place.chmod(0o755)
            return place
    raise Refused(f"could not find a temporary directory that {account.name} may enter",
                  hint="Set TMPDIR to one, or give --dir.")


def _check_place(place: Path, account: Account, megabytes: int) -> None:
    with suppress(PermissionError):
        place.chmod(place.stat().st_mode | 0o011)
    if not account.may("-x", place):
        raise Refused(f"{account.name}, who runs the sandbox's servers, may not enter {place}",
                      hint="Name a directory that all users may enter, or omit --dir.")
    need, free = (300 + 4 * megabytes) << 20, shutil.disk_usage(place).free
    if free < need:
        raise NoSpace(f"not enough space for the sandbox in {place}",
                      detail=f"It needs about {size(need)}, and {size(free)} are free.",
                      hint="Choose another directory with --dir, or less data with --megabytes.")


def _fits_sockets(place: Path) -> bool:
    longest = place / STANDBY / "s" / f".s.PGSQL.{PORT}"
    return len(os.fsencode(longest)) <= _SOCKET_BYTES and bool(_PLAIN.fullmatch(str(longest)))


def _stop_jobs(vault: Path) -> None:
    """Cancel every job as `job cancel` does, and kill those that do not end in time."""
    directories = [path for path in jobs_directory(vault).glob("*") if is_alive(path)]
    for directory in directories:
        with suppress(PgvaultError):
            request_cancel(directory)
    deadline = time.monotonic() + _JOB_SECONDS
    for directory in directories:
        while is_alive(directory) and time.monotonic() < deadline:
            time.sleep(0.05)
        if is_alive(directory) and (pid := read_job(directory).pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _clear(place: Path, made: bool) -> None:
    for entry in sorted(place.iterdir(), key=lambda path: path.name == _STATE):  # last, to allow a retry
        _remove_tree(entry)
    if made:
        _remove_tree(place)  # an ending process may have opened the log again


def _remove_tree(path: Path) -> None:
    """Remove a directory tree. An ending process may still write to it, so retry for some seconds."""
    for _ in range(50):
        if not path.is_dir() or path.is_symlink():
            path.unlink(missing_ok=True)
            return
        shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            return
        time.sleep(0.1)
    shutil.rmtree(path)  # raise the reason
