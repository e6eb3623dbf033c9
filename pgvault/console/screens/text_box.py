"""A text to be copied: by OSC 52 where the terminal takes it, and by hand in any case, since many drop it."""

from __future__ import annotations

from collections.abc import Iterable

from textual.binding import Binding
from textual.widget import Widget
from textual.widgets import TextArea

from pgvault.console.screens.dialog import Dialog
from pgvault.model.text import visible

COPIED_AT_MOST = 64 * 1024
"""Bytes handed to the terminal: some take no more, and tmux buffers what it is given."""


class TextBox(Dialog[None]):
    """Shows the text, selectable; with `copy` it goes to the clipboard at once, else with `y`."""

    DEFAULT_CSS = """
    TextBox TextArea {
        height: auto; max-height: 16; border: none; padding: 0; background: $surface;
        &:focus { border: none; }
    }
    """
    BINDINGS = [Binding("y", "copy", show=False, id="text-copy")]
    keys = ("y", "copy"), ("esc", "back")

    def __init__(self, title: str, text: str, *, copy: bool = False) -> None:
        super().__init__()
        self.title_text, self._text, self._copy = title, text, copy

    def body(self) -> Iterable[Widget]:
        shown = "\n".join(self.console.glyphs.text(visible(line)) for line in self._text.splitlines())
        area = TextArea(shown, read_only=True, soft_wrap=True, show_cursor=False)
        area.cursor_blink = False
        yield area

    def on_mount(self) -> None:
        if self._copy:
            self.action_copy()

    def action_copy(self) -> None:
        text = self._text.encode("utf-8", "backslashreplace")  # names that are no UTF-8 come as surrogates
        if len(text) > COPIED_AT_MOST:
            self.console.tell(f"too long for the clipboard ({len(text):,} bytes): select it here", "warning")
            return
        self.console.copy_to_clipboard(text.decode())
        self.console.tell("handed to the terminal's clipboard")
