"""Proofs on sites as they are: other settings, refused logins, servers that pause, stand still or lack a file."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
from support.fleet import Fleet
from support.ssh import SshHost, start_ssh_host
from target_world import Restored, World, end_world, make_world

from pgvault.engine.restore import ask, contents, prove
from pgvault.model.errors import NotRight, PgvaultError, Unreachable
from pgvault.model.event import Checked, Event, PhaseStarted
from pgvault.model.relation import RelationName
from pgvault.model.target import AtName, EndOfWal, Immediate, TargetAction

NOBODY = r"printf 'local all all reject\nhost all all all reject\n' >pg_hba.conf"
ENOUGH = "-c max_prepared_transactions=12"
DELAYED = "echo recovery_min_apply_delay = 1h >>postgresql.auto.conf"
UNSEEN = r"printf 'local template1 pauser trust\nlocal all all reject\nhost all all all reject\n' >pg_hba.conf"
PEOPLE = r"printf 'local all stranger reject\nlocal all all trust\nhost all all all reject\n' >pg_hba.conf"


@pytest.fixture(scope="module")
def world(fleet: Fleet, ssh_hosts: Callable[[str], SshHost]) -> Iterator[World]:
    """Value 1, then the restore point `between`, then a higher limit, the restore point `raised`, value 2."""
    made = make_world(fleet, ssh_hosts("asyncssh"), megabytes=1)
    server = made.server
    server.sql("CREATE TABLE logged (value int)")
    server.sql("CREATE TABLE held (value int)")
    server.sql("CREATE TABLE lost (value int)")
    server.sql("INSERT INTO lost VALUES (1)")
    server.sql("CREATE ROLE stranger LOGIN")
    server.sql("CREATE ROLE pauser LOGIN SUPERUSER")
    server.sql("CREATE DATABASE shop")
    server.sql("CREATE SCHEMA trap")
    for name in ("pg_is_in_recovery() RETURNS bool", "pg_last_wal_replay_lsn() RETURNS pg_lsn"):
        server.sql(f"CREATE FUNCTION trap.{name} LANGUAGE plpgsql AS "
                   "'BEGIN RAISE EXCEPTION ''what users made was run''; END'")
    server.sql("ALTER DATABASE postgres SET IntervalStyle = sql_standard")
    for setting in ("DateStyle = 'SQL, DMY'", "default_transaction_isolation = serializable",
                    "search_path = trap, pg_catalog", "role = stranger"):
        server.sql(f"SET role = postgres; ALTER ROLE postgres IN DATABASE postgres SET {setting}")
    made.backup()
    server.sql("SET role = postgres; INSERT INTO public.logged VALUES (1)")
    server.sql("SET role = postgres; SELECT pg_create_restore_point('between')")
    server.sql("SET role = postgres; ALTER ROLE postgres IN DATABASE postgres RESET ALL")
    server.configure({"max_prepared_transactions": 12})
    server.restart()
    server.sql("BEGIN; LOCK TABLE public.held; PREPARE TRANSACTION 'it''s open'")
    server.sql("SELECT pg_create_restore_point('raised')")
    server.sql("INSERT INTO logged VALUES (2)")
    made.take_wal()
    yield made
    server.sql("ROLLBACK PREPARED 'it''s open'")
    end_world(fleet, made)


@contextmanager
def started_by(world: World, before: str = "", options: str = ENOUGH, user: str = "") -> Iterator[None]:
    """A start command that does something in the data directory first, or gives options; another role of pgvault's."""
    written = world.config_file.read_text()
    pg_ctl = world.server.installation.program("pg_ctl")
    line = (f'cd {world.root}/restored-* && {before or "true"} && {pg_ctl} start -D "$PWD" -s -W '
            f'-l pgvault-recovery.log{f" -o {options!r}" if options else ""}')
    text = written.replace("user=postgres", f"user={user}") if user else written
    world.config_file.write_text(f"{text}\nstart_command = '''{line}'''\n")
    try:
        yield
    finally:
        world.config_file.write_text(written)


def table(name: str) -> RelationName:
    return RelationName("postgres", "public", name)


# Whoever is asked, in whatever session


@pytest.mark.parametrize("action", [TargetAction.PROMOTE, TargetAction.PAUSE])
def test_settings_of_roles_and_databases_change_nothing(world: World, action: TargetAction) -> None:
    with world.restored(AtName("between"), action=action, expects=(table("logged"),)) as restored:
        proof = restored.verdict.proof
        assert proof.state == ("promoted" if action is TargetAction.PROMOTE else "paused")
        assert proof.last_commit is not None
        assert proof.refusal == ""
        assert [found.rows for found in proof.expected] == [1]


@pytest.mark.parametrize(("way", "before", "options", "user"), [
    ("another role", PEOPLE, ENOUGH, "stranger"),
    ("an abstract socket", "", "-c unix_socket_directories=@pgvault-tests -c listen_addresses=", ""),
    ("another database", NOBODY.replace("local", "local template1 all trust\\nlocal"), ENOUGH, ""),
])  # fmt: skip
def test_some_way_in_is_found(world: World, way: str, before: str, options: str, user: str) -> None:
    with started_by(world, before, options, user), world.restored(AtName("between")) as restored:
        proof = restored.verdict.proof
        assert (proof.state, proof.timeline > 1, proof.refusal) == ("promoted", True, ""), way
        assert proof.last_commit is not None


@pytest.mark.parametrize(("target", "request_", "state"), [
    (AtName("between"), {}, "promoted"), (EndOfWal(), {}, "promoted"),
    (AtName("between"), {"action": TargetAction.PAUSE}, "paused"),
    (Immediate(), {"action": TargetAction.PAUSE}, "paused"), (EndOfWal(), {"standby": True}, "following")])
def test_without_any_login_files_and_log_prove_it(world: World, target: object, request_: dict[str, object],
                                                  state: str) -> None:
    with started_by(world, NOBODY), world.restored(target, **request_) as restored:
        proof = restored.verdict.proof
        assert proof.state == state
        assert "reject" in proof.refusal
        assert (proof.timeline or 0) > 1 if state == "promoted" else proof.timeline is None
        assert "by its files and its log, since it takes no login" in str(restored.verdict)


def test_without_a_login_and_without_a_sign_it_ends_with_the_refusal(world: World,
                                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prove, "REFUSED_SECONDS", 3.0)
    quiet = f"{NOBODY} && echo \"log_min_messages = fatal\" >>postgresql.auto.conf"
    with pytest.raises(PgvaultError) as failed, started_by(world, quiet), \
            world.restored(AtName("between"), action=TargetAction.PAUSE):
        pass
    assert "could not log in to the restored server" in failed.value.message
    assert "pg_hba.conf rejects" in failed.value.detail


# What it lacks


def test_a_prepared_transaction_is_reported_with_its_locks(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask, "LOCK_SECONDS", 0.5)
    with started_by(world), world.restored(AtName("raised")) as restored:
        prepared = restored.verdict.proof.prepared
        assert [(each.gid, each.owner, each.database, each.locks) for each in prepared] == [
            ("it's open", "postgres", "postgres", ("AccessExclusiveLock on public.held",))]
        assert "COMMIT PREPARED 'it''s open' or ROLLBACK PREPARED 'it''s open'" in prepared[0].step
        warned = [each for each in restored.events if isinstance(each, Checked)]
        assert [(each.check, each.outcome) for each in warned] == [("prepared transactions", "warning")]
        planned = restored.verdict.plan.source.prepared
        assert [(each.gid, each.owner, each.database, each.locks) for each in planned] == [
            (each.gid, each.owner, each.database, each.locks) for each in prepared]
    with started_by(world), world.restored(AtName("raised"), action=TargetAction.PAUSE) as restored:
        assert restored.verdict.proof.prepared == restored.verdict.plan.source.prepared == planned
        (paused,) = (each for each in restored.events if isinstance(each, Checked))
        assert paused.hint == ("Once it is promoted. In postgres, as postgres or a superuser: COMMIT PREPARED "
                               "'it''s open' or ROLLBACK PREPARED 'it''s open'.")
    with started_by(world), pytest.raises(NotRight) as lacking, \
            world.restored(AtName("raised"), expects=(table("held"),)):
        pass
    assert "the prepared transaction \"it's open\" of postgres holds its AccessExclusiveLock" in lacking.value.message


def test_a_table_without_its_file_is_missing(world: World) -> None:
    file = world.server.scalar("SELECT pg_catalog.pg_relation_filepath('public.lost')")
    with started_by(world, f"rm {file}"), pytest.raises(NotRight) as lacking, \
            world.restored(AtName("between"), expects=(table("logged"), table("lost"))):
        pass
    assert "postgres.public.lost is missing: its name is there, its rows cannot be read: could not open file" \
        in lacking.value.message
    assert "logged is there with 1 row" in lacking.value.detail


def test_a_table_whose_long_values_have_no_file_is_missing(world: World) -> None:
    server = world.server
    file = server.scalar("SELECT pg_catalog.pg_relation_filepath(2619::regclass)")  # pg_statistic: not needed here
    toast = server.scalar("SELECT pg_catalog.pg_relation_filepath(reltoastrelid) FROM pg_catalog.pg_class "
                          "WHERE oid = 2619")
    assert file != toast
    with started_by(world, f"rm {toast}"), pytest.raises(NotRight) as lacking, \
            world.restored(AtName("between"), expects=(RelationName("postgres", "pg_catalog", "pg_statistic"),)):
        pass
    assert "cannot be read: could not open file" in lacking.value.message


def test_a_database_that_cannot_be_opened_is_no_success(world: World) -> None:
    oid = world.server.scalar("SELECT oid FROM pg_catalog.pg_database WHERE datname = 'shop'")
    with started_by(world, f"rm -r base/{oid}"), pytest.raises(NotRight) as lacking, \
            world.restored(AtName("between")):
        pass
    assert "database shop cannot be opened" in lacking.value.message
    assert "Files of that database are missing" in lacking.value.hint


# Where it stops


@pytest.mark.parametrize("action", [TargetAction.PROMOTE, TargetAction.PAUSE])
def test_a_pause_before_the_target_is_an_error_with_its_reason(world: World, action: TargetAction) -> None:
    """PostgreSQL 14 and later pause where a limit is too small; this server got it on its command line."""
    with pytest.raises(PgvaultError) as failed, started_by(world, options="-c max_prepared_transactions=8"), \
            world.restored(AtName("raised"), action=action):
        pass
    assert "is paused at " in failed.value.message
    assert failed.value.message.endswith(": max_prepared_transactions must be 12")
    assert "max_prepared_transactions = 12" in failed.value.hint


@contextmanager
def pausing(world: World) -> Iterator[None]:
    """Someone pauses the replay as soon as the restored server, which delays commits until then, lets them in."""
    over = threading.Event()

    def pause(connection: psycopg.Connection[tuple[str]]) -> None:
        connection.execute("SELECT pg_wal_replay_pause()")
        [directory] = connection.execute("SHOW data_directory").fetchone() or ("",)
        with (Path(directory) / "postgresql.auto.conf").open("a") as settings:
            settings.write("recovery_min_apply_delay = 0\n")
        connection.execute("SELECT pg_reload_conf()")
        over.set()

    def wait() -> None:
        where = f"host={world.root} port={world.port} user=pauser dbname=template1"
        while not over.wait(0.05):
            with suppress(psycopg.Error), psycopg.connect(where, autocommit=True) as connection:
                pause(connection)

    thread = threading.Thread(target=wait)
    thread.start()
    yield
    over.set()
    thread.join()


@pytest.mark.parametrize(("request_", "before"), [
    ({}, ""), ({"action": TargetAction.PAUSE}, ""), ({"standby": True}, ""), ({}, f" && {UNSEEN}")])
def test_who_pauses_the_replay_is_heard_of_at_once(world: World, monkeypatch: pytest.MonkeyPatch,
                                                   request_: dict[str, object], before: str) -> None:
    """Also where the proof is let in nowhere and has the log alone."""
    monkeypatch.setattr(prove, "SILENT_SECONDS", 20.0)
    target = EndOfWal() if "standby" in request_ else AtName("raised")
    with pausing(world), pytest.raises(PgvaultError) as failed, started_by(world, f"{DELAYED}{before}"), \
            world.restored(target, **request_):
        pass
    assert failed.value.message.startswith("the restored server is paused")
    assert ("pg_wal_replay_pause() was called" in failed.value.message) is ("action" not in request_)
    assert "SELECT pg_wal_replay_resume()" in failed.value.hint


def test_a_limit_that_is_too_small_from_the_beginning_is_named(world: World) -> None:
    with pytest.raises(PgvaultError) as failed, started_by(world, options="-c max_prepared_transactions=2"), \
            world.restored(AtName("raised"), action=TargetAction.PAUSE):
        pass
    assert "ended before it reached the target" in failed.value.message
    assert "max_prepared_transactions = 2 is a lower setting" in failed.value.detail


def test_a_replay_that_stands_still_ends_the_wait(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prove, "SILENT_SECONDS", 3.0)
    monkeypatch.setattr(contents, "RESTORE_COMMAND", "sleep 30; exit 1")
    with pytest.raises(PgvaultError) as failed, world.restored(AtName("between")):
        pass
    assert "stands still" in failed.value.message
    assert re.search(r"nothing moved for \d+ s", failed.value.message)


def test_a_destination_that_goes_away_is_reported_as_that(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The restored files are there; nobody saw what became of the server."""
    monkeypatch.setattr(contents, "RESTORE_COMMAND", "sleep 5; exit 1")
    own = start_ssh_host("asyncssh")
    try:
        monkeypatch.setattr(world, "_ssh", own)
        world.write_config()
        data = world.root / "gone"

        def emit(event: Event) -> None:
            if isinstance(event, PhaseStarted) and event.phase == "recover":
                own.stop()

        with pytest.raises(Unreachable) as lost:
            asyncio.run(world._restore(AtName("between"), data, emit))
        assert "The restored files are complete" in lost.value.detail
        assert str(data) in lost.value.hint
    finally:
        monkeypatch.undo()
        world.write_config()
        world.stop(world.root / "gone")
        own.close()


def test_no_session_of_the_proof_is_left(world: World) -> None:
    with world.restored(AtName("between")) as restored:
        assert _others(restored) == []


def _others(restored: Restored) -> list[object]:
    return restored.column("SELECT pid FROM pg_catalog.pg_stat_activity WHERE application_name = 'pgvault'")
