"""Text from outside, such as labels, paths and errors of other programs, is shown as it is and does nothing."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from desk import Desk, settle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.pilot import Pilot

from pgvault.console import app as console_app
from pgvault.console.fields import Field
from pgvault.console.screens.confirm import Confirm, Typed
from pgvault.console.screens.text_box import TextBox
from pgvault.console.widgets.bars import Bar
from pgvault.console.widgets.lineview import LineView
from pgvault.console.widgets.pane import ListPane
from pgvault.console.widgets.rows import Column, ItemRows
from pgvault.model.text import Painted

CONSOLE = Path(console_app.__file__).parent
FORBIDDEN = {"Label", "Markdown", "DataTable", "RichLog", "Log", "LoadingIndicator", "ProgressBar", "Header", "Footer",
             "OptionList", "SelectionList", "Tree", "Button"}
"""Of Textual: they read markup, or send much more than what changed."""
TITLES = {"border_title", "border_subtitle"}

# How it is written


def sources() -> Iterator[Path]:
    yield from sorted(CONSOLE.rglob("*.py"))


def called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def is_content(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and called(node) == "Content"


def complaints(tree: ast.AST, *, is_app: bool = False) -> Iterator[str]:
    """Where a text could be read as markup."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "textual.widgets":
            for name in {alias.name for alias in node.names} & FORBIDDEN:
                yield f"line {node.lineno}: {name} is not used here"
        elif isinstance(node, ast.Call) and called(node) == "Static":
            markup = {word.arg: word.value for word in node.keywords}.get("markup")
            if not (node.args and is_content(node.args[0])) and not (
                    isinstance(markup, ast.Constant) and markup.value is False):
                yield f"line {node.lineno}: Static(Content(...)) or markup=False"
        elif isinstance(node, ast.Call) and called(node) == "notify" and not is_app:
            yield f"line {node.lineno}: app.tell is the only toast"
        elif isinstance(node, ast.Assign) and not is_content(node.value):
            for target in node.targets:
                if isinstance(target, ast.Attribute) and target.attr in TITLES:
                    yield f"line {node.lineno}: Content(...) for {target.attr}"


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(CONSOLE)))
def test_no_text_is_read_as_markup(path: Path) -> None:
    assert not list(complaints(ast.parse(path.read_text()), is_app=path.name == "toasts.py"))


@pytest.mark.parametrize("source", [
    "from textual.widgets import Label", "Static(text)", "Static('x', markup=True)", "self.notify(text)",
    "box.border_title = text", "app.notify('x')"])
def test_the_rule_finds_what_it_forbids(source: str) -> None:
    assert list(complaints(ast.parse(source)))


@pytest.mark.parametrize("source", [
    "Static(Content(text))", "Static(text, markup=False)", "box.border_title = Content(text)", "app.tell(text)"])
def test_the_rule_lets_through_what_is_safe(source: str) -> None:
    assert not list(complaints(ast.parse(source)))


# How it is drawn

HOSTILE = st.one_of(
    st.text(max_size=60),
    st.sampled_from([
        "x [/data/pg] y", "[red]x", "[/]", "[@click=app.quit]x[/]", "\x1b[2J\x1b]52;c;eA==\a",
        "a\tb\r\nc\x00\x7f\x9b1m",
        "ﷺ" * 30, "漢字" * 60, "e\u0301\u0301\u0301" * 20, "\u202egnirts\u2066",
        "👩‍👩‍👧‍👦🏳️‍🌈", "\u200b\u200d\ufeff\u2028",
        "\udcff\udc80", "x" * 10_000, "[" * 10_000, "漢" * 10_000, "$text ${x} %s \\[ \\"]))


class Probe(LineView):
    """Lines of a text in every style, cut at the widget's width."""


def drawn(pilot: Pilot[None]) -> Iterator[str]:
    """What every line of every widget draws."""
    for node in pilot.app.screen.walk_children():
        if isinstance(node, LineView) and node.size:
            for y in range(node.size.height):
                strip = node.render_line(y)
                assert strip.cell_length == node.size.width
                assert all(segment.control is None for segment in strip)
                yield strip.text


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(HOSTILE, min_size=3, max_size=12), ascii_only=st.booleans())
def test_hostile_text_is_shown_and_does_nothing(desk: Desk, texts: list[str], ascii_only: bool) -> None:
    asyncio.run(show_everywhere(desk, texts, ascii_only=ascii_only))


async def show_everywhere(desk: Desk, texts: list[str], *, ascii_only: bool) -> None:
    async with desk.open(ascii_only=ascii_only) as pilot:
        pane = ListPane(texts[0], [Column("", 10), Column("", 10, flexible=True)], empty=texts[1])
        bar, probe = Bar(), Probe()
        await pilot.app.screen.mount(pane, bar, probe)
        pane.say(texts[1])
        pane.show(ItemRows(list(enumerate(texts)), lambda item: [item[1], Painted(item[1], "bad")], str))
        bar.set([texts[0]], [Painted(texts[1], "warn")])
        probe.set_lines([[text, Painted(text, "cursor")] for text in texts])
        for text in texts[:3]:
            pilot.app.tell(text, "error", title=text)
        await settle(pilot)
        check(pilot)
        for dialog in (TextBox(texts[0], texts[1], copy=True), Confirm(texts[0], [Field("", texts[1])], act=texts[2]),
                       Confirm(texts[0], [Field("", texts[1])], act=texts[2], typed=Typed(texts[1]))):
            pilot.app.push_screen(dialog)
            await settle(pilot)
            check(pilot)
            dialog.dismiss(None)
            await settle(pilot)


def check(pilot: Pilot[None]) -> None:
    for text in drawn(pilot):
        assert not any(char < " " or "\x7f" <= char <= "\x9f" or "\u202a" <= char <= "\u202e" for char in text)
        if pilot.app.glyphs.ascii_only:
            assert text.isascii()
        else:
            assert cell_len(text) <= pilot.app.size.width * 2
    pilot.app.export_screenshot()
