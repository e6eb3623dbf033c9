"""Between Enter on the plan and the job: the way to a host may be slow, and what was ordered must not be lost."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from desk import NARROW, NOW, WIDE, Desk, failure, press, screen, settle
from recovery import (
    BACKUP,
    DIRECTORY,
    JOB,
    VERDICT,
    choices,
    condition,
    plan,
    planned,
    ready,
    recovering,
    running,
    wizard,
)
from textual.pilot import Pilot
from textual.widgets import Input

from pgvault.console.recovery.steps import Step
from pgvault.console.screens.confirm import Confirm
from pgvault.console.wizard.opening import open_wizard
from pgvault.console.wizard.review_step import ReviewStep
from pgvault.model.event import Noted, PhaseStarted
from pgvault.model.lsn import Lsn
from pgvault.model.target import AtLsn, AtTime

TO_REVIEW = ("enter", "enter", "enter")


async def hold_and_start(pilot: Pilot[None]) -> asyncio.Event:
    """Enter on the plan; the command does not answer before the event is set."""
    held = pilot.app.queries.commands.held = asyncio.Event()
    await pilot.press("enter")
    await pilot.pause()
    return held


async def test_a_restore_that_is_being_started_is_not_left_unseen(desk: Desk) -> None:
    ready(desk)
    running(desk)
    async with recovering(desk, *TO_REVIEW) as pilot:
        held = await hold_and_start(pilot)
        for key in ("escape", "q"):
            await pilot.press(key)
            await pilot.pause()
            assert wizard(pilot).draft.step is Step.REVIEW
            assert "the restore is being started" in screen(pilot)
        held.set()
        await settle(pilot)
        assert wizard(pilot).draft.step is Step.RUN
        assert wizard(pilot).draft.job == JOB


async def test_a_start_that_takes_long_says_for_how_long(desk: Desk) -> None:
    ready(desk)
    running(desk)
    async with recovering(desk, *TO_REVIEW) as pilot:
        held = await hold_and_start(pilot)
        assert "starting; before it writes, the job looks at the destination once more" in screen(pilot)
        desk.now += timedelta(seconds=3)
        stage = wizard(pilot).stage
        assert isinstance(stage, ReviewStep)
        stage._tell_waiting()
        await pilot.pause()
        assert "starting for 3 s; before it writes" in screen(pilot)
        held.set()
        await settle(pilot)


async def test_quitting_meanwhile_says_that_it_may_run(desk: Desk) -> None:
    ready(desk)
    async with recovering(desk, *TO_REVIEW) as pilot:
        await hold_and_start(pilot)
        await pilot.press("ctrl+q")
        farewell = " ".join(pilot.app.farewell)
        assert f"a restore to standby:{DIRECTORY} was being started" in farewell
        assert "pgvault job list" in farewell


async def test_only_a_world_that_moved_is_said_to_have_moved(desk: Desk) -> None:
    ready(desk)
    desk.says(f"restore main {BACKUP} /srv", answer=failure("could not reach standby", "Connection refused.",
                                                            "Check that sshd runs there.", "unreachable", 7))
    async with recovering(desk, *TO_REVIEW, "enter") as pilot:
        text = " ".join(screen(pilot).replace("┃", "").split())
        assert "could not reach standby" in text
        assert "not as it was" not in text
        assert "the restore was not begun; nothing was changed" in text


async def test_quitting_from_anywhere_tells_what_continues(desk: Desk) -> None:
    ready(desk)
    running(desk)
    async with desk.open() as pilot:
        await pilot.press("b", "ctrl+q")
        assert f"job {JOB} continues: pgvault job watch {JOB}" in pilot.app.farewell


async def test_the_review_says_what_is_overwritten_right_after_where(desk: Desk) -> None:
    ready(desk)
    desk.says("restore main auto /srv", answer=planned(plan(overwrites=f"the cluster of PostgreSQL 18 in {DIRECTORY}")))
    async with recovering(desk, *TO_REVIEW) as pilot:
        shown = [line.strip("┃ ") for line in screen(pilot).splitlines()]
        place = next(number for number, line in enumerate(shown) if line.startswith("to "))
        assert shown[place + 1].startswith("OVERWRITES")


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_another_cluster_is_overwritten_by_nobody_who_reads(desk: Desk, size: tuple[int, int]) -> None:
    """The classical disaster: it is said in the review and again where the name is typed, on the smallest terminal."""
    ready(desk)
    what = (f"the cluster of PostgreSQL 18 in {DIRECTORY}, NOT a copy of main: it is billing or a copy of it (system "
            "identifier 7312345678901234567)")
    sure = "Be sure that nobody needs it where it is, or choose another directory."
    document = plan(overwrites=what)
    document["preconditions"].insert(0, condition("replaced cluster", "warning", "It is billing's.", sure))
    desk.says("restore main auto /srv", answer=planned(document))
    async with recovering(desk, *TO_REVIEW, size=size) as pilot:
        assert {"NOT a copy of main", sure} <= _said(pilot, "NOT a copy of main", sure)
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, Confirm)
        assert {"NOT a copy of main", "billing", sure} <= _said(pilot, "NOT a copy of main", "billing", sure)


def _said(pilot: Pilot[None], *texts: str) -> set[str]:
    """Those of the texts that are on the screen, wherever their lines break."""
    shown = " ".join("".join(char for char in screen(pilot) if char not in "┃│║").split())
    return {text for text in texts if text in shown}


async def test_an_empty_confirmation_does_not_look_filled_in(desk: Desk) -> None:
    """Without colour nothing tells an example from a text that was typed."""
    ready(desk)
    desk.says("restore main auto /srv", answer=planned(plan(overwrites=f"the cluster of PostgreSQL 18 in {DIRECTORY}")))
    async with recovering(desk, *TO_REVIEW, "enter") as pilot:
        entry = pilot.app.screen.query_one(Input)
        assert (entry.value, entry.placeholder) == ("", "")


async def test_a_confirmation_begins_on_what_does_nothing(desk: Desk) -> None:
    """R15: Enter there, pressed in haste, goes back; a name that is typed there is not taken for keys."""
    ready(desk)
    desk.says("restore main auto /srv", answer=planned(plan(overwrites=f"the cluster of PostgreSQL 18 in {DIRECTORY}")))
    async with recovering(desk, *TO_REVIEW, "enter") as pilot:
        await press(pilot, "enter")
        assert wizard(pilot).draft.step is Step.REVIEW
        await press(pilot, "enter")
        await press(pilot, "q", "j", "slash")
        assert isinstance(pilot.app.screen, Confirm)
        assert pilot.app.screen.query_one(Input).value == "qj/"
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, Confirm)
        assert not any("--detach" in words for words in pilot.app.queries.commands.asked)


async def test_the_proof_names_what_was_set_aside(desk: Desk) -> None:
    ready(desk)
    kept = f"what was there is kept as {DIRECTORY}.before-{JOB}; remove it when it is of no more use"
    running(desk, PhaseStarted("copy", 1, desk.now), Noted(kept, code="kept", at=desk.now), desk.ended(VERDICT),
            lives=False)
    async with recovering(desk, *TO_REVIEW, "enter") as pilot:
        assert wizard(pilot).draft.step is Step.PROOF
        assert f"{DIRECTORY}.before-{JOB}" in screen(pilot)


async def test_every_phase_reads_as_a_sentence(desk: Desk) -> None:
    ready(desk)
    running(desk, PhaseStarted("recover", 0, desk.now))
    async with recovering(desk, *TO_REVIEW, "enter") as pilot:
        assert "now          replays WAL up to the target, in the restored server" in screen(pilot)


async def test_an_error_names_the_code_by_which_it_is_explained(desk: Desk) -> None:
    ready(desk)
    desk.says("restore main auto /srv", answer=failure("could not reach standby", "Connection refused.",
                                                       "Check that sshd runs there.", "unreachable", 7))
    async with recovering(desk, *TO_REVIEW) as pilot:
        assert "unreachable: pgvault explain unreachable" in screen(pilot)


async def test_a_point_that_was_just_chosen_is_not_lost_to_an_older_draft(desk: Desk) -> None:
    """r and Enter on a transaction recover to that one, not to what was said yesterday."""
    ready(desk)
    async with recovering(desk, "enter", "enter") as pilot:
        await press(pilot, "q")
        chosen = AtLsn(Lsn(0xD000000), False)
        desk.says("restore main auto --target-lsn 0/D000000", choices(lsn="0/D000000"))
        open_wizard(pilot.app, "main", target=chosen, timeline=1)
        await settle(pilot)
        assert "start anew, to WAL position 0/D000000" in screen(pilot)
        await press(pilot, "enter")
        draft = wizard(pilot).draft
        assert draft.point
        assert draft.point.target == chosen


async def test_a_time_that_was_just_chosen_is_told_whole(desk: Desk) -> None:
    ready(desk)
    async with recovering(desk, "enter", "enter", "q") as pilot:
        open_wizard(pilot.app, "main", target=AtTime(NOW, True), timeline=1)
        await settle(pilot)
        assert "start anew, to 2026-11-23 12:00:00+00" in screen(pilot)


async def test_a_restore_that_was_started_is_taken_up_before_another_begins(desk: Desk) -> None:
    ready(desk)
    running(desk)
    async with recovering(desk, *TO_REVIEW, "enter", "q") as pilot:
        open_wizard(pilot.app, "main", target=AtLsn(Lsn(0xD000000), False), timeline=1)
        await settle(pilot)
        await press(pilot, "enter")
        assert wizard(pilot).draft.step is Step.RUN
