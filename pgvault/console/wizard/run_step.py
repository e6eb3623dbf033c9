"""Step 5: the restore runs as a job of its own; this only follows it, as any other terminal may."""

from __future__ import annotations

from textual import getters
from textual.app import ComposeResult

from pgvault.console.app import Change
from pgvault.console.fields import Field, laid_out
from pgvault.console.screens.confirm import CONFIRM_COLUMNS, Confirm
from pgvault.console.widgets.pane import Pane
from pgvault.console.widgets.reading import Reading
from pgvault.console.wizard.running import told
from pgvault.console.wizard.stage import Stage
from pgvault.console.wizard.steps import Step
from pgvault.model.job import JobState

_REDRAW_SECONDS = 1.0


class RunStep(Stage):
    step = Step.RUN
    acts = frozenset({"cancel"})
    text = getters.query_one("#run", Reading)

    def __init__(self) -> None:
        super().__init__()
        self._cancelling = False

    def compose(self) -> ComposeResult:
        yield Pane("the restore runs", Reading(id="run"))

    def on_mount(self) -> None:
        self.set_interval(_REDRAW_SECONDS, self._draw)

    def come_up(self) -> None:
        self._cancelling = False
        self.text.focus()
        self.run_worker(self.console.read_jobs(), group="jobs", exit_on_error=False)
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
            if followed is None:
                return "the job was not heard of yet"
            if self._cancelling or followed.job.state is JobState.CANCELLING:
                return "it is being cancelled: what was begun is being undone"
        return ""

    def cancel(self) -> None:
        draft = self.recovery.draft
        told = [f"The restore to {draft.destination} stops.",
                "Before its files are complete, the destination becomes what it was before. After that they stay. The "
                "verdict, shown here, says which."]
        self.console.push_screen(
            Confirm(f"cancel job {draft.job}", laid_out((Field("", line, "", 0) for line in told), CONFIRM_COLUMNS),
                    act="cancel the restore", back="let it run"), self._confirmed)

    def _confirmed(self, yes: bool | None) -> None:
        if yes:
            self._cancelling = True
            self.run_worker(self._cancel(), group="cancel", exit_on_error=False)

    async def _cancel(self) -> None:
        answer = await self.console.world.commands.ask("job", "cancel", self.recovery.draft.job)
        if answer.failure:
            self._cancelling = False
            self.console.tell(answer.failure.message, "warning")
        await self.console.read_jobs()
        self._draw()

    def words(self) -> list[str] | None:
        return ["job", "watch", self.recovery.draft.job]
