"""How the console says something: toasts that cover nothing for long, errors in full, and keys that work."""

from __future__ import annotations

from datetime import timedelta

import pytest
from desk import NARROW, WIDE, Desk, failure, press, screen, settle, toasts, words, write
from recovery import ready, recovering
from shelf import at, made_backup
from support.objects import manifest_path
from textual.pilot import Pilot
from textual.widgets import Input

from pgvault.console.head import tabs
from pgvault.console.recovery.steps import Step
from pgvault.console.screens.confirm import Confirm, Typed
from pgvault.model.job import JobState


def footer(pilot: Pilot[None]) -> str:
    return screen(pilot).splitlines()[-1]


# Toasts


async def test_the_same_words_stand_there_once(desk: Desk) -> None:
    async with desk.open() as pilot:
        for _ in range(3):
            pilot.app.tell("there is no such file", "warning")
        await settle(pilot)
        assert toasts(pilot) == ["there is no such file"]


async def test_a_key_takes_away_what_was_said_before_it(desk: Desk) -> None:
    async with desk.open(read_only=True) as pilot:
        pilot.app.tell("one")
        pilot.app.tell("two")
        await settle(pilot)
        assert toasts(pilot) == ["one", "two"]
        await press(pilot, "b")
        assert toasts(pilot) == ["this console was started with --read-only"]
        await press(pilot, "j")
        assert toasts(pilot) == []


async def test_a_screen_that_comes_up_by_itself_does_so_without_what_was_said_before(desk: Desk) -> None:
    async with desk.open() as pilot:
        pilot.app.tell("job 20261123T120000Z backs up main")
        await settle(pilot)
        pilot.app.push_screen(Confirm("sure", [], act="do it"))
        await settle(pilot)
        assert toasts(pilot) == []
        await press(pilot, "escape")
        assert toasts(pilot) == []


async def test_a_step_of_the_recovery_comes_up_without_what_was_said_in_the_one_before(desk: Desk) -> None:
    """Also one that comes by itself, as the proof does when the restore has ended."""
    desk.protect()
    async with desk.open() as pilot:
        await press(pilot, "r")
        pilot.app.tell("a directory is named by its whole path", "warning")
        await settle(pilot)
        assert toasts(pilot)
        pilot.app.screen.go(Step.WHERE)
        await settle(pilot)
        assert "a directory is named by its whole path" not in toasts(pilot)


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_a_toast_covers_neither_where_one_is_nor_a_title_nor_the_keys(desk: Desk, size: tuple[int, int]) -> None:
    async with desk.open(size=size) as pilot:
        before = screen(pilot).splitlines()
        pilot.app.tell("the longest of the words that are said of anything that happens on a server or in its vault")
        await settle(pilot)
        after = screen(pilot).splitlines()
        assert after[:-3] == before[:-3]
        assert after[-1] == before[-1]
        assert "of the words that are said" in " ".join(after[-3:-1])


# Keys


async def test_behind_a_dialog_stand_the_keys_of_the_dialog(desk: Desk) -> None:
    """R3."""
    desk.protect()
    async with desk.open() as pilot:
        assert "x check" in footer(pilot)
        await press(pilot, "b")
        assert footer(pilot).split() == ["enter", "choose", "esc", "back"]
        await press(pilot, "escape", "c")
        assert footer(pilot).split() == ["y", "copy", "esc", "back"]
        await press(pilot, "escape")
        assert "x check" in footer(pilot)


async def test_a_name_to_be_typed_is_asked_for_where_it_is_typed(desk: Desk) -> None:
    async with desk.open() as pilot:
        pilot.app.push_screen(Confirm("overwrite", [], act="overwrite /srv/pg on db2", typed=Typed("/srv/pg")))
        await settle(pilot)
        assert "To overwrite /srv/pg on db2, type the whole directory, from its first /" in screen(pilot)
        assert footer(pilot).split() == ["type", "the", "directory", "esc", "back"]
        await write(pilot, "/srv/p")
        assert footer(pilot).split() == ["type", "the", "directory", "esc", "back"]
        await write(pilot, "g")
        assert footer(pilot).split() == ["enter", "overwrite", "/srv/pg", "on", "db2", "esc", "back"]


async def test_esc_goes_back_and_q_closes_and_the_footer_says_so_where_they_do(desk: Desk) -> None:
    """R6."""
    desk.shelf.with_files(made_backup(at(22)), {"PG_VERSION": b"18\n"})
    desk.shelf.archive(1, 2, 6)
    job = desk.job(desk.ended())
    async with desk.open() as pilot:
        assert "q quit" in footer(pilot)
        assert "esc" not in footer(pilot)
        for keys in (("2", "enter"), ("4", "enter"), ("1", "@")):
            for back in ("q", "escape"):
                await press(pilot, *keys)
                assert "q close" in footer(pilot), keys
                assert "esc back" in footer(pilot), keys
                await press(pilot, back)
                assert "q quit" in footer(pilot)
                assert "esc" not in footer(pilot)
        await press(pilot, "4", "slash", "x", "enter")
        assert "esc back" in footer(pilot)
    assert job


async def test_where_a_letter_is_typed_it_is_no_key_of_the_footer(desk: Desk) -> None:
    ready(desk)
    async with recovering(desk, "enter", "enter") as pilot:
        assert "? help" in footer(pilot)
        await press(pilot, "tab")
        assert isinstance(pilot.app.focused, Input)
        assert "?" not in footer(pilot)
        assert "esc back" in footer(pilot)
        await write(pilot, "?q")
        assert pilot.app.focused.value.endswith("?q")


async def test_the_views_are_tabs_beside_the_breadcrumb(desk: Desk) -> None:
    """R7, R10; where a long path leaves no room, the names of the others go first."""
    async with desk.open() as pilot:
        assert screen(pilot).splitlines()[1].endswith("[1 overview] 2 backups  3 wal  4 jobs  5 logs")
        await press(pilot, "4")
        assert "1 overview  2 backups  3 wal [4 jobs] 5 logs" in screen(pilot).splitlines()[1]
    assert "".join(map(str, tabs("backups", 30, {}))) == " 1 [2 backups] 3  4  5 "
    assert tabs("backups", 10, {}) == []
    assert str(tabs("jobs", 80, {"view-jobs": "J"})[3]) == "[J jobs]"


async def test_ctrl_c_says_what_it_does(desk: Desk) -> None:
    async with desk.open() as pilot:
        await press(pilot, "ctrl+c")
        assert "ctrl+c ends nothing here" in toasts(pilot)[0]


async def test_a_demonstration_is_removed_only_when_that_was_chosen(desk: Desk) -> None:
    for keys, keeps in ((("q", "escape", "q", "down", "enter"), True), (("ctrl+q", "down", "down", "enter"), False),
                        (("ctrl+q", "ctrl+q"), True)):
        app = desk.app(sandbox=desk.shelf.home)
        async with app.run_test(size=NARROW, notifications=True) as pilot:
            await press(pilot, "q", "enter")  # the first choice leaves nothing
            assert app.is_running
            for key in keys:
                await pilot.press(key)
        assert app.keeps_sandbox is keeps, keys


async def test_what_runs_in_a_demonstration_outlives_its_terminal(desk: Desk) -> None:
    desk.job(lives=True)
    app = desk.app(sandbox=desk.shelf.home)
    async with app.run_test(size=NARROW) as pilot:
        await settle(pilot)
        app.end()  # as on SIGHUP
    assert app.keeps_sandbox


# Commands


async def test_c_shows_commands_that_print_the_log_and_its_lines(desk: Desk) -> None:
    """R29: they run in a shell as they stand."""
    log = desk.shelf.home.parent / "a log.txt"
    log.write_text("one line\n")
    desk.shelf.config.write_text(desk.shelf.config.read_text().replace(
        "[vault]\n", f'[vault]\nlog_file = "{log}"\n'))
    async with desk.open() as pilot:
        await press(pilot, "5", "c")
        assert "tail -n 1000 " in words(pilot)
        assert "a log.txt'" in words(pilot)
        await press(pilot, "escape", "f", "c")
        assert "tail -n 1000 -f" in words(pilot)
        await press(pilot, "escape", "/")
        await write(pilot, "one")
        await press(pilot, "enter", "c")
        assert "grep -F -i -e one" in words(pilot)


@pytest.mark.parametrize(("key", "reason"), [("5", "no log file is configured"), ("@", "no command is selected")])
async def test_where_no_command_can_be_shown_c_says_why(desk: Desk, key: str, reason: str) -> None:
    """R4."""
    async with desk.open() as pilot:
        await press(pilot, key)
        assert "(c command)" in footer(pilot)
        await press(pilot, "c")
        assert toasts(pilot) == [reason]


async def test_c_shows_the_command_that_is_selected_in_the_command_log(desk: Desk) -> None:
    desk.says("check main", {"server": "main", "outcome": "ok", "checks": []})
    async with desk.open() as pilot:
        await press(pilot, "x", "@", "c")
        assert "check main" in words(pilot)
        assert "nothing is selected" not in words(pilot)


# Errors


async def test_a_backup_that_is_refused_says_all_of_it_and_nothing_beside(desk: Desk) -> None:
    """R34: what failed, why, what to do, and the code; no toast says meanwhile that it runs."""
    refusal = failure("could not connect to main", "There is no such socket.", "Check that the server runs.",
                      "unreachable", 7)
    job = desk.job(desk.ended(state=JobState.FAILED, error=refusal.failure))
    desk.says("backup main", {"job": job})
    async with desk.open() as pilot:
        await press(pilot, "b", "j", "enter")
        for said in ("main is not backed up", "failed could not connect to main", "cause There is no such socket.",
                     "next step Check that the server runs.", "code unreachable: pgvault explain unreachable"):
            assert said in words(pilot), said
        assert toasts(pilot) == []
        await press(pilot, "y")
        assert "unreachable: pgvault explain unreachable" in pilot.app.clipboard


async def test_a_job_that_cannot_be_cancelled_says_why_in_full(desk: Desk) -> None:
    job = desk.job(lives=True)
    desk.says("job cancel", answer=failure("could not signal it", "It is not yours.", "Ask its owner.", "refused", 5))
    async with desk.open() as pilot:
        await press(pilot, "4", "X", "j", "enter")
        for said in (f"job {job} is not cancelled", "failed could not signal it", "cause It is not yours.",
                     "next step Ask its owner.", "code refused: pgvault explain refused"):
            assert said in words(pilot), said


async def test_a_backup_whose_files_cannot_be_listed_shows_its_code(desk: Desk) -> None:
    """R34."""
    backup = made_backup(at(22))
    desk.shelf.with_files(backup, {"PG_VERSION": b"18\n"})
    desk.shelf.archive(1, 2, 6)
    manifest_path(desk.shelf.server(), backup.id).unlink()
    async with desk.open() as pilot:
        await press(pilot, "2", "enter")
        assert "code corrupt: pgvault explain corrupt" in words(pilot)


# Which server it is


async def test_production_is_said_beside_the_server_on_every_screen_of_it(desk: Desk) -> None:
    """R11."""
    desk.serve("main", settings='environment = "production"')
    desk.shelf.with_files(made_backup(desk.now - timedelta(days=1)), {"PG_VERSION": b"18\n"})
    desk.shelf.archive(1, 2, 6)
    async with desk.open() as pilot:
        for keys, view in ((("1",), "overview"), (("2",), "backups"), (("enter",), "backups"), (("3",), "wal")):
            await press(pilot, *keys)
            assert f" main PRODUCTION / {view}" in screen(pilot).splitlines()[1], keys
