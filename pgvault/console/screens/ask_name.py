"""A dialog that asks for the name of a file to be written."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from textual.widget import Widget
from textual.widgets import Input

from pgvault.console.fields import Field
from pgvault.console.screens.dialog import Dialog
from pgvault.console.widgets.reading import ShortReading


class AskName(Dialog[Path]):
    """Dismissed with a path that does not exist yet; an existing file is never overwritten."""

    DEFAULT_CSS = """
    AskName Input { margin-top: 1; }
    """
    lines_around = 2
    keys = ("enter", "write"), ("esc", "back")

    def __init__(self, title: str, what: str, proposed: Path) -> None:
        super().__init__()
        self.title_text, self._what, self._proposed = title, what, proposed

    def body(self) -> Iterable[Widget]:
        yield ShortReading([Field("", self._what, "", 0)])
        typed = Input(str(self._proposed))
        typed.cursor_blink = False
        yield typed

    def on_mount(self) -> None:
        self.query_one(Input).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if not event.value.strip():
            return
        path = Path(event.value).expanduser()
        try:
            there = path.exists()
        except (OSError, ValueError) as error:  # too long, or a NUL in it
            self.console.tell(f"that is no name for a file: {error}", "warning")
            return
        if there:
            self.console.tell(f"{path} is there already; choose another name", "warning")
        else:
            self.dismiss(path)
