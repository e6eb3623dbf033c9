"""Between Enter on the plan and the job: the way to a host may be slow, and what was ordered must not be lost."""

from __future__ import annotations

import asyncio

from desk import Desk, failure, screen, settle
from recovery import BACKUP, DIRECTORY, JOB, ready, recovering, running, wizard
from textual.pilot import Pilot

from pgvault.console.wizard.steps import Step

TO_REVIEW = ("enter", "enter", "enter")


async def hold_and_start(pilot: Pilot[None]) -> asyncio.Event:
    """Enter on the plan; the command does not answer before the event is set."""
    held = pilot.app.world.commands.held = asyncio.Event()
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
