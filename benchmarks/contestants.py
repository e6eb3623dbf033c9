"""One class per tool. Each operation is a shell command that the runner executes and measures.

To add a contestant: subclass `Contestant`, return the commands, decorate with `@contestant(...)`.
Commands run as the postgres user, on the backup host unless they go through ssh. An operation a
tool does not have returns None and is left out. Class-level names are the settings that variants
of one tool differ in.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from lab import PG_PORT, SSH_PORT, USER, Lab

HOST = "127.0.0.1"  # both hosts, reached by ssh or libpq only


class Contestant:
    name = ""
    program: str | None = None  # must be on the lab's path
    needs_zstd_server = False  # a PostgreSQL built --with-zstd
    archive_command = "/bin/true"
    only: frozenset[str] | None = None  # operations, where a variant differs in just these
    relocates_tablespaces = False

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.repo = lab.repo / self.name
        self.libpq = f"host={HOST} port={PG_PORT} user={USER} dbname=postgres"

    def unavailable(self) -> str | None:
        """Why this contestant cannot run here, if it cannot."""
        if self.program and not shutil.which(self.program, path=self.lab.env["PATH"]):
            return f"{self.program} is not installed"
        if self.needs_zstd_server and "zstd" not in self.lab.run("pg_config --configure"):
            return "this PostgreSQL is built without zstd"
        if self.lab.has_tablespace and not self.relocates_tablespaces:
            return "cannot restore a tablespace to another place (here)"
        return None

    def prepare(self) -> None:
        """Write configuration, register the server; not measured, the server runs."""

    def version(self) -> str:
        return ""

    def full(self) -> str | None:
        return None

    def incremental(self) -> str | None:
        return None

    def restore(self) -> str | None:
        """Restore the latest backup to the empty directory `lab.target` on the database host."""
        return None

    def restore_delta(self) -> str | None:
        """The same onto a directory that holds a slightly different server."""
        return None

    def list_backups(self) -> str | None:
        return None

    def show_backup(self) -> str | None:
        return None

    def check(self) -> str | None:
        return None


C = TypeVar("C", bound=type[Contestant])
CONTESTANTS: dict[str, type[Contestant]] = {}


def contestant(name: str, **settings: Any) -> Callable[[C], C]:
    """Register the class under a name, as it is or with class attributes of its own."""
    def register(cls: C) -> C:
        CONTESTANTS[name] = type(cls.__name__, (cls,), {"name": name, **settings})
        return cls
    return register


# --- the floor: what the machine can do -------------------------------------------------------

EXCLUDE = "--exclude=postmaster.pid --exclude=postmaster.opts"


@contestant("cp")
class Copy(Contestant):
    """A local copy with an fsync: what the disk can do. (Valid as a backup only of an idle server.)"""

    def full(self) -> str:
        return f"cp -a {self.lab.data}/. {self.repo}/ && sync -f {self.repo}"

    def restore(self) -> str:
        return f"cp -a {self.repo}/. {self.lab.target}/ && rm -f {self.lab.target}/postmaster.* && sync -f {self.lab.target}"


@contestant("tar-ssh")
class TarSsh(Contestant):
    """What one ssh connection can do."""

    def full(self) -> str:
        return f"ssh {HOST} tar -C {self.lab.data} {EXCLUDE} -cf - . | tar -C {self.repo} -xf - && sync -f {self.repo}"

    def restore(self) -> str:
        return (f"tar -C {self.repo} -cf - . | "
                f"ssh {HOST} 'tar -C {self.lab.target} -xf - && sync -f {self.lab.target}'")


@contestant("tar-zstd-ssh")
class TarZstdSsh(Contestant):
    """What one compressing process (zstd -3, two threads) and one ssh connection can do."""

    def full(self) -> str:
        return (f"ssh {HOST} 'tar -C {self.lab.data} {EXCLUDE} -cf - . | zstd -q -3 -T2' > {self.repo}/base.tar.zst"
                f" && sync -f {self.repo}")

    def restore(self) -> str:
        return (f"cat {self.repo}/base.tar.zst | "
                f"ssh {HOST} 'zstd -qdc | tar -C {self.lab.target} -xf - && sync -f {self.lab.target}'")


@contestant("rsync-ssh")
class RsyncSsh(Contestant):
    """One rsync over ssh, in place: the incremental updates the one copy."""

    def full(self) -> str:
        return f"rsync -a --delete {EXCLUDE} {HOST}:{self.lab.data}/ {self.repo}/ && sync -f {self.repo}"

    incremental = full

    def restore(self) -> str:
        return f"rsync -a --delete {self.repo}/ {HOST}:{self.lab.target}/ && ssh {HOST} sync -f {self.lab.target}"

    restore_delta = restore


# --- pg_basebackup ----------------------------------------------------------------------------

@contestant("pg_basebackup-plain")
class PgBasebackup(Contestant):
    program = "pg_basebackup"
    options = "-Fp"

    def prepare(self) -> None:
        self.chain: list[Path] = []

    def version(self) -> str:
        return self.lab.run("pg_basebackup --version").strip()

    def full(self) -> str:
        return self._backup("")

    def incremental(self) -> str | None:
        return self._backup(f"--incremental={self.chain[-1]}/backup_manifest")

    def restore(self) -> str | None:
        """Combine on the backup host, then ship."""
        combined = self.repo / "combined"
        chain = " ".join(map(str, self.chain))
        return (f"rm -rf {combined} && pg_combinebackup {chain} -o {combined} && tar -C {combined} -cf - . | "
                f"ssh {HOST} 'tar -C {self.lab.target} -xf - && sync -f {self.lab.target}' && rm -rf {combined}")

    def _backup(self, more: str) -> str:
        self.chain.append(self.repo / f"backup{len(self.chain)}")
        return f"pg_basebackup -d '{self.libpq}' -c fast {self.options} {more} -D {self.chain[-1]}"


@contestant("pg_basebackup-client-zstd", options="-Ft --compress=client-zstd:level=3,workers=2")
@contestant("pg_basebackup-server-zstd", options="-Ft --compress=server-zstd:level=3,workers=2")
class PgBasebackupTar(PgBasebackup):
    needs_zstd_server = True

    def incremental(self) -> None:
        return None

    def restore(self) -> str:
        base = self.chain[-1]
        return (f"cat {base}/base.tar.zst | ssh {HOST} 'zstd -qdc | tar -C {self.lab.target} -xf -' && "
                f"{{ zstd -qdc {base}/pg_wal.tar.zst 2>/dev/null || cat {base}/pg_wal.tar; }} | "
                f"ssh {HOST} 'tar -C {self.lab.target}/pg_wal -xf - && sync -f {self.lab.target}'")


# --- Barman -----------------------------------------------------------------------------------

class Barman(Contestant):
    program = "barman"
    relocates_tablespaces = True
    settings: Mapping[str, str] = {}
    backup_options = ""
    incremental_options = ""
    staging: str | None = None  # where a restore combines or unpacks: local (backup host) or remote

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self.conf = self.repo / "barman.conf"
        self.archive_command = self.archive_command.format(conf=self.conf, repo=self.repo)

    def version(self) -> str:
        return self._barman("--version").strip()

    def prepare(self) -> None:
        common = {"ssh_command": f"ssh {USER}@{HOST}", "conninfo": self.libpq, "archiver": "on",
                  "immediate_checkpoint": "true", "parallel_jobs": "2"}
        section = "\n".join(f"{k} = {v}" for k, v in {**common, **self.settings}.items())
        self.lab.write(self.conf, f"""
[barman]
barman_user = {USER}
barman_home = {self.repo}/home
barman_lock_directory = {self.repo}
log_file = {self.lab.log}/{self.name}.log
log_level = INFO

[db]
description = bench
{section}
""")
        self.lab.run(f"mkdir {self.repo}/home")
        self._barman("check db || true")  # creates the directories
        self.lab.server.archive_with(self.archive_command)
        self._barman("switch-wal --force --archive --archive-timeout 60 db")

    def full(self) -> str:
        return self._command(f"backup {self.backup_options} db")

    def incremental(self) -> str | None:
        return self._command(f"backup {self.incremental_options} db") if self.incremental_options else None

    def restore(self) -> str:
        return self._restore("")

    def list_backups(self) -> str:
        return self._command("list-backups db")

    def show_backup(self) -> str:
        return self._command("show-backup db latest")

    def check(self) -> str:
        return self._command("check db")

    def _restore(self, options: str) -> str:
        if self.staging:
            host = self.repo if self.staging == "local" else self.lab.db
            options += f" --staging-path {host}/staging --staging-location {self.staging}"
        if self.lab.has_tablespace:
            options += f" --tablespace space:{self.lab.target_space}"
        return self._command(f"restore --remote-ssh-command 'ssh {USER}@{HOST}' {options} db latest {self.lab.target}")

    def _command(self, arguments: str) -> str:
        return f"barman -c {self.conf} {arguments}"

    def _barman(self, arguments: str) -> str:
        return self.lab.run(self._command(arguments))


@contestant("barman-rsync")
@contestant("barman-rsync-defaults", settings={"backup_method": "rsync", "parallel_jobs": "1"}, incremental_options="")
class BarmanRsync(Barman):
    settings = {"backup_method": "rsync", "reuse_backup": "link"}
    archive_command = f"rsync -a %p {USER}@{HOST}:{{repo}}/home/db/incoming/%f"
    backup_options = "--wait"
    incremental_options = "--wait"

    def restore_delta(self) -> str:
        return self._restore("--delta-restore")


@contestant("barman-postgres")
class BarmanPostgres(Barman):
    """pg_basebackup; the incremental is PostgreSQL 17's block-level one."""

    settings = {"backup_method": "postgres", "streaming_conninfo": f"host={HOST} port={PG_PORT} user={USER}"}
    archive_command = f"barman-wal-archive -U {USER} -c {{conf}} {HOST} db %p"
    backup_options = "--wait"
    incremental_options = "--incremental latest --wait"
    staging = "local"


@contestant("barman-postgres-zstd")
class BarmanPostgresZstd(BarmanPostgres):
    needs_zstd_server = True
    settings = {**BarmanPostgres.settings, "backup_compression": "zstd", "backup_compression_level": "3",
                "backup_compression_workers": "2", "backup_compression_location": "client",
                "backup_compression_format": "tar"}
    archive_command = f"barman-wal-archive --zstd -U {USER} -c {{conf}} {HOST} db %p"
    staging = "remote"


# --- pgBackRest -------------------------------------------------------------------------------

BEST = {"process-max": "2", "repo1-bundle": "y", "repo1-block": "y"}


@contestant("pgbackrest-defaults")
@contestant("pgbackrest-lz4", settings={**BEST, "compress-type": "lz4"})
@contestant("pgbackrest-zst1", settings={**BEST, "compress-type": "zst", "compress-level": "1"})
@contestant("pgbackrest-zst3", settings={**BEST, "compress-type": "zst", "compress-level": "3"})
@contestant("pgbackrest-zst3-async", only=frozenset({"wal"}),
            settings={**BEST, "compress-type": "zst", "compress-level": "3", "archive-async": "y"})
class PgBackRest(Contestant):
    """Repository host and database host apart, ssh both ways."""

    program = "pgbackrest"
    relocates_tablespaces = True
    settings: Mapping[str, str] = {}

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self.repo_conf = self.repo / "pgbackrest.conf"
        self.db_conf = lab.db / "pgbackrest.conf"
        self.archive_command = f"pgbackrest --config={self.db_conf} --stanza=main archive-push %p"

    def version(self) -> str:
        return self.lab.run("pgbackrest version").strip()

    def prepare(self) -> None:
        program = shutil.which("pgbackrest", path=self.lab.env["PATH"])
        common = {"log-level-console": "warn", "log-level-file": "off", **self.settings}
        host = {"host": HOST, "host-user": USER, "host-port": SSH_PORT, "host-cmd": program}
        server = {"pg1-path": self.lab.data, "pg1-port": PG_PORT, "pg1-socket-path": self.lab.sockets}
        self._write(self.repo_conf, {
            **common, "repo1-path": self.repo / "repo", "lock-path": self.repo / "lock",
            "start-fast": "y", "repo1-retention-full": 10,
        }, {**server, **{f"pg1-{k}": v for k, v in host.items()}, "pg1-host-config": self.db_conf})
        self._write(self.db_conf, {
            **common, "lock-path": self.lab.db / "lock", "spool-path": self.lab.empty(self.lab.db / "spool"),
            **{f"repo1-{k}": v for k, v in host.items()}, "repo1-host-config": self.repo_conf,
        }, server)
        self.lab.run(self._command("stanza-create"))

    def full(self) -> str:
        return self._command("--type=full backup")

    def incremental(self) -> str:
        return self._command("--type=incr backup")

    def restore(self) -> str:
        where = f"--tablespace-map=space={self.lab.target_space}" if self.lab.has_tablespace else ""
        return f"pgbackrest --config={self.db_conf} --stanza=main --pg1-path={self.lab.target} {where} restore"

    def restore_delta(self) -> str:
        return f"{self.restore()} --delta"

    def list_backups(self) -> str:
        return self._command("info")

    def show_backup(self) -> str:
        latest = f"$(ls {self.repo}/repo/backup/main | grep '^2' | tail -1)"
        return self._command(f"info --set={latest}")

    def check(self) -> str:
        return self._command("check")

    def _command(self, arguments: str) -> str:
        return f"pgbackrest --config={self.repo_conf} --stanza=main {arguments}"

    def _write(self, path: Path, general: Mapping[str, object], stanza: Mapping[str, object]) -> None:
        def lines(options: Mapping[str, object]) -> str:
            return "\n".join(f"{key}={value}" for key, value in options.items())
        self.lab.write(path, f"[global]\n{lines(general)}\n\n[main]\n{lines(stanza)}\n")


# --- pgvault ----------------------------------------------------------------------------------

@contestant("pgvault")
@contestant("pgvault-level1", level=1)
class PgVault(Contestant):
    """Backup by the replication protocol, restore over ssh, WAL by put-wal behind ssh."""

    program = "pgvault"
    relocates_tablespaces = True
    level = 3

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self.conf = self.repo / "pgvault.toml"
        self.archive_command = f"ssh {HOST} pgvault --config {self.conf} put-wal db %f < %p"

    def version(self) -> str:
        return self.lab.run("pgvault --version").strip()

    def prepare(self) -> None:
        self.lab.run(f"rm -rf {self.lab.home}/.local/state/pgvault")  # where it remembers that there was a vault
        known_hosts = self.repo / "known_hosts"
        key = " ".join((self.lab.ssh / "host.pub").read_text().split()[:2])
        self.lab.write(known_hosts, f"[{HOST}]:{SSH_PORT} {key}\n")
        self.lab.write(self.conf, f"""
[vault]
home = "{self.repo}/vault"
immediate_checkpoint = true
compression_level = {self.level}
parallel_jobs = 2
identity_file = "{self.lab.ssh}/id"
known_hosts = "{known_hosts}"

[servers.db]
conninfo = "{self.libpq}"

[hosts.db-host]
ssh = "{USER}@{HOST}:{SSH_PORT}"
bin_directory = "{self.lab.pg_bin}"
""")

    def full(self) -> str:
        return self._command("backup db")

    incremental = full

    def restore(self) -> str:
        where = f"--tablespace space={self.lab.target_space}" if self.lab.has_tablespace else ""
        return self._command(f"restore db auto {self.lab.target} --host db-host --target-end {where} --yes")

    def list_backups(self) -> str:
        return self._command("list-backups db")

    def show_backup(self) -> str:
        return self._command("show-backup db latest")

    def check(self) -> str:
        return self._command("check db")

    def _command(self, arguments: str) -> str:
        return f"pgvault --config {self.conf} {arguments}"
