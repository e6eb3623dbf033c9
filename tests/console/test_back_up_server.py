"""Backing up a real server from the console, from `b` to the backup in the list, by the verb itself."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from desk import NARROW, press, screen, settle
from station import Station
from support.cli import environment, pgvault_argv
from support.postgres import Server, wait_until
from terminal import Terminal

from pgvault.config.load import load
from pgvault.console.app import ConsoleApp
from pgvault.console.options import Options
from pgvault.console.queries import Queries
from pgvault.console.queries import utc_now as now
from pgvault.jobs.registry import jobs_directory, read_job
from pgvault.model.job import JobState
from pgvault.vault import catalog

WAIT_SECONDS = 120
"""Only ends a test that would hang."""


@pytest.fixture
def station(open_tmp: Path, own_server: Callable[..., Server]) -> Station:
    return Station(own_server(18, wal_segsize=1), open_tmp / "vault", open_tmp)


async def test_b_takes_a_backup_that_is_then_in_the_list(station: Station) -> None:
    queries = Queries(load(station.config), config_argument=station.config, clock=now)
    app = ConsoleApp(queries, Options(config=station.config, check_at_start=False))
    async with app.run_test(size=NARROW, notifications=True) as pilot:
        await settle(pilot)
        await press(pilot, "2", "b", "j", "enter")
        async with asyncio.timeout(WAIT_SECONDS):
            while not queries.jobs.ids or not queries.jobs.job(queries.jobs.ids[0]).state.final:
                await app.read_jobs()
                await asyncio.sleep(0.1)
        job = queries.jobs.job(queries.jobs.ids[0])
        assert "backup main --jobs" in job.command
        assert job.state is JobState.SUCCEEDED, job.verdict
        await app._look_at_vault()
        await press(pilot, "2")
        backup_id, = catalog.ids(queries.vault_of("main"))
        assert backup_id in screen(pilot)
        await press(pilot, "enter")
        await press(pilot, "/", *"PG_VERSION")
        assert "PG_VERSION" in screen(pilot)


async def test_a_server_that_is_out_of_reach_is_refused_with_its_reason(station: Station) -> None:
    station.server.stop()
    queries = Queries(load(station.config), config_argument=station.config, clock=now)
    async with ConsoleApp(queries, Options(config=station.config, check_at_start=False)).run_test(
            size=NARROW, notifications=True) as pilot:
        await settle(pilot)
        await press(pilot, "b", "j", "enter")
        async with asyncio.timeout(WAIT_SECONDS):
            while "main is not backed up" not in screen(pilot) and "✗ backup main" not in screen(pilot):
                await pilot.app.read_jobs()
                await asyncio.sleep(0.1)
        await settle(pilot)
        assert "could not connect" in screen(pilot)


def test_a_backup_that_was_begun_here_outlives_the_terminal(station: Station, tmp_path: Path) -> None:
    """R22: it is in a session of its own, whatever becomes of the one in which it was begun."""
    (checkpointer,), = station.server.sql("select pid from pg_stat_activity where backend_type = 'checkpointer'")
    jobs = jobs_directory(station.home)
    os.kill(checkpointer, signal.SIGSTOP)  # the backup waits for it
    try:
        argv = pgvault_argv("console", "--no-check", config=station.config)
        env = environment(extra={"TERM": "xterm-256color", "XDG_STATE_HOME": str(tmp_path)})
        with Terminal(argv, env) as terminal:
            terminal.wait_for("jobs cannot be read")  # there is no vault yet
            terminal.type("b")
            terminal.wait_for("back up main now")
            terminal.type("j", "enter")
            terminal.wait_for("1 job running")
            directory, = jobs.iterdir()
            terminal.hang_up()
            terminal.process.wait(WAIT_SECONDS)
            job = read_job(directory)
            assert job.state is JobState.RUNNING
            assert os.getsid(job.pid or 0) == job.pid
    finally:
        os.kill(checkpointer, signal.SIGCONT)
    wait_until(lambda: read_job(directory).state.final, seconds=WAIT_SECONDS)
    assert read_job(directory).state is JobState.SUCCEEDED, read_job(directory).verdict
