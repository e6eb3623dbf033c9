"""Asking before something is done: its effect in words, and for what destroys, the name typed out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import Input

from pgvault.console.screens.dialog import Dialog
from pgvault.console.widgets.lineview import Line, LineView
from pgvault.console.widgets.listing import Listing
from pgvault.console.widgets.rows import Column, ItemRows
from pgvault.model.text import visible

CONFIRM_COLUMNS = 70
"""Of a line in the dialog, on a screen of 80."""


class Confirm(Dialog[bool]):
    """Dismissed with True only when the act was chosen, or with `typed`, when exactly that was typed.

    The cursor begins on the choice that does nothing; Enter on an empty line does nothing.
    """

    DEFAULT_CSS = """
    Confirm .lines { height: auto; max-height: 16; }
    Confirm Listing { height: 2; margin-top: 1; }
    Confirm Input { margin-top: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("q", "leave", show=False, id="confirm-no")]

    def __init__(self, title: str, lines: Iterable[Line], *, act: str, back: str = "back, and change nothing",
                 typed: str = "") -> None:
        """`act` names the real effect: "overwrite /srv/pg on db2"."""
        super().__init__()
        self.title_text, self._lines = title, list(lines)
        self._act, self._back, self._typed = act, back, typed
        self.keys = ("enter", act if typed else "choose"), ("esc", "back")

    def body(self) -> Iterable[Widget]:
        view = LineView(self._lines, classes="lines")
        view.styles.height = len(self._lines)
        yield view
        if self._typed:
            asked = self.console.glyphs.text(visible(f"type {self._typed} to {self._act}"))
            typed = Input(placeholder=asked, id="typed")
            typed.cursor_blink = False
            yield typed
        else:
            yield Listing([Column("", 20, flexible=True)], headed=False, id="choices")

    def on_mount(self) -> None:
        if not self._typed:
            self.query_one(Listing).show(ItemRows([self._back, self._act], lambda text: [text], str))
            self.query_one(Listing).focus()
        else:
            self.query_one(Input).focus()

    def on_listing_opened(self, event: Listing.Opened) -> None:
        self.dismiss(event.key == self._act)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.value == self._typed:
            self.dismiss(True)
        elif event.value:
            self.console.tell(f"that is not {self._typed}; nothing was done", "warning")
