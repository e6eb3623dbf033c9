"""The first view: what a tired person sees first."""

from __future__ import annotations

from desk import Desk, screen


async def test_the_first_screen_says_how_every_server_stands(desk: Desk) -> None:
    desk.protect()
    async with desk.open() as pilot:
        assert "main" in screen(pilot)
