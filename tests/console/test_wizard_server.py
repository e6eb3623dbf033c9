"""A whole recovery with real servers: a table is dropped, and a person gets it back with Enter alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from desk import NARROW, press, screen, settle
from recovery import wizard
from support.fleet import Fleet
from support.ssh import SshHost
from target_world import World, end_world, make_world
from textual.pilot import Pilot

from pgvault.config.load import load
from pgvault.console.app import ConsoleApp
from pgvault.console.options import Options
from pgvault.console.queries import Queries
from pgvault.console.recovery.drafts import draft_file
from pgvault.console.recovery.steps import Step
from pgvault.console.screens.restored import done_with

pytestmark = pytest.mark.xdist_group("wizard-server")  # one world for both
WAIT_SECONDS = 120
"""Only ends a test that would hang."""


@pytest.fixture(scope="module")
def loss(fleet: Fleet, ssh_hosts: Callable[[str], SshHost]) -> Iterator[World]:
    """A table with three rows was backed up, got two more and was dropped; the WAL is in the vault."""
    world = make_world(fleet, ssh_hosts("openssh"), megabytes=1)
    world.server.sql("CREATE TABLE precious (value int)")
    world.server.sql("INSERT INTO precious SELECT generate_series(1, 3)")
    world.backup()
    world.server.sql("INSERT INTO precious VALUES (4), (5)")
    world.server.sql("DROP TABLE precious")
    world.take_wal()
    yield world
    end_world(fleet, world)


def console(world: World, directory: Path) -> ConsoleApp:
    """On the world's vault; its host has this directory as the usual one."""
    text = world.config_file.read_text()
    config = world.root / "console.toml"
    config.write_text(text.replace("[hosts.target]", f'[hosts.target]\ndata_directory = "{directory}"'))
    return ConsoleApp(Queries(load(config), config_argument=config), Options(config=config, check_at_start=False))


async def wait_for(pilot: Pilot[None], step: Step) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while wizard(pilot).draft.step is not step:
            await pilot.app.read_jobs()
            await asyncio.sleep(0.1)
    await settle(pilot)


async def test_a_dropped_table_comes_back_on_a_real_server(loss: World) -> None:
    data = loss.root / "recovered"
    try:
        async with console(loss, data).run_test(size=NARROW, notifications=True) as pilot:
            await settle(pilot)
            await press(pilot, "r")
            await press(pilot, "enter")
            assert "DROP TABLE postgres.public.precious" in screen(pilot)
            for _ in range(3):
                await press(pilot, "enter")
            await wait_for(pilot, Step.PROOF)
            told = " ".join(screen(pilot).replace("┃", "").split())
            assert "the server is promoted, on timeline 2" in told
            assert "postgres.public.precious is there with 5 rows" in told
            kept = draft_file(loss.home, "main")
            assert kept
            assert kept.read() is not None
            await press(pilot, "b")
            await press(pilot, "down", "enter")
            async with asyncio.timeout(WAIT_SECONDS):
                while not (done := done_with(pilot.app, wizard(pilot).draft.job)) or not done[0].state.final:
                    await pilot.app.read_jobs()
                    await asyncio.sleep(0.1)
            await settle(pilot)
            assert "public.precious (5 rows)" in " ".join(screen(pilot).replace("┃", "").split())
            assert loss.server.sql("SELECT count(*) FROM precious") == [(5,)]  # on the server that had lost it
            await press(pilot, "enter")
            assert kept.read() is None
    finally:
        loss.stop(data)


async def test_a_directory_that_was_filled_meanwhile_is_refused(loss: World) -> None:
    data = loss.root / "filled"
    async with console(loss, data).run_test(size=NARROW, notifications=True) as pilot:
        await settle(pilot)
        await press(pilot, "r")
        for _ in range(3):
            await press(pilot, "enter")
        assert wizard(pilot).draft.step is Step.REVIEW
        assert "Enter: restore to target:" in screen(pilot)
        data.mkdir()
        (data / "precious").write_text("somebody's")
        await press(pilot, "enter")
        told = " ".join(screen(pilot).replace("┃", "").split())
        assert wizard(pilot).draft.step is Step.REVIEW
        assert "holds nothing; now it holds files that are no cluster: precious" in told
        assert (data / "precious").read_text() == "somebody's"


def test_an_accident_is_found_beside_a_newer_timeline(loss: World) -> None:
    """A restored server that was overwritten again leaves nothing in the archive that events would follow instead."""
    data = loss.root / "overwritten"
    [drop] = loss.cli("events", "main", "--kind", "drop", "--format", "json", check=0).json_lines()
    words = ["restore", "main", "auto", data, "--host", "target", *drop["undo"], "--yes"]
    try:
        loss.cli(*words, "--start", check=0)
        loss.stop(data)
        loss.cli(*words, "--overwrite", data, check=0)
    finally:
        loss.stop(data)
    ask = ["events", "main", "--kind", "drop", "--partial", "--format", "json"]
    for more in ((), ("--all-timelines",)):
        [found] = loss.cli(*ask, *more, check=0).json_lines()
        assert (found["lsn"], found["undo"]) == (drop["lsn"], drop["undo"])
