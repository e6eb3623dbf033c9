"""Pictures of the overview, the backups and one backup: normal, empty and in trouble, at both sizes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from desk import NARROW, NOW, WIDE, Desk, failure, press, settle
from shelf import made_backup
from textual.pilot import Pilot

from pgvault.console.app import ConsoleApp
from pgvault.console.checks import Checked
from pgvault.model.backup import BackupStatus
from pgvault.model.check import Finding, Outcome
from pgvault.model.event import PhaseStarted, Progressed
from pgvault.model.job import JobKind, JobState

SIZES = pytest.mark.parametrize("size", [NARROW, WIDE], ids=["80x24", "120x40"])
FINE = (Finding("PostgreSQL", Outcome.OK), Finding("PostgreSQL version", Outcome.OK, "18.6"),
        Finding("replication slot", Outcome.OK, "pgvault, active, 0 MiB behind"),
        Finding("ssh", Outcome.SKIPPED, "not configured: only a restore in place needs it"))
DOWN = (Finding("PostgreSQL", Outcome.FAILED, "connection refused", "nothing listens on 10.0.0.5:5432",
                "start the server, or correct conninfo of main in the configuration"),
        Finding("wal_level", Outcome.SKIPPED, "blocked by: PostgreSQL", "PostgreSQL"),
        Finding("directories", Outcome.OK))
Picture = Callable[..., bool]


def keys(*pressed: str) -> Callable[[Pilot[None]], Awaitable[None]]:
    async def run(pilot: Pilot[None]) -> None:
        await settle(pilot)
        await press(pilot, *pressed)
    return run


def in_order(desk: Desk) -> ConsoleApp:
    """Three servers, of which two are protected; a backup and a restore run, one has ended."""
    desk.serve("main-db-server", "report", "archive", settings='environment = "production"')
    desk.protect("main-db-server")
    desk.protect("report", days=(12, 22))
    desk.job(desk.ended("backup 20261122T120000Z is DONE", when=NOW - timedelta(hours=23)),
             started=NOW - timedelta(hours=24), server="main-db-server")
    desk.job(PhaseStarted("copy", 200 << 30, NOW - timedelta(seconds=9)),
             Progressed(80 << 30, 4000, NOW - timedelta(seconds=1)), server="report", kind=JobKind.RESTORE, lives=True)
    desk.job(PhaseStarted("start backup", None, NOW - timedelta(seconds=40)), server="main-db-server", lives=True)
    app = desk.app(notice="mytesttable2 was dropped 2 minutes ago: press r to bring it back")
    app.checks.found["main-db-server"] = Checked(NOW - timedelta(minutes=2), Outcome.OK, FINE)
    app.checks.found["report"] = Checked(NOW - timedelta(hours=3), Outcome.WARNING, FINE)
    return app


def in_trouble(desk: Desk) -> ConsoleApp:
    """Backups of every kind, a server that does not answer, a backup that failed."""
    desk.serve("main", settings='retention_policy = "RECOVERY WINDOW OF 7 DAYS"\nlast_backup_maximum_age = "1 DAY"')
    good = desk.protect(days=(18, 19))
    later = [replace(made_backup(NOW - timedelta(days=days), segment=40), **facts) for days, facts in (
        (3.0, {"name": "before [v2]"}),
        (2.0, {"status": BackupStatus.WAITING_FOR_WALS}),
        (1.0, {"status": BackupStatus.FAILED, "finished_at": None, "end_lsn": None, "error": "the server closed the "
               "connection: could not write to [/data/pg]"}))]
    desk.shelf.put(*good, *later)
    desk.job(desk.ended(state=JobState.FAILED, error=failure("the server closed the connection").failure))
    app = desk.app()
    app.checks.found["main"] = Checked(NOW - timedelta(hours=3), Outcome.FAILED, DOWN)
    return app


@SIZES
def test_overview(desk: Desk, snap_compare: Picture, size: tuple[int, int]) -> None:
    assert snap_compare(in_order(desk), terminal_size=size, run_before=keys())


@SIZES
def test_overview_in_trouble(desk: Desk, snap_compare: Picture, size: tuple[int, int]) -> None:
    assert snap_compare(in_trouble(desk), terminal_size=size, run_before=keys())


@SIZES
def test_overview_without_a_backup(desk: Desk, snap_compare: Picture, size: tuple[int, int]) -> None:
    assert snap_compare(desk.app(read_only=True), terminal_size=size, run_before=keys())


@SIZES
def test_backups(desk: Desk, snap_compare: Picture, size: tuple[int, int]) -> None:
    assert snap_compare(in_order(desk), terminal_size=size, run_before=keys("2"))


@SIZES
def test_backups_in_trouble(desk: Desk, snap_compare: Picture, size: tuple[int, int]) -> None:
    assert snap_compare(in_trouble(desk), terminal_size=size, run_before=keys("2"))


@SIZES
def test_backups_when_there_are_none(desk: Desk, snap_compare: Picture, size: tuple[int, int]) -> None:
    assert snap_compare(desk.app(), terminal_size=size, run_before=keys("2"))


@SIZES
def test_backup_with_its_files(desk: Desk, snap_compare: Picture, size: tuple[int, int]) -> None:
    desk.shelf.with_files(made_backup(NOW - timedelta(days=1)), {
        "backup_label": b"x" * 224, "PG_VERSION": b"18\n", "base/1/[red]1259": b"y" * 8192, "base/1/2619": b"",
        **{f"base/5/{number}": b"z" * number for number in range(40)}}, directories=("base", "base/1", "base/5"))
    desk.shelf.archive(1, 2, 6)
    assert snap_compare(desk.app(), terminal_size=size, run_before=keys("2", "enter", "/", *"base", "enter"))


@SIZES
def test_backup_that_failed(desk: Desk, snap_compare: Picture, size: tuple[int, int]) -> None:
    assert snap_compare(in_trouble(desk), terminal_size=size, run_before=keys("2", "enter"))


def test_overview_in_ascii(desk: Desk, snap_compare: Picture) -> None:
    app = in_order(desk)
    assert snap_compare(desk.app(ascii_only=True, notice=app.notice), terminal_size=NARROW, run_before=keys())
