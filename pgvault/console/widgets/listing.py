"""A list with a cursor: columns, any number of rows, of which those on the screen are asked for.

Arrows and `hjkl`, `g` and `G`, page keys. The filter is the pane's (see `pane`), which hands the rows on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.actions import SkipAction
from textual.binding import Binding, BindingType
from textual.events import Click, MouseScrollDown, MouseScrollUp, Resize
from textual.message import Message

from pgvault.console.fields import wrapped
from pgvault.console.widgets.lineview import Line, LineView, padded
from pgvault.console.widgets.rows import Column, ItemRows, PlacedRows, Rows
from pgvault.model.text import Painted, Part, visible, width

_GAP = 2
_HIGH = 40
"""The height of a list, in lines, that is the better part of a large screen."""
_NO_MATCH, _NO_MATCH_YET = "The filter lets nothing through; esc clears it.", "Searching; nothing was found so far."


class Listing(LineView, can_focus=True):
    """A list; posts `Moved` when another row is under the cursor, `Opened` for Enter."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", show=False, id="list-up"),
        Binding("down,j", "move(1)", show=False, id="list-down"),
        Binding("pageup", "page(-1)", show=False, id="list-page-up"),
        Binding("pagedown,space", "page(1)", show=False, id="list-page-down"),
        Binding("home,g", "edge(False)", show=False, id="list-first"),
        Binding("end,G", "edge(True)", show=False, id="list-last"),
        Binding("enter", "open", show=False, id="list-open"),
        Binding("right,l", "side(True)", show=False, id="list-unfold"),
        Binding("left,h", "side(False)", show=False, id="list-fold"),
    ]

    @dataclass
    class Moved(Message):
        listing: Listing
        key: str
        """The key of the row under the cursor; empty if there is none."""

        @property
        def control(self) -> Listing:
            return self.listing

    @dataclass
    class Opened(Message):
        listing: Listing
        key: str

        @property
        def control(self) -> Listing:
            return self.listing

    @dataclass
    class Sided(Message):
        """Posted for right, which unfolds a row that has parts, and left, which folds it."""

        listing: Listing
        key: str
        unfolds: bool

        @property
        def control(self) -> Listing:
            return self.listing

    def __init__(self, columns: Sequence[Column], *, empty: str = "", id: str | None = None,
                 headed: bool = True, pages: bool = True) -> None:
        """Make a list. `empty` says what belongs here and the key that makes the first one (it may have several lines).
        Without `pages` the page keys scroll a neighbouring text.
        """
        super().__init__(id=id)
        self._pages = pages
        self.columns, self.empty, self._headed = tuple(columns), empty, headed
        self._rows: Rows = ItemRows((), lambda _: (), str)
        self.index = 0
        self.top = 0
        self.is_filtered = False
        """True while a filter is set: it may be the reason why there are no rows."""
        self.is_searching = False
        """True while the rows that match the filter are still being searched for."""
        self._wanted = ""
        """The key of a row to go to once it exists; empty for none."""
        self._widest: dict[Column, int] = {}
        """The columns that the texts seen so far need, in each flexible column; it never shrinks, so that nothing
        jumps.
        """

    # Contents

    @property
    def rows(self) -> Rows:
        return self._rows

    @property
    def key(self) -> str:
        """Return the key of the row under the cursor; empty if there is none."""
        return self._rows.key(self.index) if self.index < len(self._rows) else ""

    def show(self, rows: Rows) -> None:
        """Show other rows; the cursor stays on the row with its key, else where it was."""
        before = self.key
        self._rows = rows
        self.index = self._index_of(self._wanted, before)
        if self.key == self._wanted:
            self._wanted = ""
        self._settle()
        self.changed()
        if self.key != before:
            self.post_message(self.Moved(self, self.key))

    def go_to(self, index: int) -> None:
        """Put the cursor on a row, or the one nearest to it."""
        before, self._wanted = self.key, ""
        self.index = max(0, min(index, len(self._rows) - 1))
        self._settle()
        self.changed()
        if self.key != before:
            self.post_message(self.Moved(self, self.key))

    def go_to_key(self, key: str) -> None:
        """Put the cursor on the row with this key, or do so once rows are shown that have it."""
        for index in range(len(self._rows)):
            if self._rows.key(index) == key:
                self.go_to(index)
                return
        self._wanted = key

    def keep_place(self) -> None:
        """Go to the row under the cursor again whenever it reappears, until the cursor is moved."""
        self._wanted = self._wanted or self.key

    def _index_of(self, *keys: str) -> int:
        """Return the index of the first of the keys that exists; else the place where the cursor was."""
        if isinstance(self._rows, PlacedRows):
            for key in filter(None, keys):
                if (place := self._rows.place_of(key)) is not None:
                    return place
        return max(0, min(self.index, len(self._rows) - 1))

    # Drawing

    @property
    def _page(self) -> int:
        return max(1, self.size.height - self._headed)

    def _settle(self) -> None:
        """Scroll so that the cursor's row is visible, and no room is wasted below the last one."""
        self.top = min(self.top, self.index, max(0, len(self._rows) - self._page))
        self.top = max(self.top, self.index - self._page + 1, 0)
        self._measure()

    def _measure(self) -> None:
        """Measure how much room the flexible columns need for the rows on the screen."""
        for index in range(self.top, min(self.top + self._page, len(self._rows))):
            for column, cell in zip(self.columns, self._rows.cells(index), strict=False):
                if column.flexible:
                    columns = width(self.glyphs.text(visible(str(cell))))
                    self._widest[column] = max(self._widest.get(column, 0), columns)

    def line(self, y: int) -> Line:
        if not len(self._rows):
            return self._empty_line(y)
        if self._headed and y == 0:
            return self._joined([Painted(column.title, "dim") for column in self._columns_shown()], " ")
        index = self.top + y - self._headed
        if index >= len(self._rows):
            return ()
        cells = self._rows.cells(index)
        here = self.glyphs.cursor if index == self.index and self.has_focus_within else " "
        if len(cells) < len(self.columns):
            return self._joined(cells, here)
        shown = [cell for cell, column in zip(cells, self.columns, strict=True) if column in self._columns_shown()]
        return self._joined(shown, here)

    def background(self, y: int) -> str:
        index = self.top + y - self._headed
        if index != self.index or not len(self._rows) or (self._headed and y == 0):
            return ""
        return "cursor" if self.has_focus else "mark"

    def _empty_line(self, y: int) -> Line:
        text = self.empty if not self.is_filtered else _NO_MATCH_YET if self.is_searching else _NO_MATCH
        lines = [each for line in text.splitlines() for each in wrapped(line, self.size.width - 3) or [""]]
        first, indent = 1, 2
        if self.size.height >= _HIGH:  # centred on an otherwise empty screen
            first = (self.size.height - len(lines)) // 3
            indent = (self.size.width - max(map(width, lines), default=0)) // 2
        return (Painted(f"{'':{indent}}{lines[y - first]}", "dim"),) if 0 <= y - first < len(lines) else ()

    def _columns_shown(self) -> list[Column]:
        """Return all columns, or all but those for wide places."""
        need = sum(column.width + _GAP for column in self.columns)
        return [c for c in self.columns if not c.wide or need <= self.size.width]

    def _joined(self, cells: Sequence[Part], lead: str) -> Line:
        return [lead, *self._set(cells)]

    def _set(self, cells: Sequence[Part]) -> Iterator[Part]:
        columns = self._columns_shown()
        if (last := len(cells) - 1) < len(columns) - 1:  # it takes the columns of all missing parts
            room = sum(column.width + _GAP for column in columns[last:]) - _GAP
            columns = [*columns[:last], Column("", room, flexible=True)]
        for number, (column, room, cell) in enumerate(zip(columns, self._rooms(columns), cells, strict=True)):
            if number:
                yield " " * _GAP
            text = padded(self.glyphs.text(visible(str(cell))), room, self.glyphs.ellipsis, right=column.right)
            yield Painted(text, cell.style) if isinstance(cell, Painted) else text

    def _rooms(self, columns: Sequence[Column]) -> list[int]:
        """Return the width of each column: a flexible one is as wide as its texts, so that what follows stays close;
        the last one takes the rest.
        """
        spare = max(0, self.size.width - 1 - sum(c.width for c in columns) - _GAP * (len(columns) - 1))
        rooms = [column.width for column in columns]
        flexible = [place for place, column in enumerate(columns) if column.flexible]
        for count, place in enumerate(flexible):
            share = spare // (len(flexible) - count)
            if place < len(columns) - 1:
                widest = max(width(columns[place].title), self._widest.get(columns[place], 0))
                share = min(share, max(0, widest - columns[place].width))
            rooms[place] += share
            spare -= share
        return rooms

    # Movement

    def action_move(self, by: int) -> None:
        self.go_to(self.index + by)

    def action_page(self, by: int) -> None:
        if not self._pages:
            raise SkipAction
        self.go_to(self.index + by * (self._page - 1))

    def action_edge(self, last: bool) -> None:
        self.go_to(len(self._rows) - 1 if last else 0)

    def action_open(self) -> None:
        if self.key:
            self.post_message(self.Opened(self, self.key))

    def action_side(self, unfolds: bool) -> None:
        if self.key:
            self.post_message(self.Sided(self, self.key, unfolds))

    def on_focus(self) -> None:
        self.changed()

    def on_blur(self) -> None:
        self.changed()

    def on_resize(self, event: Resize) -> None:
        self._settle()
        self.changed()

    def on_click(self, event: Click) -> None:
        index = self.top + event.y - self._headed
        if 0 <= index < len(self._rows):
            again = index == self.index
            self.go_to(index)
            if again:
                self.action_open()

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        self.action_move(3)

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        self.action_move(-3)
