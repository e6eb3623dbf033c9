"""Dialogs: a box over a view. Esc always leaves one without doing anything."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, TypeVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.events import Resize
from textual.screen import ModalScreen
from textual.widget import Widget

from pgvault.console.base import BaseConsole
from pgvault.console.widgets.bars import Key, KeyBar
from pgvault.console.widgets.reading import ShortReading
from pgvault.model.text import visible

T = TypeVar("T")
_WIDEST = 76
_BORDER = 2
_AROUND = 5
"""The lines around the box: head and breadcrumb, which stay visible, the box's border, and the keys."""


class Dialog(ModalScreen[T]):
    """A dialog with the widgets of `body`; dismissed with None by Esc, and by q where that is not typed as text."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "leave", show=False, id="dialog-leave"),
        Binding("ctrl+q", "quit_console", show=False, id="dialog-quit"),
        Binding("pageup", "page(-1)", show=False, id="dialog-page-up"),
        Binding("pagedown", "page(1)", show=False, id="dialog-page-down"),
    ]
    title_text: str = ""
    lines_around = 0
    """The lines that the dialog needs besides its text, which are always visible."""
    keys: tuple[tuple[str, str], ...] = (("esc", "back"),)
    """The keys that work in it and their effects; they replace the keys of the view, which do nothing meanwhile."""

    @property
    def columns(self) -> int:
        """Return the columns of a line in its box; see `.dialog` in console.tcss."""
        return min(_WIDEST, self.app.size.width * 96 // 100) - 4

    @property
    def console(self) -> BaseConsole:
        return cast("BaseConsole", self.app)

    def compose(self) -> ComposeResult:
        box = Vertical(*self.body(), classes="dialog")
        glyphs = self.console.glyphs
        box.set_class(glyphs.ascii_only, "-ascii")
        box.border_title = Content(glyphs.text(visible(self.title_text)))
        yield box
        yield KeyBar(id="keys")

    def on_mount(self) -> None:
        self.console.clear_notifications()
        self.show_keys(*self.keys)
        self.fit()

    def on_resize(self, event: Resize) -> None:
        self.fit()

    def fit(self) -> None:
        """Give the text the lines that the terminal leaves, from the first frame on; if those are too few, it scrolls.
        """
        room = self.app.size.height - _AROUND
        self.query_one(".dialog").styles.max_height = room + _BORDER
        for text in self.query(ShortReading):
            text.styles.max_height = max(1, room - self.lines_around)

    def show_keys(self, *keys: tuple[str, str]) -> None:
        """Show the keys that work now if they have changed, and those that scroll a text without enough room."""
        self.keys = keys
        reads = [("pgup pgdn", "read")] if any(text.can_focus for text in self.query(ShortReading)) else []
        self.query_one(KeyBar).set_keys(Key(key, label, True) for key, label in (*keys[:-1], *reads, *keys[-1:]))

    def on_short_reading_placed(self) -> None:
        self.show_keys(*self.keys)

    def action_page(self, by: int) -> None:
        for text in self.query(ShortReading):
            text.action_page(by)

    def body(self) -> Iterable[Widget]:
        return ()

    def action_leave(self) -> None:
        self.dismiss(None)

    def action_quit_console(self) -> None:
        self.console.leave()
