"""Accidents in the WAL, as they are found: the newest first, so that the one that was just noticed is at the top."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from textual.message import Message

from pgvault.console.background import run_in_background
from pgvault.console.recovery.accident import Accident, Row, rows
from pgvault.console.recovery.search import Search, Stand
from pgvault.console.widgets.listing import Listing
from pgvault.console.widgets.pane import ListPane
from pgvault.console.widgets.rows import Column, ItemRows
from pgvault.model.event import Failure
from pgvault.model.text import Part

if TYPE_CHECKING:
    from pgvault.console.base import BaseConsole

OTHER = "other"
FEWER = "fewer"
SURE = ("drop", "truncate", "rewrite", "drop-database")
"""The kinds that nobody causes by chance a thousand times a day, so that the first step may search for them unasked."""
_COLUMNS = [Column("when", 20), Column("what happened", 20, flexible=True)]
_AROUND = 3
"""The lines that are not rows: the head, and the border."""
_LEAST = 4
_STEP = 10
"""The divisor for the number of rows that make an accident, when a person asks for smaller ones."""
_Row = Row | str
"""The key of one of the last rows: fewer rows, another point."""


class AccidentFinder(ListPane):
    """Runs `pgvault events` and lists what it finds. With `asks` the last row leads to typed points."""

    @dataclass
    class Failed(Message):
        failure: Failure

    @dataclass
    class Found(Message):
        """Posted when something more, or all, was found."""

    def __init__(self, title: str = "what the WAL says happened, newest first", *, asks: bool = True,
                 id: str = "finder") -> None:
        super().__init__(title, _COLUMNS, id=id)
        self.found = Search()
        self._asks = asks
        self._opened: set[str] = set()
        self._most = 0

    @property
    def accidents(self) -> tuple[Accident, ...]:
        return tuple(self.found.newest_first)

    @property
    def failure(self) -> Failure | None:
        return self.found.failure

    def fit(self, most: int) -> None:
        """Make the list as high as its rows, with head and border, in at most that many lines."""
        self._most = most
        self._take_room()

    def _take_room(self) -> None:
        if self._most:
            self.styles.height = max(_LEAST, min(len(self._rows()) + _AROUND, self._most))

    @property
    def chosen(self) -> Accident | None:
        """Return the accident under the cursor; None on the last rows."""
        return self.found.accident(self.listing.key)

    @property
    def may_find(self) -> bool:
        """True while nothing was found yet, and the search goes on."""
        return not self.accidents and self.found.stand in (Stand.NEW, Stand.RUNS)

    @property
    def status(self) -> str:
        """Describe the progress of the search."""
        unfolds = "; right opens one into its parts" if any(each.parts for each in self.accidents) else ""
        return self.found.status + unfolds

    def search(self, server: str, kinds: tuple[str, ...], known: Search | None = None) -> None:
        """Search for these kinds of events, unless that was done; the findings stay if the question is the same, and
        those of the search `known` are taken over.
        """
        if (self.found.server, self.found.kinds) != (server, kinds):
            self.found = Search(server, kinds)
        if known:
            self.found.learn(known)
        self._go_on()

    def _go_on(self) -> None:
        """Continue the search, unless it is complete."""
        if self.found.stand is not Stand.COMPLETE:
            self.found.begin()
            run_in_background(self, "events", self._search, self.found, self.found.words)
        self._draw()

    def stop(self) -> None:
        """Stop the search; its findings stay."""
        self.workers.cancel_group(self, "events")
        self.found.stop()

    async def _search(self, search: Search, words: Sequence[str]) -> None:
        await search.run(cast("BaseConsole", self.app).queries.commands, words, self._draw)
        if search.failure:
            self.post_message(self.Failed(search.failure))

    def on_listing_sided(self, event: Listing.Sided) -> None:
        (self._opened.add if event.unfolds else self._opened.discard)(event.key)
        self._draw()

    def on_listing_opened(self, event: Listing.Opened) -> None:
        """Search for changes of fewer rows if that row was opened; the step handles the others."""
        if event.key == FEWER:
            event.stop()
            self.stop()
            self.found = self.found.with_fewer(self._fewer)
            self._go_on()

    def _draw(self) -> None:
        waiting = self.listing.key in ("", OTHER, FEWER) and self.listing.index == 0
        self._take_room()
        self.post_message(self.Found())
        self.show(ItemRows(self._rows(), self._cells, lambda row: row if isinstance(row, str) else row.accident.key))
        if waiting:
            self.listing.go_to(0)

    def _rows(self) -> list[_Row]:
        counts = "delete" in self.found.kinds and self.found.rows > 1
        return [*rows(self.accidents, self._opened), *[FEWER] * counts, *[OTHER] * self._asks]

    def _cells(self, row: _Row) -> list[Part]:
        if isinstance(row, Row):
            return ["" if row.is_part else row.accident.clock, row.text]
        if row == OTHER:
            return ["another point", "a time, a restore point, a WAL position ..."]
        least = self._fewer
        return [f"fewer than {self.found.rows} rows", f"are no accident; Enter lists {least} and more (--rows {least})"]

    @property
    def _fewer(self) -> int:
        """Return the number of rows that make an accident when smaller ones are asked for."""
        return max(1, self.found.rows // _STEP)

    def _count(self) -> None:
        super()._count()
        if not self.pattern:
            self.say(self.status)
