"""Saves the screen for the incident record, as a picture and as text."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from pgvault.model.text import width

if TYPE_CHECKING:
    from textual.app import App

_TEXT = "{http://www.w3.org/2000/svg}text"
_COLUMN = 12.2
"""Width of a column in the picture, as Rich draws it."""
_FONT_SIZE = 20
_WEB_FONT = re.compile(r"@font-face\s*{[^}]*}\s*")


def save_screen(app: App[None], directory: Path, at: datetime) -> tuple[Path, Path]:
    """Write `pgvault-<time>.svg` and `.txt` into the directory; OSError when that cannot be done."""
    stem = f"pgvault-{at:%Y%m%dT%H%M%SZ}"
    picture, text = directory / f"{stem}.svg", directory / f"{stem}.txt"
    drawn = screen_picture(app)
    picture.write_text(drawn, "utf-8")
    text.write_text(text_of(drawn, app.size.height), "utf-8")
    return picture, text


def screen_picture(app: App[None]) -> str:
    """Return the screen as SVG."""
    return self_contained(app.export_screenshot(title="pgvault"))


def self_contained(picture: str) -> str:
    """Return a picture drawn by Rich without the fonts that a viewer would fetch from the network. Letters are as high
    as a line, so that frames are closed in the viewer's own font, too; columns stay where they are.
    """
    picture = _WEB_FONT.sub("", picture)
    return picture.replace(f"font-size: {_FONT_SIZE}px", f"font-size: {_FONT_SIZE + 1}px", 1)


def screen_text(app: App[None]) -> str:
    """Return the text of the screen, line by line."""
    return text_of(screen_picture(app), app.size.height)


def text_of(picture: str, height: int) -> str:
    """Return the text of a picture of the screen, so that both show the same moment."""
    lines = [""] * height
    for element in ElementTree.fromstring(picture).iter(_TEXT):
        place = re.search(r"-line-(\d+)\)", element.get("clip-path", ""))
        if place and int(place[1]) < height:
            line, column = lines[int(place[1])], round(float(element.get("x", "0")) / _COLUMN)
            lines[int(place[1])] = line + " " * (column - width(line)) + (element.text or "").replace("\xa0", " ")
    return "\n".join(line.rstrip() for line in lines) + "\n"
