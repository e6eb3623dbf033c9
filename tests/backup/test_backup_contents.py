"""What a full backup holds, on every major: each file as the server sent it, and none that a backup must not have."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from crc32c import crc32c
from station import Contents, Station, relation
from support.account import account
from support.fleet import Fleet, Shape
from support.installation import installation
from support.postgres import Server

from pgvault.model.backup import Backup, BackupStatus
from pgvault.vault.manifest import Entry, Kind

MIB = 1 << 20
ODD_NAMES = ["name with spaces", "a=b", "#comment", "it's \"quoted\"", "[x", "größe-日本", "new\nline", "n" * 80]
NOT_UTF8 = b"caf\xe9"
SPARSE = b"\0" * (3 * MIB) + b"end"
JUNK = [
    "postmaster.opts", "backup_manifest", "tablespace_map", "backup_label", "postgresql.auto.conf.tmp",
    "base/pgsql_tmp/pgsql_tmp123.0", "pg_notify/junk", "pg_serial/junk", "pg_snapshots/junk", "pg_stat_tmp/junk",
    "pg_subtrans/junk", "pg_dynshmem/junk", "base/1/pg_internal.init", "base/1/pg_internal.init.77", "base/1/t99_88888",
    "pg_replslot/junk/state",
]
EMPTY_DIRECTORIES = ["pg_dynshmem", "pg_notify", "pg_replslot", "pg_serial", "pg_snapshots", "pg_stat_tmp",
                     "pg_subtrans"]


@dataclass
class Taken:
    """A server with all that is odd, its first backup, and that backup's files."""

    server: Server
    station: Station
    backup: Backup
    entries: dict[str, Entry]
    contents: Contents
    relations: dict[str, str]
    held: dict[str, bytes] = field(default_factory=dict)


@pytest.fixture(scope="module", params=(13, 15, 16, 17, 18))
def taken(request: pytest.FixtureRequest, fleet: Fleet, module_directory: Path) -> Iterator[Taken]:
    server = fleet.make(installation(request.param), Shape(wal_segsize=1)).start()
    directory = module_directory / f"pg{server.major}"
    directory.mkdir()
    station = Station(server, directory / "vault", directory)
    relations = _populate(server)
    with server.connect() as session:
        session.execute("create temporary table passing as select generate_series(1, 10000)")
        relations["passing"] = session.execute("select pg_relation_filepath('passing')").fetchone()[0]
        for each in JUNK:
            _put(server.data / each, b"junk")
        before = _files_of(server)
        station.backup("--name", "the first")
        after = _files_of(server)
    held = {path: content for path, content in before.items() if after.get(path) == content}
    backup = station.newest()
    contents = station.contents(backup)
    yield Taken(server, station, backup, {e.path: e for e in contents.entries()}, contents, relations, held)
    station.close()
    fleet.remove(server)


def _populate(server: Server) -> dict[str, str]:
    far = server.directory / "far"
    far.mkdir()
    account().own(far)
    (server.directory / "link").symlink_to(far)
    inside = server.directory / "link" / "space"
    inside.mkdir()
    account().own(inside)
    server.sql(f"create tablespace linked location '{inside}'")
    server.new_tablespace("plain")
    server.sql('create database "[x"')
    server.sql("create table big as select g, repeat('x', 100) as text from generate_series(1, 30000) g", dbname="[x")
    server.sql("create table spaced (n int) tablespace plain")
    server.sql("insert into spaced select generate_series(1, 100000)")
    server.sql("create table away tablespace linked as select generate_series(1, 5000) n")
    server.sql("create table empty_one (n int)")
    server.sql("create unlogged table fleeting as select generate_series(1, 50000) n")
    for name in ODD_NAMES:
        _put(server.data / "odd" / name, name.encode() * 9)
    _put(server.data / "odd" / os.fsdecode(NOT_UTF8), NOT_UTF8)
    _put(server.data / "odd" / "empty file", b"")
    _put(server.data / "odd" / "sparse", SPARSE)
    (server.data / "odd" / "empty directory").mkdir()
    account().own(server.data / "odd")
    os.mkfifo(server.data / "a pipe")  # as a socket would be: no file, and no damage
    server.sql("checkpoint")
    found = {name: relation(server, name) for name in ("spaced", "away", "empty_one", "fleeting")}
    return found | {"big": relation(server, "big", "[x")}


def _put(path: Path, content: bytes) -> None:
    for folder in (path.parent.parent, path.parent):
        if not folder.exists():
            folder.mkdir(mode=0o700)
            account().own(folder)
    path.write_bytes(content)
    account().own(path)


def _files_of(server: Server) -> dict[str, bytes]:
    """By the path that they have in a backup."""
    found = {}
    for root, _, names in os.walk(server.data, followlinks=True):
        for name in names:
            path = Path(root, name)
            if stat.S_ISREG(path.lstat().st_mode):
                found[str(path.relative_to(server.data))] = path.read_bytes()
    return found


def test_every_file_is_what_postgres_says_it_sent(taken: Taken) -> None:
    """Rule 7, case 13: made again from the vault, each file has the size and the CRC-32C of PostgreSQL's manifest."""
    listed = taken.contents.listed()
    seen = {}
    for entry, content in taken.contents.files():
        assert len(content) == entry.size
        assert crc32c(content) == entry.crc32c
        if entry.path != "backup_manifest":
            seen[entry.path] = (len(content), crc32c(content).to_bytes(4, "little").hex())
    assert seen == listed
    assert len(seen) > 800
    assert taken.backup.file_count == len(seen) + 1
    assert taken.backup.size_bytes == sum(entry.size for entry in taken.entries.values())


def test_files_that_did_not_change_are_the_servers_own(taken: Taken) -> None:
    """Case 13: compared with the data directory itself, wherever that stood still during the backup."""
    stored = {entry.path: content for entry, content in taken.contents.files()}
    compared = 0
    for path, content in taken.held.items():
        if path in stored and path not in ("backup_label", "tablespace_map", "backup_manifest"):
            assert stored[path] == content, path
            compared += 1
    assert compared > 800
    assert stored[taken.relations["big"]] == taken.held[taken.relations["big"]]
    assert len(stored[taken.relations["big"]]) > 3 * MIB


def test_verified_by_postgres_itself(taken: Taken, open_tmp: Path) -> None:
    """Case 13: pg_verifybackup finds nothing wrong with the files made again from the vault."""
    program = taken.server.installation.program("pg_verifybackup")
    for entry in taken.entries.values():
        if entry.kind is not Kind.FILE:
            (open_tmp / entry.path).mkdir(parents=True, exist_ok=True)
    for entry, content in taken.contents.files():
        path = open_tmp / entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    account().own(open_tmp)
    assert "backup successfully verified" in account().run([program, "--no-parse-wal", open_tmp])


def test_odd_names_and_empty_things(taken: Taken) -> None:
    """Case 14: names that shells, tar and TOML stumble over, empty files and directories, runs of zeros."""
    for name in ODD_NAMES:
        assert taken.contents.read(f"odd/{name}") == name.encode() * 9
    assert taken.contents.read(f"odd/{os.fsdecode(NOT_UTF8)}") == NOT_UTF8
    assert taken.entries["odd/empty file"].size == 0
    assert taken.entries["odd/empty directory"].kind is Kind.DIRECTORY
    assert taken.entries[taken.relations["empty_one"]].size == 0
    assert taken.contents.read("odd/sparse") == SPARSE
    assert taken.contents.run("odd/sparse", 0).frame is None, "zeros store nothing"
    assert taken.contents.run("odd/sparse", 3).frame is not None


def test_tablespaces(taken: Taken) -> None:
    """Case 16: both tablespaces, one of them behind a symbolic link, with where they belong and their files."""
    spaces = {space.name: space for space in taken.backup.tablespaces}
    assert set(spaces) == {"linked", "plain"}
    for name, table in (("linked", "away"), ("plain", "spaced")):
        assert taken.relations[table].startswith(f"pg_tblspc/{spaces[name].oid}/PG_{taken.server.major}_")
        entry = taken.entries[taken.relations[table]]
        assert (entry.tablespace, entry.kind) == (spaces[name].oid, Kind.FILE)
    lines = {f"{space.oid} {space.location}" for space in spaces.values()}
    assert set(taken.contents.read("tablespace_map").decode().splitlines()) == lines


def test_left_out(taken: Taken) -> None:
    """Rule 3: what PostgreSQL's own base backup leaves out is not in the backup; its empty directories are."""
    assert not {*JUNK, "postmaster.pid", "a pipe"} - {"backup_label", "backup_manifest", "tablespace_map"} \
        & taken.entries.keys()
    for name in ("backup_label", "tablespace_map", "backup_manifest"):
        assert taken.contents.read(name) != b"junk", f"{name} of an older backup was taken"
    for directory in EMPTY_DIRECTORIES:
        assert taken.entries[directory].kind is Kind.DIRECTORY
        assert not [path for path in taken.entries if path.startswith(f"{directory}/")]
    assert not [e.path for e in taken.entries.values() if e.path.startswith("pg_wal/") and e.kind is Kind.FILE]
    assert taken.relations["fleeting"] not in taken.entries, "an unlogged table's content"
    assert f"{taken.relations['fleeting']}_init" in taken.entries
    assert taken.relations["passing"] not in taken.entries, "a temporary table"


def test_pg_control_is_the_last_file(taken: Taken) -> None:
    """Rule 2: nothing of the cluster is copied after pg_control."""
    files = [entry.path for entry in taken.contents.entries() if entry.kind is Kind.FILE]
    assert files[-2:] == ["global/pg_control", "backup_manifest"]


def test_the_label_is_the_servers(taken: Taken) -> None:
    """Rule 1: backup_label is what PostgreSQL returned for this very backup, and agrees with the facts kept."""
    label = taken.contents.read("backup_label").decode()
    backup = taken.backup
    assert f"START WAL LOCATION: {backup.begin_lsn} (file {backup.begin_segment.name(backup.segment_size)})" in label
    assert f"LABEL: pgvault {backup.id}\n" in label
    assert "BACKUP METHOD: streamed" in label


def test_the_facts(taken: Taken) -> None:
    backup, server = taken.backup, taken.server
    assert backup.status is BackupStatus.DONE
    assert (backup.name, backup.method, backup.timeline) == ("the first", "stream", 1)
    assert backup.system_identifier == str(server.system_identifier())
    assert backup.major == server.major
    assert (backup.segment_size, backup.data_directory) == (MIB, str(server.data))
    assert 0 < backup.begin_lsn < backup.end_lsn
    assert backup.corrupt_pages == ()


def test_an_unchanged_cluster_costs_almost_nothing(taken: Taken) -> None:
    """The second backup is whole, and stores less than 2 % of the cluster: the lists and what every backup changes."""
    first = taken.contents.digest()
    again = taken.station.take()
    assert again.status is BackupStatus.DONE
    assert again.stored_bytes < again.size_bytes * 0.02
    contents = taken.station.contents(again)
    assert {path for path in contents.names() if path.startswith(("base/", "pg_tblspc/"))} == \
        {path for path in taken.entries if path.startswith(("base/", "pg_tblspc/"))}
    listed = contents.listed()
    assert {e.path: len(content) for e, content in contents.files() if e.path != "backup_manifest"} == \
        {path: size for path, (size, _) in listed.items()}
    assert taken.contents.digest() == first, "an older backup never changes"

