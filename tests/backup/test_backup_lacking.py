"""A backup that lacks something is no backup: links, and what is not where the catalogues say."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo
from station import COPYING, NAME, Station, finish, relation
from support.account import account
from support.fleet import Fleet, Shape
from support.installation import installation
from support.postgres import Server, wait_until

from pgvault.config.schema import ServerConfig
from pgvault.engine.backup import run as backup_run
from pgvault.engine.backup.completeness import Cluster, is_data, read_cluster
from pgvault.engine.backup.completeness import _some as some
from pgvault.io.patience import IsCancelled
from pgvault.model.backup import BackupStatus
from pgvault.model.errors import Incomplete
from pgvault.vault import arrived as arrived_relations
from pgvault.vault.arrived import WholeSegments, ends_of_whole_segments, relations_without_file
from pgvault.vault.layout import Vault
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


def failed(here: Station) -> str:
    told = here.backup(check=1).stderr
    assert here.newest().status is BackupStatus.FAILED
    assert here.newest().error.split(": ")[0] in told
    return told


def test_a_linked_database_fails_the_backup_before_anything_is_copied(
        server: Server, station: Callable[..., Station], moved: Callable[..., None]) -> None:
    oid = server.scalar("select oid from pg_database where datname = 'shop'")
    moved(server.data / "base" / str(oid), server.directory / "disk")
    told = failed(station(server))
    assert f"the backup of {NAME} would lack base/{oid}" in told
    assert "It is a symbolic link" in told
    assert "Copying files." not in told


@pytest.mark.parametrize("table", ["goods", "far"])
def test_a_linked_relation_fails_the_backup(server: Server, station: Callable[..., Station],
                                            moved: Callable[..., None], table: str) -> None:
    path = relation(server, table, "shop")
    moved(server.data / path, server.directory / "disk")
    server.sql("alter role all set client_min_messages = error")
    try:
        told = failed(station(server))
    finally:
        server.sql("alter role all reset client_min_messages")
    assert f"would lack {path}" in told


@pytest.mark.parametrize("table", ["goods", "far"])
def test_a_relations_file_that_is_not_there_fails_the_backup(
        server: Server, station: Callable[..., Station], moved: Callable[..., None], table: str) -> None:
    path = relation(server, table, "shop")
    moved(server.data / path, None)
    (server.data / f"{path}_moved").rename(server.directory / "hidden")
    told = station(server).backup(check=1).stderr
    (server.directory / "hidden").rename(server.data / f"{path}_moved")
    assert f"lacks the file {path.rsplit('/')[-1]} of public.{table} in database shop" in told


def test_a_system_relation_that_is_not_there_fails_the_backup(
        server: Server, station: Callable[..., Station], moved: Callable[..., None]) -> None:
    path = relation(server, "pg_statistic_ext", "shop")
    moved(server.data / path, None)
    assert f"lacks the file {path.rsplit('/')[-1]} of pg_catalog." in failed(station(server))


@pytest.mark.parametrize(("catalogue", "told"), [("pg_shdepend", " of pg_shdepend"),
                                                 ("pg_authid_rolname_index", " of pg_authid_rolname_index"),
                                                 ("pg_proc_oid_index", "")])
def test_a_catalogue_that_is_not_there_fails_the_backup(
        server: Server, station: Callable[..., Station], moved: Callable[..., None], catalogue: str, told: str) -> None:
    """One that all databases share, and one without which the server cannot be asked for names."""
    path = relation(server, catalogue, "shop")
    moved(server.data / path, server.directory / "hidden-catalogue")
    (server.data / path).unlink()
    assert f"the backup of {NAME} lacks {path}{told}\n" in failed(station(server))


def test_transactions_without_their_states_fail_the_backup(
        server: Server, station: Callable[..., Station], moved: Callable[..., None]) -> None:
    server.sql("checkpoint")
    moved(server.data / "pg_xact/0000", server.directory / "hidden-states")
    (server.data / "pg_xact/0000").unlink()
    assert f"the backup of {NAME} lacks pg_xact/0000\n" in failed(station(server))


def test_a_last_segment_that_is_not_there_fails_the_backup(server: Server, station: Callable[..., Station],
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where the statistics know of it. Segments are as large as this table, which then ends with a whole one."""
    server.sql("create table whole as select generate_series(1, 10000) a", dbname="shop")
    server.sql("vacuum analyze whole", dbname="shop")
    server.sql("checkpoint")
    size = server.scalar("select pg_relation_size('whole')", dbname="shop")

    def look(config: ServerConfig, cancelled: IsCancelled) -> Cluster:
        found = read_cluster(config, cancelled)
        assert found.segment_bytes == 1 << 30
        return replace(found, segment_bytes=size)

    monkeypatch.setattr(backup_run, "read_cluster", look)
    here = station(server)
    try:
        assert here.take().status is BackupStatus.DONE
        server.sql("update pg_class set relpages = relpages + 1 where relname = 'whole'", dbname="shop")
        with pytest.raises(Incomplete) as failure:
            here.take()
        assert f"lacks {relation(server, 'whole', 'shop')}.1 of public.whole in database shop" in failure.value.message
    finally:
        server.sql("drop table whole", dbname="shop")


def test_a_database_without_its_directory_fails_the_backup(
        server: Server, station: Callable[..., Station], moved: Callable[..., None]) -> None:
    oid = server.scalar("select oid from pg_database where datname = 'shop'")
    server.sql("checkpoint")  # what is not written yet could not be, and that would fail the backup first
    moved(server.data / "base" / str(oid), None)
    assert f"lacks base/{oid}/PG_VERSION of database shop" in failed(station(server))


def test_a_tablespace_without_its_directory_fails_the_backup(
        server: Server, station: Callable[..., Station], moved: Callable[..., None]) -> None:
    [place] = (server.directory / "tablespace-aside").iterdir()
    moved(place, None)
    assert f"/{place.name} of tablespace aside" in failed(station(server))


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
        assert "read by SQL: " in told
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
        assert "the backup lacks pg_ident.conf" in told
        assert "in database shop" in told
        assert "it was not checked that every relation's file arrived" in told
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


SEGMENT = 8192
DIRECTORY = "pg_tblspc/9/PG_18_1"


@pytest.fixture
def manifest(tmp_path: Path) -> Iterator[ManifestWriter]:
    vault = Vault.open_or_create(tmp_path / "vault").server("main")
    (vault.backups / "20261122T200512Z").mkdir(parents=True)
    manifest = ManifestWriter(vault, "20261122T200512Z")
    yield manifest
    manifest.abandon()


def arrived(manifest: ManifestWriter, **files: int) -> None:
    for path, size in files.items():
        manifest.add(Entry(manifest.next_id(), path, Kind.FILE, size, 0o600, 0))
    manifest.index_paths()


def test_a_relation_without_its_file_is_missed(manifest: ManifestWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    """In `base`, in a tablespace, shared by all databases, or unlogged: each is there. Portion by portion."""
    monkeypatch.setattr(arrived_relations, "PORTION", 2)
    manifest.add_relations([RelationName(database, number, number, "public", f"t{number}", "r")
                            for database in (5, 6) for number in range(1, 9)])
    manifest.add_relations([RelationName(5, 9, None, "public", "a_view", "v")])
    arrived(manifest, **{"base/5/1": 1, "base/5/2_init": 0, f"{DIRECTORY}/5/3": 1, f"{DIRECTORY}/5/4_init": 0,
                         "global/5": 1, "base/6/6": 1, "pg_tblspc/8/PG_18_1/5/7": 1})
    assert [each.name for each in relations_without_file(manifest, 5, [DIRECTORY])] == ["t6", "t7", "t8"]
    assert [each.number for each in relations_without_file(manifest, 6, ())] == [1, 2, 3, 4, 7, 8]
    assert list(relations_without_file(manifest, 7, ())) == []


def test_where_a_segment_may_be_missing(manifest: ManifestWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind one that is whole; an empty one behind it is what a truncation leaves."""
    monkeypatch.setattr(arrived_relations, "PORTION", 2)
    arrived(manifest, **{
        "base/5/1": SEGMENT, "base/5/1.1": SEGMENT, "base/5/1.2": 1, "base/5/2": SEGMENT, "base/5/2.1": 0,
        "base/5/3": SEGMENT, "base/5/3.2": 1, f"{DIRECTORY}/6/4": SEGMENT, f"{DIRECTORY}/6/4.1": SEGMENT,
        f"{DIRECTORY}/6/4.10": 1, "base/5/7": SEGMENT, "base/5/70.9": 1, "base/5/7_fsm": SEGMENT,
        "pg_xact/0001": SEGMENT, "base/5/8": 100, "base/5/8.1": 1})
    assert list(ends_of_whole_segments(manifest, SEGMENT)) == [
        WholeSegments(5, 1663, 3, "base/5/3.1", SEGMENT, True),
        WholeSegments(6, 9, 4, f"{DIRECTORY}/6/4.2", 2 * SEGMENT, True),
        WholeSegments(5, 1663, 7, "base/5/7.1", SEGMENT, False)]


def test_what_is_lacking_is_told_in_few_words() -> None:
    assert some(()) == ""
    assert some("ab") == "a, b"
    assert some("abcdefg") == "a, b, c, d, e and 2 more"
