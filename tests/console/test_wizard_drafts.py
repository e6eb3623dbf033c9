"""One recovery of a server at a time: in one console, in two, and beside a cluster that came in another's place."""

from __future__ import annotations

import asyncio
import tomllib

import pytest
from desk import Desk, press, screen, settle, write
from recovery import DROPPED, VERDICT, draft_of, ready, recovering, running, wizard
from support.objects import identity_path
from textual.pilot import Pilot

from pgvault.console.recovery.drafts import draft_file
from pgvault.console.recovery.steps import Step
from pgvault.console.wizard.opening import open_wizard
from pgvault.console.wizard.screen import RecoveryScreen
from pgvault.jobs.journal import Journal
from pgvault.jobs.registry import jobs_directory
from pgvault.model.lsn import Lsn
from pgvault.model.target import AtLsn

CHOSEN = AtLsn(Lsn(0xE01ADF0), False)


def wizards(pilot: Pilot[None]) -> list[RecoveryScreen]:
    """Those that are open in any view of the console."""
    return [screen for stack in pilot.app._screen_stacks.values() for screen in stack
            if isinstance(screen, RecoveryScreen)]


# In one console


async def test_a_second_wizard_of_a_server_is_the_first_one(desk: Desk) -> None:
    ready(desk)
    async with recovering(desk, "enter", "enter") as pilot:
        first = wizard(pilot)
        await press(pilot, "2")
        open_wizard(pilot.app, "main")
        await settle(pilot)
        assert wizard(pilot) is first
        assert pilot.app.current_mode == "overview"
        assert wizards(pilot) == [first]
        assert "the recovery of main was open here" in screen(pilot)


async def test_a_point_that_was_chosen_beside_an_open_wizard_can_be_taken_there(desk: Desk) -> None:
    ready(desk)
    async with recovering(desk, "enter", "enter") as pilot:
        first = wizard(pilot)
        await press(pilot, "2")
        open_wizard(pilot.app, "main", target=CHOSEN, timeline=1, expect=("shop.public.orders",))
        await settle(pilot)
        assert "start anew, to WAL position 0/E01ADF0" in screen(pilot)
        await press(pilot, "enter")
        assert wizards(pilot) == [first]
        assert wizard(pilot) is first
        draft = first.draft
        assert draft.point
        assert (draft.step, draft.point.target, draft.expect) == (Step.POINT, CHOSEN, ("shop.public.orders",))
        assert "before 0/E01ADF0 on timeline 1" in screen(pilot)


async def test_an_open_wizard_may_be_gone_on_with_instead(desk: Desk) -> None:
    ready(desk)
    async with recovering(desk, "enter", "enter") as pilot:
        said = wizard(pilot).draft
        await press(pilot, "2", "r")  # from the backup under the cursor
        assert "an unfinished recovery of main" in screen(pilot)
        await press(pilot, "up", "enter")
        assert wizard(pilot).draft == said
        assert len(wizards(pilot)) == 1


async def test_a_wizard_that_was_left_can_be_opened_at_once(desk: Desk) -> None:
    ready(desk)
    async with recovering(desk, "enter", "enter", "q") as pilot:
        await press(pilot, "2", "r", "up", "enter")
        assert pilot.app.current_mode == "backups"
        assert wizard(pilot).draft.step is Step.WHERE


# In two


async def test_a_second_console_is_told_who_has_the_draft_and_does_not_write_to_it(desk: Desk) -> None:
    ready(desk)
    async with recovering(desk, "enter", "enter") as first:
        kept = draft_of(desk)
        async with recovering(desk) as second:
            said = " ".join(screen(second).split())
            assert "this recovery is open in another console" in said
            assert "Held by process" in said
            await press(second, "enter")
            assert wizard(second).draft == wizard(first).draft
            assert "not saved" in screen(second)
            await press(second, "tab")
            await write(second, "/other")
            assert wizard(second).draft.directory.endswith("/other")
            assert draft_of(desk) == kept
            await press(second, "q")
        assert draft_of(desk) == kept
        await press(first, "tab")
        await write(first, "/mine")
        saved = draft_of(desk)
        assert saved
        assert saved.directory.endswith("/mine")


async def test_a_second_console_may_begin_another_that_is_not_saved(desk: Desk) -> None:
    ready(desk)
    async with recovering(desk, "enter", "enter"), recovering(desk, "down", "enter") as second:
        assert wizard(second).draft.step is Step.WHAT
        await press(second, "enter")
        assert DROPPED in screen(second)
        kept = draft_of(desk)
        assert kept
        assert kept.step is Step.WHERE


async def test_a_wizard_in_which_nothing_was_said_yet_is_held_too(desk: Desk) -> None:
    ready(desk)
    async with recovering(desk), recovering(desk) as second:
        assert "this recovery is open in another console" in " ".join(screen(second).split())
        await press(second, "enter")
        assert wizard(second).draft.step is Step.WHAT


# Whose draft it is


@pytest.mark.parametrize("what", ["vault", "cluster"])
async def test_a_draft_is_not_offered_for_another_one_in_the_same_place(desk: Desk, what: str) -> None:
    """As of a sandbox that was removed, and made again at the same path."""
    ready(desk)
    async with recovering(desk, "enter", "enter"):
        pass
    if what == "vault":
        marker = desk.shelf.home / "vault.toml"
        marker.write_text(marker.read_text().replace(tomllib.loads(marker.read_text())["id"], "0123456789abcdef"))
    else:
        identity = identity_path(desk.shelf.server("main"))
        identity.write_text(identity.read_text().replace("7300000000000000001", "7300000000000000002"))
    async with recovering(desk) as pilot:
        assert wizard(pilot).draft.step is Step.WHAT


def test_a_draft_of_what_is_not_known_is_not_kept(desk: Desk) -> None:
    assert draft_file(desk.shelf.home, "main")
    assert draft_file(desk.shelf.home, "another") is None
    assert draft_file(desk.shelf.home / "elsewhere", "main") is None


async def test_the_key_of_a_view_shows_that_view_and_not_what_was_left_open_over_it(desk: Desk) -> None:
    """What was said in the recovery is kept."""
    ready(desk)
    desk.job(desk.ended("backup x is DONE"))
    async with recovering(desk, "enter", "enter") as pilot:
        await press(pilot, "escape", "4", "enter", "2", "1")
        assert pilot.app.screen.view == "overview"
        assert wizards(pilot) == []
        assert "r resumes this recovery" in screen(pilot)
        await press(pilot, "4")
        assert pilot.app.screen.view == "jobs"
        await press(pilot, "1", "r", "enter")
        assert wizard(pilot).draft.step is Step.POINT


async def test_a_restore_that_is_being_started_is_not_left_by_the_key_of_a_view(desk: Desk) -> None:
    ready(desk)
    async with recovering(desk, *["enter"] * 3) as pilot:
        pilot.app.queries.commands.held = asyncio.Event()
        await pilot.press("enter", "1")
        await pilot.pause()
        assert wizard(pilot).draft.step is Step.REVIEW
        pilot.app.queries.commands.held.set()
        await settle(pilot)


async def test_a_proof_that_came_while_another_view_was_looked_at_is_still_to_be_seen(desk: Desk) -> None:
    ready(desk)
    job = running(desk)
    async with recovering(desk, "enter", "enter", "enter", "enter") as pilot:
        recovery = wizard(pilot)
        assert recovery.draft.step is Step.RUN
        await press(pilot, "4")
        desk.close()
        journal = Journal(jobs_directory(desk.shelf.home) / job)
        journal.emit(desk.ended(VERDICT))
        journal.close()
        while recovery.draft.step is Step.RUN:  # it looks at its job by its own clock
            await pilot.app.read_jobs()
            await pilot.pause(0.1)
        await settle(pilot)
        await press(pilot, "1")
        assert "step" not in screen(pilot)
        left = draft_of(desk)
        assert left is not None
        assert (left.step, left.job) == (Step.PROOF, job)
