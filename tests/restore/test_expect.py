"""`restore --expect`: the restored server is asked for what the restore was made for."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Callable, Iterator

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fleet import Fleet
from support.postgres import free_port
from support.ssh import SshHost
from target_world import Restored, World, end_world, make_world

from pgvault.config.load import load
from pgvault.engine.restore import ask, expect
from pgvault.engine.restore.ask import RestoredServer
from pgvault.engine.restore.expect import Found, Presence
from pgvault.engine.restore.observation import Observation
from pgvault.engine.restore.proof import Proof
from pgvault.engine.restored import look as looking
from pgvault.io.hosts import connect_host
from pgvault.model.errors import UsageError
from pgvault.model.event import Checked, Event, discard
from pgvault.model.relation import RelationName, parse_relation
from pgvault.model.restored import copy_of
from pgvault.model.target import AtName, TargetAction

ODD = RelationName("My-DB", 'sch."ema', "Tab.le'; DROP TABLE logged; --")
PARTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=15)


@pytest.mark.parametrize(("text", "parts"), [
    ("shop.public.orders", ("shop", "public", "orders")),
    ("Shop.PUBLIC.Orders", ("shop", "public", "orders")),
    ('"Shop".public."Order-Items"', ("Shop", "public", "Order-Items")),
    ('a."b.c"."d""e"', ("a", "b.c", 'd"e')),
    ("_x.ÜBER.t1$2", ("_x", "Über", "t1$2")),  # only A to Z are folded
    ('user.select."名前"', ("user", "select", "名前")),
])  # fmt: skip
def test_a_name_is_read_as_sql_reads_it(text: str, parts: tuple[str, str, str]) -> None:
    assert parse_relation(text) == RelationName(*parts)


@given(PARTS, PARTS, PARTS)
def test_a_written_name_reads_as_itself(database: str, schema: str, name: str) -> None:
    relation = RelationName(database, schema, name)
    assert parse_relation(str(relation)) == relation


@pytest.mark.parametrize("text", [
    "", "orders", "public.orders", "a.b.c.d", "a..c", ".b.c", "a.b.", "a.b.c.", "a b.c.d", "a.b.c ", "a . b . c",
    '"".b.c', 'a."b.c', "a.b.1c", "a.b.c-d", 'a.b."c"d', f"a.b.{'x' * 64}", f"a.b.{'ü' * 32}", 'a.b."\0"',
    "a.b.\udc80"])
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a table's name"):
        parse_relation(text)


@pytest.fixture(scope="module")
def world(fleet: Fleet, ssh_hosts: Callable[[str], SshHost]) -> Iterator[World]:
    """`here` is there at the restore point, `made later` is not yet; in another database a table with an odd name,
    and a trap for whoever calls functions by the search path."""
    made = make_world(fleet, ssh_hosts("openssh"), megabytes=1)
    server = made.server
    server.sql("CREATE TABLE here AS SELECT generate_series(1, 1500) AS i")
    server.sql("CREATE TABLE bulk AS SELECT generate_series(1, 300000) AS i")
    server.sql("CREATE VIEW seen AS SELECT 1 / 0 AS never")
    server.sql('CREATE DATABASE "My-DB"')
    server.sql('CREATE SCHEMA "sch.""ema"', dbname="My-DB")
    server.sql("""CREATE TABLE "sch.""ema"."Tab.le'; DROP TABLE logged; --" (i int)""", dbname="My-DB")
    server.sql("""CREATE FUNCTION public.set_config(text, text, boolean) RETURNS text LANGUAGE plpgsql AS
                  'BEGIN RAISE EXCEPTION ''what users made was run''; END';
                  ALTER DATABASE "My-DB" SET search_path = public, pg_catalog""", dbname="My-DB")
    server.sql("CREATE TABLE held (i int)")
    server.sql("CREATE ROLE nobody LOGIN")
    made.backup()
    with server.connect() as connection:  # its lock is logged, and a standby that stops here has it too
        connection.execute("BEGIN; LOCK TABLE held")
        server.sql("SELECT pg_create_restore_point('before')")
    server.sql("CREATE TABLE made_later (i int)")
    made.take_wal()
    yield made
    end_world(fleet, made)


@pytest.fixture(scope="module")
def paused(world: World) -> Iterator[Restored]:
    """Reached with what is expected: a hot standby that stands still."""
    wanted = (RelationName("postgres", "public", "here"), ODD, RelationName("postgres", "public", "here"))
    with world.restored(AtName("before"), action=TargetAction.PAUSE, expects=wanted) as restored:
        yield restored


def look(world: World, relation: RelationName, events: list[Event] | None = None) -> Found:
    config, plan = load(world.config_file), world.plan(AtName("before"))

    async def asked() -> tuple[Found, ...]:
        async with await connect_host("target", config.host("target"), discard) as host:
            server = RestoredServer(host, config.host("target"), config.server("main"), copy_of(plan))
            server.seen(Observation(port=world.port, places=(str(world.root),)))
            return await expect.find_expected([relation], server, discard if events is None else events.append)

    return asyncio.run(asked())[0]


def table(name: str, database: str = "postgres") -> RelationName:
    return RelationName(database, "public", name)


def test_what_was_asked_for_is_in_the_proof(paused: Restored) -> None:
    assert paused.verdict.proof.expected == (
        Found(table("here"), Presence.THERE, 1500, True), Found(ODD, Presence.THERE, 0, True))
    assert "the server is paused" in str(paused.verdict)
    assert "; postgres.public.here is there with 1500 rows; " in str(paused.verdict)
    checked = [event for event in paused.events if isinstance(event, Checked)]
    assert (checked[0].check, checked[0].outcome, checked[0].detail) == (
        "postgres.public.here is there", "ok", "1500 rows")
    assert paused.verdict.plan.destination.expects == (table("here"), ODD)


@pytest.mark.usefixtures("paused")
@pytest.mark.parametrize(("relation", "why"), [
    (table("made_later"), "its database is there and has no such table"),
    (table("HERE"), "its database is there and has no such table"),
    (RelationName("postgres", "sch.ema", "here"), "its database is there and has no such table"),
    (table("here", "gone"), "there is no such database"),
    (table("here", "dbname=postgres"), "there is no such database"),  # no connection string
])  # fmt: skip
def test_what_is_missing(world: World, relation: RelationName, why: str) -> None:
    events: list[Event] = []
    found = look(world, relation, events)
    assert (found.presence, found.detail) == (Presence.MISSING, why)
    assert str(found) == f"{relation} is missing: {why}"
    assert [(event.outcome, event.detail) for event in events if isinstance(event, Checked)] == [("failed", why)]


@pytest.mark.usefixtures("paused")
def test_a_view_is_there_and_not_run(world: World) -> None:
    assert str(look(world, table("seen"))) == \
        "postgres.public.seen is there: a view, which was looked up and not run"


@pytest.mark.usefixtures("paused")
def test_a_database_without_logins_is_not_known(world: World) -> None:
    found = look(world, table("here", "template0"))
    assert (found.presence, found.detail) == (Presence.UNKNOWN, "its database takes no connections")


@pytest.mark.usefixtures("paused")
def test_a_count_that_takes_too_long_is_an_estimate_of_what_was_read(world: World,
                                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expect, "COUNT_SECONDS", 0.001)
    found = look(world, table("bulk"))
    assert (found.presence, found.exact) == (Presence.THERE, False)
    assert 200_000 < found.rows < 500_000
    assert str(found).startswith("postgres.public.bulk is there with about ")
    assert str(found).endswith(" rows (counting takes too long: the beginning was read)")


@pytest.mark.usefixtures("paused")
def test_what_is_locked_is_not_known_and_the_cause_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a transaction of the original server that had not ended."""
    monkeypatch.setattr(ask, "LOCK_SECONDS", 0.2)
    found = look(world, table("held"))
    assert found.presence is Presence.UNKNOWN
    assert found.detail == "a transaction of the original server that had not ended at the target holds its lock"
    proof = Proof("paused", None, None, None, (), expected=(found,))
    assert "pgvault open 20261123T110000Z-01 ends the recovery" in proof.next_step("main", "20261123T110000Z-01")


def test_whoever_looks_around_is_told_on_what_a_query_would_wait(world: World, paused: Restored) -> None:
    seen: list[looking.Psql] = []
    asyncio.run(looking.look(copy_of(paused.verdict.plan), "postgres", load(world.config_file),
                             lambda psql: bool(seen.append(psql))))
    assert seen[0].locked == ("public.held",)


@pytest.mark.usefixtures("paused")
def test_a_table_is_read_by_whoever_may(world: World) -> None:
    """A role that may not read it, or does not exist there, is no reason not to know: the host's own psql may."""
    try:
        world.write_config(conninfo="host=127.0.0.1 user=nobody")
        assert look(world, table("here")) == Found(table("here"), Presence.THERE, 1500, True)
        world.write_config(conninfo="host=127.0.0.1 user=unknown")
        assert look(world, table("here")) == Found(table("here"), Presence.THERE, 1500, True)
    finally:
        world.write_config()


@pytest.mark.usefixtures("paused")
def test_a_table_that_nobody_may_read_is_not_known(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RestoredServer, "_login_paths", _ways_of("nobody"))
    found = look(world, table("here"))
    assert (found.presence, found.detail) == (Presence.UNKNOWN, "permission denied for table here")
    monkeypatch.setattr(RestoredServer, "_login_paths", _ways_of("unknown"))
    found = look(world, table("here"))
    assert found.presence is Presence.UNKNOWN
    assert 'role "unknown" does not exist' in found.detail


def _ways_of(user: str) -> Callable[[RestoredServer], list[ask.LoginPath]]:
    return lambda server: [ask.LoginPath(False, place, user) for place in server.places]


def test_one_that_is_missing_is_an_error_of_its_own(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is undone: the server runs, and goes on running."""
    data = world.root / "with one missing"
    monkeypatch.setattr(world, "port", free_port())
    world.write_config()
    try:
        done = world.cli("restore", "main", "auto", data, "--host", "target", "--target-name", "before", "--start",
                         "--yes", "--format", "json", "--expect", "postgres.public.here", "--expect",
                         "Postgres.Public.Made_Later")
        assert done.returncode == 3, done
        assert done.stdout == b""
        error = json.loads(done.stderr.splitlines()[-1])["error"]
        assert error["code"] == "not-right"
        assert error["message"] == ("the restored server runs, but postgres.public.made_later is missing: "
                                    "its database is there and has no such table")
        assert "postgres.public.here is there with 1500 rows" in error["detail"]
        assert str(data) in error["detail"]
        with psycopg.connect(f"host=127.0.0.1 port={world.port} user=postgres dbname=postgres") as connection:
            assert connection.execute("SELECT count(*) FROM here").fetchone() == (1500,)
            assert connection.execute("SELECT pg_is_in_recovery()").fetchone() == (False,)
        assert "recovery_target" not in (data / "postgresql.auto.conf").read_text()
    finally:
        world.stop(data)
        monkeypatch.undo()
        world.write_config()


def test_the_plan_shows_it_and_its_command_asks_for_it_again(world: World) -> None:
    names = ["--expect", "postgres.public.here", "--expect", str(ODD)]
    argv = ["restore", "main", "auto", world.root / "planned", "--host", "target", "--start", "--dry-run", "--port",
            free_port()]  # fmt: skip
    plan = world.cli(*argv, *names, "--format", "json", check=0).json()
    assert plan["expects"] == ["postgres.public.here", str(ODD)]
    words = shlex.split(plan["command"])
    assert [words[i + 1] for i, word in enumerate(words) if word == "--expect"] == plan["expects"]
    again = world.cli(*words[1:], "--dry-run", "--format", "json", check=0).json()
    assert (again["expects"], again["command"]) == (plan["expects"], plan["command"])
    assert f"Expects     : postgres.public.here, {ODD}" in world.cli(*argv, *names, check=0).text


def test_it_needs_a_server_that_runs(world: World) -> None:
    for request in ({"start": False}, {"action": TargetAction.SHUTDOWN}):
        with pytest.raises(UsageError, match="can be asked"):
            world.plan(AtName("before"), expects=(table("here"),), **request)
    done = world.cli("restore", "main", "--host", "target", "--expect", "public.here", "--start")
    assert done.returncode == 2
    assert "DATABASE.SCHEMA.TABLE" in done.stderr
