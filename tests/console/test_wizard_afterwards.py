"""What can be done once a restore has proven itself: acts, planned and confirmed, and said to be done when they are."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable
from typing import Any

import pytest
from desk import NARROW, WIDE, Desk, failure, press, screen, settle, toasts, words, write
from hypothesis import given
from hypothesis import strategies as st
from recovery import DIRECTORY, condition, draft_of, ready, recovering, running, succeeded, wizard
from textual.widgets import Input

from pgvault.console.commands import Answer
from pgvault.console.recovery.afterwards import afterwards, copied
from pgvault.console.recovery.draft import Draft, Then, What
from pgvault.console.recovery.steps import Step
from pgvault.console.restored_plans import bring_back_fields
from pgvault.console.screens.asking import AskObjects
from pgvault.console.screens.confirm import Confirm
from pgvault.console.screens.job import JobScreen
from pgvault.console.screens.text_box import FailureBox, TextBox
from pgvault.console.wizard import proof_step
from pgvault.console.wizard.proof_step import ProofStep
from pgvault.console.wizard.screen import RecoveryScreen
from pgvault.io.quoting import join
from pgvault.model.errors import PgvaultError
from pgvault.model.event import PhaseStarted
from pgvault.model.job import JobKind, JobState
from pgvault.model.relation import RelationName, parse_objects, parse_relation

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=14)
NASTY = NAMES | st.sampled_from(["Orders", "order items", "it's", 'say "hi"', "a.b", "*", "a?b", "$(rm)", "-x", "a=b",
                                 "postgresql://x", "select", "a\nb", "表"])
JOB = "20261123T110000Z-01"
DRAFT = Draft("main", directory="/srv/pg 18/main", expect=("shop.public.orders",), what=What.TABLE, job=JOB)
PROOF = ["enter"] * 4
"""The keys from the first step to the proof."""


def line(words: Any) -> str:
    return join(["pgvault", *words])


def by_action(draft: Draft) -> dict[str, list[tuple[str, ...]]]:
    found: dict[str, list[tuple[str, ...]]] = {}
    for each in afterwards(draft, "34 s"):
        found.setdefault(each.action, []).append(each.words)
    return found


def test_each_act_has_its_verb() -> None:
    assert by_action(DRAFT) == {
        "bring-back": [("bring-back", JOB, "shop.public.orders")], "look": [("look", JOB)],
        "lift": [("open", JOB, "--lift")],
        "throw-away": [("throw-away", JOB, "--remove", "/srv/pg 18/main")]}
    paused = Draft("main", directory="/x", then=Then.PAUSE, job=JOB,
                   expect=("shop.public.a", "shop.public.b", "crm.x.c"))
    assert by_action(paused)["bring-back"] == [("bring-back", JOB, "shop.public.a", "shop.public.b"),
                                               ("bring-back", JOB, "crm.x.c")]
    assert by_action(paused)["open-copy"] == [("open", JOB)]
    assert "took 34 s" in next(each.says for each in afterwards(paused, "34 s") if each.action == "retry")


@given(NASTY, NASTY, NASTY, st.sampled_from(["/srv/data", "/srv/a\nrm x", "/srv/\r b"]))
def test_any_name_reaches_its_reader_and_what_is_pasted_brings_back_alone(database: str, schema: str, name: str,
                                                                          directory: str) -> None:
    table = RelationName(database, schema, name)
    draft = Draft("main", directory=directory, expect=(str(table),), then=Then.PAUSE, job=JOB)
    words = shlex.split(copied(list(afterwards(draft, "1 s")), line), comments=True)
    assert words[:3] == ["pgvault", "bring-back", JOB]
    assert [parse_relation(word) for word in words[3:]] == [table]
    assert parse_objects(f"{table}  {table}") == [table, table]


# On the screen


def plan(*conditions: dict[str, str], beside: str | None = None) -> dict[str, Any]:
    """The answer of bring-back to --dry-run."""
    return {"plan": "bring-back", "server": "main", "copy": JOB, "database": "shop", "schemas": [],
            "tables": ["shop.public.orders"], "beside": beside, "why": beside and "main has public.orders already",
            "act": "bring public.orders into its place in shop", "bytes": 98304,
            "relations": [{"schema": "public", "name": "orders", "kind": "table", "bytes": 98304},
                          {"schema": "public", "name": "orders_id_seq", "kind": "sequence", "bytes": 0}],
            "left": ["View shop.public.cheap used it and went with it: pgvault bring-back ..."],
            "preconditions": list(conditions),
            "command": f"pgvault bring-back {JOB} shop.public.orders --as-it-was"}


def test_a_plan_says_what_comes_where_to_and_what_does_not() -> None:
    told = [(each.name, each.text) for each in bring_back_fields(plan(beside="public_restored"))]
    assert ("brings", "shop.public.orders: 1 table, 96.0 KiB") in told
    assert ("into", "shop of main, schema public_restored, beside what is there") in told
    assert ("", "main has public.orders already.") in told
    assert ("left out", plan()["left"][0]) in told


async def test_the_proof_leads_on(desk: Desk) -> None:
    ready(desk)
    job = succeeded(desk)
    for size in (NARROW, WIDE):
        async with recovering(desk, *PROOF, size=size) as pilot:
            assert wizard(pilot).draft.step is Step.PROOF
            text = " ".join(screen(pilot).translate(dict.fromkeys(map(ord, "┃│"), " ")).split())
            assert "b bring back as it was: public.orders to main; its plan is shown first pgvault" in text
            assert f"bring-back {wizard(pilot).draft.job} shop.public.orders" in text
            assert "b bring back s look D throw away" in " ".join(screen(pilot).splitlines()[-1].split())
            await press(pilot, "c")
            assert f"bring-back {job} shop.public.orders" in " ".join(pilot.app.screen._text.split())
            await press(pilot, "escape", "y")
            assert isinstance(pilot.app.screen, TextBox)
            run = [each for each in pilot.app.screen._text.splitlines() if not each.startswith("#")]
            assert [each.split()[3] for each in run] == ["bring-back"]  # all that pasting it does
            assert "throw-away" not in pilot.app.screen._text
            await press(pilot, "escape", "enter")


async def test_before_the_result_is_read_enter_does_nothing_and_esc_keeps_the_draft(
        desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """An Enter that is typed ahead would otherwise forget the job of a restore that succeeded."""
    ready(desk)
    job = succeeded(desk)
    may_read, read = asyncio.Event(), proof_step.run_query

    async def read_later(query: Callable[[], object], doing: str) -> object:
        await may_read.wait()
        return await read(query, doing)

    monkeypatch.setattr(proof_step, "run_query", read_later)
    async with recovering(desk, *PROOF[:-1]) as pilot:
        await pilot.press("enter")
        while not (isinstance(pilot.app.screen, RecoveryScreen) and isinstance(pilot.app.screen.stage, ProofStep)):
            await pilot.pause(0.01)
        await pilot.pause()
        assert "change the plan" not in screen(pilot)
        await pilot.press("enter")
        await pilot.pause()
        assert "the job's result is still being read" in toasts(pilot)
        assert (wizard(pilot).draft.step, wizard(pilot).draft.job) == (Step.PROOF, job)
        may_read.set()
        await settle(pilot)
        assert "enter done" in screen(pilot)
        monkeypatch.setattr(proof_step, "run_query", read)
        await press(pilot, "enter")
        assert draft_of(desk) is None


async def test_a_job_that_cannot_be_read_is_read_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    ready(desk)
    job = succeeded(desk)

    async def fail(query: Callable[[], object], doing: str) -> object:
        return PgvaultError("could not read the job", detail="Input/output error.")

    with monkeypatch.context() as context:
        context.setattr(proof_step, "run_query", fail)
        async with recovering(desk, *PROOF) as pilot:
            assert "enter read it again" in screen(pilot)
            await press(pilot, "escape")
            assert not isinstance(pilot.app.screen, RecoveryScreen)
            kept = draft_of(desk)
            assert kept
            assert kept.job == job
            await press(pilot, "r", "enter")
            context.undo()
            await press(pilot, "enter")
            assert "enter done" in screen(pilot)


async def test_a_server_that_lacks_an_expected_table_can_be_looked_at_and_thrown_away(desk: Desk) -> None:
    ready(desk)
    lacks = failure("the restored server runs, but shop.public.orders could not be looked for", exit_code=3)
    running(desk, PhaseStarted("copy", 144 << 20, desk.now), desk.ended(state=JobState.FAILED, error=lacks.failure),
            lives=False)
    async with recovering(desk, *PROOF) as pilot:
        assert wizard(pilot).draft.step is Step.PROOF
        assert "failed       the restored server runs, but" in screen(pilot)
        assert "b bring back s look D throw away" in " ".join(screen(pilot).splitlines()[-1].split())


async def test_a_table_is_brought_back_by_its_plan_one_confirmation_and_a_job(desk: Desk) -> None:
    """What is said of it is what its job says: that it runs, that it failed, that it is done."""
    ready(desk)
    job = succeeded(desk)
    desk.says(f"bring-back {job} shop.public.orders --dry-run", plan())
    async with recovering(desk, *PROOF) as pilot:
        await press(pilot, "b")
        assert isinstance(pilot.app.screen, Confirm)
        assert "1 table, 96.0 KiB" in screen(pilot)
        await press(pilot, "enter")  # the cursor begins on what changes nothing
        assert pilot.app.queries.commands.asked[-1][-1] == "--dry-run"
        begun = desk.job(PhaseStarted("copy", 1000, desk.now), kind=JobKind.BRING_BACK, lives=True, started=desk.now,
                         command=f"pgvault bring-back {job} shop.public.orders --as-it-was")
        desk.says(f"bring-back {JOB} shop.public.orders", {"job": begun})
        await press(pilot, "b")
        await press(pilot, "down", "enter")
        assert pilot.app.queries.commands.asked[-1] == (
            "bring-back", JOB, "shop.public.orders", "--as-it-was", "--yes", "--detach")
        assert f"running, job {begun}" in screen(pilot)
        assert "brought back" not in screen(pilot)
        failed = desk.job(desk.ended(state=JobState.FAILED, error=failure("pg_dump ended badly").failure),
                          kind=JobKind.BRING_BACK, started=desk.now,
                          command=f"pgvault bring-back {job} shop.public.orders")
        await pilot.app.read_jobs()
        await settle(pilot)
        assert f"failed, job {failed}: pg_dump ended badly" in screen(pilot)
        await press(pilot, "G")  # to the proof's end: what comes of it is seen all the same
        assert f"failed, job {failed}" not in screen(pilot)
        desk.job(desk.ended("brought back into shop of main: public.orders (1500 rows)"), kind=JobKind.BRING_BACK,
                 started=desk.now, command=f"pgvault bring-back {job} shop.public.orders")
        await pilot.app.read_jobs()
        await settle(pilot)
        assert "bring back   brought back into shop of main: public.orders (1500 rows)" in screen(pilot)
        assert "pg_dump ended badly" not in screen(pilot)


async def test_what_cannot_be_brought_back_says_why_and_begins_nothing(desk: Desk) -> None:
    ready(desk)
    job = succeeded(desk)
    refused = Answer(5, (plan(condition("roles", "failed", "main has no role clerk.", "--no-owner")),), None)
    desk.says(f"bring-back {job} shop.public.orders --dry-run", answer=refused)
    async with recovering(desk, *PROOF) as pilot:
        await press(pilot, "b")
        assert isinstance(pilot.app.screen, FailureBox)
        assert "main has no role clerk." in screen(pilot)
        await press(pilot, "escape")
        desk.says(f"bring-back {job} shop.public.orders --dry-run", answer=failure("main cannot be reached"))
        await press(pilot, "b")
        assert "main cannot be reached" in screen(pilot)
        begun = [words[0] for words in pilot.app.queries.commands.asked if "--detach" in words]
        assert begun == ["restore"]


async def test_a_restored_server_is_thrown_away_by_its_directory_typed(desk: Desk) -> None:
    ready(desk)
    job = succeeded(desk)
    desk.says(f"throw-away {job} --dry-run", {
        "plan": "throw-away", "server": "main", "host": "standby", "removes": [DIRECTORY], "runs": True,
        "bytes": 1 << 20, "act": "stop the server and remove it", "preconditions": [],
        "command": f"pgvault throw-away {job} --remove {DIRECTORY}"})
    async with recovering(desk, *PROOF) as pilot:
        await press(pilot, "D")
        await write(pilot, DIRECTORY[:-1])
        await press(pilot, "enter")
        assert f"that is not {DIRECTORY}; nothing was done" in screen(pilot)
        gone = desk.job(desk.ended(f"thrown away: standby:{DIRECTORY}"), kind=JobKind.THROW_AWAY, started=desk.now,
                        command=f"pgvault throw-away {job} --remove {DIRECTORY}")
        desk.says(f"throw-away {job} --remove", {"job": gone})
        await write(pilot, DIRECTORY[-1])
        await press(pilot, "enter")
        assert pilot.app.queries.commands.asked[-1] == ("throw-away", job, "--remove", DIRECTORY, "--detach")
        assert "thrown away: standby" in screen(pilot)
        assert toasts(pilot)[-1:] == [f"throw away: thrown away: standby:{DIRECTORY}"], "its end is reported"
        assert "What comes next" not in screen(pilot)
        assert "look" not in screen(pilot).splitlines()[-1]
        pilot.app.push_screen(JobScreen(job))
        await settle(pilot)
        assert "look" not in screen(pilot).splitlines()[-1]
        await press(pilot, "o")
        assert "it was thrown away" in " ".join(toasts(pilot))


async def test_what_keeps_a_server_from_acting_is_taken_out_by_a_key(desk: Desk) -> None:
    ready(desk)
    job = succeeded(desk)
    desk.says(f"open {job} --lift", {"job": desk.job(lives=True, kind=JobKind.OPEN)})
    async with recovering(desk, *PROOF) as pilot:
        await press(pilot, "u")
        assert "Removes the settings that the restore added" in screen(pilot)
        assert f"open {job} --lift" in words(pilot)
        await press(pilot, "j", "enter")
        assert ("open", job, "--lift", "--yes", "--detach") in pilot.app.queries.commands.asked


async def test_a_finished_restore_is_acted_upon_from_the_jobs_too(desk: Desk) -> None:
    """Also a table that nobody named before; a job that made no server offers nothing."""
    ready(desk)
    backup = desk.job(desk.ended("done"), kind=JobKind.BACKUP)
    job = succeeded(desk)
    desk.says(f"bring-back {job} shop.public.orders", plan())
    desk.says(f"open {job}", {"job": "20261123T120100Z-01"})
    async with desk.open() as pilot:
        pilot.app.push_screen(JobScreen(job))
        await settle(pilot)
        await press(pilot, "b")
        assert isinstance(pilot.app.screen, AskObjects)
        pilot.app.screen.query_one(Input).value = "shop.public.orders crm.x.y"
        await press(pilot, "enter")
        assert "those of one database come back together" in " ".join(toasts(pilot))
        pilot.app.screen.query_one(Input).value = "shop.public.orders"
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, Confirm)
        await press(pilot, "escape")
        await press(pilot, "o")
        await press(pilot, "down", "enter")
        assert pilot.app.queries.commands.asked[-1] == ("open", job, "--yes", "--detach")
        await press(pilot, "s")  # a terminal that nobody has cannot be lent
        assert f"look {job}" in " ".join(toasts(pilot))
        await press(pilot, "escape")
        pilot.app.push_screen(JobScreen(backup))
        await settle(pilot)
        await press(pilot, "b")
        assert "this job has made no server, or it was thrown away" in " ".join(toasts(pilot))


async def test_another_point_after_a_look_is_chosen_with_all_that_was_said(desk: Desk) -> None:
    ready(desk)
    succeeded(desk)
    async with recovering(desk, "enter", "enter", "tab", "tab", "right", "enter", "enter") as pilot:
        assert wizard(pilot).draft.then is Then.PAUSE
        assert wizard(pilot).draft.step is Step.PROOF
        assert "t another point" in screen(pilot).splitlines()[-1]
        assert "o open it" in screen(pilot).splitlines()[-1]
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
        desk.job(desk.ended(f"thrown away: standby:{DIRECTORY}"), kind=JobKind.THROW_AWAY, started=desk.now,
                 command=f"pgvault throw-away {job} --remove {DIRECTORY}")
        await pilot.app.read_jobs()
        assert "Press r to bring it back" in screen(pilot), "it is lost again with the only server that had it"
        back = desk.job(desk.ended("brought back into shop of main: orders (5 rows)"), kind=JobKind.BRING_BACK,
                        started=desk.now, command=f"pgvault bring-back {job} shop.public.orders")
        await pilot.app.read_jobs()
        assert f"orders was brought back into main by job {back}" in screen(pilot)
