"""What the console waits for before its first frame: `pgvault` is typed by somebody in a hurry."""

from __future__ import annotations

import subprocess
import sys

import pytest
from desk import Desk

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
    assert [name.rpartition(".")[2] for name in screens] == ["screens", "newest_backups", "overview", "view"]
    assert below(loaded, "textual.widgets._text_area", "textual.widgets._markdown") == []
