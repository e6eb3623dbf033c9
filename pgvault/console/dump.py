"""The screen as it is, for the incident record: a picture and its text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from textual.app import App


def save_screen(app: App[None], directory: Path) -> tuple[Path, Path]:
    """Write `pgvault-<time>.svg` and `.txt` into the directory; OSError when that cannot be done."""
    from datetime import UTC, datetime

    stem = f"pgvault-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    picture, text = directory / f"{stem}.svg", directory / f"{stem}.txt"
    picture.write_text(app.export_screenshot(title="pgvault"), "utf-8")
    text.write_text(screen_text(app), "utf-8")
    return picture, text


def screen_text(app: App[None]) -> str:
    """What stands on the screen, line by line."""
    width, height = app.size
    lines = app.screen._compositor.render_strips()
    return "\n".join(strip.text.rstrip() for strip in lines[:height]) + "\n" if width else ""
