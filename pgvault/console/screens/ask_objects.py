"""A dialog that asks for tables and schemas."""

from __future__ import annotations

from collections.abc import Iterable

from textual.widget import Widget
from textual.widgets import Input

from pgvault.console.fields import Field
from pgvault.console.screens.dialog import Dialog
from pgvault.console.widgets.reading import ShortReading
from pgvault.model.relation import parse_objects

_ASKED = ("Which tables or schemas? DATABASE.SCHEMA.TABLE or DATABASE.SCHEMA, several with blanks between; in double "
          "quotes what has upper case, dots or blanks, as in shop.public.\"Order-Items\".")


class AskObjects(Dialog[tuple[str, ...]]):
    """Dismissed with valid names, all of one database."""

    DEFAULT_CSS = """
    AskObjects Input { margin-top: 1; }
    """
    lines_around = 2
    keys = ("enter", "see the plan"), ("esc", "back")

    def __init__(self, server: str) -> None:
        super().__init__()
        self.title_text = f"bring back into {server}"

    def body(self) -> Iterable[Widget]:
        yield ShortReading([Field("", _ASKED, "", 0)])
        typed = Input()
        typed.cursor_blink = False
        yield typed

    def on_mount(self) -> None:
        self.query_one(Input).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        try:
            names = parse_objects(event.value)
        except ValueError as error:
            self.console.tell(str(error), "warning")
            return
        if len({each.database for each in names}) > 1:
            self.console.tell("those of one database come back together: one at a time", "warning")
        elif names:
            self.dismiss(tuple(map(str, names)))
