"""A dialog for an unfinished recovery, or one that is open elsewhere: resume it, or start anew."""

from __future__ import annotations

from collections.abc import Iterable

from textual import getters
from textual.widget import Widget

from pgvault.console.fields import Field
from pgvault.console.recovery.draft import Draft
from pgvault.console.screens.dialog import Dialog
from pgvault.console.widgets.listing import Listing
from pgvault.console.widgets.reading import ShortReading
from pgvault.console.widgets.rows import Column, ItemRows

_RESUME, _COPY, _ANEW = "take it up where it was left", "go on here with a copy of it, without saving", "start anew"


class Resume(Dialog[bool]):
    """Dismissed with True to resume, False to start anew, None to do neither.

    Enter alone takes the point that was selected when the recovery was asked for, unless the older recovery has begun
    already.
    """

    DEFAULT_CSS = """
    Resume Listing { height: 2; margin-top: 1; }
    """
    keys = ("enter", "choose"), ("esc", "back")
    listing = getters.query_one(Listing)
    lines_around = 3

    def __init__(self, draft: Draft | None, pointed_at: str = "", *, server: str, holder: str = "") -> None:
        """Make the dialog. `pointed_at` describes the point of the new one; empty if only the server is selected.
        `holder` names the owner of the draft in another console, which alone saves it then; the draft may still be
        unknown.
        """
        super().__init__()
        self._pointed_at, self._holder = pointed_at, holder
        self.title_text = f"an unfinished recovery of {server}"
        self._draft = draft

    def body(self) -> Iterable[Widget]:
        fields = list(_elsewhere(self._holder)) if self._holder else []
        fields += _answers(self._draft) if self._draft else []
        yield ShortReading(fields)
        yield Listing([Column("", 20, flexible=True)], headed=False)

    def on_mount(self) -> None:
        choices = {"resume": _COPY if self._holder else _RESUME} if self._draft else {}
        choices["anew"] = f"{_ANEW}, {self._pointed_at}" if self._pointed_at else \
            f"{_ANEW}, without saving" if self._holder else f"{_ANEW}; the earlier answers are discarded"
        self.listing.show(ItemRows(tuple(choices), lambda key: [choices[key]], str))
        if self._pointed_at and self._draft and not self._draft.job:
            self.listing.go_to_key("anew")
        self.listing.focus()

    def on_listing_opened(self, event: Listing.Opened) -> None:
        self.dismiss(event.key == "resume")


def _elsewhere(holder: str) -> Iterable[Field]:
    yield Field("", "this recovery is open in another console, which saves it", "warn", 1)
    yield Field("", holder, "", 1)


def _answers(draft: Draft) -> Iterable[Field]:
    yield Field("left at", f"step {draft.step.number}: {draft.step.title}", "bold")
    if draft.what:
        yield Field("what", draft.what.words)
    if draft.point:
        yield Field("point", draft.point.label)
    if draft.host is not None:
        yield Field("where to", draft.destination)
    if draft.job:
        yield Field("job", f"{draft.job} was started from it")
