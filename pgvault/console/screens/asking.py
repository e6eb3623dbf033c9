"""Dialogs that ask for one line of text, and are dismissed with what it means once it is valid."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from textual.widget import Widget
from textual.widgets import Input

from pgvault.console.fields import Field
from pgvault.console.screens.dialog import Dialog
from pgvault.console.widgets.reading import ShortReading
from pgvault.model.relation import parse_objects

T = TypeVar("T")

_OBJECTS = ("Which tables or schemas? DATABASE.SCHEMA.TABLE or DATABASE.SCHEMA, several with blanks between; in double "
            "quotes what has upper case, dots or blanks, as in shop.public.\"Order-Items\".")


class Asking(Dialog[T]):
    DEFAULT_CSS = """
    Asking Input { margin-top: 1; }
    """
    lines_around = 2

    def __init__(self, title: str, question: str, proposed: str = "") -> None:
        super().__init__()
        self.title_text, self._question, self._proposed = title, question, proposed

    @abstractmethod
    def parse(self, text: str) -> T | None:
        """Return what the text means; None while nothing is typed. ValueError says what is wrong with it."""

    def body(self) -> Iterable[Widget]:
        yield ShortReading([Field("", self._question, "", 0)])
        typed = Input(self._proposed)
        typed.cursor_blink = False
        yield typed

    def on_mount(self) -> None:
        self.query_one(Input).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        try:
            meant = self.parse(event.value)
        except ValueError as error:
            self.console.tell(str(error), "warning")
            return
        if meant is not None:
            self.dismiss(meant)


class AskName(Asking[Path]):
    """Asks for the name of a file to be written. An existing file is never overwritten."""

    keys = ("enter", "write"), ("esc", "back")

    def parse(self, text: str) -> Path | None:
        if not text.strip():
            return None
        path = Path(text).expanduser()
        try:
            is_there = path.exists()
        except (OSError, ValueError) as error:  # too long, or a NUL in it
            raise ValueError(f"that is no name for a file: {error}") from None
        if is_there:
            raise ValueError(f"{path} is there already; choose another name")
        return path


class AskObjects(Asking[tuple[str, ...]]):
    """Asks for tables and schemas, all of one database."""

    keys = ("enter", "see the plan"), ("esc", "back")

    def __init__(self, title: str) -> None:
        super().__init__(title, _OBJECTS)

    def parse(self, text: str) -> tuple[str, ...] | None:
        names = parse_objects(text)
        if len({each.database for each in names}) > 1:
            raise ValueError("those of one database come back together: one at a time")
        return tuple(map(str, names)) or None
