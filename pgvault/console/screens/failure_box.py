"""An error over a view: what failed, why, what to do next, and the code that `pgvault explain` documents."""

from __future__ import annotations

from collections.abc import Iterable

from textual.widget import Widget

from pgvault.console.fields import Field, failed
from pgvault.console.screens.text_box import TextBox
from pgvault.console.widgets.reading import ShortReading
from pgvault.model.errors import PgvaultError
from pgvault.model.event import Failure


class FailureBox(TextBox):
    """An error's fields, drawn as everywhere; `y` copies them."""

    def __init__(self, title: str, failure: Failure | PgvaultError) -> None:
        self._fields: tuple[Field, ...] = tuple(failed(failure))
        super().__init__(title, "\n".join(f"{field.name}: {field.text}" for field in self._fields))

    def body(self) -> Iterable[Widget]:
        yield ShortReading(self._fields)
