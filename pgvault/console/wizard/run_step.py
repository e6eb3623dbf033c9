"""Step 5: the restore runs as a job of its own; this step only follows it, as any other terminal may."""

from __future__ import annotations

from pathlib import Path

from textual import getters
from textual.app import ComposeResult
from textual.events import Resize

from pgvault.console.background import run_in_background
from pgvault.console.base import Change
from pgvault.console.fields import Field, laid_out
from pgvault.console.jobbook import Followed
from pgvault.console.journal_rows import COLUMNS, JournalRows
from pgvault.console.queries import run_query
from pgvault.console.recovery.running import Course, run_fields
from pgvault.console.recovery.session import Session
from pgvault.console.recovery.steps import Step
from pgvault.console.screens.cancelling import ask_to_cancel, why_not_cancel
from pgvault.console.screens.text_box import TextBox
from pgvault.console.widgets.listing import Listing
from pgvault.console.widgets.pane import ListPane, Pane
from pgvault.console.widgets.reading import Reading
from pgvault.console.wizard.stage import Stage, Wizard
from pgvault.jobs.journal import EVENTS, Tail
from pgvault.jobs.registry import jobs_directory
from pgvault.model.errors import PgvaultError

_REDRAW_SECONDS = 1.0
_LEAST_PHASES = 3
_LEAST_EVENTS = 5
"""The least lines for the newest events, with their border."""


class RunStep(Stage):
    step = Step.RUN
    DEFAULT_CSS = """
    RunStep #run-pane { height: auto; }
    """
    text = getters.query_one("#run", Reading)
    frame = getters.query_one("#run-pane", Pane)
    journal = getters.query_one("#run-journal", ListPane)

    def __init__(self, session: Session, wizard: Wizard) -> None:
        super().__init__(session, wizard)
        self._job = ""
        """The job whose events the phases and rows below are."""
        self._is_reading = False
        self._course, self._tail, self._rows = Course(), Tail(Path()), JournalRows(Path())

    @property
    def acts(self) -> frozenset[str]:
        return frozenset({"cancel"})

    def compose(self) -> ComposeResult:
        yield Pane("the restore runs", Reading(id="run"), id="run-pane")
        yield ListPane("the newest events", COLUMNS, headed=False, id="run-journal",
                       empty="Nothing was heard of the job yet.")

    def on_mount(self) -> None:
        self.text.can_focus = False
        self.set_interval(_REDRAW_SECONDS, self._draw)

    def come_up(self) -> None:
        self.journal.listing.focus()
        run_in_background(self, "jobs", self.console.read_jobs)
        self._draw()

    def world_changed(self, change: Change) -> None:
        if change in (Change.JOBS, Change.SHOWN):
            self._draw()

    def on_resize(self, event: Resize) -> None:
        self.call_after_refresh(self._draw)

    def _draw(self) -> None:
        """Draw the job's last news; once it has ended, the proof."""
        job_id, queries = self.session.draft.job, self.console.queries
        if not self.display or not job_id:
            return
        followed = queries.jobs.followed(job_id)
        if followed is None and job_id in queries.jobs.ids and queries.jobs.job(job_id).state.final:
            self.wizard.go(Step.PROOF)
            return
        self._show(followed)
        if not self._is_reading:  # one at a time: an abandoned reading would lose what it read
            self._is_reading = True
            run_in_background(self, "journal", self._read, job_id)

    def _show(self, followed: Followed | None) -> None:
        """Show the phases in full if the newest events leave them room."""
        columns = self.text.size.width or self.console.size.width - 2
        room = max(_LEAST_PHASES, self.size.height - 2 - _LEAST_EVENTS)

        def fields(*, foremost: bool) -> list[Field]:
            return list(run_fields(self.session.draft, followed, self._course.phases, self.console.queries.now(),
                                   self.console.glyphs, columns, foremost=foremost))

        shown = fields(foremost=False)
        if len(laid_out(shown, columns)) > room:
            shown = fields(foremost=True)
        self.text.styles.height = min(len(laid_out(shown, columns)), room)
        self.text.show(shown)

    async def _read(self, job_id: str) -> None:
        """Read what is new: the phases that ended, and the newest events."""
        if job_id != self._job:
            journal = jobs_directory(self.console.queries.home) / job_id / EVENTS
            self._job, self._course, self._tail, self._rows = job_id, Course(), Tail(journal), JournalRows(journal)
        at_end = self.journal.listing.index >= len(self._rows) - 1
        try:
            found = await run_query(lambda: (self._tail.read(), self._rows.read()), "read the job")
        finally:
            self._is_reading = False
        if isinstance(found, PgvaultError):
            return
        events, has_more = found
        self._course.take(events)
        if has_more:
            self.journal.show(self._rows)
            if at_end:
                self.journal.listing.go_to(len(self._rows) - 1)
        if events:
            self._draw()

    def on_listing_opened(self, event: Listing.Opened) -> None:
        event.stop()
        self.console.push_screen(TextBox("event", self._rows.text(int(event.key))))

    # Cancelling

    def why_not(self, action: str) -> str:
        if action == "go-on":
            return "the restore runs; its verdict is shown here when it has ended, and esc leaves it running"
        if action == "cancel":
            followed = self.console.queries.jobs.followed(self.session.draft.job)
            return why_not_cancel(followed.job) if followed else "the job was not heard of yet"
        return ""

    def cancel(self) -> None:
        if followed := self.console.queries.jobs.followed(self.session.draft.job):
            ask_to_cancel(self.console, followed.job)

    def words(self) -> list[str] | None:
        return ["job", "watch", self.session.draft.job]
