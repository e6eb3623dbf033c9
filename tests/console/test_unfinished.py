"""While something is still being read or searched for, nothing says that there is none of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from desk import Desk, press, screen, settle, write
from recovery import accident, ready, recovering
from test_wal import an_evening, app, drop
from textual.pilot import Pilot

from pgvault.console.app import ConsoleApp
from pgvault.console.screens.jobs import JobsScreen
from pgvault.console.widgets.pane import ListPane
from pgvault.console.widgets.rows import LazyRows
from pgvault.console.wizard.kinds import Kinds
from pgvault.model.errors import PgvaultError


def hold_verbs(pilot: Pilot[None]) -> asyncio.Event:
    """From now on no verb answers before this is set."""
    held = pilot.app.queries.commands.held = asyncio.Event()  # type: ignore[attr-defined]
    return held


async def keys(pilot: Pilot[None], *pressed: str) -> None:
    """Press them while something is still at work."""
    for key in pressed:
        await pilot.press(key)
        await pilot.pause()
    await pilot.pause()


async def test_a_search_for_accidents_says_how_far_it_is_until_it_is_over(desk: Desk) -> None:
    an_evening(desk)
    desk.says("events main")
    none = "No drop, truncation or mass delete is in the archived WAL."
    async with desk.open(app(desk)) as pilot:
        await press(pilot, "3")
        held = hold_verbs(pilot)
        await keys(pilot, "e")
        assert "accidents: searching the WAL, 0 found so far, esc stops" in screen(pilot)
        assert none not in screen(pilot)
        await keys(pilot, "escape")
        assert pilot.app.screen.nearby.search.status == "the search was stopped, 0 found so far"
        await keys(pilot, "e")
        held.set()
        await settle(pilot)
        assert "accidents: all archived WAL was searched, 0 found" in screen(pilot)
        assert none in screen(pilot)


async def test_a_stopped_search_is_not_taken_for_a_complete_one(desk: Desk) -> None:
    an_evening(desk)
    desk.says("events main", drop(190, "0/5000100"))
    async with desk.open(app(desk)) as pilot:
        await press(pilot, "3", "e")
        assert "all archived WAL was searched, 1 found" in screen(pilot)
        hold_verbs(pilot)
        await keys(pilot, "e")
        assert "searching the WAL, 1 found so far" in screen(pilot)
        pilot.app.screen.nearby.search.stop()
        pilot.app.screen.nearby.refill(pilot.app.screen.timeline.cursor)
        await pilot.pause()
        assert "the search was stopped, 1 found so far" in screen(pilot)


async def test_the_list_of_accidents_and_what_stands_below_it_say_the_same(desk: Desk) -> None:
    ready(desk)
    desk.says("events main")
    async with desk.open() as pilot:
        held = hold_verbs(pilot)
        await keys(pilot, "r", "enter")
        assert screen(pilot).count("searching the WAL, 0 found so far") == 2
        held.set()
        await settle(pilot)
        assert screen(pilot).count("all archived WAL was searched, 0 found") == 2
        assert "searching" not in screen(pilot)


async def test_an_enter_that_comes_before_the_accident_leads_to_no_other_point(desk: Desk) -> None:
    """The only line then is the one that asks for another point."""
    ready(desk)
    desk.says("events main", accident())
    async with desk.open() as pilot:
        held = hold_verbs(pilot)
        await keys(pilot, "r", "enter", "enter")
        assert "Enter again names another point" in screen(pilot)
        held.set()
        await settle(pilot)
        assert "just before DROP TABLE" in screen(pilot)


async def test_accidents_of_a_newer_version_are_left_out(desk: Desk) -> None:
    ready(desk)
    desk.says("events main", accident(), {"schema": 9, "kind": "asteroid"})
    async with recovering(desk, "enter") as pilot:
        assert "1 found" in screen(pilot)


async def test_that_nothing_runs_is_said_once_the_jobs_were_read(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    for look in ("_begin", "_poll_jobs"):
        monkeypatch.setattr(ConsoleApp, look, lambda self: None)
    console = desk.app()
    async with console.run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.pause()
        assert "no jobs running" not in screen(pilot)
        assert "reading the jobs" in screen(pilot)
        assert "nothing runs" not in screen(pilot)
        await keys(pilot, "4")
        assert isinstance(pilot.app.screen, JobsScreen)
        assert "No jobs yet" not in screen(pilot)
        assert "The jobs are being read." in screen(pilot)
        await console.read_jobs()
        await pilot.pause()
        assert "No jobs yet" in screen(pilot)
        assert "no jobs running" in screen(pilot)


async def test_a_filter_that_is_still_searching_does_not_say_that_nothing_fits(desk: Desk) -> None:
    async with desk.open() as pilot:
        await press(pilot, "2")
        pane = pilot.app.screen.query_one("#backups", ListPane)
        pane.show(LazyRows(["a", "b"], lambda row: [row] * len(pane.listing.columns), str))
        pane.open_filter()
        await keys(pilot, "x")  # nobody answers yet
        assert "/x  2 so far of 2" in screen(pilot)
        pane.show_found(LazyRows([], lambda row: [row], str), complete=False)
        await pilot.pause()
        assert "Searching; nothing was found so far." in screen(pilot)
        assert "/x  0 so far of 2" in screen(pilot)
        assert "lets nothing through" not in screen(pilot)
        pane.show_found(LazyRows([], lambda row: [row], str))
        await pilot.pause()
        assert "The filter lets nothing through" in screen(pilot)


async def test_the_palette_says_that_backups_are_still_read(desk: Desk) -> None:
    desk.protect()
    console = desk.app()
    async with desk.open(console) as pilot:
        gate = asyncio.Event()
        loop = asyncio.get_running_loop()
        catalogue = console.queries.catalogue

        def slow(server: str) -> object:
            asyncio.run_coroutine_threadsafe(gate.wait(), loop).result()
            return catalogue(server)
        console.queries.catalogue = slow  # type: ignore[assignment, method-assign]
        await keys(pilot, "ctrl+p", *"20261122")
        assert "Nothing fits" not in screen(pilot)
        assert "the backups are being read" in screen(pilot)
        gate.set()
        await settle(pilot)
        assert "20261122T120000Z" in screen(pilot)


async def test_restore_points_that_cannot_be_read_are_not_none(desk: Desk) -> None:
    ready(desk)
    async with recovering(desk, "enter", "end", "enter") as pilot:
        def broken(server: str) -> None:
            raise PgvaultError("the disk [nas] does not answer", hint="Mount it.")
        pilot.app.queries.picture = broken  # type: ignore[attr-defined]
        assert pilot.app.screen.query_one(Kinds).display
        await press(pilot, "down", "down", "enter")
        assert "They cannot be read: the disk [nas] does not answer" in screen(pilot)
        assert "No restore point is" not in screen(pilot)


async def test_the_journal_of_a_job_is_read_before_it_is_missing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.job(desk.ended("done"))
    async with desk.open() as pilot:
        await press(pilot, "4")
        gate = asyncio.Event()
        loop = asyncio.get_running_loop()

        def slow(directory: Path) -> None:
            asyncio.run_coroutine_threadsafe(gate.wait(), loop).result()
            raise PgvaultError("gone")
        monkeypatch.setattr("pgvault.console.screens.job.read_facts", slow)
        await keys(pilot, "enter")
        assert "the job never began" not in screen(pilot)
        assert "The journal is being read." in screen(pilot)
        gate.set()
        await settle(pilot)


async def test_what_is_typed_as_a_filter_is_what_is_looked_for(desk: Desk) -> None:
    for number in range(3):
        desk.job(desk.ended(f"backup {number} is DONE"))
    async with desk.open() as pilot:
        await press(pilot, "4", "slash")
        await write(pilot, "zzz")
        assert "/zzz  0 of 3" in screen(pilot)
        assert "The filter lets nothing through" in screen(pilot)
