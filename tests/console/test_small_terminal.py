"""On a terminal of 60x15, a window beside another or a phone, everything can be done that a larger one lets do."""

from __future__ import annotations

from desk import Desk, press, screen, settle, write
from recovery import DIRECTORY, TOO_LATE, accident, plan, planned, ready, recovering, running, succeeded, wizard
from test_wal import an_evening
from textual.pilot import Pilot

from pgvault.console.base import Change
from pgvault.console.recovery.steps import Step

SMALL = 60, 15
_EDGES = {"┏": "┓", "┗": "┛", "┌": "┐", "└": "┘", "┃": "┃", "│": "│"}


def seen(pilot: Pilot[None]) -> str:
    """The screen, which is whole: it says where one is and that it is small, its panes are closed, and keys stand
    below them."""
    head, path, *body, keys = lines = screen(pilot).splitlines()
    assert len(lines) == SMALL[1], screen(pilot)
    assert max(map(len, lines)) <= SMALL[0], screen(pilot)
    assert head.endswith("Z")
    assert path.startswith(f" {pilot.app.view.crumbs()[0]}")
    assert "small: 80x24 shows more" in path
    for line in body:
        assert not line or line[0] == " " or line[-1] == _EDGES[line[0]], screen(pilot)
    corners = "".join(line[0] for line in body if line and line[0] in "┏┗┌└")
    assert corners in ("┏┗┌└" * 3, "┏┗", "┌└┏┗", "┏┗┌└", "┏┗┌└┌└", "┌└┏┗┌└"), screen(pilot)
    assert "esc back" in keys or "? help" in keys, keys
    return screen(pilot)


async def test_the_overview_says_how_it_stands_and_what_runs(desk: Desk) -> None:
    ready(desk)
    async with desk.open(size=SMALL) as pilot:
        assert "✓ OK" in seen(pilot)
        assert "everything that was promised can be restored" in seen(pilot)
        assert "Not checked yet" in seen(pilot)
        running(desk)
        await pilot.app.read_jobs()
        await settle(pilot)
        assert "» restore main  copy  50%" in seen(pilot)
        for view in "245":
            await press(pilot, view)
            seen(pilot)


async def test_the_wal_view_shows_the_line_of_time_or_the_list_whichever_has_the_focus(desk: Desk) -> None:
    an_evening(desk)
    desk.says("events main", accident())
    async with desk.open(size=SMALL) as pilot:
        await press(pilot, "3")
        for told in ("backups", "wal", "window", "time ", "restore "):
            assert told in seen(pilot)
        await press(pilot, "e")
        assert "DROP TABLE shop.public.o…" in seen(pilot)


async def test_a_recovery_from_the_question_to_the_proof(desk: Desk) -> None:
    ready(desk)
    desk.says("restore main auto /srv", answer=planned(plan(overwrites="a cluster of PostgreSQL 18, stopped")))
    async with recovering(desk, size=SMALL) as pilot:
        assert "▸a table was dropped" in seen(pilot)
        assert "nothing: I want a copy" in seen(pilot)
        await press(pilot, "enter")
        assert "DROP TABLE shop.public.orders" in seen(pilot)
        assert "just before DROP TABLE" in seen(pilot)
        await press(pilot, "G", "enter")
        assert "▸the latest" in seen(pilot)
        assert "stops" in seen(pilot)
        await press(pilot, "escape", "g", "enter")
        assert f"directory     {DIRECTORY}" in seen(pilot)
        await press(pilot, *["down"] * 5)
        assert " port " in seen(pilot)
        await press(pilot, "enter")
        assert "OVERWRITES" in seen(pilot)
        await press(pilot, "G")
        assert "recovery_target" in seen(pilot)
        await press(pilot, "enter")
        assert f"To overwrite standby:{DIRECTORY}, type the" in screen(pilot)
        running(desk)
        await write(pilot, DIRECTORY)
        await press(pilot, "enter")
        await pilot.app.read_jobs()
        pilot.app.notify_views(Change.JOBS)
        await settle(pilot)
        assert wizard(pilot).draft.step is Step.RUN
        assert "copies the backup and its WAL" in seen(pilot)
        assert "50%" in seen(pilot)


async def test_why_a_point_is_not_possible_stands_beside_the_nearest_one(desk: Desk) -> None:
    ready(desk)
    desk.says("restore main auto --target-time", TOO_LATE)
    async with recovering(desk, "enter", "G", "enter", "down", size=SMALL) as pilot:
        await write(pilot, "2026-11-23 12:00Z")
        await settle(pilot)
        assert "not possible On timeline 1 the archived WAL reaches to" in seen(pilot)
        assert "0/F000000, where the last commit is of" in seen(pilot)
        assert "earlier  2026-11-23 11:50:00Z" in seen(pilot)
        assert "2026-11-23 12:00Z" in seen(pilot)


async def test_the_proof_and_what_it_offers(desk: Desk) -> None:
    ready(desk)
    succeeded(desk)
    async with recovering(desk, *["enter"] * 4, size=SMALL) as pilot:
        assert wizard(pilot).draft.step is Step.PROOF
        assert "shop.public.orders is there with 1500 rows" in seen(pilot)
        assert "enter done  b bring back  s look  D throw away" in seen(pilot)
        await press(pilot, "G")
        assert "recovery stopping before WAL location" in seen(pilot)
