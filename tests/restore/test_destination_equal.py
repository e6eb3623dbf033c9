"""What is restored equals what was backed up, locally and over ssh, compressed on the way or not."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from destination_site import ODD_NAMES, Site, made_site, rows, without_program
from support.account import account, open_directory, remove_tree
from support.fleet import Fleet
from support.postgres import Server, wait_until
from support.ssh import FLAVOURS, SshHost, start_ssh_host


@pytest.fixture(scope="module")
def site(fleet: Fleet) -> Iterator[Site]:
    with made_site(fleet) as site:
        yield site


@pytest.fixture(scope="module")
def path_without_zstd() -> Iterator[Path]:
    root = open_directory()
    yield without_program(root / "bin", "zstd")
    remove_tree(root)


@pytest.fixture
def host_without_zstd(path_without_zstd: Path) -> Iterator[Callable[[str], SshHost]]:
    started = []

    def start(flavour: str) -> SshHost:
        started.append(start_ssh_host(flavour, variables={"PATH": str(path_without_zstd)}))
        return started[-1]

    yield start
    for host in started:
        host.close()


def check_restored(site: Site, directory: Path, adopt_server: Callable[[Path, int], Server], *,
                   with_amcheck: bool = False) -> None:  # fmt: skip
    """Case 13 and 14: files as PostgreSQL's manifest has them, then rows as the server has them."""
    site.verify_files(directory)
    odd = directory / "odd"
    assert {path.name for path in odd.iterdir()} == {*ODD_NAMES, "empty directory", "empty file", "large"}
    assert all((odd / name).read_text() == name for name in ODD_NAMES)
    assert (odd / "large").read_bytes() == bytes(3 << 20) + b"tail"
    assert not list((directory / "base").glob("pgsql_tmp/*"))
    assert not list(directory.glob("pgvault-restore-incomplete"))
    assert oct(directory.stat().st_mode & 0o777) == "0o700"
    for link in (directory / "pg_tblspc").iterdir():
        assert str(link.readlink()).startswith(f"{directory}.")
    restored = adopt_server(directory, site.server.major).start()
    wait_until(lambda: not restored.scalar("select pg_is_in_recovery()"))
    want = rows(site.server)
    want["postgres.u"] = []  # unlogged tables are empty after recovery
    assert rows(restored) == want
    assert len(want["postgres.t"]) == 5000
    assert len(want['[x."in linked"']) == 2
    assert restored.scalar("show data_checksums") == "on"
    if with_amcheck:
        check_indexes(restored)
    restored.stop()
    assert not (directory / "pgvault_wal").exists()  # recovery has removed what it was given
    account().run([restored.installation.program("pg_checksums"), "--check", "-D", directory])


def check_indexes(restored: Server) -> None:
    amcheck = [restored.installation.program("pg_amcheck"), "-h", "127.0.0.1", "-p", str(restored.port), "-U",
               "postgres", "--install-missing", "--heapallindexed", "postgres"]
    account().run(amcheck)


@pytest.mark.parametrize("with_zstd", [True, False], ids=["zstd", "plain"])
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_over_ssh_every_file_and_row_is_there(
    site: Site, flavour: str, with_zstd: bool, ssh_hosts: Callable[[str], SshHost],
    host_without_zstd: Callable[[str], SshHost], adopt_server: Callable[[Path, int], Server],
) -> None:  # fmt: skip
    """Cases 13, 14, 16 and rule 27."""
    site.add_host("far", ssh_hosts(flavour) if with_zstd else host_without_zstd(flavour))
    directory = site.place(f"{flavour}-{with_zstd}")
    done = site.restore("far", directory)
    assert ("zstd too" in done.stderr) == with_zstd
    check_restored(site, directory, adopt_server)


def test_on_this_machine_every_file_and_row_is_there(site: Site, adopt_server: Callable[[Path, int], Server]) -> None:
    directory = site.place("local with space")
    site.restore("here", directory)
    check_restored(site, directory, adopt_server, with_amcheck=True)


def test_one_login_serves_plan_and_restore(site: Site, ssh_hosts: Callable[[str], SshHost]) -> None:
    host = ssh_hosts("openssh")
    site.add_host("far", host)
    before = host.log.read_text().count("Accepted publickey")
    site.restore("far", site.place("one-login"))
    assert host.log.read_text().count("Accepted publickey") == before + 1


def test_the_server_is_started_and_proven_over_the_same_login(site: Site, ssh_hosts: Callable[[str], SshHost]) -> None:
    host = ssh_hosts("openssh")
    port = site.server.port + 7
    site.add_host("far", host, f'port = {port}\nsocket_directory = "{site.server.sockets}"')
    directory = site.place("started")
    before = host.log.read_text().count("Accepted publickey")
    try:
        done = site.restore("far", directory, "--start")
        assert "the server is promoted, on timeline " in done.text
        assert host.log.read_text().count("Accepted publickey") == before + 1
        settings = (directory / "postgresql.auto.conf").read_text()
        assert "archive_mode = 'off'" in settings
        assert "recovery" not in settings.replace("pgvault: restore", "")
        assert "restore_command" not in settings, "a standby made as a copy of it would obey that"
    finally:
        account().run([site.server.installation.program("pg_ctl"), "stop", "-m", "fast", "-D", directory])


def test_files_keep_their_modes_and_belong_to_the_login(site: Site) -> None:
    directory = site.place("modes")
    site.restore("here", directory)
    for path in directory.rglob("*"):
        facts = path.lstat()
        assert facts.st_uid == account().uid
        if not path.is_symlink():
            assert not facts.st_mode & 0o077 or path.is_relative_to(directory / "odd"), path
    assert os.path.getmtime(directory / "PG_VERSION") == int(os.path.getmtime(site.server.data / "PG_VERSION"))
