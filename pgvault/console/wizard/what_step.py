"""Step 1: what happened, in the person's words, next to what was found in the WAL already."""

from __future__ import annotations

from textual import getters
from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.events import Resize

from pgvault.console.fields import Field, gap
from pgvault.console.recovery.draft import What
from pgvault.console.recovery.search import Stand
from pgvault.console.recovery.steps import Step
from pgvault.console.widgets.listing import Listing
from pgvault.console.widgets.pane import ListPane, Pane
from pgvault.console.widgets.reading import Reading
from pgvault.console.widgets.rows import Column, ItemRows
from pgvault.console.widgets.strip import Strip
from pgvault.console.wizard.accident_finder import SURE, AccidentFinder
from pgvault.console.wizard.stage import Stage, lines_of_strip

_LEADS_TO = {
    What.TABLE: "pgvault looks for dropped and truncated tables in the archived WAL, newest first. You choose one, and "
                "get the server as it was just before.",
    What.ROWS: "pgvault looks in the archived WAL for transactions that deleted or changed many rows. You choose one, "
               "and get the server as it was just before.",
    What.DATABASE: "pgvault looks for dropped databases in the archived WAL. You choose one, and get the server as it "
                   "was just before.",
    What.DEPLOY: "You give the time, with its zone, and pgvault says at which commit it stops there.",
    What.LOST: "You get everything that is archived, also what was received of the unfinished last WAL segment.",
    What.MOVE: "You get everything that is archived on another host, open for use. First stop what writes to the "
               "server, and let pgvault switch-wal --archive bring its last WAL into the vault.",
    What.STANDBY: "You get the latest state as a standby, which goes on to follow the server: read-only, and as new as "
                  "the server's WAL. It can take over later.",
    What.COPY: "You get a copy of the latest state; any other point can be chosen.",
}
_SAFE = ("The original server is not touched: the restore goes to another directory or host, its plan is shown first, "
         "and nothing is written before you say so.")
_SHORT = 3
"""The lines that the second list needs by itself."""


class WhatStep(Stage):
    step = Step.WHAT
    choices = getters.query_one("#what", ListPane)
    means = getters.query_one("#means", Reading)
    finder = getters.query_one(AccidentFinder)
    strip = getters.query_one(Strip)
    DEFAULT_CSS = f"""
    WhatStep #beside {{ height: 1fr; }}
    WhatStep #asked {{ height: auto; }}
    WhatStep #what {{ height: {len(What) + 2}; }}
    WhatStep #meaning {{ height: 5; }}
    """

    @property
    def explanation(self) -> Reading:
        return self.means

    def compose(self) -> ComposeResult:
        with Container(id="beside"):
            with Vertical(id="asked"):
                yield ListPane("what happened?", [Column("", 40, flexible=True)], headed=False, id="what")
                yield Pane("what comes then", Reading(id="means"), id="meaning")
            yield AccidentFinder("in the WAL: what was dropped or truncated", asks=False, id="found")
        yield Strip("when that was")

    def on_mount(self) -> None:
        self.means.can_focus = False
        self.finder.listing.empty = "Nothing was found so far: it is still being searched."

    def come_up(self) -> None:
        self.choices.show(ItemRows(tuple(What), lambda what: [what.words], lambda what: what.name))
        if what := self.session.draft.what:
            self.choices.listing.go_to_key(what.name)
        self.choices.listing.focus()
        self.strip.read(self.session.draft.server)
        self.finder.search(self.session.draft.server, SURE)
        self.session.found = self.finder.found
        self._explain()

    def step_down(self) -> None:
        self.finder.stop()

    def on_resize(self, event: Resize) -> None:
        self.strip.give_room(lines_of_strip(self.size.height))
        self.call_after_refresh(self._explain)

    def on_accident_finder_found(self, event: AccidentFinder.Found) -> None:
        self.strip.mark(self.finder.accidents)
        if self.finder.found.stand is Stand.COMPLETE:
            self.finder.listing.empty = "No table, schema or database was dropped or truncated in the archived WAL."
        elif self.finder.failure:
            self.finder.listing.empty = f"{self.finder.failure.message}: t in the next step tries again."
        self.finder.listing.changed()

    def go_on(self) -> None:
        if self.finder.has_focus_within and (accident := self.finder.chosen):
            self.session.aimed_at = accident.key
            self._answer(What.DATABASE if accident.kind == "drop-database" else What.TABLE)
        elif what := self._chosen():
            self.session.aimed_at = ""
            self._answer(what)

    def _answer(self, what: What) -> None:
        self.session.change(self.session.draft.after(what))
        self.wizard.go(Step.POINT)

    def on_listing_opened(self, event: Listing.Opened) -> None:
        event.stop()
        self.go_on()

    def on_listing_moved(self, event: Listing.Moved) -> None:
        if event.listing is self.choices.listing:
            self._explain()
        elif accident := self.finder.chosen:
            self.strip.point_at(accident.point.timeline or 1, accident.time)

    def words(self) -> list[str]:
        return self.finder.found.words

    def _chosen(self) -> What | None:
        key = self.choices.listing.key
        return What[key] if key else None

    def _explain(self) -> None:
        if what := self._chosen():
            safe = (gap(), Field("", _SAFE, "dim", 1)) if self.means.size.height > _SHORT else ()
            self.means.show([Field("", _LEADS_TO[what], "", 1), *safe])
