"""Times as people type them, and what they are taken for before they count."""

from __future__ import annotations

from datetime import UTC, datetime

from desk import Desk, press, screen, write
from recovery import choices, ready, recovering, wizard
from textual.widgets import Input

from pgvault.console.recovery.steps import Step
from pgvault.model.target import AtTime

TO_TIME = ("down", "down", "down", "enter")
"""A bad deploy, at about some time."""


async def test_a_time_of_the_day_is_shown_whole_before_it_counts(desk: Desk) -> None:
    ready(desk)
    desk.shelf.config.write_text(desk.shelf.config.read_text().replace(
        "[servers.main]", '[servers.main]\ntimezone = "Europe/Paris"'))
    async with recovering(desk, *TO_TIME) as pilot:
        await write(pilot, "12:40")
        assert "enter show it whole" in screen(pilot).splitlines()[-1]
        await press(pilot, "enter")
        assert wizard(pilot).draft.step is Step.POINT
        assert isinstance(pilot.app.focused, Input)
        assert pilot.app.focused.value == "2026-11-23 12:40 Europe/Paris"
        said = " ".join(screen(pilot).replace("│", "").split())
        assert "2026-11-23 11:40:00+00, 2026-11-23 12:40:00 +01:00 (Europe/Paris)" in said, "UTC and the server's time"
        await press(pilot, "enter")
        draft = wizard(pilot).draft
        assert draft.step is Step.WHERE
        assert draft.point
        assert isinstance(draft.point.target, AtTime)
        assert draft.point.target.time == datetime(2026, 11, 23, 11, 40, tzinfo=UTC)
        assert draft.point.label == "just after 2026-11-23 12:40 Europe/Paris", "the same tomorrow"


async def test_any_point_may_lie_in_the_unfinished_segment(desk: Desk) -> None:
    ready(desk)
    desk.says("restore main auto --target-time", choices())
    async with recovering(desk, *TO_TIME) as pilot:
        await write(pilot, "2026-11-23 11:55Z")
        await press(pilot, "down", "down", "right", "enter")
        draft = wizard(pilot).draft
        assert draft.point
        assert draft.point.partial
        assert "--partial" in draft.words()
