"""Leaves the demonstration: the sandbox is removed only if that is chosen."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from textual.widget import Widget

from pgvault.console.fields import Field
from pgvault.console.screens.dialog import Dialog
from pgvault.console.widgets.listing import Listing
from pgvault.console.widgets.reading import ShortReading
from pgvault.console.widgets.rows import Column, ItemRows

if TYPE_CHECKING:
    from pgvault.console.base import BaseConsole


class Sandbox(Enum):
    """What becomes of the sandbox."""

    KEEP = "leave, and keep the sandbox running"
    REMOVE = "leave, and remove the sandbox with all in it"


_BACK = "back to the demonstration"


class LeaveDemo(Dialog[Sandbox]):
    DEFAULT_CSS = """
    LeaveDemo Listing { height: 3; margin-top: 1; }
    """
    title_text = "leave the demonstration"
    lines_around = 4
    keys = ("enter", "choose"), ("esc", "back")

    def __init__(self, place: Path, running: Iterable[str]) -> None:
        """Make the dialog; `running` are the running jobs."""
        super().__init__()
        self._place, self._at_work = place, list(running)

    def body(self) -> Iterable[Widget]:
        fields = [Field("", f"Its servers, its vault and what was restored are in {self._place}.", "", 0),
                  *(Field("", f"job {each} still runs there: it goes on when the sandbox is kept.", "warn", 0)
                    for each in self._at_work)]
        yield ShortReading(fields)
        yield Listing([Column("", 20, flexible=True)], headed=False, pages=False)

    def on_mount(self) -> None:
        listing = self.query_one(Listing)
        listing.show(ItemRows([_BACK, *(each.value for each in Sandbox)], lambda text: [text], str))
        listing.focus()

    def on_listing_opened(self, event: Listing.Opened) -> None:
        self.dismiss(None if event.key == _BACK else Sandbox(event.key))


def ask(app: BaseConsole, place: Path) -> None:
    """Ask what is to become of the sandbox; cancelling the question keeps it, too."""
    def chosen(what: Sandbox | None) -> None:
        if what:
            app.keeps_sandbox = what is Sandbox.KEEP
            app.end()

    if isinstance(app.screen, LeaveDemo):
        chosen(Sandbox.KEEP)
    else:
        app.push_screen(LeaveDemo(place, [each.job.id for each in app.queries.jobs.running]), chosen)
