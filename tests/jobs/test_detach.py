"""A detached job from before its first instant: whoever is killed while it is still planned, what was ordered has an
end that is told, with its kind, its server and its command."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pgvault.cli.main import main
from pgvault.jobs.detach import start_detached
from pgvault.jobs.registry import create_job, jobs_directory, list_jobs, read_job
from pgvault.model.errors import ConfigError, PgvaultError, Refused
from pgvault.model.job import JobKind, JobState

from workshop import Workshop, wait_until  # isort: skip

_STARTER = """
import signal
import sys
from pathlib import Path
from pgvault.jobs import detach
from pgvault.model.job import JobKind
home, config, fate, *command = sys.argv[1:]
if fate == "dies early":
    import os
    detach.subprocess.Popen = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs, and these tests there, ignore it
print(detach.start_detached(Path(home), command, kind=JobKind.BACKUP, server="main-db", config=Path(config)))
"""


def starter(workshop: Workshop, *words: str, fate: str = "lives") -> subprocess.Popen[bytes]:
    """Another process that starts the job detached, and waits until it has begun."""
    argv = [sys.executable, "-c", _STARTER, workshop.home, workshop.config, fate, "pgvault", "work", workshop.place,
            *words]
    process = subprocess.Popen(argv, env=workshop.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    workshop.processes.append(process)
    return process


def planning(workshop: Workshop, *words: str) -> tuple[subprocess.Popen[bytes], int]:
    """The starter and the job's own process, while the job is being planned."""
    (workshop.place / "think").touch()
    process = starter(workshop, *words)
    note = workshop.place / "planning"
    wait_until(lambda: note.exists() and note.read_text(), "planning")
    return process, int(note.read_text())


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def plan_on(workshop: Workshop) -> None:
    (workshop.place / "think").unlink()


def assert_it_is_known(workshop: Workshop) -> None:
    job = workshop.job()
    assert (job.kind, job.server) == (JobKind.BACKUP, "main-db")
    assert job.command.startswith(f"pgvault --config {workshop.config} work {workshop.place}")


def test_a_job_that_is_still_being_planned_is_known(workshop: Workshop) -> None:
    _, own = planning(workshop)
    assert workshop.job().state is JobState.STARTING
    assert workshop.job().pid == own
    assert_it_is_known(workshop)
    plan_on(workshop)
    workshop.wait_for("begun")
    workshop.let_go()
    wait_until(lambda: workshop.job().state.final, "the end of the job")


def test_a_job_whose_starter_is_killed_while_it_is_planned_runs_all_the_same(workshop: Workshop) -> None:
    kill(planning(workshop)[0])
    plan_on(workshop)
    workshop.let_go()
    wait_until(lambda: workshop.job().state.final, "the end of the job")
    assert (workshop.job().state, workshop.job().verdict) == (JobState.SUCCEEDED, "worked in place")


@pytest.mark.slow
def test_a_plan_that_fails_when_its_starter_is_gone_is_a_job_that_failed(workshop: Workshop) -> None:
    kill(planning(workshop, "--end", "early")[0])
    plan_on(workshop)
    wait_until(lambda: workshop.job().state.final, "the end of the job")
    job = workshop.job()
    assert (job.state, job.verdict, job.exit_code) == (JobState.FAILED, "the destination is not empty", 5)
    assert job.finished_at is not None
    assert_it_is_known(workshop)
    line = workshop.run("job", "list", check=0).text.splitlines()[1]
    assert line.split()[:4] == [job.id, "backup", "main-db", "failed"]
    shown = workshop.run("job", "show", job.id, check=0).text
    output = str(workshop.directory() / "output")
    for told in ("the destination is not empty", "It holds base/.", "Choose another one.", output):
        assert told in shown
    assert "the destination is not empty" in workshop.run("job", "watch", job.id, check=5).text
    told = workshop.run("--format", "json", "job", "show", job.id, check=0).json()["error"]
    assert (told["code"], told["hint"]) == ("refused", "Choose another one.")
    workshop.run("job", "cancel", job.id, check=5)


def test_a_job_killed_while_it_is_planned_and_nobody_waits_is_lost(workshop: Workshop) -> None:
    waiting, own = planning(workshop)
    kill(waiting)
    os.kill(own, signal.SIGKILL)
    wait_until(lambda: workshop.job().state is JobState.LOST, "the job's loss")
    assert_it_is_known(workshop)
    workshop.run("job", "watch", "latest", check=1)
    shown = workshop.run("job", "show", "latest", check=0).text
    assert "its process ended without reporting a result" in shown


def test_a_job_killed_while_its_starter_waits_is_told_by_it_and_leaves_nothing(workshop: Workshop) -> None:
    waiting, own = planning(workshop)
    os.kill(own, signal.SIGKILL)
    _, talk = waiting.communicate()
    assert "pgvault work ended before it began a job" in talk.decode()
    assert "SIGKILL" in talk.decode()
    assert list_jobs(workshop.home) == []


def test_a_starter_killed_before_the_jobs_process_was_there_leaves_a_lost_job(workshop: Workshop) -> None:
    starter(workshop, fate="dies early").wait()
    assert workshop.job().state is JobState.LOST
    assert_it_is_known(workshop)


def test_whoever_stops_waiting_is_told_that_the_job_goes_on(workshop: Workshop) -> None:
    waiting, _ = planning(workshop)
    waiting.send_signal(signal.SIGINT)
    _, talk = waiting.communicate()
    job = workshop.job().id
    assert f"no longer waiting for job {job} to begin" in talk.decode()
    assert f"pgvault job cancel {job}" in talk.decode()
    workshop.run("job", "cancel", job, check=0)
    plan_on(workshop)
    wait_until(lambda: workshop.job().state.final, "the end of the job")
    assert workshop.job().state is JobState.CANCELLED


def test_what_refuses_before_a_job_began_is_raised_by_the_starter_and_leaves_nothing(
        workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", workshop.env["PYTHONPATH"])

    def start(*words: str, config: Path = workshop.config) -> None:
        start_detached(workshop.home, ["pgvault", *words], kind=JobKind.BACKUP, server="main-db", config=config)

    with pytest.raises(Refused, match="the destination is not empty") as told:
        start("work", str(workshop.place), "--end", "early")
    assert (told.value.detail, told.value.hint) == ("It holds base/.", "Choose another one.")
    with pytest.raises(PgvaultError, match="invalid choice"):
        start("work", "x", "--end", "never")
    with pytest.raises(ConfigError):
        start("work", "x", config=workshop.config.with_name("gone.toml"))
    assert list(workshop.home.joinpath("jobs").iterdir()) == []


def test_a_restore_whose_plan_nobody_reads_is_planned_by_its_job_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The console showed the plan: its starter does not look at the destination, where nothing listens here."""
    config = tmp_path / "pgvault.toml"
    config.write_text(f'[vault]\nhome = "{tmp_path}/vault"\n[servers.main]\nconninfo = "host=127.0.0.1 port=1"\n'
                      '[hosts.standby]\nssh = "postgres@127.0.0.1:1"\n')
    started: list[list[str]] = []

    def start(home: Path, command: list[str], **about: object) -> str:
        started.append(command)
        return "20261123T120000Z-01"

    monkeypatch.setattr("pgvault.jobs.detach.start_detached", start)
    words = ["restore", "main", "latest", "/srv/new", "--host", "standby", "--target-end", "--start"]
    assert main(["--config", str(config), "--format", "json", *words, "--yes", "--detach"]) == 0
    assert started == [["pgvault", *words]]
    assert '"job":"20261123T120000Z-01"' in capfd.readouterr().out


def test_a_directory_without_a_lock_is_no_job_that_may_yet_begin(tmp_path: Path) -> None:
    directory = jobs_directory(tmp_path) / "20261122T200512Z-01"
    directory.mkdir(parents=True)
    assert read_job(directory).state is JobState.LOST


def test_a_job_that_cannot_be_stored_leaves_nothing(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))  # every write fails, as on a full disk
    try:
        with pytest.raises(OSError, match="File too large") as told:
            create_job(tmp_path, JobKind.BACKUP, "main-db", "pgvault backup main-db")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(tmp_path) in told.value.filename
    assert list(jobs_directory(tmp_path).iterdir()) == []
