"""Points that a person names: the kind, the text, and whether recovery stops before or after it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from textual import getters
from textual.app import ComposeResult
from textual.events import Key
from textual.message import Message
from textual.widgets import Input

from pgvault.console.background import run_in_background
from pgvault.console.recovery.draft import Point
from pgvault.console.recovery.session import Session
from pgvault.console.recovery.typed import Kind, is_after, kind_of, read, text_of
from pgvault.console.widgets.listing import Listing
from pgvault.console.widgets.pane import Pane
from pgvault.console.widgets.rows import Column, ItemRows
from pgvault.console.wizard.entry import Choice, Form, Typed
from pgvault.console.wizard.restore_points import RestorePoints
from pgvault.model.errors import PgvaultError
from pgvault.model.times import whole_time

if TYPE_CHECKING:
    from pgvault.model.wal_picture import RestorePoint

_SIDES = {
    Kind.TIME: (("after", "after the last commit at or before it"),
                ("before", "before the first commit at or after it")),
    Kind.LSN: (("after", "after the record there"), ("before", "before the record there")),
    Kind.XID: (("after", "after it was committed"), ("before", "before it was committed")),
}
_UNFINISHED = (("no", "whole segments only"), ("yes", "the unfinished last segment, too"))


class Kinds(Pane):
    """The kinds as a list, with the entry for their text below. Posts `Aimed` as the person chooses and types."""

    DEFAULT_CSS = """
    Kinds { height: 11; }
    Kinds Listing { height: 6; }
    """

    @dataclass
    class Aimed(Message):
        """Posted for a point; `point` is None where the text names none, and `problem` says why."""

        point: Point | None
        problem: str
        take: bool
        """True if Enter was pressed: go on with the point if it can be reached."""

    listing = getters.query_one("#kind", Listing)
    text = getters.query_one("#text-line", Typed)
    side = getters.query_one("#side", Choice)
    unfinished = getters.query_one("#unfinished", Choice)

    def __init__(self, session: Session) -> None:
        super().__init__("stop at", id="kinds")
        self._session = session
        self._texts: dict[Kind, str] = {}
        """The typed text of each kind."""
        self._sides: dict[Kind, str] = {Kind.XID: "before"}
        self._picked: tuple[str, int] | None = None
        """The restore point that was chosen from the list, and its timeline."""
        self._is_partial = False

    def compose(self) -> ComposeResult:
        yield Listing([Column("", 40, flexible=True)], headed=False, id="kind", pages=False)
        with Form():
            yield Typed("", id="text")
            yield Choice("and stop", id="side")
            yield Choice("with", id="unfinished")

    def on_mount(self) -> None:
        self.listing.show(ItemRows(tuple(Kind), lambda kind: [kind.value], lambda kind: kind.name))
        self._fit()

    @property
    def kind(self) -> Kind:
        return Kind[self.listing.key] if self.listing.key else Kind.LATEST

    def show_point(self, point: Point | None, kind: Kind, *, partial: bool) -> None:
        """Show this point as if it had been typed, or without one begin with a kind; `partial` means that the latest
        point is that of the unfinished last segment.
        """
        self._is_partial = point.partial if point else partial
        if point:
            kind = kind_of(point.target)
            self._texts[kind] = text_of(point.target)
            self._sides[kind] = "after" if is_after(point.target) else "before"
        self.listing.go_to_key(kind.name)
        self._fit()

    def take_focus(self) -> None:
        (self.text.input if self.kind.has_text else self.listing).focus()

    def read(self, *, take: bool = False) -> Aimed:
        """Return the point of the entry."""
        try:
            point = read(self.kind, self._whole(), self._session.zone, after=self.side.key != "before")
        except ValueError as error:
            return self.Aimed(None, str(error), take)
        if self.kind is Kind.NAME and self._picked and self._picked[0] == self.text.value:
            point = replace(point, timeline=self._picked[1])
        if self.kind.has_unfinished:
            point = replace(point, partial=self._is_partial)
        return self.Aimed(point, "", take)

    def _whole(self) -> str:
        """Return the typed text, a time with its date and zone. Raises ValueError if it lacks one."""
        if self.kind is not Kind.TIME:
            return self.text.value
        return whole_time(self.text.value, self._session.zone, self._session.queries.now())

    @property
    def is_abbreviated(self) -> bool:
        """True if the text is abbreviated: Enter completes it first, so that its reading is seen before it counts."""
        try:
            return self._whole() != self.text.value
        except ValueError:
            return False

    def _take(self) -> None:
        if self.is_abbreviated:
            self.text.put(self._whole())
        else:
            self.post_message(self.read(take=True))

    def _fit(self) -> None:
        """Show the entries that this kind needs."""
        kind = self.kind
        self.text.display = kind.has_text
        self.side.display = kind.has_sides
        self.unfinished.display = kind.has_unfinished
        self.unfinished.offer(_UNFINISHED, "yes" if self._is_partial else "no")
        if kind.has_text:
            self.text.put(self._texts.get(kind, ""), label=kind.name.lower() if kind is not Kind.NAME else "name",
                          hint=kind.example)
        if kind.has_sides:
            self.side.offer(_SIDES[kind], self._sides.get(kind, "after"))

    def on_listing_moved(self, event: Listing.Moved) -> None:
        event.stop()
        self._fit()
        self.post_message(self.read())

    @property
    def asks_for_text(self) -> bool:
        """True if the kind needs a text before there is a point; Enter leads into its field."""
        return self.listing.has_focus and self.kind.has_text and self.read().point is None

    def on_listing_opened(self, event: Listing.Opened) -> None:
        """Handle Enter: a kind with a text is never left in the list, where typing would trigger shortcuts."""
        event.stop()
        if self.kind.has_text:
            self.text.input.focus()
        if self.kind is Kind.NAME and not self.text.value:
            run_in_background(self, "points", self._pick_point)
        elif self.text.value or not self.kind.has_text:
            self._take()

    def on_key(self, event: Key) -> None:
        """Let a digit begin the text of a kind with digits; there nobody means another view by it."""
        digit = event.character or ""
        if self.listing.has_focus and self.kind.has_digits and digit.isascii() and digit.isdigit():
            event.stop()
            event.prevent_default()
            self.text.input.focus()
            self.text.input.insert_text_at_cursor(digit)

    async def _pick_point(self) -> None:
        """Offer the known restore points; any other name can be typed."""
        found = await self._session.picture()
        dialog = RestorePoints((), found) if isinstance(found, PgvaultError) else RestorePoints(found.restore_points)
        self.app.push_screen(dialog, self._use_point)

    def _use_point(self, point: RestorePoint | None) -> None:
        if point:
            self._picked = (point.name, point.timeline)
            self._texts[Kind.NAME] = point.name
            self._fit()
            self.post_message(self.read())

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self._texts.get(self.kind, "") != event.value:
            self._texts[self.kind] = event.value
            self.post_message(self.read())

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._take()

    def on_choice_changed(self, event: Choice.Changed) -> None:
        event.stop()
        if event.choice is self.unfinished:
            self._is_partial = event.key == "yes"
        else:
            self._sides[self.kind] = event.key
        self.post_message(self.read())
