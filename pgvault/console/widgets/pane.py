"""A bordered part of a screen with a title and a widget; for a list, also the filter and the cursor's place.

The border of the focused pane is heavier; in ASCII, which has one border only, its title is marked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.events import DescendantBlur, DescendantFocus
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input

from pgvault.console.widgets.bars import Key
from pgvault.console.widgets.listing import Listing
from pgvault.console.widgets.rows import Column, ItemRows, Rows
from pgvault.model.text import visible

if TYPE_CHECKING:
    from pgvault.console.base import BaseConsole


class Pane(Vertical):
    """A border around one widget."""

    DEFAULT_CSS = """
    Pane {
        border: solid $border-blurred;
        border-title-color: $text-muted;
        border-subtitle-color: $text-muted;
        padding: 0;
        height: 1fr;
        &:focus-within {
            border: heavy $border;
            border-title-color: $text-primary;
            border-title-style: bold;
            border-subtitle-color: $text-primary;
        }
        &.-ascii { border: ascii $border-blurred; }
        &.-ascii:focus-within { border: ascii $border; border-title-style: bold reverse; }
    }
    """

    def __init__(self, title: str, *content: Widget, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(*content, id=id, classes=classes)
        self._title = title
        self._focused = False

    def on_mount(self) -> None:
        self.set_class(cast("BaseConsole", self.app).glyphs.ascii_only, "-ascii")
        self.retitle(self._title)

    def retitle(self, title: str) -> None:
        self._title = title
        text = self._outside(title)
        marked = f"> {text} <" if self._focused and self.has_class("-ascii") else text
        if str(self.border_title or "") != marked:
            self.border_title = Content(marked)

    def say(self, text: str) -> None:
        """Show a few words in the lower border."""
        text = self._outside(text)
        if str(self.border_subtitle or "") != text:
            self.border_subtitle = Content(text)

    def _outside(self, text: str) -> str:
        return cast("BaseConsole", self.app).glyphs.text(visible(text))

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        self._focused = True
        self.retitle(self._title)

    def on_descendant_blur(self, event: DescendantBlur) -> None:
        self._focused = self.has_focus_within
        self.retitle(self._title)


def placeholder(text: str) -> str:
    """Return the text of an input without a value: in parentheses, since not every terminal dims it."""
    return f"({text})" if text else ""


class FilterInput(Input):
    """The line in which a filter is typed."""

    keys: ClassVar[tuple[Key, ...]] = (Key("enter", "to the list", True), Key("esc", "show all", True))
    """The keys that work in it, for the footer."""
    DEFAULT_CSS = """
    FilterInput {
        height: 1; border: none; padding: 0 1; display: none; background: $surface;
        &.-open { display: block; }
        &:focus { border: none; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "clear_filter", show=False, id="filter-clear"),
        Binding("down", "leave_filter", show=False, id="filter-leave"),
    ]

    def __init__(self) -> None:
        super().__init__(placeholder=placeholder("filter; ! inverts"), select_on_focus=False, compact=True)
        self.cursor_blink = False

    @property
    def pane(self) -> ListPane:
        return cast("ListPane", self.parent)

    def action_clear_filter(self) -> None:
        self.pane.clear_filter()

    def action_leave_filter(self) -> None:
        self.pane.listing.focus()


class ListPane(Pane):
    """A list in a border: `/` filters it as one types, Esc clears the filter.

    `show` gives it rows. Those in memory (`ItemRows`) are filtered here; for others `Filtered` is posted, and their
    owner answers with `show_found`.
    """

    @dataclass
    class Filtered(Message):
        pane: ListPane
        pattern: str

        @property
        def control(self) -> ListPane:
            return self.pane

    def __init__(self, title: str, columns: Sequence[Column], *, empty: str = "", id: str | None = None,
                 headed: bool = True) -> None:
        self.listing = Listing(columns, empty=empty, headed=headed)
        self._input = FilterInput()
        super().__init__(title, id=id)
        self._all: Rows = ItemRows((), lambda _: (), str)
        self.pattern = ""

    def compose(self) -> ComposeResult:
        yield self.listing
        yield self._input

    def on_mount(self) -> None:
        super().on_mount()
        self._count()

    def show(self, rows: Rows) -> None:
        """Show rows, as far as they match the filter."""
        self._all = rows
        if not self.pattern:
            self.listing.show(rows)
        elif isinstance(rows, ItemRows):
            self.listing.show(rows.narrowed(self.pattern))
        else:
            self._ask()
        self._count()

    def show_found(self, rows: Rows, *, complete: bool = True) -> None:
        """Show the matches of rows that are not filtered here; `complete` means that there are no more."""
        self.listing.is_searching = not complete
        self.listing.show(rows)
        self._count()

    def _ask(self) -> None:
        """Ask the rows' owner for matches; until it calls `show_found` none is known."""
        self.listing.is_searching = True
        self.post_message(self.Filtered(self, self.pattern))

    def open_filter(self) -> None:
        self._input.add_class("-open")
        self._input.focus()

    def clear_filter(self) -> bool:
        """Show everything again; return False if there was no filter."""
        if not self.pattern and not self._input.has_class("-open"):
            return False
        self._input.value = ""
        self._input.remove_class("-open")
        self._apply("")
        self.listing.focus()
        return True

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self._apply(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if not self.pattern:
            self.clear_filter()
        self.listing.focus()

    def on_listing_moved(self, event: Listing.Moved) -> None:
        self._count()

    def _apply(self, pattern: str) -> None:
        if pattern == self.pattern:
            return
        self.pattern = pattern
        self.listing.keep_place()
        self.listing.is_filtered, self.listing.is_searching = bool(pattern), False
        if isinstance(self._all, ItemRows):
            self.listing.show(self._all.narrowed(pattern) if pattern else self._all)
        elif pattern:
            self._ask()
        else:
            self.listing.show(self._all)
        self._count()

    def _count(self) -> None:
        rows, every, index = self.listing.rows, self._all, self.listing.index
        shown, place, total = len(rows), index + 1, len(every)
        if isinstance(rows, ItemRows):
            shown, place = rows.count(rows.items), rows.count(rows.items[:index + 1])
        if isinstance(every, ItemRows):
            total = every.count(every.every if self.pattern else every.items)
        if self.pattern:
            so_far = " so far" if self.listing.is_searching else ""
            self.say(f"/{self.pattern}  {shown:,}{so_far} of {total:,}")
        else:
            self.say(f"{place:,}/{total:,}" if total else "")
