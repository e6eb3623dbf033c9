"""Real PostgreSQL archives through put-wal and recovers through get-wal."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from making_wal import names_on_disk, rows
from support.account import account
from support.cli import Completed, pgvault, pgvault_shell
from support.objects import wal_path
from support.postgres import Server

from pgvault.engine.wal_status import refresh
from pgvault.vault import wal_index
from pgvault.vault.layout import ServerVault, Vault
from pgvault.vault.wal_facts import read_facts
from pgvault.vault.wal_fetch import fetch
from pgvault.vault.wal_rebuild import rebuild, reconcile


def wait_until(done: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.05)


@pytest.fixture
def config(open_tmp: Path) -> Path:
    path = open_tmp / "pgvault.toml"
    path.write_text(f'[vault]\nhome = "{open_tmp / "vault"}"\n[servers.main]\nconninfo = "host=127.0.0.1"\n')
    (open_tmp / "vault").mkdir()
    account().own(open_tmp / "vault")
    return path


@pytest.fixture
def vault(config: Path) -> ServerVault:
    return Vault(config.parent / "vault").server("main")


@pytest.fixture
def archiving(own_server, config: Path) -> Server:
    command = pgvault_shell("put-wal", "main", config=config, account=account()) + " %f < %p"
    return own_server(settings={"archive_mode": "on", "archive_command": command})


def as_owner(vault: ServerVault, *arguments: str, config: Path) -> Completed:
    """A verb run by the vault's owner, who is also given what the test itself wrote there."""
    account().own(vault.home)
    return pgvault(*arguments, config=config, account=account(), check=0)


def archived(server: Server, vault: ServerVault) -> list[str]:
    """Write something, close the segment and wait for it: three times."""
    names = []
    for i in range(3):
        server.sql(f"create table t{i} as select i, md5(i::text) from generate_series(1, 20000) i")
        names.append(server.switch_wal())
    wait_until(lambda: wal_path(vault, names[-1]).exists(), f"{names[-1]} is archived; {server.log_text()[-2000:]}")
    return names


def test_archived_by_archive_command_and_equal_to_what_the_server_wrote(
        archiving: Server, vault: ServerVault) -> None:
    """Rule 10 from PostgreSQL's side: what it believes to be archived is in the archive, byte for byte."""
    names = archived(archiving, vault)
    kept = {path.name: path.read_bytes() for path in archiving.wal.iterdir() if path.name in names}
    assert kept
    for name, content in kept.items():
        assert fetch(vault, name) == content
    assert archiving.scalar("select failed_count from pg_stat_archiver") == 0


def test_the_index_is_made_again_equal_to_before(archiving: Server, vault: ServerVault, config: Path) -> None:
    """Case 8: deleting the index loses nothing, and facts read from the WAL come back the same."""
    archiving.sql("select pg_create_restore_point('before the accident')")
    archived(archiving, vault)
    archiving.stop()
    read_facts(vault)
    before = rows(vault)
    assert [point[4] for point in before["restore_point"]] == ["before the accident"]
    assert len(before["facts"]) == len(names_on_disk(vault))
    wal_index.discard(vault)
    refresh(vault)
    assert rows(vault) == before
    vault.cache.wal.write_bytes(b"no database" * 100)
    as_owner(vault, "rebuild-index", "main", config=config)
    assert rows(vault) == before
    rebuild(vault)
    read_facts(vault)
    assert rows(vault) == before


def test_facts_read_in_any_order_of_arrival_are_the_same(archiving: Server, vault: ServerVault) -> None:
    """A segment that arrived before the one in front of it is read again once that one is there."""
    names = archived(archiving, vault)
    archiving.stop()
    read_facts(vault)
    before = rows(vault)["facts"]
    hidden = [wal_path(vault, name) for name in names[:2]]
    for path in hidden:
        path.rename(vault.home / path.name)
    reconcile(vault)
    wal_index.discard(vault)
    refresh(vault)
    assert rows(vault)["facts"] != before
    for path in hidden:
        (vault.home / path.name).rename(path)
    refresh(vault)
    assert rows(vault)["facts"] == before


def test_wal_shows_a_gap_at_once(archiving: Server, vault: ServerVault, config: Path) -> None:
    """Rule 16: a hole is a state, with the names of what is missing."""
    names = archived(archiving, vault)
    archiving.stop()
    wal_path(vault, names[1]).unlink()
    shown = as_owner(vault, "--format", "json", "wal", "main", config=config).json()
    [timeline] = shown["timelines"]
    [gap] = timeline["gaps"]
    following = names[1][:-1] + f"{int(names[1][-1], 16) + 1:X}"
    assert (gap["before"], gap["missing"], gap["harmless"]) == (following, 1, False)
    assert shown["schema"] == 1
    assert shown["windows"] == []
    assert "1 segments are missing" in as_owner(vault, "wal", "main", config=config).text


@pytest.fixture
def copy_of(archiving: Server, vault: ServerVault, config: Path, open_tmp: Path, adopt_server):
    """A base backup of the archiving server, set to recover from the archive, and the rows it must then have."""
    def take() -> Server:
        data = open_tmp / "copy"
        program = archiving.installation.program("pg_basebackup")
        account().run([program, "-d", archiving.conninfo(), "-D", data, "-X", "none", "-c", "fast"])
        archived(archiving, vault)
        archiving.stop()
        copy = adopt_server(data, archiving.major)
        restore = pgvault_shell("get-wal", "main", config=config, account=account()) + " %f -o %p"
        copy.configure({"restore_command": restore, "archive_mode": "off"})
        signal = data / "recovery.signal"
        signal.touch()
        account().own(signal)
        return copy
    return take


def test_postgresql_recovers_to_the_end_of_the_archive(copy_of) -> None:
    """Case 11: absent exits 1, which ends recovery."""
    copy = copy_of().start()
    wait_until(lambda: not copy.scalar("select pg_is_in_recovery()"), "recovery ends")
    assert [copy.scalar(f"select count(*) from t{i}") for i in range(3)] == [20000] * 3


@pytest.mark.parametrize("accident", ["damaged", "unreadable"])
def test_postgresql_stops_rather_than_promote_without_its_data(
        copy_of, vault: ServerVault, accident: str) -> None:
    """Rule 17, case 11: a corrupt segment or a vanished vault ends in FATAL, and nothing was promoted."""
    copy = copy_of()
    if accident == "damaged":
        path = sorted(vault.wal.rglob("*.zst"))[-1]
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    else:
        vault.home.parent.rename(vault.home.parent.with_name("away"))
    with suppress(AssertionError):
        copy.start()
    wait_until(lambda: not copy.running, "the server gives up")
    assert "could not restore file" in copy.log_text()
    assert "archive recovery complete" not in copy.log_text()
    assert copy.controldata()["Latest checkpoint's TimeLineID"] == "1"
