"""The one table of keys: what the user may change in it, and everything that comes from it."""

from __future__ import annotations

from pathlib import Path

import pytest
from desk import Desk, press, screen, write
from support.cli import pgvault
from support.installation import REPOSITORY

from pgvault.config.load import load
from pgvault.console.base import BaseConsole
from pgvault.console.entries import Entry, matching
from pgvault.console.keys import ACTIONS, BY_ID, EVERYWHERE, MOVES, VIEWS, actions_of, problems, shown
from pgvault.console.screens.entries_dialog import help_entries, palette_entries
from pgvault.console.screens.view import View, bindings
from pgvault.console.start import check_keymap
from pgvault.model.errors import ConfigError

EVERY_VIEW = sorted({place for action in ACTIONS for place in action.where} - {EVERYWHERE})


def configured(desk: Desk, keys: str) -> Path:
    desk.shelf.config.write_text(f"{desk.shelf.config.read_text()}\n[console.keys]\n{keys}\n")
    return desk.shelf.config


# The table


def test_no_key_means_two_things_in_one_view() -> None:
    for view in EVERY_VIEW:
        keys = [key for action in actions_of(view, read_only=False) for key in action.keys]
        assert sorted(keys) == sorted(set(keys)), view
        assert not set(keys) & {name for move in MOVES for name in move.names}


def test_upper_case_destroys_and_nothing_else_does() -> None:
    for action in ACTIONS:
        if action.destroys:
            assert action.mutates
            assert all(key.isupper() for key in action.keys)


def test_the_page_on_the_console_has_the_same_table() -> None:
    rows = ["| keys | name | what it does | where |", "|---|---|---|---|"]
    rows += [f"| {' '.join(f'`{shown(key)}`' for key in action.keys)} | {action.id} | {action.meaning} | "
             f"{', '.join(action.where)} |" for action in ACTIONS]
    rows += [f"| {' '.join(f'`{key}`' for key in move.keys.split())} | | {move.meaning} | in lists |" for move in MOVES]
    table = "\n".join(rows)
    page = (REPOSITORY / "docs/guide/console.md").read_text()
    assert table in page, f"the table of keys is to be:\n{table}"


def test_config_help_names_every_action() -> None:
    told = pgvault("config", "help", check=0).text
    assert "[console.keys]" in told
    assert all(f"\n{action.id} = " in told for action in ACTIONS)


# Other keys


async def test_an_action_has_the_keys_that_the_user_gave_it(desk: Desk) -> None:
    configured(desk, 'view-jobs = "J"\nhelp = "?,esc"\nback = "ctrl+b"')
    async with desk.open() as pilot:
        await press(pilot, "4")
        assert pilot.app.screen.view == "overview"
        await press(pilot, "J")
        assert pilot.app.screen.view == "jobs"
        await press(pilot, "escape")
        assert "keys of jobs" in screen(pilot)
        await write(pilot, "what ran")
        assert "J" in next(line for line in screen(pilot).splitlines() if "What runs, what ran" in line)


@pytest.mark.parametrize(("keys", "message", "hint"), [
    ('chek = "C"', "the console has no such action", 'Did you mean "check"?'),
    ('check = "b"', '"b" is also the key of backup (overview)', "another one to backup"),
    ('check = "?"', '"?" is also the key of help (overview)', "another one to help"),
    ('pause = "X"', '"X" is also the key of cancel (jobs)', "another one to cancel"),
    ('check = "j"', '"j" moves in lists', "Choose another key."),
])
def test_keys_that_cannot_be_given_are_refused(desk: Desk, keys: str, message: str, hint: str) -> None:
    config = configured(desk, keys)
    line = len(config.read_text().splitlines())
    with pytest.raises(ConfigError) as refused:
        check_keymap(load(config))
    assert f"{config}:{line}: console.keys.{keys.split()[0]}: {message}" in refused.value.message
    assert hint in refused.value.hint
    checked = pgvault("config", "check", config=config, check=2).text
    assert f"{config}:{line}: console.keys.{keys.split()[0]}: {message}" in checked
    assert hint in checked


def test_two_actions_may_change_their_keys(desk: Desk) -> None:
    config = configured(desk, 'check = "b"\nbackup = "x"')
    check_keymap(load(config))
    assert pgvault("config", "check", config=config, check=0).text == f"{config}: ok\n"
    assert [each.id for each in problems({"check": "v", "backup": "v"})] == ["backup"], "told once, of the later one"


# Read-only


def test_read_only_takes_every_mutating_action_from_the_table() -> None:
    mutating = {action.id for action in ACTIONS if action.mutates}
    assert mutating >= {"backup", "cancel"}
    for view in EVERY_VIEW:
        assert not mutating & {action.id for action in actions_of(view, read_only=True)}


@pytest.mark.parametrize("view", VIEWS)
async def test_read_only_has_no_mutating_key_footer_help_or_palette(desk: Desk, view: str) -> None:
    desk.protect()
    desk.job(lives=True)
    mutating = [action for action in ACTIONS if action.mutates]
    async with desk.open(read_only=True) as pilot:
        await press(pilot, str(VIEWS.index(view) + 1))
        shown_view = pilot.app.screen
        assert isinstance(shown_view, View)
        offered = {entry.key for entry in (*help_entries(shown_view), *palette_entries(pilot.app))}
        assert not offered & {action.id for action in mutating}
        footer = screen(pilot).splitlines()[-1]
        for action in mutating:
            assert f"{shown(action.keys[0])} {action.label}" not in footer
            if view in action.where:
                await press(pilot, action.keys[0])
                assert "--read-only" in screen(pilot)
                assert pilot.app.screen is shown_view, "no dialog opens"


# Help and palette


@pytest.mark.parametrize("view", VIEWS)
async def test_the_palette_has_every_action_of_every_view(desk: Desk, view: str) -> None:
    async with desk.open() as pilot:
        await press(pilot, str(VIEWS.index(view) + 1))
        offered = {entry.key for entry in palette_entries(pilot.app)}
        for place in EVERY_VIEW:
            assert {binding.id for binding in bindings(place)} <= offered
        assert {action.id for action in ACTIONS} <= offered


async def test_help_has_every_binding_of_its_view(desk: Desk) -> None:
    async with desk.open() as pilot:
        for number, view in enumerate(VIEWS, 1):
            await press(pilot, str(number))
            offered = {entry.key for entry in help_entries(pilot.app.screen)}
            assert {binding.id for binding in bindings(view)} <= offered


def entry(key: str, keys: str, label: str, meaning: str) -> Entry:
    return Entry(key, keys, label, meaning, lambda: None)


def test_what_is_typed_finds_by_key_first_then_by_label_then_by_any_word() -> None:
    entries = [entry("a", "b", "back up", "Back up the server"), entry("b", "/", "filter", "Filter the list"),
               entry("c", "f", "follow", "Follow the file's end"), entry("d", "x", "check", "of the filter")]
    assert [each.key for each in matching(entries, "f")] == ["c", "b", "d"]
    assert [each.key for each in matching(entries, "filter")] == ["b", "d"]
    assert [each.key for each in matching(entries, "server back")] == ["a"], "all words, in any order"
    assert [each.key for each in matching(entries, "!filter")] == ["a", "c"]
    assert matching(entries, "  ") == entries
    assert matching(entries, "[red]") == []


def test_every_id_is_known() -> None:
    assert len(BY_ID) == len(ACTIONS)


def test_an_action_without_its_method_is_noticed_when_the_class_is_made() -> None:
    with pytest.raises(TypeError, match='Mute has no do_follow, which the action "follow" needs'):
        class Mute(View):
            view = "logs"
    with pytest.raises(TypeError, match='Deaf has no do_command, which the action "command" needs'):
        class Deaf(BaseConsole):
            pass
