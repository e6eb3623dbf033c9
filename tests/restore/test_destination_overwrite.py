"""A restore in place: what was there is kept, and what WAL it alone had goes into the vault first (rule 21a)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from destination_site import Site, listing, made_site
from support.account import account
from support.cli import pgvault
from support.fleet import Fleet
from support.postgres import Server, wait_until
from support.ssh import SshHost

from pgvault.vault.wal_fetch import read_verified


@pytest.fixture
def site(fleet: Fleet) -> Iterator[Site]:
    """Its backup knows of 10 rows, its pg_wal of 30: 10 in finished segments, 10 in the one being written."""
    with made_site(fleet, settings={"wal_keep_size": "1GB"}, with_spaces=False, backup=False) as site:
        server = site.server
        server.sql("create table t as select generate_series(1, 10) n")
        site.run("backup", "main", "--immediate-checkpoint")
        server.sql("insert into t select generate_series(11, 20)")
        server.switch_wal()
        server.switch_wal()
        server.sql("insert into t select generate_series(21, 30)")
        yield site


def archived(site: Site) -> set[str]:
    return {path.name.removesuffix(".zst") for path in site.vault.wal.glob("*/*.zst")}


def overwrite(site: Site, host: str, *more: str, check: int = 0):
    data = str(site.server.data)
    return site.run("restore", "main", "latest", data, "--host", host, "--overwrite", data, "--yes", *more, check=check)


@pytest.mark.parametrize(("flavour", "ending"), [("openssh", "stop"), ("asyncssh", "crash")])
def test_wal_that_only_the_old_directory_has_is_salvaged_first(
    site: Site, flavour: str, ending: str, ssh_hosts: Callable[[str], SshHost],
    adopt_server: Callable[[Path, int], Server],
) -> None:  # fmt: skip
    site.add_host("far", ssh_hosts(flavour))
    server, data, before = site.server, site.server.data, archived(site)
    current = server.scalar("select pg_walfile_name(pg_current_wal_lsn())")
    getattr(server, ending)()
    real = {p.name for p in server.wal.iterdir() if len(p.name) == 24 and p.name <= current}
    done = overwrite(site, "far", "--target-immediate")
    assert "salvaged WAL" in done.stderr
    assert archived(site) == before | {name for name in real if name < current} | {f"{current}.partial"}
    [kept] = data.parent.glob("data.before-*")
    assert f"kept as {kept}" in done.stderr
    assert (kept / "global/pg_control").exists()
    restored = adopt_server(data, server.major).start()
    wait_until(lambda: not restored.scalar("select pg_is_in_recovery()"))
    assert restored.scalar("select max(n) from t") == 10
    restored.stop()
    # With the salvaged segments the next restore reaches what the first did not know of.
    directory = site.place("later")
    site.run("restore", "main", "latest", directory, "--host", "far", "--target-timeline", "1", "--yes")
    later = adopt_server(directory, server.major).start()
    wait_until(lambda: not later.scalar("select pg_is_in_recovery()"))
    assert later.scalar("select max(n) from t") == 20


def test_a_target_in_wal_that_only_the_old_directory_has_is_refused_with_the_way_there(
    site: Site, adopt_server: Callable[[Path, int], Server],
) -> None:  # fmt: skip
    """Nothing is salvaged nor moved for a restore that could not get there; with the WAL archived as told, it does."""
    server, data = site.server, site.server.data
    xid = server.scalar("select xmin from t where n = 30")
    current = server.scalar("select pg_walfile_name(pg_current_wal_lsn())")
    before = archived(site)
    server.stop()
    there, real = listing(data), sorted(p.name for p in server.wal.iterdir() if len(p.name) == 24 and p.name <= current)
    only = [name for name in real if name not in before and name < current] + [f"{current}.partial"]
    done = overwrite(site, "here", "--target-xid", xid, check=9)
    assert f"Only {data}/pg_wal has {', '.join(only)}; it was not looked into" in done.stderr
    assert archived(site) == before
    assert listing(data) == there
    planned = overwrite(site, "here", "--dry-run")
    assert f"Only {data}/pg_wal has {', '.join(only)}. It is brought into the vault" in planned.text
    assert archived(site) == before
    for name in only:
        pgvault("put-wal", "main", name, config=site.config, account=account(), check=0,
                input=(server.wal / name.removesuffix(".partial")).read_bytes())  # fmt: skip
    overwrite(site, "here", "--target-xid", xid, "--partial")
    restored = adopt_server(data, server.major).start()
    wait_until(lambda: not restored.scalar("select pg_is_in_recovery()"))
    assert restored.scalar("select max(n) from t") == 30


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take the right to read from another user")
def test_wal_that_cannot_be_salvaged_stops_it_before_anything_is_moved(site: Site) -> None:
    site.server.stop()
    newest = max(p for p in site.server.wal.iterdir() if len(p.name) == 24)
    os.chown(newest, 0, 0)
    newest.chmod(0o600)
    before = listing(site.server.data)
    done = overwrite(site, "here", "--target-immediate", check=5)
    assert newest.name in done.stderr
    assert listing(site.server.data) == before
    assert not list(site.server.directory.glob("data.before-*"))


def test_another_clusters_wal_is_left_where_it_is(site: Site, own_server: Callable[..., Server]) -> None:
    other = own_server(fresh=True, start=False)
    before = archived(site)
    site.run("restore", "main", "latest", str(other.data), "--host", "here", "--overwrite", str(other.data),
             "--target-immediate", "--yes")  # fmt: skip
    assert archived(site) == before
    assert len(list(other.directory.glob("data.before-*"))) == 1


def test_what_reaches_further_takes_the_place_of_an_archived_partial(site: Site) -> None:
    """The archive has the same `.partial` already, with less in it."""
    server = site.server
    current = server.scalar("select pg_walfile_name(pg_current_wal_lsn())")
    server.stop()
    name, content = f"{current}.partial", (server.wal / current).read_bytes()
    pgvault("put-wal", "main", name, config=site.config, account=account(), check=0,
            input=content[:8192] + bytes(len(content) - 8192))  # fmt: skip
    overwrite(site, "here", "--target-immediate")
    assert b"".join(read_verified(site.vault, name)) == content


def test_a_link_in_its_place_stays_a_link(site: Site) -> None:
    """What is renamed is the directory that it leads to, so the new one is on the same file system."""
    site.server.stop()
    link = site.place("link")
    link.symlink_to(site.server.data)
    site.run("restore", "main", "latest", str(link), "--host", "here", "--overwrite", str(link), "--target-immediate",
             "--yes")  # fmt: skip
    assert link.is_symlink()
    assert (site.server.data / "recovery.signal").exists()
    assert len(list(site.server.directory.glob("data.before-*"))) == 1


def test_overwrite_must_name_the_directory(site: Site) -> None:
    done = site.run("restore", "main", "latest", str(site.server.data), "--host", "here", "--overwrite", "/other",
                    "--yes", check=2)  # fmt: skip
    assert "--overwrite names /other" in done.stderr
