"""A SQL session of pgvault's own settings, whatever a site sets for its roles, its databases and at each login."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta

import pytest
from support.fleet import Fleet
from support.postgres import Server

from pgvault.config.schema import ServerConfig
from pgvault.engine.check.server_state import ask
from pgvault.engine.restore.ask import _ByPsql
from pgvault.engine.switch import switch_wal
from pgvault.io.hosts import open_host
from pgvault.io.patience import run
from pgvault.io.postgres import begin, connect, connection_parameters, session, session_settings
from pgvault.model.majors import facts_of

SITE = {
    "DateStyle": "German, DMY", "IntervalStyle": "sql_standard", "TimeZone": "<+0330>-3:30",
    "default_transaction_isolation": "serializable", "default_transaction_read_only": "on",
    "default_transaction_deferrable": "on", "search_path": "site, pg_catalog", "statement_timeout": "20ms",
    "lock_timeout": "1ms", "idle_in_transaction_session_timeout": "1ms", "client_encoding": "LATIN1",
    "row_security": "on", "role": "nobody_at_all", "extra_float_digits": "-15", "bytea_output": "escape",
    "standard_conforming_strings": "off", "quote_all_identifiers": "on", "synchronous_commit": "remote_apply",
    "jit_above_cost": "0"}


@pytest.fixture
def odd(fleet: Fleet, major: int) -> Iterator[Server]:
    """A shared server with a role, and a database, of the oddest settings."""
    server = fleet.shared(major)
    server.sql("CREATE ROLE nobody_at_all")
    server.sql("CREATE ROLE odd SUPERUSER LOGIN")
    server.sql("CREATE DATABASE oddities")
    for name, value in SITE.items():
        if name == "standard_conforming_strings" and major >= 19:
            continue  # it is always on there
        setting = "site, pg_catalog" if name == "search_path" else f"'{value}'"
        server.sql(f"ALTER ROLE odd SET {name} = {setting}")
    with server.connect("oddities") as connection:
        connection.execute("CREATE SCHEMA site")
        connection.execute("CREATE FUNCTION site.pg_is_in_recovery() RETURNS bool LANGUAGE sql AS 'SELECT 1/0 = 1'")
        connection.execute("CREATE VIEW site.pg_settings AS SELECT 1/0 AS name, 'nothing' AS setting")
    yield server
    server.sql("DROP DATABASE oddities WITH (FORCE)")
    server.sql("DROP ROLE odd")
    server.sql("DROP ROLE nobody_at_all")


def config(server: Server, more: str = "") -> ServerConfig:
    return ServerConfig(name="odd", conninfo=f"host=127.0.0.1 port={server.port} user=odd dbname=oddities {more}")


def test_a_session_reads_and_rules_as_pgvault_needs_it(odd: Server) -> None:
    with session(config(odd)) as sql:
        row = sql.execute(
            "SELECT now(), interval '1 day 02:03:04', '\\x00'::bytea, 1.1::float8, current_user::text,"
            " current_setting('transaction_isolation'), current_setting('transaction_read_only'), 'ä\\'").fetchone()
        assert row
        now, interval, binary, number, user, isolation, read_only, text = row
        assert isinstance(now, datetime)
        assert interval == timedelta(days=1, hours=2, minutes=3, seconds=4)
        assert (binary, number, user, isolation, read_only, text) == (
            b"\0", 1.1, "odd", "read committed", "off", "ä\\")
        sql.execute("SELECT pg_sleep(0.1)")


def test_facts_and_acts_are_the_same_as_elsewhere(odd: Server) -> None:
    told = ask(config(odd), size=True)
    assert told.may_replicate
    assert told.database == "oddities"
    assert told.settings["max_wal_senders"].isdigit()
    assert told.cluster_bytes
    assert told.archiver.failures >= 0
    assert len(switch_wal(config(odd)).segment) == 24


def test_a_check_and_a_users_own_options_go_together(odd: Server) -> None:
    with session(config(odd, "options='-c work_mem=123kB -c DateStyle=German'"),
                 settings={"statement_timeout": "7s"}) as sql:
        row = sql.execute("SELECT current_setting('work_mem'), current_setting('statement_timeout'), now()").fetchone()
    assert row
    assert row[:2] == ("123kB", "7s")
    assert isinstance(row[2], datetime)


def test_a_replication_session_needs_none_of_them(odd: Server) -> None:
    with closing(connect(config(odd), replication=True)) as connection:
        row = connection.execute("IDENTIFY_SYSTEM").fetchone()
        assert row
        assert row[1] == 1


@pytest.fixture(params=["statement_timeout", "idle_session_timeout", "transaction_timeout"])
def hasty(odd: Server, major: int, request: pytest.FixtureRequest) -> Server:
    """The role also has one of the timeouts that can end a session before pgvault has set its own."""
    if request.param not in ("statement_timeout", *facts_of(major).session_timeouts):
        pytest.skip(f"PostgreSQL {major} has no {request.param}")
    odd.sql(f"ALTER ROLE odd SET {request.param} = '1ms'")
    return odd


LASTING = "SELECT current_setting('work_mem'), pg_sleep(0.01)"


def test_a_sites_timeout_ends_no_session_before_its_settings_take_hold(hasty: Server) -> None:
    for _ in range(40):  # not every session is slow enough to be ended
        with session(config(hasty, "options='-c work_mem=123kB'")) as sql:
            assert sql.execute(LASTING).fetchone() == ("123kB", "")


@pytest.mark.parametrize("local", [False, True])
def test_nor_one_of_a_proof_or_a_bring_back(hasty: Server, local: bool) -> None:
    async def ask() -> None:
        for _ in range(40):
            parameters = connection_parameters(config(hasty, "options='-c work_mem=123kB'").conninfo)
            async with await begin(parameters, {"lock_timeout": "3s"}, local=local) as sql:
                assert await (await sql.execute(LASTING)).fetchone() == ("123kB", "")

    run(ask())


def test_nor_one_of_psql(hasty: Server) -> None:
    async def ask() -> None:
        async with await open_host("this machine", None) as host:
            target = f"host=127.0.0.1 port={hasty.port} user=odd dbname=oddities"
            for _ in range(15):
                asked = _ByPsql(host, str(hasty.installation.program("psql").parent), target, hasty.major)
                assert await asked.document("SELECT to_json(true) FROM pg_sleep(0.01)")

    run(ask())


def test_a_setting_that_a_server_does_not_know_is_not_set() -> None:
    assert "idle_session_timeout" not in session_settings(130000)
    assert "transaction_timeout" not in session_settings(160000)
    assert "SET LOCAL transaction_timeout = '0'" in session_settings(170000, local=True)
