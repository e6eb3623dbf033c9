"""The screen as it is, for the incident record: a picture and its text."""

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


def save_screen(app: App[None], directory: Path, at: datetime) -> tuple[Path, Path]:
    """Write `pgvault-<time>.svg` and `.txt` into the directory; OSError when that cannot be done."""
    stem = f"pgvault-{at:%Y%m%dT%H%M%SZ}"
    picture, text = directory / f"{stem}.svg", directory / f"{stem}.txt"
    drawn = app.export_screenshot(title="pgvault")
    picture.write_text(drawn, "utf-8")
    text.write_text(text_of(drawn, app.size.height), "utf-8")
    return picture, text


def screen_text(app: App[None]) -> str:
    """What stands on the screen, line by line."""
    return text_of(app.export_screenshot(title="pgvault"), app.size.height)


def text_of(picture: str, height: int) -> str:
    """The text in a picture of the screen: both show the same moment."""
    lines = [""] * height
    for element in ElementTree.fromstring(picture).iter(_TEXT):
        place = re.search(r"-line-(\d+)\)", element.get("clip-path", ""))
        if place and int(place[1]) < height:
            line, column = lines[int(place[1])], round(float(element.get("x", "0")) / _COLUMN)
            lines[int(place[1])] = line + " " * (column - width(line)) + (element.text or "").replace("\xa0", " ")
    return "\n".join(line.rstrip() for line in lines) + "\n"
