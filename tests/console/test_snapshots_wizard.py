"""How each step of the recovery wizard looks, on a small terminal and on a large one."""

from __future__ import annotations

from typing import Any

import pytest
from desk import NARROW, WIDE, Desk, Played, failure, press, settle, write
from recovery import OCCUPIED, TOO_LATE, accident, plan, planned, ready, running, succeeded

from pgvault.model.event import Failure, Level, Noted, PhaseStarted
from pgvault.model.job import JobState

pytestmark = pytest.mark.parametrize("size", [NARROW, WIDE], ids=["80x24", "120x40"])
Size = tuple[int, int]


def shows(snap_compare: Any, desk: Desk, size: Size, *keys: str, text: str = "", **options: object) -> None:
    """The wizard behind these keys, and with this text typed and sent, looks as it did."""
    async def go(pilot: Any) -> None:
        await settle(pilot)
        await press(pilot, "r")
        for key in keys:
            await press(pilot, key)
        if text:
            await write(pilot, text)
            await press(pilot, "enter")

    app = desk.app(**options)
    # A command line without the test's own directory.
    app.queries.commands = Played(None, app.queries.log, desk._answers)
    assert snap_compare(app, terminal_size=size, run_before=go)


def test_what_happened(snap_compare: Any, desk: Desk, size: Size) -> None:
    shows(snap_compare, ready(desk), size)


def test_accidents(snap_compare: Any, desk: Desk, size: Size) -> None:
    ready(desk)
    desk.says("events main", accident(), accident("delete", deleted=1200, at="2026-11-23T10:00:00Z", lsn="0/D000000"))
    shows(snap_compare, desk, size, "enter")


def test_no_accident(snap_compare: Any, desk: Desk, size: Size) -> None:
    ready(desk)
    desk.says("events main")
    shows(snap_compare, desk, size, "enter")


def test_search_failed(snap_compare: Any, desk: Desk, size: Size) -> None:
    ready(desk)
    desk.says("events main", answer=failure("could not read the WAL", "Input/output error.", "Check the disk."))
    shows(snap_compare, desk, size, "enter")


def test_impossible_point(snap_compare: Any, desk: Desk, size: Size) -> None:
    ready(desk)
    desk.says("restore main auto --target-time", TOO_LATE)
    shows(snap_compare, desk, size, "down", "down", "down", "enter", text="2026-11-23 14:00 Europe/Paris")


def test_backups(snap_compare: Any, desk: Desk, size: Size) -> None:
    shows(snap_compare, ready(desk), size, "enter", "B", "end")


def test_where_to(snap_compare: Any, desk: Desk, size: Size) -> None:
    shows(snap_compare, ready(desk), size, "enter", "enter")


def test_the_plan(snap_compare: Any, desk: Desk, size: Size) -> None:
    shows(snap_compare, ready(desk), size, "enter", "enter", "enter")


def test_a_plan_that_cannot_run(snap_compare: Any, desk: Desk, size: Size) -> None:
    ready(desk)
    desk.says("restore main auto /srv", answer=planned(plan(OCCUPIED)))
    shows(snap_compare, desk, size, "enter", "enter", "enter")


def test_asking_before_it_overwrites(snap_compare: Any, desk: Desk, size: Size) -> None:
    ready(desk)
    desk.says("restore main auto /srv", answer=planned(plan(overwrites="the cluster of PostgreSQL 18 there")))
    shows(snap_compare, desk, size, "enter", "enter", "enter", "enter")


def test_read_only(snap_compare: Any, desk: Desk, size: Size) -> None:
    shows(snap_compare, ready(desk), size, "enter", "enter", "enter", read_only=True)


def test_it_runs(snap_compare: Any, desk: Desk, size: Size) -> None:
    ready(desk)
    running(desk)
    shows(snap_compare, desk, size, "enter", "enter", "enter", "enter", ascii_only=size == NARROW)


def test_the_proof(snap_compare: Any, desk: Desk, size: Size) -> None:
    ready(desk)
    succeeded(desk)
    shows(snap_compare, desk, size, "enter", "enter", "enter", "enter")


def test_the_failure(snap_compare: Any, desk: Desk, size: Size) -> None:
    ready(desk)
    running(desk, PhaseStarted("copy", 144 << 20, desk.now),
            Noted("/srv/pg/18/main on standby is incomplete and marked so", Level.WARNING, "incomplete", desk.now),
            desk.ended(state=JobState.FAILED, error=Failure("could not write: no space left", "It is full.",
                                                            "Free space there.", "no-space", 10)), lives=False)
    shows(snap_compare, desk, size, "enter", "enter", "enter", "enter")
