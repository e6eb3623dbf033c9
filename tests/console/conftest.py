"""A desk for each test, terminals that look the same everywhere, and tests that are coroutines."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest
from desk import Desk, rest
from shelf import Shelf
from textual._context import active_app


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine function in a loop of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    asyncio.run(pyfuncitem.obj(**arguments))
    return True


@pytest.fixture(autouse=True)
def same_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The terminal, the locale and the person are the same on every machine, and have kept nothing of before."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("NO_COLOR", "PGVAULT_THEME", "SSH_CONNECTION", "LC_ALL", "LC_CTYPE", "TMUX", "STY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setattr("pgvault.console.head.operator", lambda: "dba@ops1")


@pytest.fixture(autouse=True)
def own_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is drawn, and when a key is done with, depends on no clock.

    Textual would wait until the processor's clock stands still, which on a busy machine says nothing.
    """
    async def idle(*_: float) -> None:
        await rest(active_app.get())

    for module in ("app", "pilot"):
        monkeypatch.setattr(f"textual.{module}.wait_for_idle", idle)
    monkeypatch.setattr("textual.screen.UPDATE_PERIOD", 60)  # `rest` draws; this is for those who wait otherwise


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A vault for one server, `main`, of which nothing is stored yet."""
    desk = Desk(Shelf(tmp_path / "vault", tmp_path / "pgvault.toml"))
    desk.serve("main")
    yield desk
    desk.close()
