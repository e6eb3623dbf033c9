"""Keys that come as fast as a terminal sends them: all of them count, in their order, each where it was meant for."""

from __future__ import annotations

import pytest
from desk import Desk, press, screen, settle
from recovery import ready, recovering, wizard
from test_wal import an_evening, app
from textual.events import Key
from textual.pilot import Pilot
from textual.widgets import Input

from pgvault.console.recovery.steps import Step


async def burst(pilot: Pilot[None], *keys: str) -> None:
    """All of them before the first one is looked at."""
    for key in keys:
        pilot.app.post_message(Key(key, key if len(key) == 1 else "/" if key == "slash" else None))
    await pilot.pause()
    await settle(pilot)


async def test_backspaces_and_letters_keep_their_order(desk: Desk) -> None:
    ready(desk)
    async with recovering(desk, "enter", "enter") as pilot:
        await press(pilot, "tab")
        assert isinstance(pilot.app.focused, Input)
        for word in ("first", "second", "third"):
            before = pilot.app.focused.value
            await burst(pilot, *["backspace"] * 4, *word, "left", "x", "end", "y")
            assert pilot.app.focused.value == f"{before[:-4]}{word[:-1]}x{word[-1]}y"
        assert wizard(pilot).draft.directory == pilot.app.focused.value


async def test_what_follows_a_key_that_opens_something_is_typed_into_it(desk: Desk) -> None:
    desk.protect()
    async with desk.open() as pilot:
        await burst(pilot, "2", "slash", *"1121")
        assert "/1121  1 of 3" in screen(pilot)
        await burst(pilot, "enter", "4", "ctrl+p", *"20261121T")
        assert pilot.app.screen.query_one(Input).value == "20261121T"


async def test_a_recovery_in_one_breath(desk: Desk) -> None:
    ready(desk)
    async with desk.open() as pilot:
        await burst(pilot, "r", "enter", "down", "enter", "down", "enter", *"2026")
        assert wizard(pilot).draft.step is Step.POINT
        assert isinstance(pilot.app.focused, Input)
        assert pilot.app.focused.value == "2026"


@pytest.mark.parametrize("keys", [("3", "h", "e"), ("3", "slash", "x", "escape", "1")])
async def test_keys_for_a_view_that_comes_up(desk: Desk, keys: tuple[str, ...]) -> None:
    an_evening(desk)
    desk.says("events main")
    async with desk.open(app(desk)) as pilot:
        await press(pilot, "3", "1")  # the archive is read
        await burst(pilot, *keys)
        assert ("accidents" if keys[-1] == "e" else "main / overview") in screen(pilot).splitlines()[1]


async def test_what_takes_too_long_holds_up_no_key(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgvault.console.keystrokes._AT_MOST", -1.0)
    async with desk.open() as pilot:
        pilot.app._at_work = Key("x", "x")  # never done
        await press(pilot, "2")
        assert pilot.app.screen.view == "backups"
