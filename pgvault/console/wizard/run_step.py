"""Step 5: the restore runs as a job of its own; this only follows it, as any other terminal may."""

from __future__ import annotations

from textual import getters
from textual.app import ComposeResult

from pgvault.console.app import Change
from pgvault.console.beside import begin
from pgvault.console.cancelling import ask_to_cancel, why_not_cancel
from pgvault.console.widgets.pane import Pane
from pgvault.console.widgets.reading import Reading
from pgvault.console.wizard.running import told
from pgvault.console.wizard.stage import Stage
from pgvault.console.wizard.steps import Step

_REDRAW_SECONDS = 1.0


class RunStep(Stage):
    step = Step.RUN
    acts = frozenset({"cancel"})
    text = getters.query_one("#run", Reading)

    def compose(self) -> ComposeResult:
        yield Pane("the restore runs", Reading(id="run"))

    def on_mount(self) -> None:
        self.set_interval(_REDRAW_SECONDS, self._draw)

    def come_up(self) -> None:
        self.text.focus()
        begin(self, "jobs", self.console.read_jobs)
        self._draw()

    def world_changed(self, change: Change) -> None:
        if change in (Change.JOBS, Change.SHOWN):
            self._draw()

    def _draw(self) -> None:
        """What the job told last; once it has ended, the proof."""
        job_id, world = self.recovery.draft.job, self.console.world
        if not self.display or not job_id:
            return
        followed = world.jobs.followed(job_id)
        if followed is None and job_id in world.jobs.ids and world.jobs.job(job_id).state.final:
            self.recovery.go(Step.PROOF)
            return
        self.text.show(told(job_id, followed, world.now(), self.console.glyphs,
                            self.text.size.width or self.console.size.width))

    # Ending it

    def why_not(self, action: str) -> str:
        if action == "go-on":
            return "the restore runs; its verdict is shown here when it has ended, and esc leaves it running"
        if action == "cancel":
            followed = self.console.world.jobs.followed(self.recovery.draft.job)
            return why_not_cancel(followed.job) if followed else "the job was not heard of yet"
        return ""

    def cancel(self) -> None:
        if followed := self.console.world.jobs.followed(self.recovery.draft.job):
            ask_to_cancel(self.console, followed.job)

    def words(self) -> list[str] | None:
        return ["job", "watch", self.recovery.draft.job]
