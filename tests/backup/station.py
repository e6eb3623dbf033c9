"""A vault and one server to back up into it: by the command line, or within the test where only the result counts."""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.cli import Completed, environment, pgvault, pgvault_argv
from support.postgres import Server, wait_until

from pgvault.config.load import load
from pgvault.engine.backup.run import run_backup
from pgvault.engine.restore.files import plain_file, plain_run
from pgvault.model.backup import Backup
from pgvault.model.backup_plan import BackupPlan
from pgvault.model.event import Event
from pgvault.vault import catalog
from pgvault.vault.layout import ServerVault, Vault
from pgvault.vault.manifest import Entry, Kind, Manifest
from pgvault.vault.packs import PackReader

NAME = "main"
DRIVER = Path(__file__).with_name("driver.py")
WALSENDERS = "select pid from pg_stat_activity where backend_type = 'walsender'"
COPYING = "select pid from pg_stat_progress_basebackup where phase = 'streaming database files'"


@dataclass
class Station:
    """`home` is the vault, `directory` holds the configuration and the log."""

    server: Server
    home: Path
    directory: Path
    settings: dict[str, object] = field(default_factory=dict)
    conninfo: str = ""
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.conninfo = self.conninfo or self.server.conninfo()
        self.configure()

    # Its configuration

    @property
    def config(self) -> Path:
        return self.directory / "pgvault.toml"

    @property
    def log(self) -> Path:
        return self.directory / "pgvault.log"

    def configure(self, **settings: object) -> None:
        self.settings.update(settings)
        wanted = {"conninfo": self.conninfo, "immediate_checkpoint": True, "basebackup_retry_times": 0,
                  **self.settings}
        lines = [f"{name} = {json.dumps(value)}" for name, value in wanted.items()]
        self.config.write_text(f'[vault]\nhome = "{self.home}"\nlog_file = "{self.log}"\n'
                               f"[servers.{NAME}]\n" + "\n".join(lines) + "\n")

    # Taking backups

    def run(self, *args: str | Path, check: int | None = 0, **options: Any) -> Completed:
        return pgvault(*args, config=self.config, check=check, **options)

    def backup(self, *args: str, check: int | None = 0, **options: Any) -> Completed:
        return self.run("backup", NAME, *args, check=check, **options)

    def take(self, **plan: Any) -> Backup:
        """One in this process, a second faster than by the command line; errors come as exceptions."""
        config = load(self.config)
        facts = {"immediate_checkpoint": True, "workers": 2, **plan}
        events: list[Event] = []
        verdict = asyncio.run(run_backup(BackupPlan(NAME, **facts), config.server(NAME), self.home,
                                         job="", emit=events.append))
        return verdict.backup

    def start(self, *args: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
        return self._start(pgvault_argv(*args, config=self.config), env)

    def start_slow(self, *args: str, **options: Any) -> subprocess.Popen[str]:
        """A backup in the middle of its copy, which goes on for a long time."""
        process = self.start("backup", NAME, "--bwlimit", "256kB", *args, **options)
        wait_until(lambda: process.poll() is not None or self.server.sql(COPYING))
        assert process.poll() is None, process.communicate()
        return process

    def drive(self, interventions: list[dict[str, object]], *args: str) -> subprocess.Popen[str]:
        """The command line with something done to it, see `driver.py`."""
        argv = [sys.executable, str(DRIVER), json.dumps(interventions), "--config", str(self.config), *args]
        return self._start(argv, None)

    def _start(self, argv: list[str], env: dict[str, str] | None) -> subprocess.Popen[str]:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True, cwd="/", env=environment(extra=env))
        self.processes.append(process)
        return process

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            with process:
                pass

    # What the vault holds

    @property
    def vault(self) -> ServerVault:
        return Vault(self.home).server(NAME)

    def backups(self) -> list[Backup]:
        """Every one, and each can be read; none before there is a vault."""
        if not (self.home / "vault.toml").exists():
            return []
        found = list(catalog.scan(self.vault))
        assert all(isinstance(each, Backup) for each in found), found
        return [each for each in found if isinstance(each, Backup)]

    def newest(self) -> Backup:
        return self.backups()[-1]

    def contents(self, backup: Backup) -> Contents:
        return Contents(self.vault, backup)

    def stored(self) -> set[str]:
        """Every file of this server in the vault."""
        return {str(path.relative_to(self.vault.home)) for path in self.vault.home.rglob("*") if path.is_file()}


class Contents:
    """A backup's files, made again from the vault."""

    def __init__(self, vault: ServerVault, backup: Backup) -> None:
        self._vault, self._backup = vault, backup

    def entries(self) -> list[Entry]:
        with Manifest(self._vault, self._backup, check=True) as manifest:
            return list(manifest.entries())

    def names(self) -> list[str]:
        return [entry.path for entry in self.entries()]

    def files(self) -> Iterator[tuple[Entry, bytes]]:
        with Manifest(self._vault, self._backup, check=True) as manifest, PackReader(self._vault) as packs:
            for entry in list(manifest.entries()):
                if entry.kind is Kind.FILE:
                    yield entry, b"".join(plain_file(entry, manifest, packs))

    def read(self, path: str) -> bytes:
        with Manifest(self._vault, self._backup) as manifest, PackReader(self._vault) as packs:
            entry = manifest.find(path)
            assert entry is not None, path
            return b"".join(plain_file(entry, manifest, packs))

    def read_run(self, path: str, number: int) -> bytes:
        with Manifest(self._vault, self._backup) as manifest, PackReader(self._vault) as packs:
            entry = manifest.find(path)
            assert entry is not None, path
            return plain_run(entry, list(manifest.runs(entry))[number], packs)

    def run(self, path: str, number: int) -> Any:
        with Manifest(self._vault, self._backup) as manifest:
            return manifest.run(path, number)

    def listed(self) -> dict[str, tuple[int, str]]:
        """PostgreSQL's own list of the files: size and CRC-32C, read independently of pgvault."""
        document = json.loads(self.read("backup_manifest"))
        return {_path(each): (each["Size"], each["Checksum"]) for each in document["Files"]}

    def digest(self) -> str:
        """Of everything in it; unchanged as long as the backup is."""
        total = hashlib.sha256()
        for entry, content in self.files():
            total.update(f"{entry.path!r} {entry.mode} {entry.size}".encode())
            total.update(content)
        return total.hexdigest()


def _path(listed: dict[str, str]) -> str:
    if "Path" in listed:
        return listed["Path"]
    return bytes.fromhex(listed["Encoded-Path"]).decode(errors="surrogateescape")


def finish(process: subprocess.Popen[str], expected: int) -> tuple[str, str]:
    """Its output and its talk; the exit code has to be the expected one."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == expected, f"{process.args} ended with {process.returncode}\n{out}\n{err}"
    return out, err


def interrupt(process: subprocess.Popen[str], number: signal.Signals = signal.SIGINT) -> tuple[str, str]:
    process.send_signal(number)
    return finish(process, 130)


def assert_nothing_runs(server: Server) -> None:
    """No session, slot or backup of ours is left on the server, at the latest a moment after we left."""
    wait_until(lambda: not server.sql(WALSENDERS))
    assert server.sql("select slot_name from pg_replication_slots where temporary") == []
    assert server.sql("select * from pg_stat_progress_basebackup") == []


def relation(server: Server, table: str, dbname: str = "postgres") -> str:
    """A relation's file, relative to the data directory."""
    return server.scalar("select pg_relation_filepath(%s)", (table,), dbname=dbname)


def fill(server: Server, table: str, mebibytes: int) -> None:
    """A table of about so much that no compression makes smaller."""
    server.sql(f"create table if not exists {table} (n int, junk bytea)")
    server.sql(f"alter table {table} alter junk set storage external")
    server.sql(
        f"insert into {table} select n, decode(string_agg(md5(random()::text), ''), 'hex')"
        f" from generate_series(1, {mebibytes * 512}) n, generate_series(1, 120) group by n")
