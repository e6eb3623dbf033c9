"""A backup that lacks something is no backup: links, and what is not where the catalogues say."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo
from station import COPYING, NAME, Station, finish, relation
from support.account import account
from support.fleet import Fleet, Shape
from support.installation import installation
from support.postgres import Server, wait_until

from pgvault.engine.backup.completeness import is_data
from pgvault.model.backup import BackupStatus
from pgvault.vault.layout import ServerVault
from pgvault.vault.manifest import Entry, Kind, ManifestWriter
from pgvault.vault.names import RelationName


@pytest.fixture(scope="module", params=(13, 15, 18))
def server(request: pytest.FixtureRequest, fleet: Fleet) -> Iterator[Server]:
    server = fleet.make(installation(request.param), Shape(wal_segsize=1)).start()
    server.sql("create database shop")
    server.sql("create table goods as select generate_series(1, 5000) a", dbname="shop")
    server.new_tablespace("aside")
    server.sql("create table far tablespace aside as select generate_series(1, 5000) a", dbname="shop")
    server.sql("create unlogged table fleeting (a int primary key)", dbname="shop")
    server.sql("checkpoint")
    yield server
    fleet.remove(server)


@pytest.fixture
def moved(tmp_path: Path) -> Iterator[Callable[[Path, Path | None], None]]:
    """`moved(path, elsewhere)` moves a file or directory away, and leaves a link where `elsewhere` is named."""
    undo: list[tuple[Path, Path]] = []

    def move(path: Path, elsewhere: Path | None = None) -> None:
        to = elsewhere or path.with_name(f"{path.name}_moved")
        path.rename(to)
        undo.append((to, path))
        if elsewhere:
            path.symlink_to(to)
            account().own(to)

    yield move
    for to, path in reversed(undo):
        path.unlink(missing_ok=True)
        to.rename(path)


def refused(here: Station) -> str:
    told = here.backup(check=5).stderr
    assert here.newest().status is BackupStatus.FAILED
    assert here.newest().error.split(": ")[0] in told
    return told


def test_a_linked_database_fails_the_backup_before_anything_is_copied(
        server: Server, station: Callable[..., Station], moved: Callable[..., None]) -> None:
    oid = server.scalar("select oid from pg_database where datname = 'shop'")
    moved(server.data / "base" / str(oid), server.directory / "disk")
    told = refused(station(server))
    assert f"the backup of {NAME} would lack base/{oid}" in told
    assert "It is a link" in told
    assert "Copying files." not in told


@pytest.mark.parametrize("table", ["goods", "far"])
def test_a_linked_relation_fails_the_backup(server: Server, station: Callable[..., Station],
                                            moved: Callable[..., None], table: str) -> None:
    path = relation(server, table, "shop")
    moved(server.data / path, server.directory / "disk")
    server.sql("alter role all set client_min_messages = error")
    try:
        told = refused(station(server))
    finally:
        server.sql("alter role all reset client_min_messages")
    assert f"would lack {path}" in told


@pytest.mark.parametrize("table", ["goods", "far"])
def test_a_relations_file_that_is_not_there_fails_the_backup(
        server: Server, station: Callable[..., Station], moved: Callable[..., None], table: str) -> None:
    path = relation(server, table, "shop")
    moved(server.data / path, None)
    (server.data / f"{path}_moved").rename(server.directory / "hidden")
    told = station(server).backup(check=5).stderr
    (server.directory / "hidden").rename(server.data / f"{path}_moved")
    assert f"lacks the file {path.rsplit('/')[-1]} of public.{table} in database shop" in told


def test_a_system_relation_that_is_not_there_fails_the_backup(
        server: Server, station: Callable[..., Station], moved: Callable[..., None]) -> None:
    path = relation(server, "pg_statistic_ext", "shop")
    moved(server.data / path, None)
    assert f"lacks the file {path.rsplit('/')[-1]} of pg_catalog." in refused(station(server))


def test_a_database_without_its_directory_fails_the_backup(
        server: Server, station: Callable[..., Station], moved: Callable[..., None]) -> None:
    oid = server.scalar("select oid from pg_database where datname = 'shop'")
    server.sql("checkpoint")  # what is not written yet could not be, and that would fail the backup first
    moved(server.data / "base" / str(oid), None)
    assert f"lacks base/{oid}/PG_VERSION of database shop" in refused(station(server))


def test_a_tablespace_without_its_directory_fails_the_backup(
        server: Server, station: Callable[..., Station], moved: Callable[..., None]) -> None:
    [place] = (server.directory / "tablespace-aside").iterdir()
    moved(place, None)
    assert f"/{place.name} of tablespace aside" in refused(station(server))


def test_configuration_behind_links_is_taken_along(server: Server, station: Callable[..., Station],
                                                   moved: Callable[..., None]) -> None:
    """Also what leads out of the data directory; pipes and sockets are left alone, and opened by nobody."""
    outside = server.directory / "outside"
    outside.mkdir()
    (outside / "more.conf").write_text("# more\n")
    account().own(outside)
    account().own(outside / "more.conf")
    linked = server.data / "conf.d"
    linked.symlink_to(outside)
    moved(server.data / "pg_ident.conf", server.data / "site-ident.conf")
    os.mkfifo(server.data / "a_pipe")
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(server.data / "a_socket"))
        here = station(server)
        told = here.backup().stderr
    try:
        contents = here.contents(here.newest())
        assert contents.read("pg_ident.conf") == contents.read("site-ident.conf") != b""
        assert contents.read("conf.d/more.conf") == b"# more\n"
        assert "taken along by SQL: " in told
        assert here.newest().status is BackupStatus.DONE
    finally:
        for path in (linked, server.data / "a_pipe", server.data / "a_socket"):
            path.unlink()


def test_what_a_role_may_not_read_is_named(server: Server, station: Callable[..., Station],
                                           moved: Callable[..., None]) -> None:
    """Neither links, nor databases that it may not connect to; the backup is said to be no more than it is."""
    server.sql("create role small_one login replication")
    server.sql("revoke connect on database shop from public")
    moved(server.data / "pg_ident.conf", server.data / "site-ident.conf")
    try:
        here = station(server, conninfo=make_conninfo(server.conninfo(), user="small_one"))
        told = " ".join(here.backup().stderr.split())
        assert "does not hold pg_ident.conf" in told
        assert "in database shop" in told
        assert "whether every relation's file arrived was not looked at there" in told
    finally:
        server.sql("grant connect on database shop to public")
        server.sql("drop role small_one")


def test_what_comes_and_goes_meanwhile_is_missed_by_nobody(server: Server, station: Callable[..., Station]) -> None:
    for number in range(6):
        server.sql(f"create table passing_{number} as select generate_series(1, 100) a", dbname="shop")
    server.sql("create database passing")
    here = station(server)
    process = here.start("backup", NAME, "--bwlimit", "3MB")
    wait_until(lambda: server.sql(COPYING))
    server.sql("drop table passing_0; truncate passing_1; alter table passing_2 set tablespace aside;"
               "create table passing_6 as select 1 a; alter table passing_3 add b int default random()", dbname="shop")
    server.sql("vacuum full passing_4", dbname="shop")
    server.sql("vacuum full pg_class", dbname="shop")
    server.sql("vacuum full pg_attrdef", dbname="shop")
    server.sql("drop database passing")
    server.sql("create database coming")
    server.sql("create table passing_7 as select 1 a", dbname="coming")
    finish(process, 0)
    assert here.newest().status is BackupStatus.DONE
    server.sql("drop database coming")


# The rules alone


@pytest.mark.parametrize(("path", "expected"), [
    ("base", True), ("base/5", True), ("base/5/16390", True), ("global/1262", True), ("pg_xact", True),
    ("pg_multixact/offsets", True), ("PG_VERSION", True), ("pg_tblspc/16400/PG_18_1/5/2", True),
    ("postgresql.conf", False), ("conf.d", False), ("log", False), ("base.conf", False), ("pg_hba.conf", False),
    (".s.PGSQL.5432", False)])
def test_which_paths_are_data(path: str, expected: bool) -> None:
    assert is_data(path) is expected


def test_a_segment_in_the_middle_is_missed(tmp_path: Path) -> None:
    vault = ServerVault("main", tmp_path / "main")
    (vault.backups / "20261122T200512Z").mkdir(parents=True)
    manifest = ManifestWriter(vault, "20261122T200512Z")
    manifest.add_relations([RelationName(5, number, number, "public", f"t{number}", "r") for number in range(1, 6)])
    for path in ("base/5/1", "base/5/1.1", "base/5/1.2", "base/5/2", "base/5/2.2", "pg_tblspc/9/PG_18_1/5/3",
                 "pg_tblspc/9/PG_18_1/5/3.2", "base/5/4_init"):
        manifest.add(Entry(manifest.next_id(), path, Kind.FILE, 8192, 0o600, 0))
    manifest.index_paths()
    assert [each.name for each in manifest.relations_with_gap()] == ["t2", "t3"]
    assert [each.name for each in manifest.relations_without_file(["pg_tblspc/9/PG_18_1"])] == ["t5"]
    manifest.abandon()
