"""A server whose WAL is archived, its vault, and a host on which restores of it are started and asked."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from support.account import account, open_directory, remove_tree
from support.cli import Completed, pgvault
from support.fleet import Fleet, Shape
from support.installation import installation
from support.postgres import Server, free_port, wait_until
from support.ssh import SshHost

from pgvault.config.load import load
from pgvault.engine.backup.run import run_backup
from pgvault.engine.incoming import archive_waiting
from pgvault.engine.restore.plan import make_plan
from pgvault.engine.restore.run import RestoreVerdict, run_restore
from pgvault.io.hosts import connect_host
from pgvault.model.backup import Backup
from pgvault.model.backup_plan import BackupPlan
from pgvault.model.event import Event, discard
from pgvault.model.lsn import Lsn
from pgvault.model.restore_plan import RestorePlan
from pgvault.model.restore_request import RestoreRequest
from pgvault.model.target import Target
from pgvault.vault.layout import ServerVault, Vault

NAME = "main"
_ENDED = re.compile(
    r"tx:\s+(\d+), lsn: (\S+), .*desc: (COMMIT|ABORT)(?:_PREPARED (\d+):)? (\d{4}-\S+ \S+) UTC", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Ended:
    """A transaction's end, as pg_waldump tells it."""

    lsn: Lsn
    time: datetime
    xid: int
    commits: bool


@dataclass(frozen=True, slots=True)
class Restored:
    """A restored server that can be asked, unless it was to shut down."""

    verdict: RestoreVerdict
    data: Path
    port: int
    events: tuple[Event, ...]

    def sql(self, text: str, *, dbname: str = "postgres") -> list[tuple[Any, ...]]:
        where = f"host=127.0.0.1 port={self.port} user=postgres dbname={dbname} client_encoding=utf8"
        with psycopg.connect(where, autocommit=True) as connection:
            cursor = connection.execute(text.encode())
            return cursor.fetchall() if cursor.description else []

    def column(self, text: str, *, dbname: str = "postgres") -> list[Any]:
        return [row[0] for row in self.sql(text, dbname=dbname)]


class World:
    """`server` drops its WAL into the vault, where it is known as `main`; restores go over SSH to a host, `target`."""

    # What a module notes of the one that it makes.
    begun: datetime
    instant: datetime
    lost: str
    all_ended: list[Ended]

    def __init__(self, server: Server, ssh: SshHost, *, server_settings: str = "") -> None:
        self.server, self._ssh, self._server_settings = server, ssh, server_settings
        self.root = open_directory(in_memory=True)
        self.home = self.root / "vault"
        self.home.mkdir()
        self.vault: ServerVault = Vault.open_or_create(self.home).server(NAME)
        self.vault.prepare()
        for directory, mode in ((self.home, 0o755), (self.vault.home, 0o755), (self.vault.spool.incoming, 0o777)):
            directory.chmod(mode)
        self.port = free_port()
        self.config_file = self.write_config()
        self._restores = 0

    def write_config(self, home: Path | None = None, *, conninfo: str | None = None) -> Path:
        """A configuration for this vault, or for another one of the same server."""
        path = (home or self.home).with_name(f"{(home or self.home).name}.toml")
        path.write_text(f"""
            [vault]
            home = "{home or self.home}"
            [servers.{NAME}]
            conninfo = "{conninfo or self.server.conninfo()}"
            immediate_checkpoint = true
            parallel_jobs = 2
            {self._server_settings}
            [hosts.target]
            ssh = "{self._ssh.user}@{self._ssh.host}:{self._ssh.port}"
            identity_file = "{self._ssh.identity_file}"
            known_hosts = "{self._ssh.known_hosts}"
            bin_directory = "{self.server.installation.bin}"
            port = {self.port}
            socket_directory = "{self.root}"
            """)
        return path

    def close(self) -> None:
        remove_tree(self.root)

    # WAL and backups

    def archiving(self) -> Mapping[str, object]:
        """Settings with which a server archives into this vault."""
        drop = self.vault.spool.incoming
        return {"archive_mode": "on", "track_commit_timestamp": "on", "max_prepared_transactions": 8,
                "archive_command": f"cp %p {drop}/.%f && mv {drop}/.%f {drop}/%f"}

    def take_wal(self, server: Server | None = None) -> str:
        """Close the current segment, have everything up to it in the archive, and return its name."""
        server = server or self.server
        name = server.switch_wal()
        wait_until(lambda: (server.scalar("SELECT last_archived_wal FROM pg_stat_archiver") or "") >= name)
        self.archive()
        return name

    def ended(self, last: str) -> list[Ended]:
        """The ends of transactions up to this segment, which the server must have kept all, in order of position."""
        first = min(path.name for path in self.server.wal.glob("[0-9A-F]*") if len(path.name) == 24)
        return [Ended(lsn(at), datetime.strptime(time, "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC),
                      int(prepared or xid), kind == "COMMIT")
                for xid, at, kind, prepared, time in
                _ENDED.findall(self.server.waldump("-r", "Transaction", first, last))]

    def archive(self) -> None:
        taken = archive_waiting(self.vault)
        assert not taken.rejected, taken
        assert not taken.failed, taken

    def backup(self) -> Backup:
        settings = load(self.config_file).server(NAME)
        plan = BackupPlan(server=NAME, name="", full=False, immediate_checkpoint=True, workers=2,
                          bandwidth_limit=None, compression_level=1, retry_times=0, retry_seconds=0, wait_lock=False)
        return asyncio.run(run_backup(plan, settings, self.home, job="test", emit=discard)).backup

    # Restores

    def plan(self, target: Target, **request: Any) -> RestorePlan:
        return asyncio.run(self._plan(target, **request))

    @contextmanager
    def restored(self, target: Target, **request: Any) -> Iterator[Restored]:
        """Restore, start and prove; the server is gone when the block ends."""
        self._restores += 1
        data = self.root / f"restored-{self._restores}"
        events: list[Event] = []
        try:
            verdict = asyncio.run(self._restore(target, data, events.append, **request))
            yield Restored(verdict, data, self.port, tuple(events))
        finally:
            self.stop(data)
            remove_tree(data)

    def stop(self, data: Path) -> None:
        if (data / "postmaster.pid").exists():
            account().run([self.server.installation.program("pg_ctl"), "stop", "-w", "-m", "immediate", "-D", data])

    async def _plan(self, target: Target, **request: Any) -> RestorePlan:
        config = load(self.config_file)
        wanted = {"directory": str(self.root / "planned"), "start": True, **request}
        async with await connect_host("target", config.host("target"), discard) as host:
            return await make_plan(RestoreRequest(NAME, host="target", target=target, **wanted), config, host)

    async def _restore(self, target: Target, data: Path, emit: Callable[[Event], None],
                       **request: Any) -> RestoreVerdict:
        plan = await self._plan(target, directory=str(data), **request)
        assert not plan.failed, plan.failed
        return await run_restore(plan, load(self.config_file), job="test", emit=emit)

    def cli(self, *args: str | Path, check: int | None = None, **options: Any) -> Completed:
        return pgvault(*args, config=self.config_file, check=check, **options)


def make_world(fleet: Fleet, ssh: SshHost, major: int | None = None, *, megabytes: int = 16,
               server_settings: str = "", settings: Mapping[str, object] | None = None) -> World:
    """A running server, with segments of so many megabytes, and its vault; `end_world` ends both."""
    server = fleet.make(installation(major), Shape(None, megabytes), settings)
    world = World(server, ssh, server_settings=server_settings)
    server.configure(world.archiving())
    server.start()
    return world


def end_world(fleet: Fleet, world: World) -> None:
    fleet.remove(world.server)
    world.close()


def lsn(text: str) -> Lsn:
    return Lsn.parse(text)
