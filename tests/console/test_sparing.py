"""What is sent: only what changed, which makes the same screen as Textual's own update; and nothing while all rests."""

from __future__ import annotations

from datetime import timedelta

import pyte
import pytest
from desk import WIDE, Desk, press, screen, settle
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.segment import Segment
from shelf import at
from textual._compositor import ChopsUpdate
from textual.strip import Strip

from pgvault.console.app import ConsoleApp
from pgvault.console.base import Change
from pgvault.console.textual_private import SparingUpdate
from pgvault.console.widgets.lineview import _difference

COLUMNS = 24
TEXT = st.text(st.sampled_from("ab ━│é漢"), max_size=COLUMNS)


def strip(text: str) -> Strip:
    return Strip([Segment(char) for char in text]).adjust_cell_length(COLUMNS)


def seen(update: ChopsUpdate, before: str) -> list[str]:
    terminal = pyte.Screen(COLUMNS, 2)
    stream = pyte.Stream(terminal)
    stream.feed(f"\x1b[1;1H{before}\x1b[2;1H{before}")
    stream.feed(update.render_segments(Console(color_system=None)))
    return list(terminal.display)


@given(TEXT, TEXT)
def test_what_differs_is_all_that_is_sent(before: str, after: str) -> None:
    one, other = strip(after), strip(before)
    begin, end = _difference(one, other)
    if begin == end:
        assert one.text == other.text
        return
    arguments = ([{0: one}, {0: one}], [(0, begin, end), (1, begin, end)], [[COLUMNS], [COLUMNS]])
    sparing, whole = SparingUpdate(*arguments), ChopsUpdate(*arguments)
    assert seen(sparing, other.text) == seen(whole, other.text) == seen(
        ChopsUpdate(arguments[0], [(0, 0, COLUMNS), (1, 0, COLUMNS)], arguments[2]), other.text)
    console = Console(color_system=None)
    assert len(sparing.render_segments(console)) <= len(whole.render_segments(console))


def test_one_changed_character_costs_a_few_bytes() -> None:
    begin, end = _difference(strip("━" * 20 + "│"), strip("━" * 19 + "│━"))
    assert (begin, end) == (19, 21)
    update = SparingUpdate([{0: strip("━" * 20 + "│")}], [(0, begin, end)], [[COLUMNS]])
    assert update.render_segments(Console(color_system=None)) == "\x1b[1;20H━│"


async def test_between_two_minutes_of_the_clock_nothing_is_sent(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """R38: whenever within their minutes backups, commits, checks and jobs were."""
    seconds = timedelta(seconds=37)
    desk.now = at(23) + timedelta(seconds=1)
    desk.protect(until=desk.now - timedelta(minutes=10) + seconds, finished_at=at(22) + seconds)
    desk.job(desk.ended("backup done", when=desk.now - seconds))
    desk.says("check main", {"server": "main", "outcome": "ok", "checks": []})
    sent: list[object] = []
    async with desk.open(size=WIDE) as pilot:
        app, display = pilot.app, ConsoleApp._display
        await press(pilot, "x")

        def noted(self: ConsoleApp, shown: object, update: object) -> None:
            sent.append(update)
            display(self, shown, update)

        async def after(later: timedelta) -> str:
            desk.now += later
            await app.read_jobs()
            await app._look_at_vault()
            app.notify_views(Change.CLOCK)
            await settle(pilot)
            return screen(pilot)

        for view in "1245":
            await press(pilot, view)
            before = screen(pilot)
            with monkeypatch.context() as watching:
                watching.setattr(ConsoleApp, "_display", noted)
                for _ in range(11):
                    assert await after(timedelta(seconds=5)) == before
            assert [each for each in sent if each is not None] == [], view
            assert await after(timedelta(seconds=5)) != before, "the minute in the head"
