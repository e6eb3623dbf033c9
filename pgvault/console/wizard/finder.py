"""Accidents in the WAL, as they are found: the newest first, so that the one that was just noticed stands on top."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from textual.message import Message

from pgvault.console.beside import begin
from pgvault.console.commands import Document
from pgvault.console.widgets.pane import ListPane
from pgvault.console.widgets.rows import Column, ItemRows
from pgvault.console.wizard.accident import Accident, accident_of
from pgvault.model.event import Failure
from pgvault.model.text import Part

if TYPE_CHECKING:
    from pgvault.console.app import ConsoleApp

OTHER = "other"
_COLUMNS = [Column("when", 20), Column("what happened", 40, flexible=True)]
_AROUND = 4
"""Lines beside the accidents: the last row, the head, and the border."""
_LEAST = 4
_Row = Accident | None
"""None is the last row: another point."""


class Finder(ListPane):
    """Runs `pgvault events` and lists what it tells. The last row leads to points that are typed."""

    @dataclass
    class Failed(Message):
        failure: Failure

    @dataclass
    class Found(Message):
        """Something more, or all."""

    def __init__(self) -> None:
        super().__init__("what the WAL says happened, newest first", _COLUMNS, id="finder")
        self._question: tuple[str, ...] = ()
        self._found: dict[str, Accident] = {}
        self._complete = False
        self.failure: Failure | None = None
        self._most = 0

    @property
    def accidents(self) -> tuple[Accident, ...]:
        return tuple(self._found.values())

    def fit(self, most: int) -> None:
        """As high as its rows are, with head and border, in at most so many lines."""
        self._most = most
        self._take_room()

    def _take_room(self) -> None:
        self.styles.height = max(_LEAST, min(len(self._found) + _AROUND, self._most))

    @property
    def chosen(self) -> Accident | None:
        """Under the cursor; None on the last row, where another point is asked for."""
        return self._found.get(self.listing.key)

    @property
    def status(self) -> str:
        """How far the search is, in words."""
        if self.failure:
            return "the WAL could not be searched"
        if not self._complete:
            return f"searching the WAL, {len(self._found):,} found so far"
        return f"all archived WAL was searched, {len(self._found):,} found"

    def search(self, server: str, kinds: tuple[str, ...]) -> None:
        """Look for these kinds of events; what was found before stays when the question is the same."""
        question = (server, *kinds)
        if question == self._question and self._complete:
            return
        if question != self._question:
            self._question, self._found = question, {}
        self._complete, self.failure = False, None
        self._draw()
        begin(self, "events", self._search, server, kinds)

    def stop(self) -> None:
        """Search no further; what was found stays."""
        self.workers.cancel_group(self, "events")

    async def _search(self, server: str, kinds: tuple[str, ...]) -> None:
        chosen = [word for kind in kinds for word in ("--kind", kind)]
        answer = await cast("ConsoleApp", self.app).world.commands.ask(
            "events", server, "--newest-first", "--all-timelines", "--partial", *chosen, each=self._take)
        self.failure, self._complete = answer.failure, answer.failure is None
        self._draw()
        if answer.failure:
            self.post_message(self.Failed(answer.failure))

    def _take(self, document: Document) -> None:
        try:
            accident = accident_of(document)
        except (ValueError, KeyError, TypeError):  # of a newer version: nothing that could be offered
            return
        self._found[accident.key] = accident
        self._draw()

    def _draw(self) -> None:
        waiting = self.listing.key in ("", OTHER) and self.listing.index == 0
        newest_first = sorted(self._found.values(), key=lambda accident: accident.time, reverse=True)
        rows: list[_Row] = [*newest_first, None]
        self._take_room()
        self.post_message(self.Found())
        self.show(ItemRows(rows, self._cells, lambda row: row.key if row else OTHER))
        if waiting:
            self.listing.go_to(0)

    def _cells(self, row: _Row) -> list[Part]:
        return [row.clock, row.what] if row else ["another point", "a time, a restore point, a WAL position ..."]

    def _count(self) -> None:
        super()._count()
        if not self.pattern:
            self.say(self.status)
