"""The review at a glance: what decides is on the smallest screen, and what holds takes one line."""

from __future__ import annotations

import asyncio
import shlex
from dataclasses import replace

import pytest
from desk import NARROW, NOW, Desk, press, screen, write
from hypothesis import given
from hypothesis import strategies as st
from recovery import (
    BACKUP,
    COMMAND,
    DIRECTORY,
    OCCUPIED,
    TOO_LATE,
    choices,
    condition,
    plan,
    planned,
    ready,
    recovering,
    wizard,
)
from textual.pilot import Pilot

from pgvault.console.commands import Answer
from pgvault.console.fields import laid_out, wrapped
from pgvault.console.recovery.ahead import Ahead
from pgvault.console.recovery.draft import Draft, Point
from pgvault.console.recovery.planned import Planned, plan_fields, short_names
from pgvault.console.recovery.steps import Step
from pgvault.model.event import Failure
from pgvault.model.lsn import Lsn
from pgvault.model.target import AtLsn, EndOfWal
from pgvault.model.text import size

TO_REVIEW = ("enter", "enter", "enter")
_LINES = 17
"""Of the plan on a terminal of 24."""
DRAFT = Draft("main", point=Point(AtLsn(Lsn(0xE01ADF0), False), label="just before DROP TABLE shop.public.orders"),
              host="standby", directory=DIRECTORY, expect=("shop.public.orders",))


def lines(document: dict[str, object], columns: int = 78) -> list[str]:
    fields = plan_fields(Planned(document), DRAFT, zone=None, command=COMMAND, now=NOW)
    return ["".join(map(str, line)).rstrip() for line in laid_out(fields, columns)]


async def test_all_that_decides_is_on_the_smallest_screen(desk: Desk) -> None:
    ready(desk)
    async with recovering(desk, *TO_REVIEW) as pilot:
        shown = " ".join(screen(pilot).translate(dict.fromkeys(map(ord, "┃│"), " ")).split())
        for expected in (f"to standby:{DIRECTORY}; nothing is overwritten", "DROP TABLE shop.public.orders",
                         "before 0/E01ADF0 on timeline 1, 2026-11-23 11:40:12+00", "...0A to ...0E, 5 segments",
                         "all present", "shop.public.orders to be there", "1.0 TiB free on /srv", "4 of 4 hold",
                         "outlives", "command"):
            assert expected in shown
    there = lines(plan())
    assert next(number for number, line in enumerate(there) if line.startswith(" made safe")) <= _LINES


def test_only_conditions_that_do_not_hold_have_lines_of_their_own() -> None:
    warning = condition("unused WAL", "warning", "With --partial it goes on to 0/F.", "Use it when the server is lost.")
    shown = lines(plan(condition("space"), warning))
    at = next(number for number, line in enumerate(shown) if line.startswith(" conditions"))
    assert shown[at].split("  ")[-1].strip() == "4 of 5 hold"
    assert " ".join(shown[at + 1].split()) == "WARNING unused WAL (With --partial it goes on to 0/F.)"
    assert "Use it when the server is lost." in shown[at + 2]
    assert "Here: esc leads back to the point" in shown[at + 3]  # where that is chosen


def test_a_transaction_that_is_pending_there_comes_with_the_commands_that_end_it() -> None:
    document = plan()
    document["prepared"] = [{"gid": "it's", "owner": "app", "database": "shop", "locks": []}]
    shown = " ".join(" ".join(lines(document)).split())
    assert ("of app in shop is prepared there and has not ended; COMMIT PREPARED 'it''s' or ROLLBACK PREPARED 'it''s' "
            "ends it") in shown


def test_what_is_overwritten_stands_on_top_in_full() -> None:
    what = f"the cluster of PostgreSQL 18 in {DIRECTORY}: main itself or a copy of it (last checkpoint today, 1 GiB)"
    shown = lines(plan(overwrites=what))
    assert shown[0] == f" to           standby:{DIRECTORY}"
    assert shown[1].startswith(" OVERWRITES   the cluster of PostgreSQL 18")
    assert what in " ".join(" ".join(shown[1:4]).removeprefix(" OVERWRITES").split())


def test_recovery_settings_and_each_condition_come_last() -> None:
    shown = lines(plan())
    places = [next(number for number, line in enumerate(shown) if line.startswith(f" {name}"))
              for name in ("conditions", "command", "made safe", "recovery", "each holds")]
    assert places == sorted(places)
    assert any("1.4 TiB free for 192.0 MiB" in line for line in shown[places[-1]:])


@pytest.mark.parametrize(("first", "last", "told"), [
    ("000000010000000000000011", "000000010000000000000012", "...11 to ...12"),
    ("0000000100000000000000FE", "000000010000000100000002", "...0000000FE to ...100000002"),
    ("000000010000000000000011", "000000010000000000000011", "...11"),
    ("000000010000000000000011", "000000020000000000000012",
     "000000010000000000000011 to 000000020000000000000012")])
def test_names_of_segments_are_as_short_as_they_differ(first: str, last: str, told: str) -> None:
    assert short_names(first, last) == told


@given(st.integers(0, 1 << 50), st.text("ab c", max_size=30), st.integers(12, 60))
def test_an_amount_is_never_parted_from_its_unit(octets: int, before: str, columns: int) -> None:
    assert any(size(octets) in line for line in wrapped(f"{before} {size(octets)} of WAL", columns))


async def test_the_unfinished_segment_can_be_chosen_for_the_latest(desk: Desk) -> None:
    ready(desk)
    desk.says("restore main auto --target-end", choices())
    desk.says("restore main auto /srv", answer=planned(plan()))
    async with recovering(desk, "enter", "end", "enter", size=NARROW) as pilot:
        assert "whole segments only" in screen(pilot)
        await press(pilot, "tab", "right", "enter")
        point = wizard(pilot).draft.point
        assert point == replace(Point(EndOfWal(), label="the latest"), partial=True)
        assert wizard(pilot).draft.step is Step.WHERE
        assert "--partial" in wizard(pilot).draft.words()
        await press(pilot, "escape")
        assert "the unfinished last segment, too" in screen(pilot)


async def test_a_lost_server_is_recovered_with_the_unfinished_segment(desk: Desk) -> None:
    ready(desk)
    async with recovering(desk, "end", "up", "up", "up", "enter") as pilot:
        assert "the unfinished last segment, too" in screen(pilot)
        await press(pilot, "enter")
        point = wizard(pilot).draft.point
        assert point
        assert point.partial


async def test_another_plan_is_offered_where_this_one_does_not_hold(desk: Desk) -> None:
    ready(desk)
    async with recovering(desk, *["enter"] * 3) as pilot:
        assert "plan again" not in screen(pilot)
        desk.says("restore main auto /srv", answer=planned(plan(OCCUPIED)))
        await press(pilot, "escape", "enter")
        assert "t plan again" in screen(pilot).splitlines()[-1]


async def test_a_port_that_is_none_is_said_by_its_name(desk: Desk) -> None:
    ready(desk)
    async with recovering(desk, "enter", "enter") as pilot:
        wizard(pilot).stage.port.input.focus()
        await write(pilot, "99999")
        assert " port         a port is a number from 1 to 65,535, not '99999'" in screen(pilot)
        assert "missing" not in screen(pilot)


async def test_why_a_point_is_not_possible_is_read_to_its_end_and_names_what_is_on_the_screen(desk: Desk) -> None:
    reason = "The archived WAL does not go so far" + ", ".join(["; and why"] * 60) + \
        "; with --partial it goes on to 0/6047DD8 in the unfinished segment"
    ready(desk, {**TOO_LATE, "reason": reason})
    async with recovering(desk, "end", "enter") as pilot:
        assert "more lines below, pgdn" in screen(pilot)
        await press(pilot, "pagedown", "pagedown", "pagedown")
        assert 'Here that is the line "with" above' in screen(pilot)


def plans(pilot: Pilot[None]) -> list[tuple[str, ...]]:
    return [words for words in pilot.app.queries.commands.asked if words[-1] == "--dry-run"]


async def test_the_plan_is_made_while_one_still_looks_at_where_to(desk: Desk) -> None:
    """Once, and anew where something was changed since, or when it is asked for again."""
    ready(desk)
    async with recovering(desk, *TO_REVIEW[:2]) as pilot:
        assert wizard(pilot).draft.step is Step.WHERE
        ahead, = plans(pilot)
        assert shlex.join(("pgvault", *ahead[:2], BACKUP, *ahead[3:4], "--host", "standby")) in COMMAND
        await press(pilot, "enter")
        assert wizard(pilot).draft.step is Step.REVIEW
        assert "nothing is overwritten" in screen(pilot)
        assert plans(pilot) == [ahead]
        await press(pilot, "escape")
        assert plans(pilot) == [ahead, ahead], "what was looked at before may be another by now"
        await press(pilot, "tab")
        await write(pilot, "/new")
        await press(pilot, "enter")
        assert wizard(pilot).draft.step is Step.REVIEW
        assert [f"{DIRECTORY}/new" in words for words in plans(pilot)] == [False, False, True]


async def test_of_what_is_asked_ahead_only_what_is_well_and_fresh_is_shown() -> None:
    """What failed may have been repaired since; what is still on its way is waited for, however long it takes."""
    asked, now, going = [], [0.0], asyncio.Event()
    answer = Answer(0, ({"preconditions": [{"outcome": "passed"}]},), None)

    async def ask(*words: str) -> Answer:
        asked.append(words)
        await going.wait()
        return answer

    ahead = Ahead(ask, lambda: now[0])
    ahead.begin(["slow"])
    now[0] = 40.0
    taken = ahead.take(["slow"])
    going.set()
    assert (await taken).status == 0
    assert asked == [("slow",)]
    bad = Answer(0, ({"preconditions": [{"outcome": "failed"}]},), None)
    for wrong in (bad, Answer(7, (), Failure("it is away", "", "", "unreachable", 7))):
        answer = wrong
        ahead.begin(["it"])
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        answer = Answer(0, ({"preconditions": []},), None)
        assert await ahead.take(["it"]) is answer


async def test_a_plan_that_is_asked_for_ahead_is_not_kept_for_long_and_ends_when_nobody_wants_it() -> None:
    asked: list[tuple[str, ...]] = []
    ended: list[tuple[str, ...]] = []
    now, answered = [0.0], asyncio.Event()

    async def ask(*words: str) -> Answer:
        asked.append(words)
        try:
            await answered.wait()
        except asyncio.CancelledError:
            ended.append(words)
            raise
        return Answer(0, (), None)

    ahead = Ahead(ask, lambda: now[0])
    ahead.begin(["a"])
    await asyncio.sleep(0)
    ahead.begin(["b"])
    await asyncio.sleep(0)
    assert (asked, ended) == ([("a",), ("b",)], [("a",)])
    answered.set()
    now[0] = 29.0
    assert (await ahead.take(["b"])).status == 0
    assert asked == [("a",), ("b",)]
    ahead.begin(["b"])
    await asyncio.sleep(0)
    now[0] = 60.0
    await ahead.take(["b"])
    assert asked == [("a",), ("b",), ("b",), ("b",)], "what was there half a minute ago is not there now"
