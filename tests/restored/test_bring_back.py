"""`bring-back`: what was lost comes from a restored server into the live one, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.account import account
from support.cli import Completed, pgvault
from support.fleet import Fleet
from support.ssh import SshHost
from target_world import World, end_world, make_world

from pgvault.model.relation import RelationName

HOSTILE = 'x"; DROP TABLE customers; --'
MADE = """
CREATE ROLE clerk; CREATE ROLE "Head Clerk";
CREATE TABLE customers (id int PRIMARY KEY, name text);
INSERT INTO customers SELECT i, 'customer ' || i FROM generate_series(1, 20) i;
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.note := 'stamped'; RETURN NEW; END$$;
CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer int REFERENCES customers, no serial,
  price numeric(9, 2), twice numeric GENERATED ALWAYS AS (price * 2) STORED, note text, long text);
COMMENT ON TABLE orders IS E'the\\n\\\\restrict x\\nCOPY orders FROM stdin;\\n\\\\.';
INSERT INTO orders (customer, price, note, long) SELECT 1 + i % 20, i / 7.0, E'\\\\.\\n\\t' || i,
  (SELECT string_agg(md5((i * 50 + j)::text), '') FROM generate_series(1, 150) j) FROM generate_series(1, 300) i;
CREATE INDEX "By Price" ON orders (price);
CREATE TRIGGER stamps BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION stamp();
ALTER TABLE orders OWNER TO "Head Clerk"; GRANT SELECT ON orders TO clerk;
CREATE TABLE items (id int, "order" int REFERENCES orders); INSERT INTO items VALUES (1, 1);
CREATE VIEW cheap AS SELECT * FROM orders WHERE price < 10;
CREATE SCHEMA parts;
CREATE TABLE events (at int, what text) PARTITION BY RANGE (at);
CREATE TABLE parts.low PARTITION OF events FOR VALUES FROM (0) TO (100);
CREATE TABLE parts.high PARTITION OF events FOR VALUES FROM (100) TO (200);
INSERT INTO events SELECT i, 'e' || i FROM generate_series(0, 199) i;
CREATE TABLE animals (name text); CREATE TABLE cats (lives int) INHERITS (animals);
INSERT INTO animals VALUES ('dog'); INSERT INTO cats VALUES ('tom', 9), ('kit', 9);
CREATE TABLE "Order Items" ("Id" int PRIMARY KEY, "x""y" text); INSERT INTO "Order Items" VALUES (1, 'a'), (2, NULL);
CREATE TABLE "x""; DROP TABLE customers; --" (i int); INSERT INTO "x""; DROP TABLE customers; --" VALUES (7);
CREATE SCHEMA app3;
CREATE TYPE app3.mood AS ENUM ('sad', 'happy');
CREATE FUNCTION app3.cheer(app3.mood) RETURNS text IMMUTABLE LANGUAGE sql AS $$SELECT $1 || '!'$$;
CREATE TABLE app3.people (id serial PRIMARY KEY, feels app3.mood DEFAULT 'happy', CHECK (app3.cheer(feels) <> 'x'));
INSERT INTO app3.people (feels) SELECT 'sad' FROM generate_series(1, 12);
CREATE VIEW app3.sad AS SELECT * FROM app3.people WHERE feels = 'sad';
CREATE MATERIALIZED VIEW app3.numbers AS SELECT count(*) AS n FROM app3.people;
CREATE TABLE changed (id int PRIMARY KEY, v text, up text GENERATED ALWAYS AS (upper(v)) STORED);
CREATE TABLE loose AS SELECT 1 AS i;
CREATE TABLE lost (id int PRIMARY KEY, c int REFERENCES customers);
INSERT INTO lost SELECT i, 1 + i % 20 FROM generate_series(1, 100) i;
SELECT lo_from_bytea(0, 'scan');
INSERT INTO changed SELECT i, 'v' || i FROM generate_series(1, 50) i;
"""
LOST = """
DROP TABLE orders CASCADE; DROP TABLE events; DROP TABLE animals CASCADE; DROP TABLE "Order Items";
DROP TABLE "x""; DROP TABLE customers; --"; DROP SCHEMA app3 CASCADE; DROP TABLE lost, loose;
DELETE FROM changed WHERE id > 10;
"""


class Site:
    """A world whose restored server runs, by a job."""

    def __init__(self, world: World, data: Path) -> None:
        self.world, self.data = world, data
        self.live = world.server

    def run(self, *words: str, check: int = 0) -> Completed:
        return self.world.cli("bring-back", "latest", *words, check=check)

    def plan(self, *words: str, check: int = 0) -> dict[str, Any]:
        return self.world.cli("--format", "json", "bring-back", "latest", *words, "--dry-run", check=check).json()

    def rows(self, table: str) -> list[tuple[Any, ...]]:
        return self.live.sql(f"SELECT t::text FROM {table} t ORDER BY 1")

    def relations(self) -> list[Any]:
        return self.live.sql("SELECT oid, relname, relnamespace::regnamespace::text FROM pg_class ORDER BY oid")

    def shape(self, table: str) -> str:
        """How pg_dump writes it."""
        said = account().run([self.live.installation.program("pg_dump"), "-d", self.live.conninfo(), "-s", "-t", table,
                              "--no-publications"])
        return "\n".join(line for line in said.splitlines() if not line.startswith(("\\", "--")))


@pytest.fixture(scope="module")
def made(fleet: Fleet, ssh_hosts: Callable[[str], SshHost]) -> Iterator[tuple[Site, dict[str, Any]]]:
    world = make_world(fleet, ssh_hosts("openssh"), megabytes=1)
    world.server.sql(MADE)
    site = Site(world, world.root / "restored")
    before = {table: (site.rows(table), site.shape(table)) for table in
              ("orders", "events", "parts.low", "animals", "cats", '"Order Items"', "app3.people", "app3.numbers",
               "changed")}
    world.backup()
    world.server.sql(LOST)
    world.take_wal()
    world.cli("restore", "main", "auto", str(site.data), "--host", "target", "--target-immediate", "--target-action",
              "pause", "--start", "--yes", check=0)
    yield site, before
    world.stop(site.data)
    end_world(fleet, world)


@pytest.fixture
def site(made: tuple[Site, dict[str, Any]]) -> Site:
    return made[0]


def test_a_dropped_table_is_as_it_was(made: tuple[Site, dict[str, Any]]) -> None:
    """With keys, indexes, triggers, owner, privileges, comment and sequences, and its rows untouched by its trigger;
    what hung on it is said."""
    site, before = made
    plan = site.plan("postgres.public.orders")
    assert (plan["beside"], plan["act"]) == (None, "bring public.orders into its place in postgres")
    assert any("ALTER TABLE public.items ADD CONSTRAINT items_order_fkey FOREIGN KEY" in each for each in plan["left"])
    assert any("postgres.public.cheap" in each for each in plan["left"])
    assert plan["left"][-1].startswith("Large objects are not brought: 1 of database postgres stay in the copy")
    done = site.world.cli("--format", "json", *plan["command"].split()[1:], "--yes", check=0)
    assert done.json()["tables"] == [{"table": "public.orders", "rows": 300}]
    assert (site.rows("orders"), site.shape("orders")) == before["orders"]
    assert site.live.sql("INSERT INTO orders (customer, price) VALUES (1, 2) RETURNING id, no, note") == [
        (301, 301, "stamped")]
    [job] = [each for each in site.world.cli("--format", "json", "job", "list", check=0).json()["jobs"]
             if each["kind"] == "bring-back"]
    assert job["state"] == "succeeded"
    assert "public.orders (300 rows)" in job["verdict"]


def test_partitions_heirs_and_hostile_names_come_too(made: tuple[Site, dict[str, Any]]) -> None:
    site, before = made
    hostile = str(RelationName("postgres", "public", HOSTILE))
    done = site.run(hostile, "postgres.public.events", "postgres.public.animals", 'postgres.public."Order Items"', "-y")
    assert "4 tables, 1 partitioned table, 2 partitions" in done.text
    assert site.rows('"x""; DROP TABLE customers; --"') == [("(7)",)]
    for table in ("events", "parts.low", "animals", "cats", '"Order Items"'):
        assert (site.rows(table), site.shape(table)) == before[table]
    assert len(site.rows("customers")) == 20
    site.live.sql("DROP TABLE parts.low")
    site.run("postgres.parts.low", "--as-it-was", "--yes")  # one partition alone is attached again
    assert (site.rows("events"), site.shape("parts.low")) == (before["events"][0], before["parts.low"][1])


def test_a_dropped_schema_comes_with_its_table(made: tuple[Site, dict[str, Any]]) -> None:
    site, before = made
    plan = site.plan("postgres.app3.people")
    assert (plan["schemas"], plan["tables"]) == (["app3"], [])
    assert plan["why"] == ("schema app3 is gone from main, too: it comes back whole, with 1 table, 1 view, "
                           "1 materialized view")
    site.run("postgres.app3.people", "--yes")
    for table in ("app3.people", "app3.numbers"):
        assert (site.rows(table), site.shape(table)) == before[table]
    assert site.live.scalar("SELECT count(*) FROM app3.sad") == 12
    assert site.live.scalar("INSERT INTO app3.people DEFAULT VALUES RETURNING id") == 13


def test_what_is_there_stays_and_the_rows_come_beside_it(made: tuple[Site, dict[str, Any]]) -> None:
    site, before = made
    now = site.rows("changed")
    plan = site.plan("postgres.public.changed")
    assert (plan["beside"], plan["why"]) == ("public_restored", "main has public.changed already")
    assert site.plan("postgres.public.changed", "--as-it-was", check=5)["preconditions"][2]["outcome"] == "failed"
    site.run("postgres.public.changed", "--yes")
    assert (site.rows("changed"), site.rows("public_restored.changed")) == (now, before["changed"][0])
    assert site.live.sql("SELECT conname FROM pg_constraint WHERE conrelid = 'public_restored.changed'::regclass "
                         "AND contype = 'p'")
    assert site.plan("postgres.public.changed")["beside"] == "public_restored_2"
    site.run("postgres.public.events", "postgres.public.cats", "--beside", "Found It", "--yes")
    assert (len(site.rows('"Found It".events')), site.rows('"Found It".cats')) == (200, before["cats"][0])


def test_without_a_row_to_bring_beside_nothing_is_called_brought(site: Site) -> None:
    plan = site.plan("postgres.public.cheap", "--beside", "found", check=5)
    assert [(each["name"], each["detail"]) for each in plan["preconditions"] if each["outcome"] == "failed"] == [
        ("rows", "Nothing there has rows to bring beside: 1 view.")]
    site.run("postgres.public.cheap", "--beside", "found", "--yes", check=5)
    assert site.live.scalar("SELECT count(*) FROM pg_namespace WHERE nspname = 'found'") == 0


ON_TABLE = """CREATE FUNCTION public.meddle() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN
  IF to_regclass('public.{0}') IS NOT NULL
    AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'public.{0}'::regclass) THEN {1} END IF; END$$;
CREATE FUNCTION public.at_row() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN {2} RETURN NULL; END$$;
CREATE EVENT TRIGGER meddles ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION public.meddle()"""
BEFORE = "CREATE TRIGGER t BEFORE INSERT ON public.lost FOR EACH ROW EXECUTE FUNCTION public.at_row();"
AT_COMMIT = ("CREATE CONSTRAINT TRIGGER t AFTER INSERT ON public.loose DEFERRABLE INITIALLY DEFERRED FOR EACH ROW "
             "EXECUTE FUNCTION public.at_row();")
MEDDLING = {
    "refuses": (ON_TABLE.format("lost", "RAISE 'no tables at night';", ""), 1, "no tables at night"),
    "loses rows": (ON_TABLE.format("lost", BEFORE, ""), 1,
                   "public.lost has 0 rows in main, and 100 in the restored copy"),
    "refuses the commit": (ON_TABLE.format("loose", AT_COMMIT, "RAISE 'not this commit';"), 1, "not this commit"),
    "ends at the commit": (ON_TABLE.format("loose", AT_COMMIT,
                                            "PERFORM pg_terminate_backend(pg_backend_pid());"), 7,
                           "the server reports that the transaction was aborted"),
    "lacks what a key needs": ("ALTER TABLE customers DROP CONSTRAINT customers_pkey CASCADE", 1,
                               "there is no unique constraint matching given keys"),
}


@pytest.mark.parametrize("meddling", MEDDLING)
def test_what_the_live_server_refuses_leaves_nothing(site: Site, meddling: str) -> None:
    sql, code, said = MEDDLING[meddling]
    site.live.sql(sql)
    before = site.relations()
    try:
        done = site.run(f"postgres.public.{'loose' if 'commit' in meddling else 'lost'}", "--yes", check=code)
        assert said in done.stderr
        assert "rought back into" not in done.text + done.stderr
        assert site.relations() == before
    finally:
        site.live.sql("DROP EVENT TRIGGER IF EXISTS meddles; DROP FUNCTION IF EXISTS meddle, at_row")


PROGRAMS = {
    "fails at once": ("echo 'pg_dump: error: out of luck' >&2; exit 1", 1, "out of luck"),
    "is not there": (None, 5, "has no pg_dump of PostgreSQL"),
    "fails behind its text": ('"$real" "$@"; exit 3', 1, "exit status 3"),
    "is cut off": ('"$real" "$@" | head -c 700', 1, "the output of pg_dump is incomplete"),
    "leaves out an index": ('case "$*" in *post-data*) set -- "$@" --schema-only --table=customers ;; esac\n'
                            '"$real" "$@" | sed "s/lost_pkey/other_pkey/"', 1, "public.lost_pkey did not come back"),
    "loses its connection": ("kill -9 $PPID", 7, "lost"),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_what_the_hosts_own_pg_dump_does_wrong_leaves_nothing(site: Site, program: str, open_tmp: Path) -> None:
    script, code, said = PROGRAMS[program]
    before = site.relations()
    done = pgvault("bring-back", "latest", "postgres.public.lost", "--yes", config=programs(site, open_tmp, script))
    assert (done.returncode, said in done.stderr) == (code, True), str(done)
    assert site.relations() == before


def programs(site: Site, place: Path, script: str | None) -> Path:
    """A configuration whose host has its programs in a directory of its own, with another pg_dump."""
    real = site.live.installation.bin
    own = place / "bin"
    own.mkdir()
    for each in real.iterdir():
        if each.name != "pg_dump":
            (own / each.name).symlink_to(each)
    if script is not None:
        (own / "pg_dump").write_text(f"#!/bin/sh\nreal={real}/pg_dump\n"
                                     f'[ "$1" != --version ] || exec "$real" "$1"\n{script}\n')
        (own / "pg_dump").chmod(0o755)
    account().own(own)
    config = place / "pgvault.toml"
    config.write_text(site.world.config_file.read_text().replace(f'bin_directory = "{real}"',
                                                                 f'bin_directory = "{own}"'))
    return config


def test_cancelled_it_leaves_nothing(site: Site, open_tmp: Path) -> None:
    before = site.relations()
    config = programs(site, open_tmp, "sleep 60")
    job = pgvault("--format", "json", "bring-back", "latest", "postgres.public.lost", "--yes", "--detach",
                  config=config, check=0).json()["job"]
    done = pgvault("job", "cancel", job, "--wait", config=config, check=130)
    assert "cancelled" in done.text
    assert site.relations() == before


def test_what_cannot_be_is_refused_beforehand(site: Site) -> None:
    for names, code, said in (
            (["postgres.public.never"], 4, "has no table postgres.public.never"),
            (["gone.public.lost"], 4, "has no database gone"),
            (["postgres.public.lost", "other.public.lost"], 2, "of one database"),
            (["lost"], 2, "write DATABASE.SCHEMA.TABLE or DATABASE.SCHEMA")):
        assert said in site.run(*names, "--dry-run", check=code).stderr
    site.live.sql("ALTER ROLE clerk RENAME TO gone")
    try:
        plan = site.plan("postgres.public.orders", "--as-it-was", check=5)
        assert [each["name"] for each in plan["preconditions"] if each["outcome"] == "failed"] == ["names", "roles"]
    finally:
        site.live.sql("ALTER ROLE gone RENAME TO clerk")
    site.live.sql("CREATE ROLE poor LOGIN")
    plan = site.plan("postgres.public.lost", "--user", "poor", check=5)
    assert "poor is not a member of postgres" in plan["preconditions"][-1]["detail"]
    itself = site.world.config_file.with_name("itself.toml")
    itself.write_text(site.world.config_file.read_text().replace(f"port={site.live.port}", f"port={site.world.port}"))
    words = ["--format", "json", "bring-back", "latest", "postgres.public.lost", "--dry-run"]
    [_, live, *_] = pgvault(*words, config=itself, check=5).json()["preconditions"]
    assert "leads to the restored server itself" in live["detail"]
