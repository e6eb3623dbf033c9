"""The archive stays one history, however often it is restored from: no number twice, and no throwaway copy in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from destination_site import Site, made_site
from support.account import account
from support.cli import pgvault
from support.fleet import Fleet
from support.objects import wal_path
from support.postgres import Server, wait_until
from support.ssh import SshHost

from pgvault.engine.restore.timelines import placeholders
from pgvault.vault import recoveries
from pgvault.vault.recoveries import Recovery
from pgvault.vault.wal_fetch import read_verified


@pytest.fixture
def site(request: pytest.FixtureRequest, fleet: Fleet) -> Iterator[Site]:
    """Rows 1 to 10 are in the backup, row 11 is archived behind it, with the restore point `a` before it."""
    with made_site(fleet, with_spaces=False, backup=False, major=getattr(request, "param", None)) as site:
        server = site.server
        server.sql("create table t as select generate_series(1, 10) n")
        site.run("backup", "main", "--immediate-checkpoint")
        server.sql("select pg_create_restore_point('a')")
        server.sql("insert into t values (11)")
        archive(site, server.switch_wal())
        yield site


def archive(site: Site, name: str, server: Server | None = None) -> None:
    pgvault("put-wal", "main", name, config=site.config, account=account(), check=0,
            input=((server or site.server).wal / name).read_bytes())  # fmt: skip


def timelines(site: Site) -> list[int]:
    return [each["id"] for each in site.run("--format", "json", "wal", "main").json()["timelines"]]


def recovered(site: Site, name: str, adopt_server: Callable[[Path, int], Server], *more: str) -> Server:
    """A copy that was started by pgvault and has promoted."""
    copy = adopt_server(site.place(name), site.server.major)
    site.run("restore", "main", "auto", copy.data, "--host", "here", "--start", "--port", str(copy.port), "--yes",
             *(more or ("--target-end",)))  # fmt: skip
    return copy


def timeline_of(server: Server) -> int:
    return int(server.scalar("select left(pg_walfile_name(pg_current_wal_lsn()), 8)"), 16)


@pytest.mark.parametrize("site", [13, 18], indirect=True)
def test_no_two_recoveries_take_one_timeline_though_none_archives(
    site: Site, adopt_server: Callable[[Path, int], Server]
) -> None:  # fmt: skip
    """Neither those that promoted, nor one that was never started, nor one that died, gives its number away."""
    first = recovered(site, "one", adopt_server)
    assert timeline_of(first) == 2
    first.stop()
    site.run("restore", "main", "auto", site.place("never started"), "--host", "here", "--target-end", "--yes")
    site.dying("pgvault.engine.restore.place:Site.flush", 1,
               site.restore_argv("here", site.place("died"), "--target-end", "--yes"))  # fmt: skip
    fifth = recovered(site, "five", adopt_server)
    assert timeline_of(fifth) == 5
    fifth.stop()
    assert timelines(site) == [1]
    assert recoveries.find(site.vault, 2).parsed.parent.timeline == 1
    assert recoveries.find(site.vault, 3).history == ""


def test_the_history_joins_the_archive_with_the_first_wal(
    site: Site, adopt_server: Callable[[Path, int], Server]
) -> None:  # fmt: skip
    """And the next restore to the end follows it, with what the server in service wrote."""
    server = recovered(site, "one", adopt_server, "--target-name", "a")
    name = "00000002.history"
    assert not wal_path(site.vault, name).exists()
    history = (server.wal / name).read_bytes()
    server.sql("insert into t values (20)")
    archive(site, server.switch_wal(), server)
    assert b"".join(read_verified(site.vault, name)) == history
    server.stop()
    second = recovered(site, "two", adopt_server, "--target-end", "--target-timeline", "2")
    assert second.scalar("select string_agg(n::text, ' ' order by n) from t where n > 10") == "20"
    assert timeline_of(second) == 3
    second.stop()


@pytest.mark.parametrize("flavour", ["openssh", "asyncssh"])
def test_a_standby_follows_after_restores_over_each_other(
    flavour: str, site: Site, ssh_hosts: Callable[[str], SshHost], adopt_server: Callable[[Path, int], Server]
) -> None:
    """A copy on the standby's host, a second one over it, then the standby over that: its timelines are not the
    server's, so the standby follows the server."""
    site.add_host("far", ssh_hosts(flavour))
    copy = adopt_server(site.place("standby"), site.server.major)
    restore = ("restore", "main", "auto", copy.data, "--host", "far", "--start", "--port", str(copy.port), "--yes")
    site.run(*restore, "--target-end")
    for number in (2, 3):
        assert timeline_of(copy) == number
        copy.sql("insert into t values (666)")
        copy.switch_wal()
        copy.sql("insert into t values (667)")
        copy.stop()
        how = ("--target-end",) if number == 2 else ("--standby",)
        done = site.run(*restore, "--overwrite", str(copy.data), *how)
        assert f"timeline {number} was given to the recovery to {copy.data} on far" in done.stderr, str(done)
        assert timelines(site) == [1]
        assert not wal_path(site.vault, f"{number:08X}.history").exists()
        kept = [path.name for path in site.vault.spool.quarantine.iterdir()]
        assert any(name.startswith(f"{number:08X}.history.") for name in kept)
        assert any(name.startswith(f"{number:08X}0000") for name in kept)
    site.server.sql("insert into t values (12)")
    wait_until(lambda: copy.scalar("select max(n) from t") == 12)
    copy.stop()


@pytest.mark.parametrize("archives", [False, True])
def test_a_timeline_that_nobody_knows_is_set_apart_unless_its_server_archives(
    archives: bool, site: Site, adopt_server: Callable[[Path, int], Server]
) -> None:  # fmt: skip
    """Which recovery made it is not on record. It leaves the server's path, but where its WAL waits for an
    archive_command: then it is the server."""
    copy = adopt_server(site.place("copy"), site.server.major)
    site.run("restore", "main", "auto", copy.data, "--host", "here", "--target-end", "--yes")
    for record in (site.vault.home / "recoveries").iterdir():
        record.unlink()
    copy.start("-c", "wal_keep_size=1GB")
    wait_until(lambda: not copy.scalar("select pg_is_in_recovery()"))
    name = copy.switch_wal()
    copy.stop()
    assert name.startswith("00000002")
    if archives:
        (copy.wal / "archive_status" / f"{name}.ready").touch()
    done = site.run("restore", "main", "auto", copy.data, "--host", "here", "--target-end", "--target-timeline", "1",
                    "--overwrite", str(copy.data), "--yes")  # fmt: skip
    assert ("timeline 2 leaves the path of the server" in done.stderr) is not archives
    assert wal_path(site.vault, name).exists() is archives
    assert wal_path(site.vault, "00000002.history").exists() is archives


def test_a_number_is_free_only_where_nothing_in_the_vault_has_it(site: Site) -> None:
    vault = site.vault
    (vault.spool.incoming / "00000005.history").write_text("1\t0/3000000\tby hand\n")
    (vault.spool.streaming / "000000070000000000000003.partial").touch()
    account().own(vault.home)
    (vault.spool.incoming / "20261130.tar").write_bytes(b"")  # by whoever takes it for a place for anything
    (vault.spool.incoming / "FFFFFFF0.history").write_bytes(b"")
    assert recoveries.next_timeline(vault, 1) == 8
    assert recoveries.reserve(vault, Recovery(0, 1)).timeline == 8
    assert recoveries.reserve(vault, Recovery(0, 20)).timeline == 21
    names = placeholders(recoveries.find(vault, 21), ("00000015.history",))
    assert list(names) == []
    assert list(placeholders(recoveries.find(vault, 8), ("00000005.history",))) == [
        f"{number:08X}.history" for number in (2, 3, 4, 6, 7)]


def test_an_unfinished_segment_that_was_restored_stays_unfinished(
    site: Site, adopt_server: Callable[[Path, int], Server]
) -> None:  # fmt: skip
    """In the copy it looks like a whole one. The server goes on in it, and its own copy is archived as ever."""
    site.server.sql("insert into t values (12)")
    name = site.server.scalar("select pg_walfile_name(pg_current_wal_lsn())")
    content = (site.server.wal / name).read_bytes()
    pgvault("put-wal", "main", f"{name}.partial", config=site.config, account=account(), check=0, input=content)
    copy = recovered(site, "copy", adopt_server, "--target-end", "--partial")
    assert copy.scalar("select max(n) from t") == 12
    copy.stop()
    assert (copy.wal / "archive_status" / f"{name}.done").exists()
    site.run("restore", "main", "auto", copy.data, "--host", "here", "--target-immediate", "--overwrite",
             str(copy.data), "--yes")  # fmt: skip
    assert not wal_path(site.vault, name).exists()
    site.server.sql("insert into t values (13)")
    archive(site, site.server.switch_wal())
    assert wal_path(site.vault, name).exists()
