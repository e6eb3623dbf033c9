"""A text of names and values: wrapped to the width, and scrolled where it is longer than its widget."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.events import MouseScrollDown, MouseScrollUp, Resize
from textual.geometry import Size
from textual.message import Message
from textual.widget import Widget

from pgvault.console.fields import Field, laid_out
from pgvault.console.widgets.lineview import Line, LineView
from pgvault.console.widgets.pane import Pane


class Reading(LineView, can_focus=True):
    """Names and values; in a pane, its lower border reports how much more there is."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "scroll_by(-1)", show=False, id="reading-up"),
        Binding("down,j", "scroll_by(1)", show=False, id="reading-down"),
        Binding("pageup", "page(-1)", show=False, id="reading-page-up"),
        Binding("pagedown,space", "page(1)", show=False, id="reading-page-down"),
        Binding("home,g", "edge(False)", show=False, id="reading-first"),
        Binding("end,G", "edge(True)", show=False, id="reading-last"),
    ]

    def __init__(self, fields: Iterable[Field] = (), *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._fields = tuple(fields)
        self.top = 0

    @property
    def text(self) -> str:
        """Return the whole text, for copying and for tests."""
        return "\n".join("  ".join(filter(None, (field.name, field.text))) for field in self._fields)

    def show(self, fields: Iterable[Field]) -> None:
        """Show fields; the place in the text stays where it was."""
        self._fields = tuple(fields)
        self._lay_out()

    def line(self, y: int) -> Line:
        index = self.top + y
        return self._lines[index] if index < len(self._lines) else ()

    def _lay_out(self) -> None:
        if self.size.width:
            self._lines = laid_out(self._fields, self.size.width)
            self.go_to(self.top)

    def go_to(self, top: int) -> None:
        self.top = max(0, min(top, len(self._lines) - self.size.height))
        self.changed()
        below = len(self._lines) - self.size.height - self.top
        self.say(f"{below} more line{'s' * (below != 1)} below, pgdn" if below > 0 else "end" if self.top else "")

    def say(self, text: str) -> None:
        """Show in the pane's lower border how much more there is."""
        if isinstance(self.parent, Pane):
            self.parent.say(text)

    def action_scroll_by(self, lines: int) -> None:
        self.go_to(self.top + lines)

    def action_page(self, by: int) -> None:
        self.go_to(self.top + by * max(1, self.size.height - 1))

    def action_edge(self, last: bool) -> None:
        self.go_to(len(self._lines) if last else 0)

    def on_resize(self, event: Resize) -> None:
        self._lay_out()

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        self.action_scroll_by(3)

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        self.action_scroll_by(-3)


class ShortReading(Reading):
    """A text as high as its lines, in a dialog or next to another widget. Its owner limits the height; a dialog's lower
    border reports how much more there is.
    """

    DEFAULT_CSS = """
    ShortReading { height: auto; }
    """

    class Placed(Message):
        """Posted when a different part of the text may be visible."""

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(laid_out(self._fields, width))

    def say(self, text: str) -> None:
        self.can_focus = bool(text)  # the arrows are for it only where there is more of it
        if isinstance(box := self.parent, Widget) and box.has_class("dialog"):
            box.border_subtitle = Content(text)
            self.post_message(self.Placed())

    def show(self, fields: Iterable[Field]) -> None:
        super().show(fields)
        self.refresh(layout=len(self._lines) != self.size.height)
