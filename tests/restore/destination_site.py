"""A backed-up cluster, its vault and the hosts that it is restored to: what the tests of destinations stand on."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from support.account import account, open_directory, remove_tree
from support.cli import Completed, environment, pgvault, python_for
from support.fleet import Fleet, Shape
from support.installation import installation
from support.postgres import Server, quoted
from support.ssh import SshHost

from pgvault.config.load import Config, load
from pgvault.engine.restore.files import plain_file
from pgvault.engine.restore.preconditions import RECOVERY_SEGMENTS
from pgvault.vault import catalog
from pgvault.vault.layout import ServerVault, Vault
from pgvault.vault.manifest import Manifest
from pgvault.vault.packs import PackReader

DYING = Path(__file__).with_name("dying_restore.py")
CHANGED = ("postgresql.conf", "postgresql.auto.conf", "recovery.signal", "pgvault_wal", "tablespace_map")
"""What a restored directory has that the backup's own manifest does not know in that form."""
ODD_NAMES = ("with space", "a=b", "#hash", "it's \"quoted\"", "naïve-ü", "back\\slash", "-dash", "$(touch oops)",
             "new\nline")  # fmt: skip
TABLES = "select oid::regclass::text from pg_class where relkind = 'r' and oid >= 16384 order by 1"


@dataclass
class Site:
    """Commands run as the account of servers and logins, which owns everything here."""

    server: Server
    root: Path
    spaces: dict[str, str] = field(default_factory=dict)
    """Tablespace name to its location on the server."""
    hosts: dict[str, str] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        return self.root / "pgvault.toml"

    @property
    def home(self) -> Path:
        return self.root / "vault"

    @property
    def vault(self) -> ServerVault:
        return Vault(self.home).server("main")

    @property
    def loaded(self) -> Config:
        return load(self.config, {})

    def add_host(self, name: str, host: SshHost | None, settings: str = "") -> None:
        """A host of the configuration; None is this machine."""
        how = "local = true" if host is None else (
            f'ssh = "{host.user}@{host.host}:{host.port}"\nidentity_file = "{host.identity_file}"\n'
            f'known_hosts = "{host.known_hosts}"')
        if host is not None:
            account().own(host.identity_file)
        self.hosts[name] = f'[hosts.{name}]\n{how}\nbin_directory = "{self.server.installation.bin}"\n{settings}\n'
        self.write_config()

    def write_config(self) -> None:
        server = f'[servers.main]\nconninfo = "{self.server.conninfo(socket=True)}"\nparallel_jobs = 2\n'
        self.config.write_text(f'[vault]\nhome = "{self.home}"\n{server}' + "".join(self.hosts.values()))
        account().own(self.config)

    def run(self, *args: str | Path, check: int | None = 0, env: Mapping[str, str] | None = None) -> Completed:
        return pgvault(*args, config=self.config, check=check, account=account(), env=env)

    def restore_argv(self, host: str, directory: Path | str, *more: str) -> list[str]:
        spaces = [word for name in self.spaces for word in ("--tablespace", f"{name}={directory}.{name}")]
        return ["restore", "main", "auto", str(directory), *(["--host", host] if host else []), *spaces, *more]

    def restore(self, host: str, directory: Path | str, *more: str, check: int | None = 0) -> Completed:
        """To a directory, its tablespaces beside it."""
        return self.run(*self.restore_argv(host, directory, "--target-immediate", *more, "--yes"), check=check)

    def dying(self, point: str, count: int, argv: Iterable[str]) -> subprocess.CompletedProcess[bytes]:
        """Run pgvault in a process that kills itself when `point` is called for the `count`th time."""
        words = [python_for(account()), str(DYING), point, str(count), "--config", str(self.config), *argv]
        return subprocess.run(words, capture_output=True, env=environment(account()), cwd="/", timeout=120,
                              stdin=subprocess.DEVNULL, **account().popen_options())

    def place(self, name: str) -> Path:
        """A path for a restore, in a directory of the account's own."""
        parent = self.root / "places"
        parent.mkdir(exist_ok=True)
        account().own(parent)
        return parent / name

    def verify_files(self, directory: Path, backup: str = "latest") -> None:
        """Compare every file with PostgreSQL's own manifest of the backup, before the server has started."""
        found = catalog.find(self.vault, backup)
        with Manifest(self.vault, found) as manifest, PackReader(self.vault) as packs:
            entry = manifest.find("backup_manifest")
            assert entry is not None
            text = b"".join(plain_file(entry, manifest, packs))
        manifest_file = self.root / "backup_manifest"
        manifest_file.write_bytes(text)
        manifest_file.chmod(0o644)
        ignored = [word for name in CHANGED for word in ("-i", name)]
        account().run([self.server.installation.program("pg_verifybackup"), "-n", "-q", "-m", manifest_file, *ignored,
                       directory])


def rows(server: Server) -> dict[str, list[str]]:
    """Every row of every table of every database."""
    found = {}
    for (database,) in server.sql("select datname from pg_database where datallowconn and datname <> 'template1'"):
        for (table,) in server.sql(TABLES, dbname=database):
            found[f"{database}.{table}"] = [row for (row,) in server.sql(
                f"select t::text from {table} t order by 1", dbname=database)]
    return found


def listing(*places: Path) -> dict[str, tuple[int, int, bytes]]:
    """Everything below the places: mode, owner, content; to be equal before and after."""
    found = {}
    for place in places:
        for path in [place, *sorted(place.rglob("*"))] if place.exists() else []:
            facts = path.lstat()
            content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            found[str(path)] = (facts.st_mode, facts.st_uid, content)
    return found


def needed(site: Site) -> int:
    """Bytes that must be free for a restore, its recovery included."""
    done = site.run("--format", "json", *site.restore_argv("here", site.place("measure")), "--target-immediate",
                    "--dry-run")  # fmt: skip
    return done.json()["bytes_to_write"] + RECOVERY_SEGMENTS * (16 << 20)


def refuses_to_start(site: Site, directory: Path) -> bool:
    """PostgreSQL's own word on the directory."""
    argv = [str(site.server.installation.program("pg_ctl")), "start", "-w", "-t", "10", "-D", str(directory), "-l",
            f"{site.root}/attempt", "-o", f"-p {site.server.port + 1} -k {site.server.sockets}"]
    done = subprocess.run(argv, capture_output=True, env=account().environment(), cwd="/", **account().popen_options())
    return done.returncode != 0


def fill(site: Site) -> None:
    """What is easily got wrong: odd names, empty and unlogged things, tablespaces, one of them behind a link."""
    server = site.server
    behind = server.directory / "real place"
    behind.mkdir()
    (server.directory / "link").symlink_to(behind)
    for name, place in (("plain", server.directory / "plain"), ("linked", server.directory / "link" / "linked")):
        place.mkdir()
        account().own(server.directory)
        server.sql(f"create tablespace {name} location {quoted(place)}")
        site.spaces[name] = str(place)
    server.sql('create database "[x"')
    server.sql("create table t as select n, repeat('x', 300) as filler from generate_series(1, 5000) n")
    server.sql("create unlogged table u as select n from generate_series(1, 100) n")
    server.sql("create table empty ()")
    server.sql("create table in_plain (n int) tablespace plain; insert into in_plain select generate_series(1, 3000)")
    server.sql('create table "in linked" (n int) tablespace linked; insert into "in linked" values (1), (2)',
               dbname="[x")
    server.sql("checkpoint")
    odd = server.data / "odd"
    (odd / "empty directory").mkdir(parents=True)
    (odd / "empty file").touch()
    for name in ODD_NAMES:
        (odd / name).write_text(name)
    (odd / "large").write_bytes(bytes(3 << 20) + b"tail")
    (server.data / "base/pgsql_tmp").mkdir(exist_ok=True)
    (server.data / "base/pgsql_tmp/pgsql_tmp1.0").write_text("left over")
    account().own(server.data)


@contextmanager
def made_site(fleet: Fleet, *, settings: Mapping[str, object] | None = None, with_spaces: bool = True,
              backup: bool = True, major: int | None = None) -> Iterator[Site]:
    """A server with a full backup in a vault of its own."""
    server = fleet.make(installation(major), Shape(None, 16, True), settings)
    root = open_directory(in_memory=True)
    account().own(root)
    try:
        site = Site(server.start(), root)
        site.home.mkdir()
        account().own(root)
        site.add_host("here", None)
        if with_spaces:
            fill(site)
        if backup:
            site.run("backup", "main", "--immediate-checkpoint")
        yield site
    finally:
        fleet.remove(server)
        remove_tree(root)


def without_program(directory: Path, name: str) -> Path:
    """A directory for PATH with all of this machine's programs but one."""
    directory.mkdir()
    directory.chmod(0o755)
    for program in os.scandir("/usr/bin"):
        if program.name != name:
            os.symlink(program.path, directory / program.name)
    assert not shutil.which(name, path=str(directory))
    return directory
