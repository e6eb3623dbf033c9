"""What things were called when a backup was taken, read back from its manifest; older manifests lack some of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.plans import SOURCE

from pgvault.vault.arrived import relations_without_file
from pgvault.vault.layout import ServerVault, Vault
from pgvault.vault.manifest import Entry, Kind, Manifest, ManifestWriter, Run
from pgvault.vault.names import DatabaseName, Names, RelationName, RoleName, Trait, from_sql, to_sql

ORDERS = RelationName(5, 16384, 16390, "public", "orders", "r")
VIEW = RelationName(5, 16385, None, "Größe", "a\udcffb", "v")
CLASS = RelationName(5, 1259, 16500, "pg_catalog", "pg_class", "r")
DATABASES = RelationName(0, 1262, 16501, "pg_catalog", "pg_database", "r")
ELSEWHERE = RelationName(7, 1259, 16502, "pg_catalog", "pg_class", "r")
"""Of a database that is not among the databases."""


@pytest.fixture
def server(tmp_path: Path) -> ServerVault:
    server = Vault.open_or_create(tmp_path / "vault").server("main")
    server.prepare()
    return server


@pytest.fixture
def manifest(server: ServerVault, tmp_path: Path) -> Path:
    (server.backups / "20261124T110000Z").mkdir()
    writer = ManifestWriter(server, "20261124T110000Z")
    writer.add_databases([DatabaseName(5, "shop"), DatabaseName(6, "b\udcff")])
    writer.add_databases([DatabaseName(0, "all")])
    writer.add_roles([RoleName(10, "postgres"), RoleName(16400, "b\udcff")])
    writer.add_relations([ORDERS, VIEW, CLASS, DATABASES, ELSEWHERE])
    writer.add_traits([Trait(5, "collate", "en_US.utf8"), Trait(5, "library", "$libdir/a\udcff")])
    writer.publish()
    [path] = (server.backups / "20261124T110000Z").iterdir()
    return path


@pytest.fixture
def names(manifest: Path) -> Iterator[Names]:
    names = Names(manifest)
    yield names
    names.close()


def without(manifest: Path, *tables: str) -> Names:
    """As an earlier version of pgvault left it."""
    with sqlite3.connect(manifest) as db:
        for table in tables:
            db.execute(f"DROP TABLE {table}")
    db.close()
    return Names(manifest)


def test_what_it_has_is_found_by_number(names: Names) -> None:
    assert names.there
    assert [names.database(oid) for oid in (5, 6, 7)] == ["shop", "b\udcff", None]
    assert [names.role(oid) for oid in (10, 16400, 11)] == ["postgres", "b\udcff", None]
    assert [names.by_oid(5, oid) for oid in (16384, 16385, 16390)] == [ORDERS, VIEW, None]
    assert [names.by_number(5, number) for number in (16390, 16384)] == [ORDERS, None]
    assert names.by_oid(6, 16384) is None
    assert names.traits() == [Trait(5, "collate", "en_US.utf8"), Trait(5, "library", "$libdir/a\udcff")]


def test_of_which_databases_it_has_relations(names: Names) -> None:
    assert [names.knows(database) for database in (5, 6, 7, 0)] == [True, False, True, True]


def test_which_catalogs_have_other_files_than_initdb_s(names: Names) -> None:
    assert sorted(names.rewritten((1259, 1262))) == [(0, 1262, 16501), (5, 1259, 16500)]
    assert names.rewritten((1259,)) == [(5, 1259, 16500)]
    assert names.rewritten((16385,)) == []


@pytest.mark.parametrize("tables", [("database",), ("relation",), ("database", "relation", "role", "trait")])
def test_an_older_manifest_has_no_names(manifest: Path, tables: tuple[str, ...]) -> None:
    names = without(manifest, *tables)
    assert not names.there
    assert (names.database(5), names.by_oid(5, 16384), names.by_number(5, 16390)) == (None, None, None)
    assert names.rewritten((1259,)) == []
    assert not names.knows(5)
    assert not names.knows(0)
    names.close()


def test_a_manifest_without_roles_and_traits_has_the_rest(manifest: Path) -> None:
    names = without(manifest, "role", "trait")
    assert names.there
    assert (names.role(10), names.traits(), names.database(5)) == (None, [], "shop")
    names.close()


def test_a_manifest_that_is_missing_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        Names(tmp_path / "manifest.sqlite")
    assert not list(tmp_path.iterdir())


def test_reading_changes_no_byte(manifest: Path, names: Names) -> None:
    before = manifest.read_bytes()
    names.traits()
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        names._db.execute("DELETE FROM role")
    assert manifest.read_bytes() == before


@pytest.mark.parametrize(("name", "stored"), [("größe", "größe"), ("", ""), ("a\udcffb", b"a\xffb")])
def test_a_name_that_is_no_utf8_is_stored_as_its_bytes(name: str, stored: str | bytes) -> None:
    assert to_sql(name) == stored
    assert from_sql(stored) == name


def test_what_has_no_file_in_the_backup_is_told_as_it_was_called(server: ServerVault) -> None:
    (server.backups / "20261124T110000Z").mkdir()
    writer = ManifestWriter(server, "20261124T110000Z")
    writer.add_relations([ORDERS, VIEW, CLASS])
    writer.add(Entry(writer.next_id(), "base/5", Kind.DIRECTORY, 0, 0o700, 1))
    for path in ("base/5/16500", "base/6/16390"):
        writer.add(Entry(writer.next_id(), path, Kind.FILE, 8192, 0o600, 1))
    assert (writer.file_count, writer.size_bytes) == (2, 16384)
    writer.index_paths()
    assert list(relations_without_file(writer, 5, ["pg_tblspc/16400/PG_18_202506291"])) == [ORDERS]
    writer.abandon()


def test_how_much_of_a_backup_lies_in_which_tablespace(server: ServerVault) -> None:
    writer = ManifestWriter(server, "20261124T120000Z")
    for number, (path, kind, size, tablespace) in enumerate([
            ("base/5/1", Kind.FILE, 70, None), ("PG_VERSION", Kind.FILE, 3, None), ("global", Kind.DIRECTORY, 0, None),
            ("pg_tblspc/16400/PG/5/2", Kind.FILE, 900, 16400), ("pg_tblspc/16401/PG/5/3", Kind.FILE, 11, 16401)]):
        writer.add(Entry(number, path, kind, size, 0o600, 0, 7 if size == 3 else None, tablespace))
    (server.backups / "20261124T120000Z").mkdir()
    for number in range(1000):  # from where on they are written
        writer.add_run(0, number, Run())
    assert [writer.find(path) for path in ("base/5/1", "PG_VERSION", "global", "elsewhere")] == [
        (70, None), (3, 7), None, None]
    writer.publish()
    with Manifest(server, replace(SOURCE, id="20261124T120000Z")) as manifest:
        assert manifest.tablespace_sizes() == {None: 73, 16400: 900, 16401: 11}
