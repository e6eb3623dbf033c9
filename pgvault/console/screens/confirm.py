"""Asking before something is done: its effect in words, and for what destroys, the name typed out."""

from __future__ import annotations

from collections.abc import Iterable

from textual.events import Key
from textual.widget import Widget
from textual.widgets import Input

from pgvault.console.screens.dialog import Dialog
from pgvault.console.widgets.lineview import Line, LineView
from pgvault.console.widgets.listing import Listing
from pgvault.console.widgets.pane import placeholder
from pgvault.console.widgets.rows import Column, ItemRows
from pgvault.model.text import visible

CONFIRM_COLUMNS = 70
"""Of a line in the dialog, on a screen of 80."""


class Confirm(Dialog[bool]):
    """Dismissed with True only when the act was chosen, or with `typed`, when exactly that was typed.

    The cursor begins on the choice that does nothing. Whatever is typed there begins the name, since nothing else can
    be meant; Enter on an empty line, or on another name, does nothing.
    """

    DEFAULT_CSS = """
    Confirm .lines { height: auto; max-height: 16; }
    Confirm Listing { margin-top: 1; }
    Confirm Input { margin-top: 1; }
    """
    def __init__(self, title: str, lines: Iterable[Line], *, act: str, back: str = "back, and change nothing",
                 typed: str = "") -> None:
        """`act` names the real effect: "overwrite /srv/pg on db2"."""
        super().__init__()
        self.title_text, self._lines = title, list(lines)
        self._act, self._back, self._typed = act, back, typed
        self.keys = ("enter", "choose"), ("esc", "back")

    def body(self) -> Iterable[Widget]:
        view = LineView(self._lines, classes="lines")
        view.styles.height = len(self._lines)
        yield view
        if self._typed:
            asked = self.console.glyphs.text(visible(f"type {self._typed} to {self._act}"))
            typed = Input(placeholder=placeholder(asked), select_on_focus=False, id="typed")
            typed.cursor_blink = False
            yield typed
        choices = Listing([Column("", 20, flexible=True)], headed=False, id="choices")
        choices.styles.height = 1 if self._typed else 2
        yield choices

    def on_mount(self) -> None:
        choices = [self._back] if self._typed else [self._back, self._act]
        self.query_one(Listing).show(ItemRows(choices, lambda text: [text], str))
        self.query_one(Listing).focus()

    def on_descendant_focus(self) -> None:
        if self._typed:
            is_typing = isinstance(self.focused, Input)
            self.show_keys(("enter", self._act) if is_typing else ("tab", "type the name"), ("esc", "back"))

    def on_key(self, event: Key) -> None:
        if self._typed and not isinstance(self.focused, Input) and event.is_printable and event.character:
            event.stop()
            event.prevent_default()
            self.query_one(Input).focus()
            self.query_one(Input).insert_text_at_cursor(event.character)

    def on_listing_opened(self, event: Listing.Opened) -> None:
        self.dismiss(event.key == self._act)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.value == self._typed:
            self.dismiss(True)
        elif event.value:
            self.console.tell(f"that is not {self._typed}; nothing was done", "warning")
