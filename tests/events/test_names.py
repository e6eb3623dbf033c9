"""The names that a backup keeps: of everything in every database that may be asked, and never a reason to fail."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest
from happenings import ODD, Site, site
from support.fleet import Fleet

from pgvault.model.backup import Backup
from pgvault.model.event import Level, Noted
from pgvault.vault import catalog
from pgvault.vault.manifest import Manifest
from pgvault.vault.names import Names
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
    return Names(catalog.manifest_path(made.vault, backup.id))


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
        with sqlite3.connect(catalog.manifest_path(made.vault, backup.id)) as manifest:
            manifest.executescript("DROP TABLE relation; DROP TABLE database")
        manifest.close()
        database = made.server.scalar("SELECT oid::bigint FROM pg_database WHERE datname = 'postgres'")
        [event] = made.events(newest_first=True, limit=1)
        assert (event.kind, event.objects[0].title) == (EventKind.DROP, f"table {oid}")
        assert (event.database.oid, event.database.name, str(event.database)) == (database, "", str(database))
        with Manifest(made.vault, backup) as old:
            assert old.find("PG_VERSION")
