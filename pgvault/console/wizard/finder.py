"""Accidents in the WAL, as they are found: the newest first, so that the one that was just noticed stands on top."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from textual.message import Message

from pgvault.console.beside import begin
from pgvault.console.widgets.pane import ListPane
from pgvault.console.widgets.rows import Column, ItemRows
from pgvault.console.wizard.accident import Accident
from pgvault.console.wizard.search import Search, Stand, search_words
from pgvault.model.event import Failure
from pgvault.model.text import Part

if TYPE_CHECKING:
    from pgvault.console.app import ConsoleApp

OTHER = "other"
SURE = ("drop", "truncate", "drop-database")
"""Kinds that nobody does by chance a thousand times a day, so that the first step may search for them unasked."""
_COLUMNS = [Column("when", 20), Column("what happened", 20, flexible=True)]
_AROUND = 4
"""Lines beside the accidents: the last row, the head, and the border."""
_LEAST = 4
_Row = Accident | None
"""None is the last row: another point."""


class Finder(ListPane):
    """Runs `pgvault events` and lists what it tells. With `asks` the last row leads to points that are typed."""

    @dataclass
    class Failed(Message):
        failure: Failure

    @dataclass
    class Found(Message):
        """Something more, or all."""

    def __init__(self, title: str = "what the WAL says happened, newest first", *, asks: bool = True,
                 id: str = "finder") -> None:
        super().__init__(title, _COLUMNS, id=id)
        self.found = Search()
        self._asks = asks
        self._most = 0

    @property
    def accidents(self) -> tuple[Accident, ...]:
        return tuple(self.found.newest_first)

    @property
    def failure(self) -> Failure | None:
        return self.found.failure

    def fit(self, most: int) -> None:
        """As high as its rows are, with head and border, in at most so many lines."""
        self._most = most
        self._take_room()

    def _take_room(self) -> None:
        if self._most:
            self.styles.height = max(_LEAST, min(len(self.accidents) + _AROUND, self._most))

    @property
    def chosen(self) -> Accident | None:
        """Under the cursor; None on the last row, where another point is asked for."""
        return self.found.accident(self.listing.key)

    @property
    def status(self) -> str:
        """How far the search is, in words."""
        return self.found.status

    def search(self, server: str, kinds: tuple[str, ...], known: Search | None = None) -> None:
        """Look for these kinds of events, unless that was done; what was found before stays when the question is the
        same, and `known` is a search of which this one may be a part."""
        if (self.found.server, self.found.kinds) != (server, kinds):
            self.found = (known or Search()).narrowed(server, kinds)
        if self.found.stand is not Stand.COMPLETE:
            self.found.begin()
            begin(self, "events", self._search, self.found, search_words(server, kinds))
        self._draw()

    def stop(self) -> None:
        """Search no further; what was found stays."""
        self.workers.cancel_group(self, "events")
        self.found.stop()

    async def _search(self, search: Search, words: Sequence[str]) -> None:
        await search.run(cast("ConsoleApp", self.app).world.commands, words, self._draw)
        if search.failure:
            self.post_message(self.Failed(search.failure))

    def _draw(self) -> None:
        waiting = self.listing.key in ("", OTHER) and self.listing.index == 0
        rows: list[_Row] = [*self.accidents, *[None] * self._asks]
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
