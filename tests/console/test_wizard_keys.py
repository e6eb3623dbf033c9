"""Keys in the recovery wizard: what is typed lands in its field, and the footer says what Enter does."""

from __future__ import annotations

from datetime import UTC, datetime

from desk import WIDE, Desk, press, screen, write
from recovery import TOO_LATE, choices, ready, recovering, wizard
from textual.widgets import Input

from pgvault.console.recovery.answer import answer_of
from pgvault.console.recovery.draft import Draft, Point
from pgvault.console.recovery.session import Session
from pgvault.console.recovery.steps import Step
from pgvault.console.recovery.typed import Kind
from pgvault.model.target import AtTime

TO_KINDS = ("enter", "end", "enter")
"""What happened, the last line of the accidents, and there are the kinds of points."""


async def test_enter_on_a_kind_always_leads_into_its_field(desk: Desk) -> None:
    """Also where an older text that is none stands in it: what is typed then must not be taken for shortcuts."""
    ready(desk)
    async with recovering(desk, *TO_KINDS, "down", "enter") as pilot:
        await write(pilot, "20")
        await press(pilot, "shift+tab", "enter")
        assert "not a time" in screen(pilot)
        assert isinstance(pilot.app.focused, Input)
        await write(pilot, "26 pr0")
        assert pilot.app.focused.value == "2026 pr0"
        assert wizard(pilot).draft.step is Step.POINT


async def test_a_digit_on_a_kind_begins_its_text(desk: Desk) -> None:
    ready(desk)
    async with recovering(desk, *TO_KINDS, "down") as pilot:
        assert not isinstance(pilot.app.focused, Input)
        await write(pilot, "2026")
        assert wizard(pilot).draft.step is Step.POINT
        assert isinstance(pilot.app.focused, Input)
        assert pilot.app.focused.value == "2026"


async def test_a_digit_elsewhere_still_opens_its_view(desk: Desk) -> None:
    ready(desk)
    async with recovering(desk, *TO_KINDS, "2") as pilot:
        assert pilot.app.current_mode == "backups"


async def test_enter_is_dimmed_only_where_it_does_nothing(desk: Desk) -> None:
    ready(desk)
    desk.says("restore main auto --target-time 2026-11-23 13:00:00+00", TOO_LATE)
    async with recovering(desk, *TO_KINDS, "down", "enter") as pilot:
        await write(pilot, "2026-11-23 14:00 Europe/Paris")
        assert "to the nearest" in screen(pilot).splitlines()[-1]
        assert "(enter" not in screen(pilot).splitlines()[-1]
        await press(pilot, "enter")
        assert "enter take it" in screen(pilot).splitlines()[-1]
        await press(pilot, "enter")
        assert wizard(pilot).draft.step is Step.WHERE


async def test_enter_on_a_kind_says_that_it_leads_to_the_text(desk: Desk) -> None:
    ready(desk)
    async with recovering(desk, *TO_KINDS, "down") as pilot:
        assert Kind[pilot.app.focused.key] is Kind.TIME  # type: ignore[union-attr]
        assert "enter type it" in screen(pilot).splitlines()[-1]


async def test_a_large_terminal_shows_where_the_point_lies(desk: Desk) -> None:
    """A line of time between the accidents, which take no more room than they need, and the point's facts."""
    ready(desk)
    async with recovering(desk, "enter", size=WIDE) as pilot:
        shown = screen(pilot).splitlines()
        title, end = (next(n for n, line in enumerate(shown) if text in line)
                      for text in ("what the WAL says happened", "all archived WAL was searched"))
        assert end - title == 4
        assert "where that is" in shown[end + 1]
        strip = "\n".join(shown[end + 1:end + 10])
        for glyph in (pilot.app.glyphs.backup, pilot.app.glyphs.accident, "window"):
            assert glyph in strip
        before = strip
        desk.says("restore main auto --target-time", choices())
        await press(pilot, "shift+tab")
        assert pilot.app.focused.id != "strip"  # it only shows
        assert before
    async with recovering(desk, "down", "enter") as pilot:
        assert "where that is" not in screen(pilot)


async def test_where_a_taken_point_lies_is_what_its_search_said(desk: Desk) -> None:
    """Not the end of the archive, where the cursor begins."""
    ready(desk)
    async with desk.open() as pilot:
        session = Session(pilot.app.queries, Draft("main"), None, lambda *_: None)
        assert session.place == (1, None), "the end"
        draft = session.draft.at(Point(AtTime(datetime(2026, 11, 23, 11, 45, tzinfo=UTC))))
        session.change(draft)
        assert session.place is None, "nobody asked yet"
        session.take(draft, answer_of(choices()))
        assert session.place == (1, datetime(2026, 11, 23, 11, 40, 12, tzinfo=UTC))
