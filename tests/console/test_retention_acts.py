"""Keeping, deleting and expiring backups from their list: a plan is shown, and carried out once confirmed."""

from __future__ import annotations

import asyncio

from desk import Desk, press, screen, settle, toasts, write

from pgvault.console.commands import Document
from pgvault.console.screens.backups import BackupsScreen
from pgvault.console.screens.text_box import FailureBox
from pgvault.model.errors import PgvaultError
from pgvault.vault import catalog

DAYS = ("20261120T120000Z", "20261121T120000Z", "20261122T120000Z")


def plan(kind: str, *deleted: str, command: str | None) -> Document:
    backups = [{"id": each, "verdict": "OBSOLETE" if each in deleted else "VALID", "stored_bytes": 1 << 20,
                "reason": "nothing needs it" if each in deleted else "one of the newest 1",
                "deleted": each in deleted} for each in DAYS]
    return {"plan": kind, "server": "main", "policy": "REDUNDANCY 1", "backups": backups, "unreadable": [],
            "stored_bytes": len(deleted) << 20, "wal_files": 8 * len(deleted), "wal_bytes": 8 << 20,
            "act": f"delete {len(deleted)} backups and 8 WAL files of main" if deleted else "nothing expires",
            "command": command}


async def test_m_keeps_a_backup_and_releases_it(desk: Desk) -> None:
    desk.serve("main")
    desk.protect()
    desk.real_verbs = True
    async with desk.open() as pilot:
        await press(pilot, "2", "m")
        assert toasts(pilot) == [f"backup {DAYS[2]} is kept (full) until it is released"]
        assert "kept: kept on request (full)" in screen(pilot)
        assert [each.keep and each.keep.value for each in catalog.backups(desk.shelf.server())] == [None, None, "full"]
        await press(pilot, "m")
        assert "is kept as long as the retention policy needs it" in screen(pilot)
    assert not any(each.keep for each in catalog.backups(desk.shelf.server()))


async def test_a_backup_is_deleted_once_its_id_is_typed(desk: Desk) -> None:
    desk.serve("main")
    desk.protect()
    command = f"pgvault delete main {DAYS[1]} --yes"
    desk.says(f"delete main {DAYS[1]} --dry-run", plan("delete", DAYS[1], command=command))
    desk.says(f"delete main {DAYS[1]} --yes --detach", {"job": "20261123T120000Z-01"})
    async with desk.open() as pilot:
        await press(pilot, "2", "j", "D")
        assert "To delete 1 backups and 8 WAL files of main, type its id:" in screen(pilot)
        assert f"{DAYS[1]}, OBSOLETE: nothing needs it" in screen(pilot)
        await write(pilot, DAYS[2])
        await press(pilot, "enter")
        assert f"that is not {DAYS[1]}; nothing was done" in screen(pilot)
        await press(pilot, *["backspace"] * 16)
        await write(pilot, DAYS[1])
        await press(pilot, "enter")
        assert ("delete", "main", DAYS[1], "--yes", "--detach") in pilot.app.queries.commands.asked


async def test_e_shows_what_expires_and_why(desk: Desk) -> None:
    desk.serve("main")
    desk.protect()
    desk.says("expire main --dry-run", plan("expire", *DAYS[:2], command="pgvault expire main"))
    desk.says("expire main --detach", {"job": "20261123T120000Z-01"})
    async with desk.open() as pilot:
        await press(pilot, "2", "e")
        shown = screen(pilot)
        assert f"{DAYS[0]}: nothing needs it" in shown
        assert "1 of 3 backups" in shown
        assert "16 files that no backup needs then, 8.0 MiB" in shown
        await press(pilot, "enter")
        assert ("expire", "main", "--detach") not in pilot.app.queries.commands.asked, "the first choice does nothing"
        await press(pilot, "e", "j", "enter")
        assert ("expire", "main", "--detach") in pilot.app.queries.commands.asked


async def test_where_nothing_expires_nothing_is_asked(desk: Desk) -> None:
    desk.serve("main")
    desk.protect()
    desk.says("expire main --dry-run", plan("expire", command=None))
    async with desk.open() as pilot:
        await press(pilot, "2", "e")
        await settle(pilot)
        assert toasts(pilot) == ["main: nothing expires"]


async def test_read_only_offers_none_of_it(desk: Desk) -> None:
    desk.serve("main")
    desk.protect()
    async with desk.open(read_only=True) as pilot:
        await press(pilot, "2", "m", "D", "e")
        assert pilot.app.queries.commands.asked == []


async def test_two_backups_that_are_kept_one_after_the_other_are_both_kept(desk: Desk) -> None:
    """The second key does not end what the first one began."""
    desk.serve("main")
    desk.protect()
    for each in DAYS[1:]:
        desk.says(f"keep main {each}", {"keep": "full"})
    async with desk.open() as pilot:
        commands = pilot.app.queries.commands
        await press(pilot, "2")
        commands.held = asyncio.Event()
        await pilot.press("m", "j", "m")
        await pilot.pause()
        commands.held.set()
        await settle(pilot)
        assert [ran.status for ran in pilot.app.queries.log.newest_first if " keep " in ran.command] == [0, 0]


async def test_a_plan_that_comes_while_another_box_is_on_top_waits_for_it(desk: Desk) -> None:
    desk.serve("main")
    desk.protect()
    desk.says("expire main --dry-run", plan("expire", *DAYS[:2], command="pgvault expire main"))
    async with desk.open() as pilot:
        commands = pilot.app.queries.commands
        await press(pilot, "2")
        commands.held = asyncio.Event()
        await pilot.press("e")
        await pilot.pause()
        pilot.app.push_screen(FailureBox("something else failed", PgvaultError("this has to be read")))
        await pilot.pause()
        commands.held.set()
        await settle(pilot)
        assert "this has to be read" in screen(pilot)
        await press(pilot, "escape")
        assert "delete 2 backups and 8 WAL files of main" in screen(pilot)
        await press(pilot, "escape")
        assert isinstance(pilot.app.screen, BackupsScreen), "nothing else is left open"
