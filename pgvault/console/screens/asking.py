"""A dialog over a view while a verb runs: it names what is awaited, and can be left."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from textual.widget import Widget

from pgvault.console.background import run_in_background
from pgvault.console.commands import Answer
from pgvault.console.fields import Field
from pgvault.console.screens.dialog import Dialog
from pgvault.console.widgets.reading import ShortReading


class Asking(Dialog[Answer]):
    """Dismissed with the verb's answer; leaving it earlier ends the verb."""

    keys = (("esc", "do not wait"),)

    def __init__(self, title: str, says: str, words: Sequence[str]) -> None:
        super().__init__()
        self.title_text, self._says, self._words = title, says, words

    def body(self) -> Iterable[Widget]:
        yield ShortReading([Field("", self._says, "", 0)])

    def on_mount(self) -> None:
        run_in_background(self, "ask", self._ask)

    async def _ask(self) -> None:
        self.dismiss(await self.console.queries.commands.ask(*self._words))
