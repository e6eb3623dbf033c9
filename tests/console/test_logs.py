"""The log file: opened at its end, filtered, followed, written elsewhere; and what is said when there is none."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from desk import Desk, press, screen, settle, write

from pgvault.console.log_rows import painted
from pgvault.io.lines import LineFile
from pgvault.model.text import Painted


@pytest.fixture
def log(desk: Desk) -> Path:
    path = desk.shelf.config.parent / "pgvault.log"
    config = desk.shelf.config.read_text().replace("[vault]\n", f'[vault]\nlog_file = "{path}"\n', 1)
    desk.shelf.config.write_text(config)
    return path


def lines(first: int, last: int) -> str:
    return "".join(f"2026-11-23T11:00:00Z [7] {'ERROR' if number % 100 == 0 else 'INFO'} line {number}\n"
                   for number in range(first, last))


async def test_the_end_is_shown_first(desk: Desk, log: Path) -> None:
    log.write_text(lines(0, 3000))
    async with desk.open() as pilot:
        await press(pilot, "5")
        assert "INFO line 2999" in screen(pilot)
        assert "3,000/3,000" in screen(pilot)
        await press(pilot, "g")
        assert "ERROR line 0" in screen(pilot)


async def test_of_any_file_the_end_is_shown_before_it_was_gone_through(
        desk: Desk, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log.write_text(lines(0, 20_000) + "2026-11-23T11:00:00Z [7] INFO the last line\n")
    goes_on, index_some = threading.Event(), LineFile.index_some
    monkeypatch.setattr(LineFile, "index_some", lambda file: goes_on.wait(60) and index_some(file))
    async with desk.open() as pilot:
        await pilot.press("5")
        while "the last line" not in screen(pilot):
            await pilot.pause()
        assert "20,001" not in screen(pilot)
        goes_on.set()
        await settle(pilot)
        assert "20,001/20,001" in screen(pilot)
        await press(pilot, "G")
        assert "the last line" in screen(pilot)


async def test_a_filter_shows_what_fits_and_how_much_of_all(desk: Desk, log: Path) -> None:
    log.write_text(lines(0, 3000))
    async with desk.open() as pilot:
        await press(pilot, "5", "slash")
        await write(pilot, "error")
        assert "/error  30 of 3,000" in screen(pilot)
        await press(pilot, "enter", "G")
        await press(pilot, "escape", "escape")
        assert "ERROR line 2900" in screen(pilot), "the cursor stays on the line that was found"
        assert "/3,000" in screen(pilot)
        await press(pilot, "slash")
        await write(pilot, "!error")
        assert "/!error  2,970 of 3,000" in screen(pilot)


async def test_what_comes_is_followed_also_through_a_filter_and_a_rotation(desk: Desk, log: Path) -> None:
    log.write_text(lines(1, 50))
    async with desk.open() as pilot:
        await press(pilot, "5", "f")
        assert "log, following" in screen(pilot)
        with log.open("a") as file:
            file.write("2026-11-23T11:00:01Z [7] WARNING what came\n")
        pilot.app.screen._tick()
        await settle(pilot)
        assert "what came" in screen(pilot)
        await press(pilot, "slash")
        await write(pilot, "came")
        await press(pilot, "enter")
        with log.open("a") as file:
            file.write("INFO not this\nINFO came again\n")
        pilot.app.screen._tick()
        await settle(pilot)
        assert "came again" in screen(pilot)
        assert "/came  2 of 52" in screen(pilot)
        await press(pilot, "escape")
        log.rename(log.with_suffix(".1"))
        log.write_text("INFO the new file\n")
        pilot.app.screen._tick()
        await settle(pilot)
        assert "the new file" in screen(pilot)
        assert "1/1" in screen(pilot)


async def test_whoever_goes_back_is_left_there(desk: Desk, log: Path) -> None:
    log.write_text(lines(1, 50))
    async with desk.open() as pilot:
        await press(pilot, "5", "f", "up")
        assert "following" not in screen(pilot)
        with log.open("a") as file:
            file.write(lines(50, 90))
        pilot.app._poll_vault()
        await settle(pilot)
        assert "48/89" in screen(pilot)


async def test_a_line_is_opened_whole(desk: Desk, log: Path) -> None:
    log.write_text(f"INFO {'long ' * 60}[/red] the end\n")
    async with desk.open() as pilot:
        await press(pilot, "5", "enter")
        assert "[/red] the end" in screen(pilot)


async def test_the_lines_that_a_filter_finds_are_written_to_a_file(desk: Desk, log: Path, tmp_path: Path,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    log.write_text(lines(0, 3000))
    async with desk.open() as pilot:
        await press(pilot, "5", "slash")
        await write(pilot, "error")
        await press(pilot, "enter", "w")
        assert "The 30 lines that /error finds are written to:" in screen(pilot)
        await press(pilot, "enter")
        written = tmp_path / "pgvault-log-20261123T120000Z.txt"
        assert written.read_text().splitlines() == [line for line in lines(0, 3000).splitlines() if "ERROR" in line]
        assert "30 lines written to" in screen(pilot)
        await press(pilot, "w", "enter")
        assert "choose another name" in screen(pilot), "nothing is written over"
        await press(pilot, "escape", "escape", "w", "enter")
        await press(pilot, "end", "x", "enter")
        written = tmp_path / "pgvault-log-20261123T120000Z.txtx"
        assert len(written.read_text().splitlines()) == 19, "those on the screen"


async def test_without_a_log_file_it_says_what_to_set(desk: Desk) -> None:
    async with desk.open() as pilot:
        await press(pilot, "5")
        assert "No log file is configured." in screen(pilot)
        assert 'log_file = "/var/log/pgvault.log"' in screen(pilot)
        await press(pilot, "w")
        assert "no log file is configured" in screen(pilot)


async def test_a_log_that_is_not_there_yet_is_opened_when_it_comes(desk: Desk, log: Path) -> None:
    async with desk.open() as pilot:
        await press(pilot, "5")
        assert "not there yet" in screen(pilot)
        log.touch()
        pilot.app._poll_vault()
        await settle(pilot)
        assert "is empty" in screen(pilot)
        log.write_text("INFO the first line\n")
        pilot.app._poll_vault()
        await settle(pilot)
        assert "the first line" in screen(pilot)


async def test_a_log_that_cannot_be_read_says_why(desk: Desk, log: Path) -> None:
    log.mkdir()
    async with desk.open() as pilot:
        await press(pilot, "5")
        assert "could not open the log file: not a plain file" in screen(pilot)


def test_levels_are_painted() -> None:
    assert painted("2026-11-23T11:00:00Z [7] ERROR x") == Painted("2026-11-23T11:00:00Z [7] ERROR x", "bad")
    assert painted(f"{'x' * 80} ERROR ") == f"{'x' * 80} ERROR ", "only where a level stands"


async def test_a_filter_that_is_cleared_leaves_the_cursor_where_it_was(desk: Desk, log: Path) -> None:
    """On the line that was gone to meanwhile, where one was."""
    log.write_text(lines(0, 3000))
    async with desk.open() as pilot:
        await press(pilot, "5", "up", "up", "slash")
        for pattern in ("error", "nothing like it"):
            await write(pilot, pattern)
            await press(pilot, "escape")
            assert "2,998/3,000" in screen(pilot)
            await press(pilot, "slash")
        await write(pilot, "error")
        await press(pilot, "enter", "g", "down", "escape")
        assert "101/3,000" in screen(pilot)
