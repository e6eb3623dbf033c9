"""What can be done once a restore has proven itself: commands that run as they are copied, whatever the names."""

from __future__ import annotations

import shlex

from desk import NARROW, WIDE, Desk, press, screen
from hypothesis import given
from hypothesis import strategies as st
from recovery import DIRECTORY, draft_of, ready, recovering, running, succeeded, wizard

from pgvault.config.schema import HostConfig, ServerConfig
from pgvault.console.screens.text_box import TextBox
from pgvault.console.wizard.afterwards import (
    Address,
    afterwards,
    copied,
    copy_beside,
    dump_to,
    original,
    pattern,
    psql,
    restored,
    stop_and_remove,
)
from pgvault.console.wizard.draft import Draft, Then, What
from pgvault.console.wizard.steps import Step
from pgvault.model.relation import RelationName, parse_relation

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=14)
NASTY = NAMES | st.sampled_from(["Orders", "order items", "it's", 'say "hi"', "a.b", "*", "a?b", "$(rm)", "-x", "a=b",
                                 "postgresql://x", "select", "a\nb", "表"])
HERE, THERE = Address("/run/postgresql", 5433, "postgres"), Address("10.0.0.5", None, "dba")
SERVER = ServerConfig(name="main", conninfo="host=10.0.0.5 user=dba dbname=shop")
HOST = HostConfig(name="standby", ssh=None, local=True, port=5433, socket_directory="/run/postgresql")
DRAFT = Draft("main", directory="/srv/pg 18/main", expect=("shop.public.orders",), what=What.TABLE)


def by_name(draft: Draft, **plan: object) -> dict[str, str]:
    return {each.name: each.command or each.says for each in afterwards(draft, plan, SERVER, HOST, "34 s")}


def test_a_dropped_table_goes_back() -> None:
    assert by_name(DRAFT)["bring back"] == (
        "pg_dump -h /run/postgresql -p 5433 -U dba -d shop -t public.orders | "
        "psql -h 10.0.0.5 -U dba -d shop -v ON_ERROR_STOP=1 -1 -f -")


def test_changed_rows_come_beside_those_of_today() -> None:
    draft = Draft("main", directory="/x", expect=('shop.public."Order items"',), what=What.ROWS)
    assert by_name(draft)["bring back"] == (
        "psql -h /run/postgresql -p 5433 -U dba -d shop -c 'COPY public.\"Order items\" TO STDOUT' | "
        "psql -h 10.0.0.5 -U dba -d shop -v ON_ERROR_STOP=1 "
        "-c 'CREATE TABLE public.\"Order items_restored\" (LIKE public.\"Order items\")' "
        "-c 'COPY public.\"Order items_restored\" FROM STDIN'")


def test_tables_of_two_databases_go_back_by_two_commands() -> None:
    draft = Draft("main", directory="/x", expect=("shop.public.a", "shop.public.b", "crm.public.c"))
    commands = [each.command for each in afterwards(draft, {}, SERVER, HOST, "") if each.name == "bring back"]
    assert [command.count(" -t ") for command in commands] == [2, 1]


@given(NASTY, NASTY, NASTY)
def test_any_name_reaches_its_reader_as_it_is(database: str, schema: str, name: str) -> None:
    """What the shell hands on, read as pg_dump and libpq read it, is the table that was meant."""
    table = RelationName(database, schema, name)
    words = shlex.split(dump_to(HERE, THERE, [table]))
    dump, aim = words[:words.index("|")], words[words.index("|") + 1:]
    assert parse_relation(f"x.{dump[dump.index('-t') + 1]}") == RelationName("x", schema, name)
    for side in (dump, aim):
        assert _as_libpq_reads(side[side.index("-d") + 1]) == database
    for statement in (word for word in shlex.split(copy_beside(HERE, THERE, table)) if word.startswith("COPY ")):
        assert pattern(table)[:20] in statement or "_restored" in statement


@given(NASTY, NASTY, NASTY, st.sampled_from(["/srv/data", "/srv/a\nrm x", "/srv/\r b"]))
def test_what_is_pasted_brings_tables_back_and_does_nothing_else(database: str, schema: str, name: str,
                                                                 directory: str) -> None:
    draft = Draft("main", directory=directory, expect=(str(RelationName(database, schema, name)),), then=Then.PAUSE)
    steps = list(afterwards(draft, {}, SERVER, HOST, "1 s"))
    [dump] = [each.command for each in steps if each.name == "bring back"]
    assert shlex.split(copied(steps), comments=True) == shlex.split(dump)


def _as_libpq_reads(text: str) -> str:
    if "=" not in text and not text.startswith(("postgresql://", "postgres://")):
        return text
    assert text.startswith("dbname='")
    return text[8:-1].replace("\\'", "'").replace("\\\\", "\\")


def test_the_plan_says_where_the_restored_server_listens() -> None:
    listens = {"port": 6000, "addresses": ["localhost"], "socket_directories": ["/tmp/s"]}
    assert restored({"listens": listens}, SERVER, None) == Address("/tmp/s", 6000, "dba")
    assert restored({"listens": listens, "port": 6001}, SERVER, HOST) == Address("/tmp/s", 6001, "dba")
    assert restored({}, SERVER, HOST) == Address("/run/postgresql", 5433, "dba")
    by_conninfo = HostConfig(name="far", local=True, conninfo="host=far.example port=6543 user=me")
    assert restored({"listens": listens}, SERVER, by_conninfo) == Address("far.example", 6543, "me")


def test_a_password_is_never_told() -> None:
    assert original(ServerConfig(name="x", conninfo="host=a passfile=/secret user=u")) == Address("a", None, "u")


def test_an_original_that_is_only_known_here_is_told_so() -> None:
    near = ServerConfig(name="main", conninfo="host=/var/run/postgresql dbname=shop")
    notes = [each.note for each in afterwards(DRAFT, {}, near, HOST, "") if each.name == "bring back"]
    assert "from another machine, name it with -h" in notes[0]


def test_a_paused_server_is_opened_or_left() -> None:
    draft = Draft("main", directory="/srv/pg 18/main", then=Then.PAUSE, tablespaces=(("fast", "/mnt/f"),))
    told = by_name(draft)
    assert told["open it"] == "psql -h /run/postgresql -p 5433 -U dba -d shop -c 'SELECT pg_wal_replay_resume()'"
    assert "took 34 s" in told["other point"]
    assert told["throw away"] == "pg_ctl stop -D '/srv/pg 18/main' -m fast && rm -r '/srv/pg 18/main' /mnt/f"
    assert stop_and_remove(draft, HostConfig(name="h", local=True, stop_command="systemctl stop pg")).startswith(
        "systemctl stop pg && rm")
    assert "open it" not in by_name(DRAFT)
    assert psql(HERE, "a=b") == "psql -h /run/postgresql -p 5433 -U postgres -d 'dbname='\"'\"'a=b'\"'\"''"


# On the screen


async def test_the_proof_leads_on(desk: Desk) -> None:
    ready(desk)
    succeeded(desk)
    for size in (NARROW, WIDE):
        async with recovering(desk, *["enter"] * 4, size=size) as pilot:
            assert wizard(pilot).draft.step is Step.PROOF
            text = " ".join(screen(pilot).translate(dict.fromkeys(map(ord, "┃│"), " ")).split())
            assert "bring back public.orders to main" in text
            assert "pg_dump -h /run/postgresql -p 5432 -U postgres -d shop -t public.orders | psql" in text
            assert "y copy commands" in screen(pilot).splitlines()[-1]
            await press(pilot, "y")
            assert isinstance(pilot.app.screen, TextBox)
            assert "pg_dump -h /run/postgresql -p 5432 -U postgres -d shop -t public.orders | " \
                   "psql -h nowhere -d shop -v ON_ERROR_STOP=1 -1 -f -\n" in pilot.app.screen._text
            assert "# psql -h /run/postgresql" in pilot.app.screen._text
            assert "rm -r" not in pilot.app.screen._text
            run = [line for line in pilot.app.screen._text.splitlines() if not line.startswith("#")]
            assert [line.partition(" ")[0] for line in run] == ["pg_dump"]  # all that pasting it does
            await press(pilot, "escape", "enter")


async def test_another_point_after_a_look_is_chosen_with_all_that_was_said(desk: Desk) -> None:
    ready(desk)
    succeeded(desk)
    async with recovering(desk, "enter", "enter", "tab", "tab", "right", "enter", "enter") as pilot:
        assert wizard(pilot).draft.then is Then.PAUSE
        assert wizard(pilot).draft.step is Step.PROOF
        assert "t another point" in screen(pilot).splitlines()[-1]
        await press(pilot, "t")
        draft = wizard(pilot).draft
        assert (draft.step, draft.job, draft.directory, draft.then) == (Step.POINT, "", DIRECTORY, Then.PAUSE)
        assert draft_of(desk) == draft


async def test_the_notice_of_a_loss_ends_with_its_recovery(desk: Desk) -> None:
    """By what a job has proven, whoever started it; not by one that only ended."""
    ready(desk)
    lost = {"notice": "orders was dropped just after 11:40:12Z. Press r to bring it back.", "lost": "orders"}
    running(desk, desk.ended("restored to standby:/srv/pg/18/main, ready to be started"), lives=False)
    async with desk.open(**lost) as pilot:
        assert "Press r to bring it back" in screen(pilot)
        job = succeeded(desk)
        await pilot.app.read_jobs()
        assert f"recovered to standby at 12:00:00Z by job {job}" in screen(pilot)
        assert "Press r" not in screen(pilot)
