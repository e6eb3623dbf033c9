"""A job in its process: how it ends, and that neither a signal nor a terminal ends it any other way."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pgvault.jobs.detach import start_detached
from pgvault.jobs.hold import is_alive
from pgvault.jobs.journal import read_events
from pgvault.jobs.plan import read_plan
from pgvault.jobs.registry import create_job, find_job, list_jobs, read_job, request_cancel
from pgvault.jobs.run import Order, run_in_foreground, run_job
from pgvault.model.errors import Unreachable
from pgvault.model.event import Emit, JobFinished, JobStarted, Noted, Progressed
from pgvault.model.job import JobKind, JobState

from workshop import Workshop, wait_until  # isort: skip


def test_a_job_that_succeeds_leaves_its_plan_its_events_and_its_verdict(workshop: Workshop) -> None:
    workshop.let_go()
    done = workshop.run("work", workshop.place, check=0)
    assert done.text == "worked in place\n"
    job = workshop.job()
    assert (job.state, job.kind, job.server, job.exit_code) == (JobState.SUCCEEDED, JobKind.BACKUP, "main-db", 0)
    assert job.verdict == "worked in place"
    assert job.command == f"pgvault --config {workshop.config} work {workshop.place}"
    assert read_plan(workshop.directory())["conninfo"] == "host=db password=***"
    events = read_events(workshop.directory())
    assert isinstance(events[0], JobStarted)
    assert isinstance(events[-1], JobFinished)
    log = workshop.config.with_name("pgvault.log").read_text()
    assert f"INFO job {job.id} started: pgvault" in log
    assert f"INFO job {job.id} succeeded: worked in place" in log
    for path in [*workshop.directory().iterdir(), workshop.config.with_name("pgvault.log")]:
        assert "hunter2" not in path.read_text(), path


@pytest.mark.parametrize(("end", "code", "said"), [
    ("locked", 6, "pgvault: another job holds the backup lock"),
    ("full", 10, "pgvault: could not complete the backup: no space left"),
    ("bug", 1, "pgvault: internal error\ndetail: ZeroDivisionError: division by zero\\x1b[2J"),
])
def test_a_failure_is_told_once_with_its_exit_code_and_kept(workshop: Workshop, end: str, code: int, said: str) -> None:
    workshop.let_go()
    done = workshop.run("work", workshop.place, "--end", end, check=code)
    assert done.stderr.count(said) == 1, done
    job = workshop.job()
    assert (job.state, job.exit_code) == (JobState.FAILED, code)
    traces = [e for e in read_events(workshop.directory()) if isinstance(e, Noted) and e.code == "internal-error"]
    assert ["ZeroDivisionError" in e.text for e in traces] == ([True] if end == "bug" else [])
    log = workshop.config.with_name("pgvault.log").read_text()
    assert f"ERROR job {job.id} failed: " in log
    assert "\x1b" not in log
    assert all(line[:2] == "20" for line in log.splitlines())


@pytest.mark.slow
def test_a_job_killed_outright_is_lost(workshop: Workshop) -> None:
    process = workshop.start_working()
    assert workshop.job().state is JobState.RUNNING
    assert workshop.job().pid == process.pid
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert workshop.job().state is JobState.LOST
    shown = workshop.run("--format", "json", "job", "show", "latest", check=0).json()
    assert shown["job"]["state"] == "lost"
    assert shown["job"]["exit_code"] is None
    watched = workshop.run("job", "watch", "latest", check=1)
    assert "lost" in watched.text
    workshop.run("job", "cancel", "latest", check=5)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_cancels_and_what_was_begun_is_undone(workshop: Workshop, number: signal.Signals) -> None:
    process = workshop.start_working()
    process.send_signal(number)
    _, talk = process.communicate()
    assert process.returncode == 130
    assert not (workshop.place / "begun").exists()
    assert f"stopping ({number.name}): undoing what can be undone" in talk.decode()
    assert "detail: What was begun is removed." in talk.decode()
    job = workshop.job()
    assert (job.state, job.exit_code, job.verdict) == (JobState.CANCELLED, 130, "work cancelled")


def test_asking_twice_does_not_cut_the_undoing_short(workshop: Workshop) -> None:
    (workshop.place / "hold").touch()
    process = workshop.start_working()
    process.send_signal(signal.SIGINT)
    workshop.wait_for("undoing")
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    told = [e.text for e in read_events(workshop.directory()) if isinstance(e, Noted)]
    assert told[0].startswith("stopping (SIGINT)")
    wait_until(lambda: any(isinstance(e, Noted) and e.text.startswith("already stopping")
                           for e in read_events(workshop.directory())), "the second request's answer")
    assert workshop.place.joinpath("begun").exists()
    workshop.place.joinpath("hold").unlink()
    process.communicate()
    assert process.returncode == 130
    assert not workshop.place.joinpath("begun").exists()


@pytest.mark.slow
def test_another_terminal_cancels_and_watches(workshop: Workshop) -> None:
    (workshop.place / "hold").touch()
    process = workshop.start_working()
    job_id = workshop.directory().name
    asked = workshop.run("--format", "json", "job", "cancel", job_id, check=0).json()
    assert asked["job"]["state"] == "cancelling"
    watcher = workshop.start("--format", "json", "job", "watch", job_id)
    workshop.wait_for("undoing")
    (workshop.place / "hold").unlink()
    out, talk = watcher.communicate()
    assert watcher.returncode == 130
    assert json.loads(out)["job"]["state"] == "cancelled"
    events = [json.loads(line) for line in talk.splitlines()]
    assert [events[0]["event"], events[-1]["event"]] == ["JobStarted", "JobFinished"]
    assert any("requested with job cancel" in e.get("text", "") for e in events)
    process.communicate()
    assert process.returncode == 130
    workshop.run("job", "cancel", job_id, check=5)


def test_a_detached_job_outlives_its_parent_and_its_terminal(workshop: Workshop) -> None:
    starter = ("import sys; from pathlib import Path; from pgvault.jobs.detach import start_detached; "
               "from pgvault.model.job import JobKind; print(start_detached("
               "Path(sys.argv[1]), ['pgvault', 'work', sys.argv[2]], kind=JobKind.BACKUP, server='main-db', "
               "config=Path(sys.argv[3])),"
               "flush=True); sys.stdin.read()")
    master, slave = pty.openpty()
    parent = subprocess.Popen([sys.executable, "-c", starter, workshop.home, workshop.place, workshop.config],
                              stdin=slave, stdout=slave, stderr=slave, start_new_session=True, env=workshop.env,
                              preexec_fn=_take_terminal)
    os.close(slave)
    workshop.wait_for("begun")
    os.close(master)  # the connection is cut: SIGHUP to the session of the terminal
    parent.wait()
    job = workshop.job()
    assert job.state is JobState.RUNNING
    assert job.pid is not None
    assert os.getsid(job.pid) == job.pid
    os.kill(job.pid, signal.SIGHUP)
    before = _progress(workshop)
    wait_until(lambda: _progress(workshop) > before, "progress after the hangup")
    workshop.let_go()
    wait_until(lambda: workshop.job().state.final, "the end of the job")
    assert workshop.job().state is JobState.SUCCEEDED


def test_a_foreground_job_goes_on_without_its_terminal(workshop: Workshop) -> None:
    master, slave = pty.openpty()
    process = workshop.start_working(stdout=slave, stderr=slave, start_new_session=True, preexec_fn=_take_terminal)
    os.close(slave)
    os.close(master)
    before = _progress(workshop)
    wait_until(lambda: _progress(workshop) > before, "progress after the hangup")
    workshop.let_go()
    assert process.wait() == 0
    assert workshop.job().state is JobState.SUCCEEDED


@pytest.mark.parametrize("sigint", [signal.default_int_handler, signal.SIG_IGN], ids=["terminal", "background"])
def test_after_a_foreground_job_a_hangup_does_what_it_did_before(workshop: Workshop, sigint: Any) -> None:
    """Whether the job ends well or not; the same for the signals that stop it."""
    def ours(number: int, frame: object) -> None:
        pass

    async def act(emit: Emit, job: str) -> str:
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        if ends_badly:
            raise Unreachable("db is not reachable")
        return "done"

    numbers = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)
    was = {number: signal.getsignal(number) for number in numbers}
    signal.signal(signal.SIGHUP, ours)
    signal.signal(signal.SIGINT, sigint)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        for ends_badly in (False, True):
            order = Order(JobKind.BACKUP, "main-db", "pgvault backup main-db", {})
            ended = run_in_foreground(workshop.home, order, act)
            assert isinstance(ended.error, Unreachable) is ends_badly
            assert signal.getsignal(signal.SIGHUP) is ours
            assert {n: signal.getsignal(n) for n in numbers[1:]} == {n: before[n] for n in numbers[1:]}
    finally:
        for number in (signal.SIGHUP, signal.SIGINT):
            signal.signal(number, was[number])


def test_a_foreground_job_goes_on_when_nobody_reads_its_talk(workshop: Workshop) -> None:
    process = workshop.start_working()
    assert process.stderr is not None
    process.stderr.close()
    process.stderr = None
    before = _progress(workshop)
    wait_until(lambda: _progress(workshop) > before, "progress")
    workshop.let_go()
    out, _ = process.communicate()
    assert (process.returncode, out) == (0, b"worked in place\n")


def test_on_a_terminal_one_line_is_rewritten_and_no_secret_is_shown(workshop: Workshop) -> None:
    master, slave = pty.openpty()
    process = workshop.start_working(stdout=slave, stderr=slave)
    os.close(slave)
    shown = b""
    with contextlib.suppress(OSError):  # EIO: the other side is closed
        while data := os.read(master, 4096):
            shown += data
            if b"copying  [" in shown:
                workshop.let_go()
    os.close(master)
    assert process.wait() == 0
    text = shown.decode()
    assert "\rcopying  [-" in text
    assert "\x1b[K" in text
    assert "connected with password=***" in text
    assert text.rstrip().endswith("worked in place")


def test_a_detached_job_is_quiet_and_can_be_cancelled(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", workshop.env["PYTHONPATH"])
    job_id = start_detached(workshop.home, ["pgvault", "work", str(workshop.place)], kind=JobKind.BACKUP,
                            server="main-db", config=workshop.config)
    directory = find_job(workshop.home, job_id)
    assert read_job(directory).state is JobState.RUNNING
    done = workshop.run("job", "cancel", job_id, "--wait", check=130)
    assert f"job {job_id}: cancelled (work cancelled)" in done.text
    assert not workshop.place.joinpath("begun").exists()
    wait_until(lambda: "cancelled" in (directory / "output").read_text(), "what the process said at its end")
    assert "Progressed" not in (directory / "output").read_text()
    assert not is_alive(directory)


def test_a_job_among_others_is_stopped_with_its_caller(tmp_path: Path) -> None:
    """Cancelling the task that runs a job undoes the job first, and is not swallowed."""
    undone = []
    begun = asyncio.Event()

    async def act(emit: object, job: str) -> str:
        begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            undone.append(job)
        return "never"

    async def main() -> None:
        order = Order(JobKind.MAINTENANCE, "main-db", "pgvault cron", {})
        task = asyncio.create_task(run_job(tmp_path, order, act))
        await begun.wait()
        assert list_jobs(tmp_path)[0].state is JobState.RUNNING
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert task.cancelled()

    asyncio.run(main())
    job, = list_jobs(tmp_path)
    assert job.state is JobState.CANCELLED
    assert undone == [job.id]


def test_a_job_that_is_cancelled_before_it_began_does_nothing(tmp_path: Path) -> None:
    begun = []

    async def act(emit: object, job: str) -> str:
        begun.append(job)
        return "done"

    held = create_job(tmp_path, JobKind.RESTORE, "main-db", "pgvault restore main-db")
    request_cancel(held.directory)
    order = Order(JobKind.RESTORE, "main-db", "pgvault restore main-db", {}, held)
    ended = asyncio.run(run_job(tmp_path, order, act))
    assert ended.finished.state is JobState.CANCELLED
    assert begun == []


def test_a_plan_that_cannot_be_stored_leaves_no_job(tmp_path: Path) -> None:
    async def act(emit: object, job: str) -> str:
        raise AssertionError("must not run")

    with pytest.raises(TypeError):
        asyncio.run(run_job(tmp_path, Order(JobKind.BACKUP, "main-db", "pgvault backup", 7), act))
    assert list_jobs(tmp_path) == []


def test_job_list_and_show_for_people(workshop: Workshop) -> None:
    assert workshop.run("job", "list", check=0).stderr == "no jobs\n"
    workshop.let_go()
    workshop.run("work", workshop.place, check=0)
    job = workshop.job()
    header, line = workshop.run("job", "list", check=0).text.splitlines()
    assert header.split() == ["Job", "Kind", "Server", "State", "Took", "Verdict"]
    assert line.split()[:4] == [job.id, "backup", "main-db", "succeeded"]
    shown = workshop.run("job", "show", job.id[:-1], check=0).text
    assert re.search("^  State +: succeeded$", shown, re.MULTILINE)
    assert re.search(r"^  Plan: plan +: conninfo: host=db password=\*\*\*$", shown, re.MULTILINE)
    assert workshop.run("--format", "json", "job", "list", "--server", "other", check=0).json() == {
        "schema": 1, "jobs": []}
    workshop.run("job", "show", "2099", check=4)


def _progress(workshop: Workshop) -> int:
    return sum(isinstance(event, Progressed) for event in read_events(workshop.directory()))


def _take_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(1, termios.TIOCSCTTY, 0)
