"""A dialog with a text to be copied: to the clipboard where there is one, and by hand in any case, since many drop it.

Its lines reach from one edge of the screen to the other and hold nothing but the text, so that selecting them in the
terminal takes no border and nothing of the view behind. A command on several lines can be pasted as it is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from textual.binding import Binding
from textual.content import Content
from textual.widget import Widget
from textual.widgets import TextArea

from pgvault.console.background import run_in_background
from pgvault.console.clipboard import copy
from pgvault.console.fields import Field, failed
from pgvault.console.screens.dialog import Dialog
from pgvault.console.widgets.reading import ShortReading
from pgvault.model.errors import PgvaultError
from pgvault.model.event import Failure
from pgvault.model.text import visible, width

_WORD = re.compile(r"""(?:[^\s'"\\]|'[^']*'|"(?:[^"\\]|\\.)*"|\\.)+""")
"""A word of a shell's line, with its quotes."""
_PROGRAMS = frozenset({"pgvault", "psql", "pg_dump", "pg_ctl", "pg_restore", "ssh", "sudo"})
"""The programs with which a line has to begin to count as a command."""


class TextBox(Dialog[None]):
    """Shows the text, selectable; with `copy` it goes to the clipboard at once, else with `y`."""

    DEFAULT_CSS = """
    TextBox TextArea {
        height: auto; max-height: 16; border: none; padding: 0; background: $surface; scrollbar-size: 0 0;
        &:focus { border: none; }
    }
    """
    BINDINGS = [Binding("y", "copy", show=False, id="text-copy")]
    keys = ("y", "copy"), ("esc", "back")

    def __init__(self, title: str, text: str, *, copy: bool = False) -> None:
        super().__init__()
        self.title_text, self._text, self._copy = title, text, copy

    def body(self) -> Iterable[Widget]:
        area = TextArea("", read_only=True, soft_wrap=True, show_cursor=False)
        area.cursor_blink = False
        yield area

    def on_mount(self) -> None:
        if self._copy:
            self.action_copy()

    def fit(self) -> None:
        """Lay out the text for this width; a box of another kind has no such area."""
        super().fit()
        for area in self.query(TextArea):
            lines = [self.console.glyphs.text(visible(line)) for line in self._text.splitlines()]
            text = "\n".join(piece for line in lines for piece in pasteable(line, self.app.size.width - 1))
            if text != area.text:
                area.text = text

    def action_copy(self) -> None:
        run_in_background(self, "copy", self._copy_text)

    async def _copy_text(self) -> None:
        message, arrived = await copy(self._text, self.console.copy_to_clipboard, os.environ)
        box = self.query_one(".dialog")
        box.set_class(not arrived, "-missed")
        box.border_subtitle = Content(self.console.glyphs.text(visible(message)))


def pasteable(line: str, columns: int) -> list[str]:
    """Return a shell's command in lines of at most that many columns, each but the last continued by a backslash;
    another line, and a longer word, is returned unchanged.
    """
    words = _WORD.findall(line)
    if width(line) <= columns or " ".join(words) != line or words[0].rpartition("/")[2] not in _PROGRAMS:
        return [line]
    lines, piece = [], words[0]
    for word in words[1:]:
        if width(piece) + width(word) + 3 > columns:
            lines.append(f"{piece} \\")
            piece = word
        else:
            piece = f"{piece} {word}"
    return [*lines, piece]


class FailureBox(TextBox):
    """An error over a view, its fields drawn as everywhere: what failed, why, what to do next, and the code that
    `pgvault explain` documents. `y` copies them."""

    def __init__(self, title: str, failure: Failure | PgvaultError) -> None:
        self._fields: tuple[Field, ...] = tuple(failed(failure))
        super().__init__(title, "\n".join(f"{field.name}: {field.text}" for field in self._fields))

    def body(self) -> Iterable[Widget]:
        yield ShortReading(self._fields)
