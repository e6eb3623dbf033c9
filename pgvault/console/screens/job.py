"""One job: its state, what it was to do, and its whole journal, which is followed while the job runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual import getters
from textual.binding import BindingType
from textual.widget import Widget

from pgvault.console import plan_facts
from pgvault.console.background import run_in_background
from pgvault.console.base import Change
from pgvault.console.fields import laid_out
from pgvault.console.job_facts import Facts, ending, explained, job_fields, read_facts
from pgvault.console.joblines import live
from pgvault.console.journal_rows import COLUMNS, JournalRows
from pgvault.console.keys import Action
from pgvault.console.queries import run_query
from pgvault.console.recovery.proven import is_thrown_away
from pgvault.console.screens.cancelling import ask_to_cancel, why_not_cancel
from pgvault.console.screens.restored import ON_RESTORED, Made, WithRestored, done_with
from pgvault.console.screens.text_box import TextBox
from pgvault.console.screens.view import bindings
from pgvault.console.widgets.lineview import LineView
from pgvault.console.widgets.listing import Listing
from pgvault.console.widgets.pane import ListPane, Pane
from pgvault.console.widgets.reading import Reading
from pgvault.jobs.copies import made_a_server
from pgvault.jobs.journal import EVENTS
from pgvault.jobs.registry import jobs_directory
from pgvault.model.errors import PgvaultError

_LEFT = 11
"""The lines of the screen that a failure leaves for everything else."""


class JobScreen(WithRestored):
    view = "job"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("job")]
    DEFAULT_CSS = """
    JobScreen #facts { height: 11; }
    JobScreen #live { display: none; height: 2; }
    JobScreen.-wide #facts { height: 20; }
    """
    about = getters.query_one("#facts", Pane)
    live = getters.query_one("#live", LineView)
    facts = getters.query_one("#about-job", Reading)
    journal = getters.query_one("#journal", ListPane)

    def __init__(self, job_id: str, *, follow: bool = False) -> None:
        super().__init__()
        self.job_id, self._follows = job_id, follow
        self._facts: Facts | None = None
        self._shown = 0
        """How many rows of the journal were shown last."""

    def body(self) -> Iterable[Widget]:
        self._directory = jobs_directory(self.app.queries.home) / self.job_id
        self._rows = JournalRows(self._directory / EVENTS)
        yield Pane("job", LineView(id="live"), Reading(id="about-job"), id="facts")
        yield ListPane("journal", COLUMNS, id="journal", empty="The journal is being read.")

    def on_mount(self) -> None:
        super().on_mount()
        self.journal.listing.focus()

    def world_changed(self, change: Change) -> None:
        if change in (Change.SHOWN, Change.JOBS):
            run_in_background(self, "read", self._read)
        if change in (Change.SHOWN, Change.JOBS, Change.CLOCK):
            self._show_live()

    async def _read(self) -> None:
        """Read the job's facts, which may change until it has ended, and what was appended to the journal."""
        if self._facts is None or not self._facts.job.state.final:
            facts = await run_query(lambda: read_facts(self._directory), "read the job")
            if isinstance(facts, PgvaultError):
                self.facts.show(explained(facts))
                return
            self._facts = facts
            self._make_room(facts)
            self.facts.show(job_fields(facts, self.app.queries.now(), self.app.glyphs))
        await run_query(self._rows.read, "read the journal")
        if not len(self._rows):
            self.journal.listing.empty = "No journal: the job never began."
            self.journal.listing.changed()
        if self._shown != len(self._rows):
            self._shown = len(self._rows)
            self.journal.show(self._rows)
            if self._follows:
                self._go_to_the_end()
        self._show_live()
        self.update_frame()

    def _make_room(self, facts: Facts) -> None:
        """Show in full why a job did not succeed, while the journal keeps a few lines."""
        lines = len(laid_out(ending(facts, self.app.glyphs), self.size.width - 2))
        self.about.styles.min_height = min(lines, self.size.height - _LEFT) + 2

    def _show_live(self) -> None:
        followed = self.app.queries.jobs.followed(self.job_id)
        self.live.display = followed is not None
        if followed:
            self.live.set_lines(live(followed, self.app.queries.now(), self.size.width - 2, self.app.glyphs))

    # Actions

    def crumbs(self) -> list[str]:
        return ["jobs", self.job_id]

    def command_words(self) -> list[str]:
        ended = self._facts is None or self._facts.job.state.final
        return ["job", "show" if ended else "watch", self.job_id]

    def copyable(self) -> str:
        if self.journal.has_focus_within and (key := self.journal.listing.key):
            return self._rows.text(int(key))
        return self.facts.text

    def actions(self) -> Iterable[Action]:
        made = self.made()
        return (each for each in super().actions() if made or each.id not in ON_RESTORED)

    def made(self) -> Made | None:
        """Return the server that a restore made, whether or not everything expected was there; None once it was thrown
        away.
        """
        facts = self._facts
        if facts is None or not made_a_server(facts.job) or is_thrown_away(done_with(self.app, facts.job.id)):
            return None
        plan = facts.plan
        return Made(facts.job.id, facts.job.server, str(plan.get("directory", "")), plan_facts.expected(plan))

    def why_not(self, action: str) -> str:
        if action in ON_RESTORED:
            if self._facts is None:
                return "the job is being read"
            return "" if self.made() else "this job has made no server, or it was thrown away"
        return why_not_cancel(self._facts.job if self._facts else None) if action == "cancel" else ""

    def do_cancel(self) -> None:
        if self._facts:
            ask_to_cancel(self.app, self._facts.job)

    def do_follow(self) -> None:
        self._follows = not self._follows
        if self._follows:
            self._go_to_the_end()
        self._say_follows()

    def _go_to_the_end(self) -> None:
        self.journal.listing.go_to(len(self.journal.listing.rows) - 1)
        self._say_follows()

    def _say_follows(self) -> None:
        self.journal.retitle("journal, following" if self._follows else "journal")

    def on_listing_moved(self, event: Listing.Moved) -> None:
        """Stop following the end when the cursor goes back to an earlier row."""
        if self._follows and event.listing.index < len(event.listing.rows) - 1:
            self._follows = False
            self._say_follows()

    def on_listing_opened(self, event: Listing.Opened) -> None:
        self.app.push_screen(TextBox("event", self._rows.text(int(event.key))))

    def on_list_pane_filtered(self, event: ListPane.Filtered) -> None:
        run_in_background(self, "filter", self._find, event.pattern)

    async def _find(self, pattern: str) -> None:
        found = await run_query(lambda: self._rows.found(pattern), "read the journal")
        if not isinstance(found, PgvaultError) and pattern == self.journal.pattern:
            self.journal.show_found(found)
