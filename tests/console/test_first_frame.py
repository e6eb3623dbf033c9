"""What the console waits for before its first frame: `pgvault` is typed by somebody in a hurry."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from desk import Desk
from textual.css import stylesheet
from textual.css.model import RuleSet
from textual.css.types import CSSLocation
from textual.dom import DOMNode

LOADED = """
import asyncio, sys
from pathlib import Path
from pgvault.config.load import load
from pgvault.console.app import ConsoleApp
from pgvault.console.options import Options
from pgvault.console.queries import Queries

def begin(app):
    print(*sys.modules)
    app.exit()

ConsoleApp._begin = begin  # once the first screen stands
app = ConsoleApp(Queries(load(Path(sys.argv[1]))), Options())
asyncio.run(app.run_async(headless=True, size=(120, 40)))
if app.crash:
    raise app.crash
"""


@pytest.fixture
def loaded(desk: Desk) -> set[str]:
    """The modules that are loaded when the first frame stands."""
    done = subprocess.run([sys.executable, "-c", LOADED, desk.shelf.config], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def below(loaded: set[str], *names: str) -> list[str]:
    return sorted(each for each in loaded if each.startswith(tuple(f"{name}." for name in names)) or each in names)


def test_what_reads_and_connects_is_loaded_after_the_first_frame(loaded: set[str]) -> None:
    """The values that are drawn are the model's. What finds them is loaded with the first question, in a thread."""
    assert below(loaded, "asyncssh", "psycopg", "sqlite3", "crc32c", "backports", "pgvault.engine", "pgvault.wal",
                 "pgvault.cli", "pgvault.demo") == []


def test_screens_and_dialogs_are_loaded_when_they_open(loaded: set[str]) -> None:
    screens = below(loaded, "pgvault.console.screens", "pgvault.console.wizard")
    assert [name.rpartition(".")[2] for name in screens] == ["screens", "newest_backups", "overview", "server_view",
                                                             "view"]
    assert below(loaded, "textual.widgets._text_area", "textual.widgets._markdown") == []


async def test_each_sheet_is_parsed_once_and_what_stands_still_gets_its_styles_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Textual would do both three times: with its own theme and with ours, and again with the first size."""
    sheets, styled = Counter[object](), Counter[DOMNode]()
    parse, apply = stylesheet.parse, stylesheet.Stylesheet.apply

    def parsed(scope: str, css: str, read_from: CSSLocation, *given: Any, **more: Any) -> Iterable[RuleSet]:
        sheets[read_from, more["tie_breaker"]] += 1
        return parse(scope, css, read_from, *given, **more)

    def applied(sheet: stylesheet.Stylesheet, node: DOMNode, **given: Any) -> None:
        styled[node] += 1
        apply(sheet, node, **given)

    monkeypatch.setattr(stylesheet, "parse", parsed)
    monkeypatch.setattr(stylesheet.Stylesheet, "apply", applied)
    async with desk.open() as pilot:
        assert [sheet for sheet, times in sheets.items() if times > 1] == []
        assert {each.id: styled[each] for each in pilot.app.screen.query("#head, #path, #keys, #why")} == {
            "head": 1, "path": 1, "keys": 1, "why": 1}
