"""A vault on a full or read-only file system can be looked at and restored from, and nothing in it is lost."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from destination_site import Site, made_site
from support.account import account
from support.cli import environment, pgvault, pgvault_argv
from support.fleet import Fleet
from support.postgres import Server, wait_until

LOOKS = (["list-backups", "main"], ["show-backup", "main", "latest"], ["wal", "main"], ["status", "main"],
         ["events", "main"], ["list-files", "main", "latest"], ["job", "list"])  # fmt: skip
FILLER = "filler"


@pytest.fixture
def site(fleet: Fleet, tmpfs: Callable[[int], Path]) -> Iterator[Site]:
    """Its vault has a file system of its own."""
    with made_site(fleet, settings={"wal_keep_size": "1GB"}, with_spaces=False, backup=False) as site:
        mounted = tmpfs(96)
        account().own(mounted)
        site.home.rmdir()
        site.home.symlink_to(mounted)
        account().own(site.root)
        server = site.server
        server.sql("create table t as select generate_series(1, 10) n")
        site.run("backup", "main", "--immediate-checkpoint")
        server.sql("insert into t select generate_series(11, 20)")
        name = server.switch_wal()
        put(site, name)
        yield site


def put(site: Site, name: str, check: int = 0) -> str:
    return pgvault("put-wal", "main", name, config=site.config, account=account(), check=check,
                   input=(site.server.wal / name).read_bytes()).stderr  # fmt: skip


def fill_up(site: Site) -> None:
    """To the last byte."""
    with (site.home / FILLER).open("wb", buffering=0) as file:
        size = 1 << 20
        while size:
            try:
                if file.write(bytes(size)) < size:
                    size //= 2
            except OSError:
                size //= 2
    assert os.statvfs(site.home).f_bavail == 0


def content(site: Site) -> dict[str, bytes]:
    """Everything that lies in the vault but locks, the filler, and what SQLite has beside a database while it is open.
    """
    return {str(path): path.read_bytes() for path in sorted(site.home.resolve().rglob("*"))
            if path.is_file() and path.suffix not in (".lock", ".sqlite-shm", ".sqlite-wal") and path.name != FILLER}


def restored(site: Site, adopt_server: Callable[[Path, int], Server]) -> int:
    directory = site.place("restored")
    done = site.run("restore", "main", "auto", directory, "--host", "here", "--target-end", "--yes")
    assert "so this job is recorded in" in done.stderr, str(done)
    server = adopt_server(directory, site.server.major).start()
    wait_until(lambda: not server.scalar("select pg_is_in_recovery()"))
    return server.scalar("select max(n) from t")


def said_by_a_receiver(site: Site) -> str:
    """Its first warning; it goes on trying until there is room."""
    argv = pgvault_argv("receive-wal", "main", config=site.config, account=account())
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, cwd="/", env=environment(account()),
                          **account().popen_options()) as receiver:  # fmt: skip
        assert receiver.stderr is not None
        said = next(line for line in receiver.stderr if "no space left" in line)
        receiver.terminate()
    return said


@pytest.mark.parametrize("index", ["read", "unread", "missing"])
def test_a_full_vault_is_looked_at_and_restored_from(
    index: str, site: Site, adopt_server: Callable[[Path, int], Server]
) -> None:  # fmt: skip
    """Also where WAL was not read yet, or the WAL index is gone: what cannot be written is kept in memory."""
    if index == "read":
        site.run("archive-wal", "main")
    if index == "missing":
        for path in site.vault.home.glob("wal.sqlite*"):
            path.unlink()
    fill_up(site)
    before = content(site)
    if index != "missing":
        for words in LOOKS:
            site.run(*words)
        assert "disk I/O" not in site.run("check", "main", check=3).text
    assert restored(site, adopt_server) == 20
    after = content(site)
    assert {path: after[path] for path in before} == before


def test_what_brings_wal_or_backups_to_a_full_vault_names_it(site: Site) -> None:
    """Exit code 10, the path, and after making room all goes on: no index was thrown away."""
    site.server.sql("insert into t select generate_series(21, 30)")
    name = site.server.switch_wal()
    fill_up(site)
    before = content(site)
    incoming = site.vault.spool.incoming / name
    for words in (["put-wal"], ["archive-wal", "main"], ["backup", "main"], ["rebuild-index", "main"]):
        said = put(site, name, check=10) if words == ["put-wal"] else site.run(*words, check=10).stderr
        assert "no space left" in said, said
        assert str(site.home) in said, said
        if words == ["put-wal"]:
            (site.home / FILLER).unlink()
            incoming.write_bytes((site.server.wal / name).read_bytes())
            account().own(incoming)
            fill_up(site)
    assert incoming.exists()
    assert str(site.home) in said_by_a_receiver(site)
    assert {path: data for path, data in content(site).items() if path in before} == before
    (site.home / FILLER).unlink()
    assert site.run("archive-wal", "main").text == "main: 1 archived\n"
    site.run("backup", "main", "--immediate-checkpoint")


def test_a_read_only_vault_is_looked_at_and_restored_from(
    site: Site, adopt_server: Callable[[Path, int], Server]
) -> None:  # fmt: skip
    mounted = site.home.resolve()
    subprocess.run(["mount", "-o", "remount,ro", mounted], check=True)
    try:
        before = content(site)
        for words in LOOKS:
            site.run(*words)
        assert restored(site, adopt_server) == 20
        assert content(site) == before
    finally:
        subprocess.run(["mount", "-o", "remount,rw", mounted], check=True)
