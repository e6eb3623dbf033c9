"""The names that a backup keeps: of everything in every database that may be asked, and never a reason to fail."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
from happenings import ODD, Site, site
from support.fleet import Fleet
from support.objects import manifest_path

from pgvault.model.backup import Backup, BackupStatus
from pgvault.model.errors import NoSpace
from pgvault.model.event import Level, Noted
from pgvault.vault import catalog
from pgvault.vault.manifest import Manifest, ManifestWriter
from pgvault.vault.names import Names, RelationName
from pgvault.wal.accidents import EventKind


@pytest.fixture(scope="module")
def town(fleet: Fleet) -> Iterator[Site]:
    with site(fleet, 18) as made:
        server = made.server
        server.sql("CREATE DATABASE closed")
        server.sql("CREATE DATABASE bytes ENCODING 'SQL_ASCII' TEMPLATE template0")
        server.sql("CREATE DATABASE \"it's\"")
        server.sql("REVOKE CONNECT ON DATABASE closed FROM public")
        server.sql("CREATE ROLE humble LOGIN REPLICATION")
        odd = ODD.replace('"', '""')
        server.sql(f"""
            CREATE SCHEMA "{odd}"; CREATE TABLE "{odd}"."{odd}" (id int PRIMARY KEY, note text);
            CREATE VIEW seen AS SELECT 1 AS one; CREATE TABLE parts (id int) PARTITION BY LIST (id);
            """, dbname="it's")
        server.sql("VACUUM FULL pg_class", dbname="it's")
        with server.connect("bytes") as connection:
            connection.execute(b"SET client_encoding = 'SQL_ASCII'")
            connection.pgconn.exec_(b'CREATE TABLE "caf\xe9" (id int)')
        yield made


def names_of(made: Site, backup: Backup) -> Names:
    return Names(manifest_path(made.vault, backup.id))


def warnings(made: Site) -> list[str]:
    return [each.text for each in made.told if isinstance(each, Noted) and each.level is Level.WARNING]


def test_everything_has_its_name(town: Site) -> None:
    town.told.clear()
    names = names_of(town, town.backup())
    assert warnings(town) == []
    oids = dict(town.server.sql("SELECT datname, oid::bigint FROM pg_database"))
    assert {names.database(oid) for oid in oids.values()} == set(oids)
    its = oids["it's"]
    for oid, number, kind in town.server.sql(
            "SELECT oid::bigint, pg_relation_filenode(oid)::bigint, relkind::text FROM pg_class WHERE oid >= 16384"
            " AND relkind <> 'c'", dbname="it's"):
        found = names.by_oid(its, oid)
        assert (found.number, found.kind) == (number, kind)
        assert number is None or names.by_number(its, number) == found
    table = town.server.scalar("SELECT oid::bigint FROM pg_class WHERE relname = %s", (ODD,), dbname="it's")
    assert names.by_oid(its, table)[3:] == (ODD, ODD, "r")
    [(database, catalog_oid, number)] = names.rewritten((1259,))
    assert (database, catalog_oid) == (its, 1259)
    assert number >= 16384
    odd = town.server.scalar("SELECT oid::bigint FROM pg_class WHERE oid >= 16384 AND relkind = 'r'", dbname="bytes")
    assert names.by_oid(oids["bytes"], odd).name == "caf\udce9"


def test_what_may_not_be_asked_is_told_and_the_backup_goes_on(town: Site) -> None:
    town.configure(conninfo=town.server.conninfo().replace("user=postgres", "user=humble"))
    town.told.clear()
    try:
        backup = town.backup()
    finally:
        town.configure()
    [warning] = warnings(town)
    assert "database closed" in warning
    names = names_of(town, backup)
    assert names.there
    closed = town.server.scalar("SELECT oid::bigint FROM pg_database WHERE datname = 'closed'")
    assert names.database(closed) == "closed"
    its = town.server.scalar("SELECT oid::bigint FROM pg_database WHERE datname = 'it''s'")
    oid = town.server.scalar("SELECT 'seen'::regclass::oid::bigint", dbname="it's")
    assert names.by_oid(its, oid)[2:] == (None, "public", "seen", "v")


def test_what_users_made_is_not_run(town: Site) -> None:
    """Whoever may create operators in some database would else have the backup's role run them."""
    server, database = town.server, town.server.new_database()
    server.sql("""
        CREATE TABLE public.sprung (id int);
        CREATE FUNCTION public.trap(oid, integer) RETURNS boolean LANGUAGE plpgsql AS
            'BEGIN INSERT INTO public.sprung VALUES (1); RETURN true; END';
        CREATE OPERATOR public.>= (LEFTARG = oid, RIGHTARG = integer, FUNCTION = public.trap);
        CREATE FUNCTION public.trap("char", text) RETURNS boolean LANGUAGE plpgsql AS
            'BEGIN INSERT INTO public.sprung VALUES (1); RETURN true; END';
        CREATE OPERATOR public.<> (LEFTARG = "char", RIGHTARG = text, FUNCTION = public.trap);
        """, dbname=database)
    server.sql(f"ALTER DATABASE {database} SET search_path = public, pg_catalog")
    names = names_of(town, town.backup())
    assert server.scalar("SELECT count(*) FROM public.sprung", dbname=database) == 0
    oid = server.scalar("SELECT oid::bigint FROM pg_catalog.pg_database WHERE datname = %s", (database,))
    table = server.scalar("SELECT 'public.sprung'::regclass::oid::bigint", dbname=database)
    assert names.by_oid(oid, table)[3:] == ("public", "sprung", "r")


def test_names_are_part_of_what_the_hash_proves(town: Site) -> None:
    backup = town.backup()
    with Manifest(town.vault, backup, check=True) as manifest:
        assert manifest.find("PG_VERSION")


@pytest.mark.parametrize("major", [13, 18])
def test_a_backup_of_an_earlier_version_has_no_names(fleet: Fleet, major: int) -> None:
    """Events are told in numbers then; and on 13 a catalog that was rewritten before the backup is known by it."""
    with site(fleet, major) as made:
        made.server.sql("CREATE TABLE lost (id int); CREATE TABLE swapped (id int)")
        made.server.sql("VACUUM FULL pg_class")
        backup = made.backup()
        made.do("drop", "BEGIN", "CREATE TABLE young AS SELECT * FROM swapped", "DROP TABLE swapped", "COMMIT")
        oid = made.server.scalar("SELECT 'lost'::regclass::oid::bigint")
        made.do("last", "DROP TABLE lost")
        made.archive()
        first, last = made.events()
        assert [each.objects[0].title for each in (first, last)] == ["table public.swapped", "table public.lost"]
        with sqlite3.connect(manifest_path(made.vault, backup.id)) as manifest:
            manifest.executescript("DROP TABLE relation; DROP TABLE database")
        manifest.close()
        database = made.server.scalar("SELECT oid::bigint FROM pg_database WHERE datname = 'postgres'")
        [event] = made.events(newest_first=True, limit=1)
        assert (event.kind, event.objects[0].title) == (EventKind.DROP, f"table {oid}")
        assert (event.database.oid, event.database.name, str(event.database)) == (database, "", str(database))
        with Manifest(made.vault, backup) as old:
            assert old.find("PG_VERSION")


def test_databases_can_be_made_and_dropped_while_names_are_stored(town: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL refuses both while anyone is in the template, or in the database itself."""
    server = town.server
    for database in ("template1", passing := server.new_database()):
        server.sql("CREATE TABLE here (id int)", dbname=database)
    names = dict(server.sql("SELECT oid::bigint, datname FROM pg_database"))
    done: list[str] = []
    store = ManifestWriter.add_relations

    def meanwhile(manifest: ManifestWriter, relations: list[RelationName]) -> None:
        server.sql(f"CREATE DATABASE meanwhile_{len(done)}")
        if names[relations[0].database] == passing:
            server.sql(f"DROP DATABASE {passing}")
        done.append(names[relations[0].database])
        store(manifest, relations)

    monkeypatch.setattr(ManifestWriter, "add_relations", meanwhile)
    town.told.clear()
    try:
        town.backup()
    finally:
        server.sql("DROP TABLE here", dbname="template1")
    assert {"template1", passing} <= set(done)
    assert warnings(town) == []


def test_a_disk_that_names_fill_fails_the_backup_as_a_full_disk(town: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite gives up the whole manifest's transaction then, also if there is space again a moment later."""
    store = ManifestWriter.add_relations

    def too_many(manifest: ManifestWriter, relations: list[RelationName]) -> Iterator[RelationName]:
        [[pages]] = manifest._db.execute("PRAGMA page_count")
        manifest._db.execute(f"PRAGMA max_page_count = {pages}")
        try:
            yield from (each._replace(oid=each.oid + n) for each in relations for n in range(5000))
        finally:
            manifest._db.execute("PRAGMA max_page_count = 1000000")

    def fill(manifest: ManifestWriter, relations: list[RelationName]) -> None:
        with closing(too_many(manifest, relations)) as names:
            store(manifest, names)

    monkeypatch.setattr(ManifestWriter, "add_relations", fill)
    town.told.clear()
    with pytest.raises(NoSpace, match="no space left"):
        town.backup()
    assert warnings(town) == []
    newest = catalog.backups(town.vault)[-1]
    assert (newest.status, "no space left" in newest.error) == (BackupStatus.FAILED, True)


def test_names_that_cannot_be_kept_fail_nothing(town: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(manifest: ManifestWriter, relations: list[RelationName]) -> None:
        raise OverflowError("Python int too large to convert to SQLite INTEGER")

    monkeypatch.setattr(ManifestWriter, "add_relations", refuse)
    town.told.clear()
    assert town.backup().status is BackupStatus.DONE
    assert any("could not store the names" in text and "too large" in text for text in warnings(town))


def test_more_relations_than_are_asked_for_at_once(town: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgvault.engine.backup.names._PAGE", 2)
    database = town.server.new_database()
    town.server.sql("; ".join(f"CREATE VIEW many_{n} AS SELECT {n}" for n in range(7)), dbname=database)
    town.told.clear()
    names = names_of(town, town.backup())
    assert warnings(town) == []
    oid = town.server.scalar("SELECT oid::bigint FROM pg_database WHERE datname = %s", (database,))
    views = town.server.sql("SELECT oid::bigint, relname FROM pg_class WHERE relname LIKE 'many@_%' ESCAPE '@'",
                            dbname=database)
    assert len(views) == 7
    assert {(view, names.by_oid(oid, view).name) for view, _ in views} == set(views)
