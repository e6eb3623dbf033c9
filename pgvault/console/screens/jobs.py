"""The jobs of the vault: the running ones with their progress, and below them all others, newest first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from textual import getters
from textual.binding import BindingType
from textual.events import Resize
from textual.widget import Widget

from pgvault.console.background import run_in_background
from pgvault.console.base import Change
from pgvault.console.fields import Field, describe_failure, failed
from pgvault.console.job_facts import digest, explained, read_facts
from pgvault.console.jobline import job_name, state_part
from pgvault.console.joblines import brief, live, short_time, took
from pgvault.console.journal_rows import JournalRows
from pgvault.console.queries import run_query
from pgvault.console.screens.cancelling import ask_to_cancel, why_not_cancel
from pgvault.console.screens.view import View, bindings
from pgvault.console.widgets.lineview import LineView
from pgvault.console.widgets.listing import Listing
from pgvault.console.widgets.pane import ListPane, Pane
from pgvault.console.widgets.reading import Reading
from pgvault.console.widgets.rows import Column, LazyRows, fits
from pgvault.jobs.journal import EVENTS
from pgvault.jobs.registry import jobs_directory
from pgvault.model.errors import PgvaultError
from pgvault.model.job import Job
from pgvault.model.text import Painted, Part

_COLUMNS = (Column("state", 12), Column("job", 20, flexible=True), Column("started", 12),
            Column("took", 11, right=True), Column("", 3), Column("verdict", 40, flexible=True, wide=True))
_EMPTY = """No jobs yet.
Every backup and every restore is one: b on the overview makes the first backup.
A job goes on when this console is closed, and is shown here again."""
_SHOWN_LIVE = 3
"""How many running jobs are shown with their progress."""
_AROUND_ROWS = 3
_HIGH = 40
"""The height, in lines, from which on a short list leaves its room to the selected job."""
_SHOWN_EVENTS = 20
"""How many events of the selected job are shown."""


class JobsScreen(View):
    view = "jobs"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("jobs")]
    DEFAULT_CSS = """
    JobsScreen #at-work { display: none; }
    """
    at_work = getters.query_one("#at-work", Pane)
    live = getters.query_one("#live", LineView)
    jobs = getters.query_one("#jobs", ListPane)
    selected = getters.query_one("#selected", Pane)
    about = getters.query_one("#about", Reading)

    def __init__(self) -> None:
        super().__init__()
        self._described: Job | None = None
        """The fields that the lower half shows."""
        self._events = JournalRows(Path())

    def body(self) -> Iterable[Widget]:
        yield Pane("at work", LineView(id="live"), id="at-work")
        yield ListPane("jobs, newest first", _COLUMNS, id="jobs")
        yield Pane("selected", Reading(id="about"), id="selected")

    def on_mount(self) -> None:
        super().on_mount()
        self.jobs.listing.focus()

    def world_changed(self, change: Change) -> None:
        if change in (Change.SHOWN, Change.JOBS):
            problem = self.app.jobs_problem
            self.jobs.listing.empty = self._empty(problem)
            stale = problem and self.app.queries.jobs.ids
            self.jobs.retitle("jobs as they were read last, newest first" if stale else "jobs, newest first")
            self.jobs.show(LazyRows(self.app.queries.jobs.ids, self._cells, str))
            book = self.app.queries.jobs
            self.app.job_news.mark_seen(book.ids, (each.job.id for each in book.running))
        if change in (Change.SHOWN, Change.JOBS, Change.CLOCK):
            self._show_live()
            self.jobs.listing.changed()
        if change in (Change.SHOWN, Change.JOBS):
            self._show_about()

    def _empty(self, problem: PgvaultError | None) -> str:
        if problem:
            return describe_failure("The jobs cannot be read", problem)
        return _EMPTY if self.app.queries.jobs.is_known else "The jobs are being read."

    def on_screen_suspend(self) -> None:
        if self.app.current_mode != self.view:
            self.app.job_news.turn()

    def _cells(self, job_id: str) -> Sequence[Part]:
        book, now = self.app.queries.jobs, self.app.queries.now()
        job = book.job(job_id)
        followed = book.followed(job_id)
        news = job.state.final and self.app.job_news.is_news(job_id)
        return [state_part(job.state, self.app.glyphs), job_name(job), short_time(job.started_at, now), took(job, now),
                Painted("new", "accent") if news else "", brief(followed) if followed else job.verdict]

    def _show_live(self) -> None:
        running = self.app.queries.jobs.running
        shown = running[:_SHOWN_LIVE]
        self.at_work.display = bool(running) and not self.app.jobs_problem  # the reason takes its room
        self.at_work.styles.height = 2 + 2 * len(shown)
        self.at_work.say(f"{len(running) - len(shown)} more below" if len(running) > len(shown) else "")
        columns, now = self.size.width - 2, self.app.queries.now()
        self.live.set_lines(line for followed in shown for line in live(followed, now, columns, self.app.glyphs))

    def on_resize(self, event: Resize) -> None:
        self.call_after_refresh(self._show_about)

    def _show_about(self) -> None:
        """Show the facts of the selected job and, if the jobs can no longer be read, the reason."""
        job, problem = self.job, self.app.jobs_problem
        self.selected.display = job is not None
        wanted = len(self.app.queries.jobs.ids) + _AROUND_ROWS
        is_short = self.size.height >= _HIGH and wanted < self.size.height // 2
        self.jobs.styles.height = wanted if is_short and job else "1fr"
        if job is None:
            return
        self.selected.retitle(f"{job_name(job)}  {job.id}")
        self.selected.styles.height = "3fr" if problem else "1fr"
        if problem:
            self._described = None
            self.about.show(failed(problem))
        elif job != self._described or not job.state.final:
            run_in_background(self, "selected", self._read, job)

    async def _read(self, job: Job) -> None:
        directory = jobs_directory(self.app.queries.home) / job.id
        if self._described is None or self._described.id != job.id:
            self._events = JournalRows(directory / EVENTS)
        events = self._events

        def read() -> list[Field]:
            events.read()
            return list(digest(read_facts(directory), events.last(_SHOWN_EVENTS), self.app.glyphs))

        read_fields = await run_query(read, "read the job")
        self._described = job
        self.about.show(explained(read_fields) if isinstance(read_fields, PgvaultError) else read_fields)

    # The selected job

    @property
    def job(self) -> Job | None:
        key = self.jobs.listing.key
        return self.app.queries.jobs.job(key) if key else None

    def on_listing_moved(self, event: Listing.Moved) -> None:
        self._show_about()
        self.update_frame()

    def on_listing_opened(self, event: Listing.Opened) -> None:
        self._open(follow=False)

    def _open(self, *, follow: bool) -> None:
        from pgvault.console.screens.job import JobScreen

        if job := self.job:
            self.app.push_screen(JobScreen(job.id, follow=follow))

    def crumbs(self) -> list[str]:
        return ["jobs", *filter(None, [self.jobs.listing.key])]

    def command_words(self) -> list[str]:
        job = self.job
        return ["job", "list"] if job is None else ["job", "show", job.id]

    def copyable(self) -> str:
        return self.about.text if self.about.has_focus else super().copyable()

    def why_not(self, action: str) -> str:
        if action == "cancel":
            return why_not_cancel(self.job)
        return "no job is selected" if action in ("open", "follow") and self.job is None else ""

    def do_cancel(self) -> None:
        if job := self.job:
            ask_to_cancel(self.app, job)

    def do_follow(self) -> None:
        self._open(follow=True)

    # Filtering: all of them have to be read for it

    def on_list_pane_filtered(self, event: ListPane.Filtered) -> None:
        run_in_background(self, "filter", self._find, event.pattern)

    async def _find(self, pattern: str) -> None:
        ids = self.app.queries.jobs.ids
        found = await run_query(lambda: [each for each in ids if fits(pattern, f"{each} {_text(self._cells(each))}")],
                                "read the jobs")
        if isinstance(found, PgvaultError):
            self.app.tell(found.message, "error")
        elif pattern == self.jobs.pattern:
            self.jobs.show_found(LazyRows(found, self._cells, str))


def _text(cells: Sequence[Part]) -> str:
    return " ".join(map(str, cells))
