"""Jobs: those at work as they go, those that ended while nobody looked, and how one is cancelled."""

from __future__ import annotations

import asyncio
import json
import os
import re
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from desk import NARROW, NOW, WIDE, Desk, press, screen, settle, words, write
from hypothesis import given
from hypothesis import strategies as st
from workshop import Workshop

from pgvault.console import jobbook
from pgvault.console.commands import Answer, CommandLog
from pgvault.console.job_news import JobNews
from pgvault.console.jobbook import JobBook
from pgvault.console.journal_rows import JournalRows
from pgvault.console.screens.cancelling import left
from pgvault.jobs.journal import Journal
from pgvault.jobs.plan import write_plan
from pgvault.jobs.registry import create_job, jobs_directory, next_id
from pgvault.model.event import CommandRan, Failure, Level, Noted, PhaseStarted, Progressed
from pgvault.model.job import Job, JobKind, JobState
from pgvault.store.files import remove_tree

OUT_OF_REACH = Failure("could not reach standby-db-server", "ssh: connect to host 10.0.0.9: Connection refused",
                       "Start sshd there.", "unreachable", 7)
GIB = 1 << 30
JOB_AT_WORK = Job("20261123T115900Z-01", JobKind.RESTORE, "main", JobState.RUNNING, "", 7, "", NOW, None, "", None)


def copying(desk: Desk, *, silent: int = 2) -> str:
    """A backup that has copied half, and was heard of so many seconds ago."""
    began, heard = desk.now - timedelta(minutes=4), desk.now - timedelta(seconds=silent)
    return desk.job(
        PhaseStarted("copy", 2 * GIB, at=began), CommandRan("db1", "df -P /srv", 0.2, 0, at=began),
        Progressed(GIB // 2, 10, at=heard - timedelta(seconds=8)), Progressed(GIB, 20, at=heard), started=began,
        lives=True)


def failed(desk: Desk) -> str:
    began = desk.now - timedelta(hours=2)
    return desk.job(Noted("Copying files.", at=began), CommandRan("standby-db-server", "tar -xf -", 2.5, 1, at=began),
                    desk.ended(state=JobState.FAILED, error=OUT_OF_REACH, when=began + timedelta(minutes=1)),
                    kind=JobKind.RESTORE, started=began)


def marked(shown: str) -> list[str]:
    """The states of the jobs that are marked as new."""
    return re.findall(r"(\w+)   .* new\b", shown)


# The list


async def test_a_job_at_work_shows_how_far_it_is(desk: Desk) -> None:
    copying(desk)
    async with desk.open() as pilot:
        await press(pilot, "4")
        shown = screen(pilot)
        assert "4 min 00 s, heard 2 s ago" in shown
        line = next(line for line in shown.splitlines() if "1.0 GiB of 2.0 GiB" in line)
        assert "copy" in line
        assert "50%" in line
        assert "64.0 MiB/s" in line
        assert "16 s left" in line


async def test_after_ten_seconds_of_silence_it_says_what_it_waits_on(desk: Desk) -> None:
    copying(desk, silent=9)
    async with desk.open() as pilot:
        await press(pilot, "4")
        assert "no news" not in screen(pilot)
        desk.now += timedelta(seconds=1)
        pilot.app._poll_vault()
        await settle(pilot)
        assert "no news for 10 s, waits on: copy 50%; last command: db1: df -P /srv" in screen(pilot)


async def test_without_jobs_it_says_what_makes_one(desk: Desk) -> None:
    async with desk.open() as pilot:
        await press(pilot, "4")
        assert "No jobs yet." in screen(pilot)
        assert "(X cancel)" in screen(pilot)
        await press(pilot, "X")
        assert "no job is selected" in screen(pilot)


async def test_ten_thousand_jobs_open_at_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are read when they are shown."""
    jobs = jobs_directory(desk.shelf.home)
    newest = None
    for _ in range(10_000):
        newest = next_id(newest, desk.now - timedelta(days=40))
        (jobs / newest).mkdir(parents=True)
    copying(desk)
    read, read_job = [], jobbook.read_job
    monkeypatch.setattr(jobbook, "read_job", lambda directory: read.append(directory) or read_job(directory))
    async with desk.open() as pilot:
        await press(pilot, "4")
        assert 0 < len(set(read)) <= jobbook.LOOKED_AT
        assert "1/10,001" in screen(pilot)
        await press(pilot, "G")
        assert "10,001/10,001" in screen(pilot)
        await press(pilot, "slash")
        await write(pilot, "running")
        assert "/running  1 of 10,001" in screen(pilot)


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_the_lower_half_is_the_selected_job(desk: Desk, size: tuple[int, int]) -> None:
    began = desk.now - timedelta(hours=1)
    verdict = "standby-db-server:/srv/data holds main as of 2026-11-23 11:03:00Z, and the server that runs in it " \
              "holds what was asked for"
    first = desk.job(Noted("copied", at=began), desk.ended(verdict, when=began), kind=JobKind.RESTORE, started=began,
                     command="pgvault restore main 20261122T120000Z /srv/data --host standby-db-server --start")
    write_plan(jobs_directory(desk.shelf.home) / first, {"host": "standby-db-server", "directory": "/srv/data"})
    failed(desk)
    async with desk.open(size=size) as pilot:
        await press(pilot, "4")
        assert "next step    Start sshd there." in screen(pilot)
        await press(pilot, "down")
        shown = screen(pilot)
        assert "what was asked for" in " ".join(shown.replace("│", " ").split()), "the verdict is wrapped, not cut"
        for told in (f"restore main  {first}", "to           standby-db-server:/srv/data",
                     "command      pgvault restore main", "last events  11-23 11:00:00Z  note      copied"):
            assert told in shown, told
        await press(pilot, "tab", "G")
        assert "started   pgvault restore main" in screen(pilot)


async def test_the_lower_half_follows_a_job_at_work(desk: Desk) -> None:
    job = copying(desk)
    async with desk.open() as pilot:
        await press(pilot, "4")
        assert "running since 2026-11-23 11:56:00Z" in screen(pilot)
        journal = Journal(jobs_directory(desk.shelf.home) / job)
        journal.emit(Noted("Copy done.", at=desk.now))
        await pilot.app.read_jobs()
        await settle(pilot)
        assert "last events  11-23 12:00:00Z  note      Copy done." in screen(pilot)
        journal.emit(desk.ended("backup x is DONE"))
        journal.close()
        desk.close()
        await pilot.app.read_jobs()
        await settle(pilot)
        assert "succeeded: backup x is DONE" in screen(pilot)


async def test_the_cursor_stays_on_its_job_when_another_begins(desk: Desk) -> None:
    job = failed(desk)
    async with desk.open() as pilot:
        await press(pilot, "4")
        copying(desk)
        await pilot.app.read_jobs()
        await settle(pilot)
        assert f"jobs / {job}" in screen(pilot)


# What ended while nobody looked


async def test_what_ended_since_the_last_look_is_told_and_marked(desk: Desk) -> None:
    failed(desk)
    async with desk.open() as pilot:
        assert "ended since" not in screen(pilot), "nobody looked before: nothing is news"
        await press(pilot, "4")
        assert not marked(screen(pilot))
    desk.job(desk.ended("backup x is DONE"), started=desk.now)
    desk.job(started=desk.now)  # its process is gone
    async with desk.open() as pilot:
        assert "ended since you last looked (4): 1 lost, 1 succeeded" in screen(pilot)
        await press(pilot, "4")
        assert marked(screen(pilot)) == ["lost", "succeeded"]
        await press(pilot, "1", "4")
        assert not marked(screen(pilot)), "they have been looked at"
    async with desk.open() as pilot:
        assert "ended since" not in screen(pilot)


async def test_a_job_that_was_at_work_then_is_news_when_it_has_ended(desk: Desk) -> None:
    job = copying(desk)
    async with desk.open() as pilot:
        await press(pilot, "4")
    desk.close()
    journal = Journal(jobs_directory(desk.shelf.home) / job)
    journal.emit(desk.ended("backup x is DONE"))
    journal.close()
    async with desk.open() as pilot:
        assert "(4): 1 succeeded" in screen(pilot)


@given(st.binary(max_size=80) | st.builds(lambda value: json.dumps({"/vault": value}).encode(), st.recursive(
    st.none() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))))
def test_a_state_that_makes_no_sense_is_no_state(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / f"seen-{os.getpid()}.json"
    file.write_bytes(content)
    seen = JobNews(Path("/vault"), file)
    assert seen.is_news("20261101T000000Z-01") in (True, False)
    seen.mark_seen(["20261101T000000Z-01", "20261102T000000Z-01"], ["20261101T000000Z-01"])
    again = JobNews(Path("/vault"), file)
    assert again.is_news("20261101T000000Z-01")
    assert not again.is_news("20261102T000000Z-01")
    assert again.is_news("20261103T000000Z-01")


def test_a_state_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    JobNews(Path("/vault"), tmp_path / "file" / "seen.json").mark_seen(["20261101T000000Z-01"], [])


# One job


async def test_a_failed_job_says_what_failed_where_why_and_what_next(desk: Desk) -> None:
    failed(desk)
    async with desk.open() as pilot:
        await press(pilot, "4", "enter")
        shown = screen(pilot)
        for told in ("failed: restore main", "what failed  could not reach standby-db-server",
                     "where        standby-db-server: tar -xf - (exit 1)", "cause        ssh: connect",
                     "next step    Start sshd there.", "code         unreachable: pgvault explain unreachable"):
            assert told in shown, told
        await press(pilot, "X")
        assert "has ended: failed" in screen(pilot)
        await press(pilot, "c")
        assert "job show" in screen(pilot)


async def test_a_failure_that_told_no_more_has_a_place_a_cause_and_a_next_step_all_the_same(desk: Desk) -> None:
    """R34, whatever an engine function left out."""
    bare = Failure('main could not make a base backup: could not open file "./x": Permission denied', "", "",
                   "refused", 5)
    desk.job(desk.ended(state=JobState.FAILED, error=bare), started=desk.now)
    async with desk.open() as pilot:
        await press(pilot, "4", "enter")
        shown = screen(pilot)
        for told in ("Permission denied", "where        server main", "cause        No cause was reported. Usual ",
                     "The server is another cluster than the one", "next step    See what it usually means",
                     "code         refused: pgvault explain refused", "journal", "1/2"):
            assert told in shown, told


async def test_a_long_failure_is_seen_whole_on_a_small_terminal(desk: Desk) -> None:
    long = Failure("what failed " * 12, "the cause " * 20, "the next step " * 12, "unreachable", 7)
    desk.job(desk.ended(state=JobState.FAILED, error=long), started=desk.now)
    async with desk.open() as pilot:
        await press(pilot, "4", "enter")
        assert "pgvault explain unreachable" in screen(pilot)
        assert "1/2" in screen(pilot), "and the journal has a few lines"


async def test_a_lost_job_says_what_that_means(desk: Desk) -> None:
    desk.job(started=desk.now)
    async with desk.open() as pilot:
        await press(pilot, "4", "enter")
        assert "its process ended without reporting a result" in screen(pilot)
        assert "Run the same command again" in screen(pilot)


async def test_the_journal_is_followed_until_somebody_goes_back(desk: Desk) -> None:
    job = desk.job(*(Noted(f"note {number}", at=desk.now) for number in range(30)), started=desk.now, lives=True)
    journal = Journal(jobs_directory(desk.shelf.home) / job)
    async with desk.open() as pilot:
        await press(pilot, "4", "f")
        assert "journal, following" in screen(pilot)
        assert "note 29" in screen(pilot)
        journal.emit(Progressed(1, at=desk.now))
        journal.emit(Noted("what came last", at=desk.now))
        await pilot.app.read_jobs()
        await settle(pilot)
        assert "what came last" in screen(pilot)
        assert "32/32" in screen(pilot), "the steps of the progress are no rows"
        await press(pilot, "up")
        assert "following" not in screen(pilot)
        await press(pilot, "g", "enter")
        assert "started  pgvault backup main" in screen(pilot), "the whole event, to be read and copied"
        await press(pilot, "escape", "slash")
        await write(pilot, "note 2")
        assert "/note 2  11 of 32" in screen(pilot)
    journal.close()


def test_a_journal_is_read_as_it_grows_and_torn_lines_later(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    rows = JournalRows(path)
    assert not rows.read()
    path.write_bytes(b'{"event":"Noted","text":"a"}\n{"event":"Progressed","done_bytes":1}\n{"event":"No')
    assert rows.read()
    assert [str(rows.cells(0)[2])] == ["a"]
    with path.open("ab") as file:
        file.write(b'ted","text":"b","level":"error"}\n\n{"event":"Later"}\nrubbish \xff\n')
    assert rows.read()
    assert [rows.text(index).split("  ")[-1] for index in range(len(rows))] == [
        "a", "b", '{"event":"Later"}', "rubbish \\xff"]
    assert len(rows.found("rubbish")) == 1
    path.unlink()
    assert rows.text(0) == "unknown", "removed meanwhile"


@given(st.lists(st.tuples(st.sampled_from(Level), st.text(max_size=200))))
def test_no_text_of_a_journal_breaks_its_rows(tmp_path_factory: pytest.TempPathFactory, notes: list) -> None:
    directory = tmp_path_factory.mktemp("journal")
    journal = Journal(directory)
    for level, text in notes:
        journal.emit(Noted(text, level))
    journal.close()
    rows = JournalRows(directory / "events.jsonl")
    rows.read()
    assert [str(rows.cells(index)[2]) for index in range(len(rows))] == [text for _, text in notes]


def test_the_commands_of_a_job_that_began_and_ended_between_two_looks_are_kept(desk: Desk) -> None:
    book = desk.app().queries.jobs
    book.look()
    failed(desk)
    book.look()
    assert isinstance(book, JobBook)
    assert [(ran.where, ran.status) for ran in book._log.ran] == [("standby-db-server", 1)]
    assert not book.running


# Cancelling


@pytest.mark.parametrize(("phase", "said", "not_said"), [
    ("copy", "becomes what it was", "a server that was started continues"),
    ("recover", "stops here, and undoes nothing", "becomes what it was"),
    ("flush", "Until all files are complete: The destination", "stops here")])
def test_cancelling_a_restore_says_what_holds_in_its_phase(phase: str, said: str, not_said: str) -> None:
    text = " ".join(left(JOB_AT_WORK, phase))
    assert said in text
    assert not_said not in text


def test_cancelling_any_kind_of_job_says_what_is_left() -> None:
    for kind in JobKind:
        first, *others = left(replace(JOB_AT_WORK, kind=kind), "")
        assert first.startswith("stops")
        assert others


def test_a_job_moves_with_its_amount_alone(desk: Desk) -> None:
    """What it says besides that is kept until it moves again."""
    began = desk.now - timedelta(seconds=60)
    later = [began + timedelta(seconds=seconds) for seconds in range(60)]
    job = desk.job(PhaseStarted("recover", GIB, at=began), Progressed(GIB // 4, at=later[5]),
                   Progressed(GIB // 4, at=later[45]), Noted("nothing has moved for 40 s", at=later[46]), started=began,
                   lives=True)
    book = JobBook(desk.shelf.home)
    book.look()
    followed = book.followed(job)
    assert (followed.moved_at, followed.heard_at) == (later[5], later[46])
    assert followed.stillness(later[50]) == "nothing has moved for 45 s"
    assert followed.note == "nothing has moved for 40 s"


async def test_cancelling_takes_two_steps_and_ends_with_the_verdict(desk: Desk) -> None:
    job = copying(desk)
    desk.says(f"job cancel {job} --wait", answer=Answer(
        130, ({"job": {"id": job, "state": "cancelled", "verdict": "backup cancelled"}},), None))
    async with desk.open() as pilot:
        commands = pilot.app.queries.commands
        commands.held = asyncio.Event()
        await press(pilot, "4", "X")
        assert "nothing can be restored from it" in screen(pilot), "it says what is left behind"
        await press(pilot, "enter")
        assert not commands.asked, "the first choice changes nothing"
        await press(pilot, "X", "down")
        await pilot.press("enter")
        await pilot.pause()
        assert commands.asked == [("job", "cancel", job, "--wait")]
        assert f"job {job} was asked to stop" in screen(pilot)
        commands.held.set()
        await settle(pilot)
        assert f"job {job}: cancelled: backup cancelled" in screen(pilot)


async def test_cancelling_a_restore_says_what_becomes_of_the_destination(desk: Desk) -> None:
    desk.job(PhaseStarted("copy", at=desk.now), kind=JobKind.RESTORE, started=desk.now, lives=True)
    async with desk.open() as pilot:
        await press(pilot, "4", "enter", "X")
        assert "The destination becomes what it was" in screen(pilot)


async def test_a_cancel_that_is_refused_says_why_with_its_code(desk: Desk) -> None:
    job = copying(desk)
    refused = Failure(f"job {job} has already ended: succeeded", "", "", "refused", 5)
    desk.says("job cancel", answer=Answer(5, (), refused))
    async with desk.open() as pilot:
        await press(pilot, "4", "X", "down", "enter")
        assert "pgvault explain refused" in screen(pilot).replace("\n", " ")


async def test_a_job_of_another_process_is_cancelled_and_its_cleanup_waited_for(desk: Desk, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    desk.real_verbs, desk.now = True, datetime.now(UTC)
    shop = Workshop(desk.shelf.home, place, desk.shelf.config)
    with shop.start_working() as process:
        async with desk.open() as pilot:
            await press(pilot, "4", "X", "down", "enter")
            assert not (place / "begun").exists(), "what was begun is undone when the verdict is told"
            shown = words(pilot)
            assert f"job {shop.job().id}: cancelled: work cancelled" in shown
            assert "- cancelled backup main-db" in shown
            await press(pilot, "enter")
            assert "What was begun is removed." in screen(pilot)
        process.communicate(timeout=60)


def test_a_change_is_not_missed_by_whoever_asks_second(desk: Desk) -> None:
    """Two looks at once, of which one is no longer waited for: the other tells all the same that something changed."""
    desk.job(PhaseStarted("copy", 200, at=desk.now), lives=True)
    book = JobBook(desk.shelf.home)
    assert book.look() == book.look() > 0


def test_a_job_that_was_drawn_while_the_first_look_went_on_is_followed_all_the_same(
        desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """And who draws meanwhile sees nothing halfway: all as of the look before."""
    made = [copying(desk), copying(desk)]
    book, seen = JobBook(desk.shelf.home), []
    look_at = book._look_at

    def drawn_meanwhile(job_id: str) -> bool:
        seen.append((book.ids, len(book.running), {book.job(each).state for each in made}))
        return look_at(job_id)

    monkeypatch.setattr(book, "_look_at", drawn_meanwhile)
    book.look()
    assert seen == [((), 0, {JobState.RUNNING})] * 2
    assert [each.job.id for each in book.running] == sorted(made, reverse=True)


def test_a_job_that_ended_before_it_began_is_forgotten_when_its_starter_forgets_it(desk: Desk) -> None:
    held = create_job(desk.shelf.home, JobKind.BACKUP, "main", "pgvault backup main")
    book = JobBook(desk.shelf.home)
    before = book.look()
    job_id = held.directory.name
    assert [(each.job.id, each.job.server) for each in book.running] == [(job_id, "main")]
    held.close()
    remove_tree(held.directory)
    assert book.look() == before + 1
    assert (book.ids, book.running) == ((), [])
    assert book.job(job_id).state is JobState.STARTING, "who still draws it sees it as it was"


def test_all_that_a_job_told_is_read_when_it_ends_during_a_look(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    job = desk.job(PhaseStarted("copy", 200, at=desk.now), lives=True)
    log = CommandLog()
    book = JobBook(desk.shelf.home, log)
    book.look()
    journal, read = Journal(jobs_directory(desk.shelf.home) / job), jobbook.read_job

    def ended_when_it_is_asked(directory: Path) -> Job:
        if not read(directory).state.final:
            journal.emit(CommandRan("ops2", "rm -r /srv/new", 1.0, 1, at=desk.now))
            journal.emit(desk.ended("done"))
        return read(directory)

    monkeypatch.setattr(jobbook, "read_job", ended_when_it_is_asked)
    book.look()
    assert book.job(job).state is JobState.SUCCEEDED
    assert [ran.command for ran in log.ran] == ["rm -r /srv/new"]
    journal.close()


def test_an_old_job_that_lives_is_followed_however_many_came_after_it(
        desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobbook, "LOOKED_AT", 1)
    job = desk.job(lives=True)
    book = JobBook(desk.shelf.home)
    book.look()
    desk.job(desk.ended("done"))
    with closing(Journal(jobs_directory(desk.shelf.home) / job)) as journal:
        journal.emit(desk.ended("done as well"))
    book.look()
    assert (book.running, book.job(job).verdict) == ([], "done as well")


async def test_a_job_lost_before_it_began_says_what_it_was_and_what_to_do(desk: Desk) -> None:
    create_job(desk.shelf.home, JobKind.BACKUP, "main", "pgvault backup main").close()
    async with desk.open(size=WIDE) as pilot:
        await press(pilot, "4", "enter")
        text = screen(pilot)
        for told in ("lost: backup main", "its process ended without reporting a result", "pgvault backup main",
                     "Run the same command again", "No journal: the job never began."):
            assert told in text, told
