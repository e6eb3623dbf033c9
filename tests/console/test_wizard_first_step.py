"""The first step: what the WAL says happened stands beside the question, and what is no accident is found there too."""

from __future__ import annotations

import asyncio

import pytest
from desk import NARROW, WIDE, Desk, failure, press, screen, settle
from recovery import DROPPED, accident, choices, ready, recovering, wizard
from textual.pilot import Pilot

from pgvault.console.recovery.draft import Then, What
from pgvault.console.recovery.search import Search, Stand
from pgvault.console.recovery.steps import Step
from pgvault.console.wizard.where_step import WhereStep


def searches(pilot: Pilot[None]) -> int:
    return sum(words[0] == "events" for words in pilot.app.queries.commands.asked)


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_the_accident_that_was_found_stands_beside_the_question(desk: Desk, size: tuple[int, int]) -> None:
    """And it is searched for once: the next step goes on with what is known."""
    ready(desk)
    desk.says("events main", accident(), accident(name="lines", at="2026-11-23T11:30:00Z", lsn="0/D000000"))
    async with recovering(desk, size=size) as pilot:
        shown = screen(pilot)
        assert "what happened?" in shown
        assert DROPPED in shown
        assert "all archived WAL was searched, 2 found" in shown
        await press(pilot, "tab", "down", "enter")
        assert wizard(pilot).draft.step is Step.POINT
        assert wizard(pilot).draft.what is What.TABLE
        assert "just before DROP TABLE shop.public.lines" in screen(pilot)
        assert searches(pilot) == 1


async def test_a_search_that_failed_or_found_nothing_says_so_in_the_first_step(desk: Desk) -> None:
    ready(desk)
    desk.says("events main")
    async with recovering(desk) as pilot:
        assert "No table, schema or database was dropped or truncated" in screen(pilot)
        await press(pilot, "q")
        desk.says("events main", answer=failure("could not read the WAL"))
        await press(pilot, "r")
        assert "could not read the WAL" in screen(pilot)
        assert "No table" not in screen(pilot)


async def test_a_standby_is_found_in_the_first_step_and_nowhere_else(desk: Desk) -> None:
    ready(desk)
    desk.says("restore main auto --target-end", choices())
    async with recovering(desk, "end", "up", "enter", "enter") as pilot:
        draft = wizard(pilot).draft
        assert draft.step is Step.WHERE
        assert draft.then is Then.STANDBY
        assert "--standby" in draft.words()
        assert "follows the original server, as a standby" in screen(pilot)
        await press(pilot, "escape", "escape", "down", "enter", "enter")
        assert wizard(pilot).draft.then is Then.PROMOTE
        assert not any(key == Then.STANDBY.name for key, _ in pilot.app.screen.query_one(WhereStep).then._options)


async def test_moving_takes_the_unfinished_segment_too(desk: Desk) -> None:
    ready(desk)
    desk.says("restore main auto --target-end", choices())
    async with recovering(desk, "end", "up", "up") as pilot:
        assert "stop what writes to the" in screen(pilot)
        await press(pilot, "enter", "enter")
        assert wizard(pilot).draft.what is What.MOVE
        assert "--partial" in wizard(pilot).draft.words()


async def test_a_transaction_opens_into_its_parts_and_a_part_can_be_chosen(desk: Desk) -> None:
    ready(desk)
    both = accident()
    both["objects"] = [*both["objects"], *accident(name="lines")["objects"]]
    desk.says("events main", both)
    async with recovering(desk, "enter") as pilot:
        assert "+ DROP in shop.public: 2 tables" in screen(pilot)
        assert "DROP TABLE shop.public.lines" not in screen(pilot)
        await press(pilot, "right", "down", "down", "enter")
        assert wizard(pilot).draft.step is Step.WHERE
        assert wizard(pilot).draft.expect == ("shop.public.lines",)


async def test_below_the_accidents_stands_what_is_none_and_enter_lists_smaller_ones(desk: Desk) -> None:
    ready(desk)
    desk.says("events main", accident("delete", deleted=1200))
    async with recovering(desk, "down", "enter") as pilot:
        assert "fewer than 100 rows   are no accident; Enter lists 10 and more (--rows 10)" in screen(pilot)
        desk.says("events main", accident("delete", deleted=1200),
                  accident("delete", "few", deleted=30, at="2026-11-23T11:00:00Z", lsn="0/D000000"))
        await press(pilot, "down", "enter")
        asked = [words[-2:] for words in pilot.app.queries.commands.asked if words[0] == "events"]
        assert asked[-1] == ("--rows", "10")
        assert "DELETE 30 rows of shop.public.few" in screen(pilot)
        assert "fewer than 10 rows    are no accident; Enter lists 1 and more (--rows 1)" in screen(pilot)


async def test_what_is_not_offered_at_the_point_says_why(desk: Desk) -> None:
    ready(desk)
    async with recovering(desk, *["j"] * 7, "enter", "enter", size=WIDE) as pilot:  # a copy, of the latest
        assert wizard(pilot).draft.step is Step.WHERE
        said = " ".join(wizard(pilot).query_one(WhereStep).means.text.split())
        assert "not offered pause, shut down: PostgreSQL does neither at the end of the WAL" in said
        assert "follow as a standby: chosen in step 1" in said


async def test_what_one_step_has_found_the_other_says_too(desk: Desk) -> None:
    """Though the search of the second step had been left before that."""
    ready(desk)
    async with desk.open() as pilot:
        commands = pilot.app.queries.commands
        commands.held = asyncio.Event()
        await pilot.press("r", "enter")
        while not ("step 2 of 6" in screen(pilot) and "│ searching the WAL, 0 found so far" in screen(pilot)):
            await pilot.pause()
        await pilot.press("escape")
        await pilot.pause()
        commands.held.set()
        await settle(pilot)
        assert "all archived WAL was searched, 1 found" in screen(pilot)
        commands.held = asyncio.Event()
        await pilot.press("enter")
        while wizard(pilot).stage is None or wizard(pilot).stage.step is not Step.POINT:
            await pilot.pause()
        assert "all archived WAL was searched, 1 found" in screen(pilot)
        assert DROPPED in screen(pilot)
        commands.held.set()


def test_a_search_learns_of_another_what_is_of_its_kinds() -> None:
    every, tables = Search("main", ("drop", "drop-database")), Search("main", ("drop",))
    every.take(accident())
    every.take(accident("drop-database", lsn="0/D000000"))
    every.stand = Stand.COMPLETE
    tables.learn(every)
    assert [each.kind for each in tables.newest_first] == ["drop"]
    assert tables.stand is Stand.COMPLETE
    wider = Search("main", ("drop", "delete"))
    wider.learn(tables)
    assert (len(wider.newest_first), wider.stand) == (1, Stand.NEW)
    for other in (Search("other", ("drop",)), Search("main", ("drop",), 10)):
        other.learn(every)
        assert (other.newest_first, other.stand) == ([], Stand.NEW)


async def test_each_step_before_the_plan_has_its_command(desk: Desk) -> None:
    ready(desk)
    desk.says("events main")
    async with recovering(desk) as pilot:
        await press(pilot, "c")
        assert "events main --newest-first" in screen(pilot)
        await press(pilot, "escape", "enter", "c")
        assert "events main --newest-first" in screen(pilot)
        await press(pilot, "escape", "enter", "down", "enter", "escape")
