"""The vault is not there, as when its disk is not mounted: no view takes that for a vault in which there is nothing."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest
from desk import WIDE, Desk, press, screen, settle, words
from textual.pilot import Pilot

from pgvault.model.event import PhaseStarted
from pgvault.store.leases import Concern
from pgvault.vault import mount_guard


def unmount(desk: Desk) -> None:
    desk.shelf.home.rename(desk.shelf.home.with_name("elsewhere"))


async def look_again(pilot: Pilot[None]) -> None:
    pilot.app._poll_vault()
    pilot.app._poll_jobs()
    await settle(pilot)


async def test_backups_are_not_said_to_be_none(desk: Desk) -> None:
    desk.protect()
    unmount(desk)
    async with desk.open() as pilot:
        await press(pilot, "2")
        assert "is not there" in screen(pilot)
        assert "takes the first one" not in screen(pilot)


async def test_jobs_are_not_said_to_be_none(desk: Desk) -> None:
    desk.job(desk.ended("backup is DONE"))
    unmount(desk)
    async with desk.open() as pilot:
        await press(pilot, "4")
        assert "No jobs yet" not in screen(pilot)
        assert "is not there" in screen(pilot)
        assert "jobs not known" in screen(pilot).splitlines()[0]


async def test_a_job_that_runs_is_not_said_to_be_over_when_the_disk_goes(desk: Desk) -> None:
    desk.job(PhaseStarted("copy", at=desk.now), lives=True)
    async with desk.open() as pilot:
        assert "1 job running" in screen(pilot)
        unmount(desk)
        await look_again(pilot)
        assert "jobs not known" in screen(pilot).splitlines()[0]
        assert "no jobs running" not in screen(pilot)
        await press(pilot, "4")
        assert "jobs as they were read last" in screen(pilot)
        assert "pgvault explain refused" in screen(pilot)


async def test_wal_that_was_read_before_shows_its_age_and_why_it_is_not_read_again(desk: Desk) -> None:
    desk.protect()
    async with desk.open() as pilot:
        await press(pilot, "3")
        unmount(desk)
        await look_again(pilot)
        assert "now: the vault in" in screen(pilot)


@pytest.mark.parametrize("view", ["1", "2"])
async def test_no_backup_is_begun_where_the_vault_was(desk: Desk, view: str) -> None:
    """R4: nothing opens, and one line says why."""
    desk.protect()
    unmount(desk)
    desk.shelf.home.mkdir()
    async with desk.open() as pilot:
        await press(pilot, view)
        top = pilot.app.screen
        await press(pilot, "b")
        assert pilot.app.screen is top
        assert [f"the vault in {desk.shelf.home} is not there"] == [
            str(each.message) for each in pilot.app._notifications]
        assert list(desk.shelf.home.iterdir()) == []


async def test_the_first_backup_makes_the_vault(desk: Desk) -> None:
    """One that was never there is not missed."""
    unmount(desk)
    mount_guard.forget(desk.shelf.home)
    async with desk.open() as pilot:
        top = pilot.app.screen
        await press(pilot, "b")
        assert pilot.app.screen is not top


async def test_another_vault_in_its_place_is_said_and_not_written_to(desk: Desk) -> None:
    desk.protect()
    (desk.shelf.home / "vault.toml").write_text('format = 1\nid = "ffffffffffffffff"\n')
    async with desk.open() as pilot:
        assert "UNKNOWN" in screen(pilot)
        assert "is not the one that was there before" in words(pilot)


async def test_a_receiver_that_hears_nothing_is_not_drawn_as_streaming(desk: Desk) -> None:
    """R21."""
    desk.protect()
    server = desk.shelf.server("main")
    with server.leases.hold(Concern.RECEIVE):
        heard = (desk.now - timedelta(minutes=7)).timestamp()
        os.utime(server.locks / "receive.lock", (heard, heard))
        async with desk.open(size=WIDE) as pilot:
            assert "silent 7m" in screen(pilot)
            assert "streaming" not in screen(pilot)
            assert "WARNING" in screen(pilot)
            assert "the receiver has received nothing" in screen(pilot)


async def test_wal_is_not_said_to_be_none(desk: Desk) -> None:
    desk.protect()
    unmount(desk)
    async with desk.open() as pilot:
        await press(pilot, "3")
        assert "is not there" in screen(pilot)
