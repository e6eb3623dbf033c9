"""Step 1: what happened, in the person's words."""

from __future__ import annotations

from dataclasses import replace

from textual import getters
from textual.app import ComposeResult

from pgvault.console.fields import Field, gap
from pgvault.console.widgets.listing import Listing
from pgvault.console.widgets.pane import ListPane, Pane
from pgvault.console.widgets.reading import Reading
from pgvault.console.widgets.rows import Column, ItemRows
from pgvault.console.wizard.draft import What
from pgvault.console.wizard.stage import Stage
from pgvault.console.wizard.steps import Step

_LEADS_TO = {
    What.TABLE: "pgvault looks for dropped and truncated tables in the archived WAL, newest first. You choose one, and "
                "get the server as it was just before.",
    What.ROWS: "pgvault looks in the archived WAL for transactions that deleted or changed many rows. You choose one, "
               "and get the server as it was just before.",
    What.DATABASE: "pgvault looks for dropped databases in the archived WAL. You choose one, and get the server as it "
                   "was just before.",
    What.DEPLOY: "You give the time, with its zone, and pgvault says at which commit it stops there.",
    What.LOST: "You get everything that is archived, also what was received of the unfinished last WAL segment.",
    What.COPY: "You get a copy of the latest state; any other point can be chosen.",
}


class WhatStep(Stage):
    step = Step.WHAT
    choices = getters.query_one("#what", ListPane)
    means = getters.query_one("#means", Reading)
    DEFAULT_CSS = """
    WhatStep #what { height: 8; }
    """

    def compose(self) -> ComposeResult:
        yield ListPane("what happened?", [Column("", 40, flexible=True)], headed=False, id="what")
        yield Pane("what comes then", Reading(id="means"))

    def come_up(self) -> None:
        self.choices.show(ItemRows(tuple(What), lambda what: [what.value], lambda what: what.name))
        if what := self.recovery.draft.what:
            self.choices.listing.go_to_key(what.name)
        self.choices.listing.focus()
        self._explain()

    def go_on(self) -> None:
        what = self._chosen()
        if what is None:
            return
        if what is not self.recovery.draft.what:  # another accident has another point
            self.recovery.change(replace(self.recovery.draft, what=what, point=None, expect=()))
        self.recovery.go(Step.POINT)

    def on_listing_opened(self, event: Listing.Opened) -> None:
        event.stop()
        self.go_on()

    def on_listing_moved(self, event: Listing.Moved) -> None:
        self._explain()

    def _chosen(self) -> What | None:
        key = self.choices.listing.key
        return What[key] if key else None

    def _explain(self) -> None:
        if what := self._chosen():
            self.means.show([
                Field("", _LEADS_TO[what], "", 1), gap(),
                Field("", "The original server is not touched: the restore goes to another directory or host, its plan "
                          "is shown first, and nothing is written before you say so.", "dim", 1)])
