"""What is said beside something else: fields as high as they are, and moved in where there is less room."""

from __future__ import annotations

from collections.abc import Iterable

from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget

from pgvault.console.fields import Field, laid_out
from pgvault.console.widgets.reading import Reading


class Told(Reading):
    """Whoever owns it says how high it may be. In a dialog the lower border says how much more there is."""

    DEFAULT_CSS = """
    Told { height: auto; }
    """

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(laid_out(self._fields, width))

    def say(self, text: str) -> None:
        self.can_focus = bool(text)  # the arrows are for it only where there is more of it
        if isinstance(box := self.parent, Widget) and box.has_class("dialog"):
            box.border_subtitle = Content(text)

    def show(self, fields: Iterable[Field]) -> None:
        super().show(fields)
        self.refresh(layout=len(self._lines) != self.size.height)
