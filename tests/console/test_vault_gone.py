"""The vault is not there, as when its disk is not mounted: no view takes that for a vault in which there is nothing."""

from __future__ import annotations

from desk import Desk, press, screen, settle
from textual.pilot import Pilot

from pgvault.model.event import PhaseStarted


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
        assert "there is no vault in" in screen(pilot)
        assert "takes the first one" not in screen(pilot)


async def test_jobs_are_not_said_to_be_none(desk: Desk) -> None:
    desk.job(desk.ended("backup is DONE"))
    unmount(desk)
    async with desk.open() as pilot:
        await press(pilot, "4")
        assert "No jobs yet" not in screen(pilot)
        assert "there is no vault in" in screen(pilot)
        assert "jobs not known" in screen(pilot).splitlines()[0]


async def test_a_job_that_runs_is_not_said_to_be_over_when_the_disk_goes(desk: Desk) -> None:
    desk.job(PhaseStarted("copy", at=desk.now), lives=True)
    async with desk.open() as pilot:
        assert "1 job running" in screen(pilot)
        unmount(desk)
        await look_again(pilot)
        assert "jobs not known" in screen(pilot).splitlines()[0]
        assert "no jobs running" not in screen(pilot)


async def test_wal_that_was_read_before_shows_its_age_and_why_it_is_not_read_again(desk: Desk) -> None:
    desk.protect()
    async with desk.open() as pilot:
        await press(pilot, "3")
        unmount(desk)
        await look_again(pilot)
        assert "now: there is no vault in" in screen(pilot)


async def test_wal_is_not_said_to_be_none(desk: Desk) -> None:
    desk.protect()
    unmount(desk)
    async with desk.open() as pilot:
        await press(pilot, "3")
        assert "there is no vault in" in screen(pilot)
