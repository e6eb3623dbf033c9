"""The backups of a server, one of them with its files, and taking one now."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from desk import NARROW, NOW, WIDE, Desk, failure, press, screen, settle, words, write
from shelf import at, made_backup
from support.objects import backup_directory, manifest_path
from textual.pilot import Pilot

from pgvault.console.app import ConsoleApp
from pgvault.console.commands import Answer
from pgvault.console.screens.backup import BackupScreen
from pgvault.console.screens.backups import BackupsScreen
from pgvault.console.screens.confirm import Confirm
from pgvault.console.screens.text_box import TextBox
from pgvault.model.backup import BackupStatus, Tablespace
from pgvault.model.event import JobFinished
from pgvault.model.job import JobState


def lines(pilot: Pilot[None], text: str) -> list[str]:
    return [line for line in screen(pilot).splitlines() if text in line]


def fill(desk: Desk) -> None:
    """One of each kind: done, waiting, failed, begun, without its WAL, and one that cannot be read."""
    desk.protect(days=(16, 17))
    desk.shelf.put(
        made_backup(at(18), segment=50, name="lost [red]WAL"),
        made_backup(at(19), status=BackupStatus.FAILED, finished_at=None, end_lsn=None, error="x [/data/pg] y"),
        made_backup(at(20), segment=60, status=BackupStatus.WAITING_FOR_WALS),
        made_backup(at(21), status=BackupStatus.STARTED, finished_at=None, end_lsn=None, size_bytes=0))
    bad = made_backup(at(22))
    desk.shelf.put(bad)
    (backup_directory(desk.shelf.server(), bad.id) / "backup.toml").write_text("[")


# The list


async def test_the_newest_is_first_and_what_cannot_be_restored_never_looks_as_if_it_could(desk: Desk) -> None:
    fill(desk)
    async with desk.open() as pilot:
        await press(pilot, "2")
        listed = [line.strip("┃▸ ").split() for line in screen(pilot).splitlines() if line.startswith(("┃ 2", "┃▸2"))]
        assert [(row[0], next(word for word in row if word.isupper() and word.isalpha() and len(word) > 3))
                for row in listed] == [
            ("20261122T120000Z", "UNREADABLE"), ("20261121T120000Z", "STARTED"), ("20261120T120000Z", "WAITING"),
            ("20261119T120000Z", "FAILED"), ("20261118T120000Z", "BROKEN"), ("20261117T120000Z", "DONE"),
            ("20261116T120000Z", "DONE")]
        assert "UNREADABLE" in lines(pilot, "▸20261122T120000Z")[0]


@pytest.mark.parametrize(("down", "reason", "refusal"), [
    (0, "20261122T120000Z:", "cannot be read"),
    (1, "its job ended without saying how", "is not complete yet"),
    (2, "WAL that has not arrived", "waits for WAL"),
    (3, "x [/data/pg] y", "failed: it is not complete"),
])
async def test_each_says_why_it_cannot_be_restored(desk: Desk, down: int, reason: str, refusal: str) -> None:
    fill(desk)
    async with desk.open() as pilot:
        await press(pilot, "2", *"j" * down)
        assert reason in words(pilot)
        await press(pilot, "r")
        assert refusal in words(pilot)


async def test_missing_wal_is_told_as_the_reason(desk: Desk) -> None:
    fill(desk)
    async with desk.open() as pilot:
        await press(pilot, "2", *"jjjj")
        assert "1 of the 1 WAL segments that it needs are not archived" in words(pilot)
        assert "lost [red]WAL" in words(pilot)


async def test_all_about_the_one_under_the_cursor(desk: Desk) -> None:
    desk.protect(days=(21, 22), tablespaces=(Tablespace(16500, "fast", "/ssd/pg"),))
    async with desk.open(size=WIDE) as pilot:
        await press(pilot, "2", "j")
        for said in ("2026-11-21 12:01:00Z to 2026-11-23 11:50:00Z",
                     "26.9 MiB in 1,210 files; 2.7 MiB stored, 90% less", "0/2000028 to 0/20000B8, timeline 1",
                     "000000010000000000000002 alone", "3 segments", "PostgreSQL 18.1 in /var/lib/postgresql/18/main",
                     "fast in /ssd/pg", "took 1 min 00 s"):
            assert said in words(pilot), said


async def test_brackets_go_through_the_servers(desk: Desk) -> None:
    desk.serve("main", "other", "third")
    desk.protect("other", days=(22,))
    async with desk.open() as pilot:
        await press(pilot, "2")
        assert "No backup of main was taken yet." in screen(pilot)
        await press(pilot, "right_square_bracket")
        assert "other / backups / 20261122T120000Z" in screen(pilot)
        await press(pilot, "left_square_bracket", "left_square_bracket")
        assert "No backup of third" in screen(pilot)


async def test_without_a_backup_it_says_the_key_that_takes_the_first(desk: Desk) -> None:
    """R44."""
    async with desk.open() as pilot:
        await press(pilot, "2")
        assert "b takes the first one; its plan is shown before." in screen(pilot)
        await press(pilot, "r")
        assert "there is no backup of main yet" in screen(pilot)


async def test_a_new_backup_appears_and_the_cursor_stays(desk: Desk) -> None:
    desk.protect(days=(20, 21))
    async with desk.open() as pilot:
        await press(pilot, "2", "j")
        desk.shelf.put(made_backup(at(22), segment=10))
        await pilot.app._look_at_vault()
        await settle(pilot)
        assert len(lines(pilot, "DONE")) == 3
        assert lines(pilot, "▸20261120T120000Z")


async def test_c_shows_the_command_of_what_is_selected(desk: Desk) -> None:
    """R29."""
    desk.protect()
    async with desk.open() as pilot:
        await press(pilot, "2", "c")
        assert "show-backup main 20261122T120000Z" in words(pilot)


async def test_a_vault_that_is_not_there(desk: Desk) -> None:
    home = desk.shelf.home
    home.rename(home.with_name("gone"))
    home.touch()
    async with desk.open() as pilot:
        await press(pilot, "2")
        assert "No backup of main was taken yet" not in screen(pilot)
        assert "cannot be read" in screen(pilot)


async def test_two_hundred_backups_of_fifty_servers(desk: Desk) -> None:
    names = [f"db-{number:02}" for number in range(50)]
    desk.serve(*names)
    desk.shelf.put(*(made_backup(at(1) + timedelta(hours=hour), server="db-07", segment=2) for hour in range(200)))
    async with desk.open() as pilot:
        await press(pilot, *"jjjjjjj", "2")
        assert "1/200" in screen(pilot)
        await press(pilot, "G", "/", *"20261101")
        assert "12 of 200" in screen(pilot)


# Backing up now


async def test_b_shows_the_plan_and_does_nothing_before_it_is_confirmed(desk: Desk) -> None:
    """R13, R15."""
    desk.protect()
    async with desk.open() as pilot:
        await press(pilot, "2", "b")
        assert isinstance(pilot.app.screen, Confirm)
        for said in ("reads all of main, about 26.9 MiB as in the last backup", "2.7 MiB in the last backup",
                     "about 1 min 00 s, like the last backup", "nothing on the server",
                     "--no-immediate-checkpoint --detach"):
            assert said in words(pilot), said
        await press(pilot, "enter")
        assert pilot.app.queries.commands.asked == []


async def test_the_first_backup_promises_no_figures(desk: Desk) -> None:
    async with desk.open() as pilot:
        await press(pilot, "b")
        assert "what the vault does not hold yet" in words(pilot)
        assert "not known before the first backup" in words(pilot)


async def test_what_is_confirmed_is_begun_as_shown_and_seen_to_run(desk: Desk) -> None:
    """R14."""
    desk.serve("main", settings='parallel_jobs = 3\nbandwidth_limit = "50MB"\nimmediate_checkpoint = true')
    app = desk.app()
    job = desk.job(JobFinished(JobState.SUCCEEDED, "backup 20261123T120000Z is DONE", None, NOW))
    desk.says("backup main", {"job": job})
    async with desk.open(app) as pilot:
        await press(pilot, "2", "b")
        assert "at most 50" in words(pilot)
        await press(pilot, "j", "enter")
        asked, = pilot.app.queries.commands.asked
        assert asked == ("backup", "main", "--jobs", "3", "--immediate-checkpoint", "--bwlimit", "50MB/s", "--detach")
        assert pilot.app.current_mode == "overview"
        assert "backup 20261123T120000Z is DONE" in words(pilot)


@pytest.mark.parametrize("late", [False, True])
async def test_a_refusal_comes_with_its_cause_and_next_step(desk: Desk, late: bool) -> None:
    """R34, also when the job began and was refused then: another backup holds the lock."""
    refusal = failure("another job holds the backup lock", "Process 77 on ops2 holds it.", "Wait for it.", "locked", 5)
    answer = refusal
    if late:
        answer = Answer(0, ({"job": desk.job(desk.ended(state=JobState.FAILED, error=refusal.failure))},), None)
    desk.says("backup main", answer=answer)
    async with desk.open() as pilot:
        await press(pilot, "b", "j", "enter")
        assert isinstance(pilot.app.screen, TextBox)
        for said in ("main is not backed up", "another job holds the backup lock", "Process 77 on", "Wait for it."):
            assert said in words(pilot), said


async def test_read_only_takes_no_backup_and_names_the_command(desk: Desk) -> None:
    """R12."""
    async with desk.open(read_only=True) as pilot:
        await press(pilot, "2")
        assert "pgvault backup main takes the first one." in screen(pilot)
        assert "b back up" not in screen(pilot)
        await press(pilot, "b")
        assert "--read-only" in screen(pilot)
        assert not isinstance(pilot.app.screen, Confirm)


# One backup and its files


async def open_files(desk: Desk, pilot: Pilot[None]) -> BackupScreen:
    await press(pilot, "2", "enter")
    assert isinstance(pilot.app.screen, BackupScreen)
    return pilot.app.screen


def with_files(desk: Desk, files: dict[str, bytes]) -> None:
    desk.shelf.with_files(made_backup(at(22)), files, directories=("base", "base/1"))
    desk.shelf.archive(1, 2, 6)


async def test_files_are_listed_and_filtered_as_one_types(desk: Desk) -> None:
    with_files(desk, {f"base/1/{number}": b"x" * number for number in range(300)} | {"PG_VERSION": b"18\n"})
    async with desk.open() as pilot:
        await open_files(desk, pilot)
        assert "1/303" in screen(pilot)
        assert "2.7 MiB stored" in screen(pilot)
        assert "compressed" not in screen(pilot)  # what was stored is more than what was read
        row, = lines(pilot, "base/1/0 ")
        assert "file" in row
        assert "0 B  2026-11-01" in row
        await press(pilot, "/")
        await write(pilot, "1/29")
        assert "11 of 303" in screen(pilot)
        await write(pilot, "9")
        assert "1 of 303" in screen(pilot)
        await press(pilot, "enter", "enter")
        assert "base/1/299" in screen(pilot)
        assert "299 bytes" in words(pilot)
        await press(pilot, "escape", "escape")
        assert "1/303" in screen(pilot)
        await press(pilot, "escape")
        assert "backups of main" in screen(pilot)


async def test_where_one_types_letters_are_no_keys(desk: Desk) -> None:
    desk.protect()
    async with desk.open() as pilot:
        await press(pilot, "2")
        assert "r restore" in screen(pilot).splitlines()[-1]
        await press(pilot, "slash")
        assert screen(pilot).splitlines()[-1].split() == ["enter", "to", "the", "list", "esc", "show", "all"]
        await press(pilot, "escape")
        assert "r restore" in screen(pilot).splitlines()[-1]


async def test_the_filter_inverts_and_what_fits_nothing_says_so(desk: Desk) -> None:
    with_files(desk, {"base/1/1": b"a", "PG_VERSION": b"18\n"})
    async with desk.open() as pilot:
        await open_files(desk, pilot)
        await press(pilot, "/")
        await write(pilot, "!base")
        assert "1 of 4" in screen(pilot)
        await press(pilot, "escape", "/")
        await write(pilot, "nowhere")
        assert "The filter lets nothing through" in screen(pilot)


async def test_a_path_is_copied(desk: Desk) -> None:
    with_files(desk, {"base/1/1": b"a"})
    async with desk.open() as pilot:
        await open_files(desk, pilot)
        await press(pilot, "G", "y")
        assert isinstance(pilot.app.screen, TextBox)
        assert pilot.app.clipboard == "base/1/1"


@pytest.mark.parametrize(("damage", "said"), [
    (lambda path: path.unlink(), "is missing"),
    (lambda path: path.write_bytes(b"nothing of the kind" * 100), "could not read the manifest")])
async def test_a_manifest_that_is_missing_or_damaged(desk: Desk, damage, said: str) -> None:
    with_files(desk, {"base/1/1": b"a"})
    damage(manifest_path(desk.shelf.server(), "20261122T120000Z"))
    async with desk.open() as pilot:
        await open_files(desk, pilot)
        assert said in words(pilot)
        assert "The files cannot be listed; the reason is shown above." in screen(pilot)
        await press(pilot, "/")
        assert "the files of this backup are not listed" in screen(pilot)


async def test_a_manifest_that_is_damaged_further_in(desk: Desk) -> None:
    """It opens; what cannot be read says so when it is reached, and the rest is shown."""
    with_files(desk, {f"base/1/{number:040}": b"" for number in range(4000)})
    path = manifest_path(desk.shelf.server(), "20261122T120000Z")
    content = bytearray(path.read_bytes())
    middle = content.find(b"%040d" % 2000) // 4096
    content[middle * 4096:(middle + 1) * 4096] = bytes(4096)
    path.write_bytes(content)
    async with desk.open() as pilot:
        shown = await open_files(desk, pilot)
        for index in range(1800, 2200, 10):
            shown.files.listing.go_to(index)
            await settle(pilot)
        await settle(pilot)
        assert "could not read the manifest" in words(pilot)


async def test_a_backup_that_failed_has_no_files(desk: Desk) -> None:
    desk.shelf.put(made_backup(at(22), status=BackupStatus.FAILED, error="disk full"))
    async with desk.open(size=WIDE) as pilot:
        await open_files(desk, pilot)
        assert "FAILED disk full" in words(pilot)
        assert "there is no list of its files" in screen(pilot)


async def test_leaving_while_a_search_runs(desk: Desk) -> None:
    with_files(desk, {f"base/1/{number}": b"" for number in range(500)})
    app: ConsoleApp = desk.app()
    async with desk.open(app, size=NARROW) as pilot:
        await open_files(desk, pilot)
        await pilot.press("/", *"base", "escape", "escape")
        await asyncio.sleep(0)
        await settle(pilot)
        assert "backups of main" in screen(pilot)


async def test_that_there_is_no_backup_is_said_once_they_were_read(desk: Desk) -> None:
    async with desk.open() as pilot:
        await press(pilot, "2")
        shown = pilot.app.screen
        assert isinstance(shown, BackupsScreen)
        assert shown.why_not("restore") == "there is no backup of main yet"
        shown._read.clear()
        assert shown.why_not("restore") == "the backups of main are being read"
