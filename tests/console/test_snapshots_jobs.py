"""How jobs, a job, the log file, help, palette and command log look, on a small terminal and on a large one."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from desk import NARROW, WIDE, Desk, press, settle, write

from pgvault.console.app import ConsoleApp
from pgvault.console.screens import job as job_screen
from pgvault.console.screens.logs import LogsScreen
from pgvault.jobs.plan import write_plan
from pgvault.jobs.registry import jobs_directory
from pgvault.model.backup_plan import BackupPlan
from pgvault.model.event import Checked, CommandRan, Failure, Level, Noted, PhaseStarted, Progressed
from pgvault.model.job import JobKind, JobState

pytestmark = pytest.mark.parametrize("size", [NARROW, WIDE], ids=["80x24", "120x40"])
Size = tuple[int, int]
GIB = 1 << 30
OUT_OF_REACH = Failure(
    "could not reach standby-db-server", "ssh: connect to host 10.0.0.9 port 22: Connection refused",
    "Start sshd there, or correct ssh in [hosts.standby-db-server].", "unreachable", 7)


@pytest.fixture(autouse=True)
def same_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing that is drawn has the test's own directory in it."""
    read, say = job_screen.read_facts, LogsScreen._say
    monkeypatch.setattr(job_screen, "read_facts", lambda directory: read(directory)._replace(
        journal=Path("/var/lib/pgvault/jobs") / directory.name / "events.jsonl"))
    monkeypatch.setattr(LogsScreen, "_say", lambda self, text: say(self, text.replace(str(tmp_path), "/var/log")))
    monkeypatch.setattr(LogsScreen, "crumbs", lambda self: ["logs", "/var/log/pgvault.log"])


def shows(snap_compare: Any, desk: Desk, size: Size, *keys: str, text: str = "", app: ConsoleApp | None = None) -> None:
    """The console behind these keys, and with this text typed, looks as it did."""
    async def go(pilot: Any) -> None:
        await settle(pilot)
        await press(pilot, *keys)
        await write(pilot, text)

    assert snap_compare(app or desk.app(), terminal_size=size, run_before=go)


def job(desk: Desk, minutes: int, *events: Any, lives: bool = False, **facts: Any) -> str:
    """One that began so many minutes ago, by the same process everywhere."""
    made = desk.job(*events, started=desk.now - timedelta(minutes=minutes), lives=lives, **facts)
    with (jobs_directory(desk.shelf.home) / made / "alive").open("r+") as file:
        file.truncate()
        json.dump({"pid": 4711, "host": "ops1"}, file)
    return made


def day(desk: Desk) -> Desk:
    """All that may happen to jobs."""
    def ago(minutes: float) -> Any:
        return desk.now - timedelta(minutes=minutes)

    job(desk, 3000, Noted("The destination is empty.", at=ago(2999)),
        Checked("free space", "ok", "1.4 TiB free", at=ago(2999)),
        CommandRan("standby-db-server", "tar -xf - -C /srv/pg/17/main", 2.5, 1, at=ago(2998)),
        Noted("/srv/pg/17/main on standby-db-server is incomplete and marked so", Level.WARNING, at=ago(2990)),
        desk.ended(state=JobState.FAILED, error=OUT_OF_REACH, when=ago(2989)), kind=JobKind.RESTORE,
        command="pgvault restore main 20261120T120000Z /srv/pg/17/main --host standby-db-server --start")
    job(desk, 1440, Noted("Copy done.", at=ago(1400)), desk.ended("backup 20261122T120000Z is DONE", when=ago(1398)))
    job(desk, 510, desk.ended(state=JobState.CANCELLED, error=Failure(
        "backup cancelled", "The job was cancelled on request.", "", "cancelled", 130), when=ago(500)),
        server="report-db")
    job(desk, 100, server="report-db")
    job(desk, 4, PhaseStarted("copy", 2 * GIB, at=ago(3)), CommandRan("db1", "df -P /srv", 0.2, 0, at=ago(3)),
        Progressed(GIB - (100 << 20), 10, at=ago(0.1)), Progressed(GIB, 20, at=ago(0.03)), lives=True)
    job(desk, 1, PhaseStarted("checkpoint", at=ago(1)), server="report-db", lives=True)
    return desk


def test_jobs(snap_compare: Any, desk: Desk, size: Size) -> None:
    shows(snap_compare, day(desk), size, "4")


def test_no_jobs(snap_compare: Any, desk: Desk, size: Size) -> None:
    shows(snap_compare, desk, size, "4")


def test_jobs_that_no_filter_lets_through(snap_compare: Any, desk: Desk, size: Size) -> None:
    shows(snap_compare, day(desk), size, "4", "slash", text="[nothing]")


def test_a_job_at_work(snap_compare: Any, desk: Desk, size: Size) -> None:
    shows(snap_compare, day(desk), size, "4", "down", "f")


def test_a_job_that_failed(snap_compare: Any, desk: Desk, size: Size) -> None:
    shows(snap_compare, day(desk), size, "4", "G", "enter")


def test_a_job_that_did_well(snap_compare: Any, desk: Desk, size: Size) -> None:
    done = day(desk)
    write_plan(sorted(jobs_directory(done.shelf.home).iterdir())[1], BackupPlan(
        "main", name="before upgrade", workers=2, bandwidth_limit=8 << 20, retry_times=3, retry_seconds=30))
    shows(snap_compare, done, size, "4", "G", "up", "enter", "tab", "G")


def test_cancelling_a_restore(snap_compare: Any, desk: Desk, size: Size) -> None:
    job(desk, 1, PhaseStarted("copy", at=desk.now), kind=JobKind.RESTORE, lives=True)
    shows(snap_compare, desk, size, "4", "X")


def logging(desk: Desk, text: str | None) -> Desk:
    path = desk.shelf.config.parent / "pgvault.log"
    desk.shelf.config.write_text(
        desk.shelf.config.read_text().replace("[vault]\n", f'[vault]\nlog_file = "{path}"\n', 1))
    if text is not None:
        path.write_text(text)
    return desk


LOG = "".join(
    f"2026-11-23T11:{number:02}:00Z [4711] {level} job 20261123T11{number:02}00Z-01 {text}\n"
    for number, (level, text) in enumerate(20 * [
        ("INFO", "started: pgvault backup main"), ("WARNING", "the server's slot keeps 12 GiB of WAL"),
        ("ERROR", "failed: could not reach main: connection refused [/srv]")]))


def test_log(snap_compare: Any, desk: Desk, size: Size) -> None:
    shows(snap_compare, logging(desk, LOG), size, "5")


def test_log_filtered(snap_compare: Any, desk: Desk, size: Size) -> None:
    shows(snap_compare, logging(desk, LOG), size, "5", "slash", text="error")


def test_log_empty(snap_compare: Any, desk: Desk, size: Size) -> None:
    shows(snap_compare, logging(desk, ""), size, "5")


def test_log_not_configured(snap_compare: Any, desk: Desk, size: Size) -> None:
    shows(snap_compare, desk, size, "5")


def test_log_not_there(snap_compare: Any, desk: Desk, size: Size) -> None:
    shows(snap_compare, logging(desk, None), size, "5")


def test_help(snap_compare: Any, desk: Desk, size: Size) -> None:
    shows(snap_compare, desk, size, "question_mark")


def test_help_with_what_is_not_possible(snap_compare: Any, desk: Desk, size: Size) -> None:
    shows(snap_compare, desk, size, "4", "question_mark", text="job")


def test_palette(snap_compare: Any, desk: Desk, size: Size) -> None:
    desk.protect()
    shows(snap_compare, day(desk), size, "ctrl+p", text="main")


def test_palette_without_a_hit(snap_compare: Any, desk: Desk, size: Size) -> None:
    shows(snap_compare, desk, size, "ctrl+p", text="[red]")


def test_commands(snap_compare: Any, desk: Desk, size: Size) -> None:
    app = desk.app()
    probe = "sh -c '# look at the destination ...' pgvault /srv/pg/17/main"
    for number in range(9):
        app.queries.log.record(probe, "standby-db-server", desk.now - timedelta(seconds=number), 0.1, 0)
    long = "tar --create --file - --directory /var/lib/postgresql/17/main --exclude pg_wal " * 2
    for number, (command, where, status) in enumerate((
            ("pgvault check all", "", 0), ("df -P /srv/pg/17/main", "standby-db-server", 0),
            (long, "standby-db-server", 2), ("pgvault check main", "", 3))):
        app.queries.log.record(command, where, desk.now + timedelta(seconds=number), 0.2 + number, status)
    shows(snap_compare, desk, size, "at", "down", app=app)


def test_no_commands(snap_compare: Any, desk: Desk, size: Size) -> None:
    shows(snap_compare, desk, size, "at")
