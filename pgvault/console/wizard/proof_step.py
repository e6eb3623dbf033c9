"""Step 6: the proof, in writing; or what failed, why, and what to do next."""

from __future__ import annotations

from dataclasses import replace

from textual import getters
from textual.app import ComposeResult

from pgvault.console.background import run_in_background
from pgvault.console.base import Change
from pgvault.console.fields import Field
from pgvault.console.keys import BY_ID, keys_of, shown
from pgvault.console.queries import run_query
from pgvault.console.recovery.afterwards import BRING_BACK, Next, copied
from pgvault.console.recovery.proven import Ended, next_of, proof_fields
from pgvault.console.recovery.session import Session
from pgvault.console.recovery.steps import Step
from pgvault.console.screens import restored
from pgvault.console.screens.restored import Made
from pgvault.console.widgets.pane import Pane
from pgvault.console.widgets.reading import Reading
from pgvault.console.wizard.stage import Stage, Wizard
from pgvault.jobs.journal import read_events
from pgvault.jobs.plan import read_plan
from pgvault.jobs.registry import jobs_directory, read_job
from pgvault.model.errors import PgvaultError
from pgvault.model.job import Job, JobState

_TITLES = {JobState.SUCCEEDED: "the proof", JobState.FAILED: "the restore failed",
           JobState.CANCELLED: "the restore was cancelled", JobState.LOST: "the restore's process is gone"}


class ProofStep(Stage):
    step = Step.PROOF
    retry_label = "another point"
    text = getters.query_one("#proof", Reading)
    frame = getters.query_one("#proof-pane", Pane)

    def __init__(self, session: Session, wizard: Wizard) -> None:
        super().__init__(session, wizard)
        self.ended: Ended | None = None
        """The restore's end; None before it was read, while it is not known whether the restore succeeded."""
        self._problem: PgvaultError | None = None
        """Why the job could not be read."""
        self._since: list[Job] = []
        """The jobs that acted on the restored server, newest first."""
        self._was_on_screen = False
        """True if the step was visible: a restore may end while another view is open; its draft stays until the proof
        was seen.
        """

    @property
    def enter_label(self) -> str:
        if self.ended is None:
            return "read it again"
        return "done" if self.succeeded else "change the plan"

    @property
    def succeeded(self) -> bool:
        return self.ended is not None and self.ended.job.state is JobState.SUCCEEDED

    def compose(self) -> ComposeResult:
        yield Pane("the proof", Reading(id="proof"), id="proof-pane")

    def come_up(self) -> None:
        self.text.focus()
        self._begin_reading()

    def _begin_reading(self) -> None:
        self._problem = None
        self.text.show([Field("", "reading what the job wrote", "dim", 1)])
        self.wizard.update_frame()
        run_in_background(self, "proof", self._read)

    async def _read(self) -> None:
        directory = jobs_directory(self.console.queries.home) / self.session.draft.job
        found = await run_query(lambda: Ended(read_job(directory), read_events(directory), read_plan(directory)),
                                "read the job")
        if isinstance(found, PgvaultError):
            self._problem = found
            self.text.show([Field("unknown", found.message, "bad"), Field("cause", found.detail)])
            self.wizard.update_frame()
            return
        self.ended = found
        self.frame.retitle(_TITLES.get(found.job.state, "the proof"))
        self._since = restored.done_with(self.console, self.session.draft.job)
        self._show()

    def _show(self) -> None:
        if self.ended:
            shown = self.console.queries.commands.shown
            self.text.show(proof_fields(self.ended, self.session.draft, self._since, shown, self._key))
            self._was_on_screen = self._was_on_screen or self.screen.is_current
            self.wizard.update_frame()

    def _key(self, action: str) -> str:
        return shown(keys_of(BY_ID[action], self.console.keymap)[0])

    def world_changed(self, change: Change) -> None:
        """Draw what was done with the restored server once its job has ended."""
        if change is Change.JOBS and self.ended:
            since = restored.done_with(self.console, self.session.draft.job)
            if since != self._since:
                self._since = since
                self._show()
                self.text.go_to(0)  # it stands first, wherever the proof was scrolled to

    @property
    def steps(self) -> list[Next]:
        return next_of(self.ended, self.session.draft, self._since) if self.ended else []

    @property
    def acts(self) -> frozenset[str]:
        return frozenset(each.action for each in self.steps)

    @property
    def is_done(self) -> bool:
        return self.succeeded and self._was_on_screen

    def made(self) -> Made:
        draft = self.session.draft
        return Made(draft.job, draft.server, draft.directory, draft.expect)

    def why_not(self, action: str) -> str:
        if action == "go-on" and self.ended is None and not self._problem:
            return "the job's result is still being read"
        return ""

    def back(self) -> bool:
        """Do what Enter does; before the result is known, let the wizard close and keep the draft."""
        if self.ended is None:
            return False
        self.go_on()
        return True

    def retry(self) -> None:
        """Choose another point, after a look at this one: all other answers stay."""
        self.session.change(replace(self.session.draft, job=""))
        self.wizard.go(Step.POINT)

    def copyable(self) -> str:
        return copied(self.steps, self.console.queries.commands.shown)

    def go_on(self) -> None:
        """Close: after a success the draft is no longer needed; after a failure go back to change the plan."""
        if self.ended is None:
            self._begin_reading()
        elif self.succeeded:
            self.wizard.finish()
        else:
            self.session.change(replace(self.session.draft, job=""))
            self.wizard.go(Step.REVIEW)

    def words(self) -> list[str] | None:
        """Return the words of the most likely act; y copies all acts."""
        first = next((each for each in self.steps if each.action == BRING_BACK and self.session.draft.expect), None)
        return list(first.words) if first else ["job", "show", self.session.draft.job]
