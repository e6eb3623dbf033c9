"""A dialog that asks before an act: it names the effect, and an act that destroys needs its name typed out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from textual.events import Key
from textual.widget import Widget
from textual.widgets import Input

from pgvault.console.fields import Field, laid_out
from pgvault.console.screens.dialog import Dialog
from pgvault.console.widgets.lineview import LineView
from pgvault.console.widgets.listing import Listing
from pgvault.console.widgets.reading import ShortReading
from pgvault.console.widgets.rows import Column, ItemRows
from pgvault.model.text import visible, width


class Typed(NamedTuple):
    """What has to be typed to confirm an act that destroys."""

    text: str
    kind: str = "directory"
    hint: str = "the whole directory, from its first / on"


class Confirm(Dialog[bool]):
    """Dismissed with True only if the act was chosen or, with `typed`, if exactly that was typed.

    The cursor begins on the choice that does nothing. Any typed letter begins the name, since nothing else can be
    meant; Enter on an empty line, or on another name, does nothing.
    """

    DEFAULT_CSS = """
    Confirm Listing, Confirm #sentence { margin-top: 1; }
    """

    def __init__(self, title: str, fields: Iterable[Field], *, act: str, back: str = "back, and change nothing",
                 typed: Typed | None = None) -> None:
        """Make the dialog; `act` names the real effect: "overwrite /srv/pg on db2"."""
        super().__init__()
        self.title_text, self._fields = title, tuple(fields)
        self._act, self._back, self._typed = act, back, typed
        self.keys = ("enter", "choose"), ("esc", "back")

    def body(self) -> Iterable[Widget]:
        """Yield the widgets. The deciding sentence is shown whole, since no part of a name may be missed."""
        yield ShortReading(self._fields)
        yield LineView(id="sentence")
        if self._typed:
            typed = Input(select_on_focus=False, id="typed")
            typed.cursor_blink = False
            yield typed
        choices = Listing([Column("", 20, flexible=True)], headed=False, id="choices", pages=False)
        choices.styles.height = len(self._choices)
        yield choices

    @property
    def _choices(self) -> list[str]:
        return [self._back] if self._typed else [self._back, self._act]

    @property
    def _sentence(self) -> str:
        """Return the text for which a choice has no room, or the text to be typed."""
        if self._typed:
            return f"To {self._act}, type {self._typed.hint}:"
        is_cut = width(visible(self._act)) > self.columns - 2
        return f"The second choice does: {self._act}." if is_cut else ""

    def fit(self) -> None:
        lines = laid_out([Field("", self._sentence, "bold", 0)], self.columns) if self._sentence else []
        sentence = self.query_one("#sentence", LineView)
        sentence.display = bool(lines)
        sentence.styles.height = len(lines)
        sentence.set_lines(lines)
        self.lines_around = len(lines) + bool(lines) + bool(self._typed) + len(self._choices) + 1
        super().fit()

    def on_mount(self) -> None:
        self.query_one(Listing).show(ItemRows(self._choices, lambda text: [text], str))
        self.query_one(Listing).focus()

    def on_descendant_focus(self) -> None:
        self._show_typed_keys()

    def on_input_changed(self) -> None:
        self._show_typed_keys()

    def _show_typed_keys(self) -> None:
        """Show the key that carries out the act only once the whole text is typed."""
        if self._typed:
            does = isinstance(self.focused, Input) and self.query_one(Input).value == self._typed.text
            self.show_keys(("enter", self._act) if does else ("type", f"the {self._typed.kind}"), ("esc", "back"))

    def on_key(self, event: Key) -> None:
        if self._typed and not isinstance(self.focused, Input) and event.is_printable and event.character:
            event.stop()
            event.prevent_default()
            self.query_one(Input).focus()
            self.query_one(Input).insert_text_at_cursor(event.character)

    def on_listing_opened(self, event: Listing.Opened) -> None:
        self.dismiss(event.key == self._act)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if self._typed and event.value == self._typed.text:
            self.dismiss(True)
        elif self._typed and event.value:
            self.console.tell(f"that is not {self._typed.text}; nothing was done", "warning")
