"""Help, palette, command log and what works everywhere: found by typing, done by Enter."""

from __future__ import annotations

import shlex
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from desk import Desk, press, screen, settle, write
from textual.events import Resize
from textual.geometry import Size
from textual.widgets import TextArea

from pgvault.console.base import Change
from pgvault.console.clipboard import AT_MOST
from pgvault.console.dump import text_of
from pgvault.console.screens.text_box import TextBox, pasteable
from pgvault.model.event import PhaseStarted, Progressed

# Help and palette


async def test_help_is_narrowed_by_typing_and_enter_does_it(desk: Desk) -> None:
    async with desk.open() as pilot:
        await press(pilot, "question_mark")
        assert "keys of overview" in screen(pilot)
        await write(pilot, "wal time")
        assert "The WAL timeline" in screen(pilot)
        assert "The log file" not in screen(pilot)
        await press(pilot, "enter")
        assert pilot.app.screen.view == "wal"


async def test_a_key_is_found_by_itself(desk: Desk) -> None:
    async with desk.open() as pilot:
        await press(pilot, "question_mark", "p")
        assert pilot.app.screen.entry.key == "pause", "before all that have a p in them"
        await press(pilot, "enter")
        assert "refreshing is paused (p)" in screen(pilot)


async def test_what_is_not_possible_now_is_shown_with_its_reason(desk: Desk) -> None:
    async with desk.open() as pilot:
        await press(pilot, "4", "question_mark")
        await write(pilot, "cancel")
        assert "(no job is selected)" in screen(pilot)
        assert "not now: no job is selected" in screen(pilot)
        await press(pilot, "enter")
        assert "keys of jobs" in screen(pilot), "it stays open"
        await press(pilot, "escape")
        assert pilot.app.screen.view == "jobs"


async def test_nothing_that_fits_is_said(desk: Desk) -> None:
    async with desk.open() as pilot:
        await press(pilot, "ctrl+p")
        await write(pilot, "[red]")
        assert "Nothing fits." in screen(pilot)
        await press(pilot, "enter", "escape")
        assert pilot.app.screen.view == "overview"


async def test_the_palette_goes_to_servers_backups_and_jobs(desk: Desk) -> None:
    desk.serve("main", "report-db")
    backup = desk.protect("report-db")[0]
    job = desk.job(desk.ended("backup x is DONE"), server="report-db")
    async with desk.open() as pilot:
        await press(pilot, "4", "ctrl+p")
        await write(pilot, "server report")
        await press(pilot, "enter")
        assert pilot.app.server == "report-db"
        assert pilot.app.screen.view == "overview"
        await press(pilot, "ctrl+p")
        await write(pilot, job)
        assert "job backup report-db, succeeded" in screen(pilot)
        await press(pilot, "enter")
        assert f"jobs / {job}" in screen(pilot)
        await press(pilot, "escape", "ctrl+p")
        await write(pilot, backup.id)
        await press(pilot, "enter")
        assert pilot.app.screen.view == "backups"
        assert backup.id in screen(pilot).splitlines()[1], "the cursor is on it"


async def test_an_action_of_another_view_is_done_there(desk: Desk) -> None:
    desk.shelf.config.write_text(
        desk.shelf.config.read_text().replace("[vault]\n", f'[vault]\nlog_file = "{desk.shelf.config}"\n', 1))
    async with desk.open() as pilot:
        await press(pilot, "ctrl+p")
        await write(pilot, "export")
        await press(pilot, "enter")
        assert pilot.app.view.view == "logs"


# The command log


async def test_every_command_is_logged_with_its_place_time_and_end(desk: Desk) -> None:
    async with desk.open() as pilot:
        log = pilot.app.queries.log
        await press(pilot, "at")
        assert "No command was run from here yet." in screen(pilot)
        log.record("tar -xf - [/bad]", "standby-db-server", desk.now, 2.5, 1)
        began = log.begin("psql 'postgresql://me:hunter2@db/x?password=hunter2'")
        await settle(pilot)
        first, second = screen(pilot).splitlines()[4:6]
        assert "here" in first
        assert "runs" in first
        for told in ("12:00:00Z", "standby-db-server", "2.5 s", " 1 ", "tar -xf - [/bad]"):
            assert told in second
        assert "hunter2" not in screen(pilot)
        log.end(began, 0.25, 0)
        await settle(pilot)
        assert "0.2 s" in screen(pilot).splitlines()[4]
        await press(pilot, "down", "enter")
        assert "command: standby-db-server, 2026-11-23 12:00:00Z, 2.5 s, exit 1" in screen(pilot)
        assert pilot.app.screen.query_one(TextArea).text == "tar -xf - [/bad]"
        await press(pilot, "escape", "escape")
        assert pilot.app.screen.view == "overview"


# A terminal that is too small


async def test_too_small_a_terminal_shows_jobs_and_lets_one_leave(desk: Desk) -> None:
    desk.job(PhaseStarted("copy", 200, at=desk.now), Progressed(100, at=desk.now), lives=True)
    async with desk.open() as pilot:
        await press(pilot, "4")
        focused = pilot.app.focused
        await pilot.resize_terminal(60, 10)
        await settle(pilot)
        needs, leave, job = screen(pilot).splitlines()[:3]
        assert (needs, leave) == ("this is 60x10; 60x15 is needed, 80x24 shows all", "q quit; jobs go on")
        assert job.startswith("» backup main  copy  ")
        assert job.endswith("50%  100 B of 200 B")
        await press(pilot, "X", "2")
        assert pilot.app.screen.view == "jobs", "nothing is done that cannot be seen"
        await pilot.resize_terminal(80, 24)
        await settle(pilot)
        assert "is needed" not in screen(pilot)
        assert "jobs, newest first" in screen(pilot)
        assert pilot.app.focused is focused
        await pilot.resize_terminal(120, 14)
        await press(pilot, "q")
    assert pilot.app.farewell[0].startswith("job ")


async def test_a_size_that_comes_late_does_not_count(desk: Desk) -> None:
    """Sizes in quick succession reach a screen in any order; the rules that count are those of the newest."""
    async with desk.open() as pilot:
        await pilot.resize_terminal(60, 10)
        await settle(pilot)
        pilot.app.screen.post_message(Resize(Size(80, 24), Size(80, 24)))
        await settle(pilot)
        pilot.app.notify_views(Change.CLOCK)
        await settle(pilot)
        assert screen(pilot).startswith("this is 60x10; 60x15 is needed")


# What works everywhere


async def test_pausing_stops_the_refreshing(desk: Desk) -> None:
    async with desk.open() as pilot:
        await press(pilot, "4", "p")
        assert "refreshing is paused (p)" in screen(pilot).splitlines()[1]
        desk.job(desk.ended("x"))
        pilot.app._poll_jobs()
        await settle(pilot)
        assert "No jobs yet." in screen(pilot)
        await press(pilot, "p")
        pilot.app._poll_jobs()
        await settle(pilot)
        assert "succeeded" in screen(pilot)
        assert "paused (p)" not in screen(pilot).splitlines()[1]


async def test_the_screen_is_saved_as_picture_and_text(desk: Desk, tmp_path: Path,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with desk.open() as pilot:
        before = screen(pilot)
        await press(pilot, "ctrl+s")
        assert "saved" in screen(pilot)
    picture, text = tmp_path / "pgvault-20261123T120000Z.svg", tmp_path / "pgvault-20261123T120000Z.txt"
    assert text.read_text() == before
    ElementTree.fromstring(picture.read_text())
    assert text_of(picture.read_text(), 24) == before
    assert "url(http" not in picture.read_text(), "whoever looks at it fetches nothing from the net"


async def test_a_directory_that_cannot_be_written_is_told(desk: Desk, tmp_path: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    async with desk.open() as pilot:
        gone.rmdir()
        await press(pilot, "ctrl+s")
        assert "could not save the screen" in screen(pilot)


async def test_what_is_copied_is_shown_and_handed_to_the_terminal(desk: Desk) -> None:
    async with desk.open() as pilot:
        await press(pilot, "4", "y")
        assert pilot.app.clipboard == "jobs"
        assert "handed to the terminal's clipboard; where it takes none, select it here" in screen(pilot)
        await press(pilot, "escape")
        pilot.app.push_screen(TextBox("x", "é" * (AT_MOST // 2 + 1), copy=True))
        await settle(pilot)
        assert f"too long for the terminal's clipboard ({AT_MOST + 2:,} bytes)" in screen(pilot)
        assert pilot.app.clipboard == "jobs"
        await press(pilot, "escape")
        pilot.app.push_screen(TextBox("x", "no UTF-8: \udcff", copy=True))
        await settle(pilot)
        assert pilot.app.clipboard == "no UTF-8: \\udcff"


async def test_in_tmux_the_text_reaches_its_buffer_or_the_box_says_why_not(desk: Desk, tmp_path: Path,
                                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    """It drops what programs in it hand to the terminal, and an old one does not know -w."""
    tmux = tmp_path / "bin" / "tmux"
    tmux.parent.mkdir()
    tmux.write_text(f'#!/bin/sh\n[ "$*" = "load-buffer -" ] || exit 1\nexec cat >{tmp_path}/buffer\n')
    tmux.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmux.parent}:/usr/bin:/bin")
    monkeypatch.setenv("TMUX", "/tmp/tmux-0/default,1,0")
    async with desk.open() as pilot:
        await press(pilot, "4", "y")
        assert (tmp_path / "buffer").read_text() == "jobs"
        assert "in tmux's buffer: prefix ] pastes it" in screen(pilot)
        tmux.write_text("#!/bin/sh\necho 'no server running' >&2\nexit 1\n")
        await press(pilot, "escape", "y")
        assert "tmux did not take it (no server running): select it here" in screen(pilot)
        monkeypatch.setenv("PATH", str(tmp_path))
        await press(pilot, "escape", "y")
        assert "tmux did not take it (No such file or directory): select it here" in screen(pilot)


async def test_the_lines_of_a_text_that_is_shown_hold_nothing_else_and_can_be_pasted(desk: Desk) -> None:
    command = shlex.join(["pgvault", "restore", "main", "/srv/pg/the data", *(f"--expect=shop.public.t{n}"
                                                                              for n in range(9)), "--no-start"])
    async with desk.open() as pilot:
        pilot.app.push_screen(TextBox("the command that does the same", command))
        await settle(pilot)
        lines = screen(pilot).splitlines()
        top, *_ = (number for number, line in enumerate(lines) if "the command that does" in line)
        shown = [line.rstrip() for line in lines[top + 1:top + 5]]
        assert shlex.split("\n".join(shown).replace("\\\n", "")) == shlex.split(command)
        assert all(line.endswith(" \\") for line in shown[:-1])


def test_only_a_command_is_continued_and_no_word_is_broken() -> None:
    said = "this is an event of a job, which is longer than a line and is no command at all"
    assert pasteable(said, 40) == [said]
    assert pasteable("pgvault 'it''s open", 10) == ["pgvault 'it''s open"]
    assert pasteable("pgvault restore main /srv/a-long-name", 20) == [
        "pgvault restore \\", "main \\", "/srv/a-long-name"]
    assert pasteable("/usr/bin/pg_dump -t 'a b' | psql -c \"x y\"", 20) == [
        "/usr/bin/pg_dump \\", "-t 'a b' | psql -c \\", "\"x y\""]


@pytest.mark.parametrize("key", ["question_mark", "ctrl+p"])
async def test_how_many_entries_there_are_and_which_one_is_chosen_stands_in_the_border(desk: Desk, key: str) -> None:
    """So that it is seen that the list goes on below."""
    async with desk.open() as pilot:
        await press(pilot, key)
        count = len(pilot.app.screen.listing.rows)
        assert f" 1/{count} ━" in screen(pilot)
        await press(pilot, "down", "down")
        assert f" 3/{count} ━" in screen(pilot)
