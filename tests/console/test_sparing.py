"""Changed lines: what is sent makes the same screen as Textual's own update, and is no more than what changed."""

from __future__ import annotations

import pyte
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.segment import Segment
from textual._compositor import ChopsUpdate
from textual.strip import Strip

from pgvault.console.widgets.lineview import _difference
from pgvault.console.widgets.sparing import SparingUpdate

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
