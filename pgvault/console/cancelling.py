"""Cancelling a job: in two steps, with what it leaves behind said before, and its verdict after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pgvault.console.beside import begin
from pgvault.console.fields import Field, laid_out
from pgvault.model.job import Job, JobKind, JobState

if TYPE_CHECKING:
    from pgvault.console.app import ConsoleApp

LEFT: Mapping[JobKind, tuple[str, ...]] = {
    JobKind.BACKUP: (
        "The backup becomes failed: nothing can be restored from it, and the server's backup mode ends.",
        "Older backups and the archived WAL stay as they are."),
    JobKind.RESTORE: (
        "Until all files are complete the destination becomes what it was: what was written is removed, and a "
        "directory that was set aside is put back.",
        "After that nothing is undone: the files stay, and a server that was started goes on. The verdict says "
        "which."),
    JobKind.BRING_BACK: (
        "Until it is committed nothing is changed in the live server, and nothing stays there.",
        "The restored server stays as it is."),
    JobKind.OPEN: (
        "A server that was told to end its recovery goes on and ends it.",),
    JobKind.THROW_AWAY: (
        "A server that was stopped stays stopped; files that were removed are gone.",
        "The same command run again removes the rest."),
    JobKind.MAINTENANCE: (
        "What is complete stays, what was begun is undone.",
        "The same command run again goes on with the rest."),
}
"""In what state things are left, by the kind of job."""


def why_not_cancel(job: Job | None) -> str:
    """Why it cannot be cancelled, in one line; empty when it can."""
    if job is None:
        return "no job is selected"
    if job.state.final:
        return f"job {job.id} has ended: {job.state.value}"
    if job.state is JobState.CANCELLING:
        return "it is being cancelled: what it began is being undone"
    return ""


def ask_to_cancel(app: ConsoleApp, job: Job) -> None:
    """Say what will be, and do it when that is confirmed."""
    from pgvault.console.screens.confirm import CONFIRM_COLUMNS, Confirm

    lines = [Field("", f"Job {job.id} stops and undoes what it began; that may take a while.", "bold", 0),
             *(Field("", line, "", 0) for line in LEFT[job.kind])]

    def confirmed(yes: bool | None) -> None:
        if yes:  # by the app: leaving the screen does not end the waiting
            begin(app, f"cancel-{job.id}", _cancel, app, job)

    act = f"cancel the {job.kind.value}{f' of {job.server}' if job.server else ''}"
    app.push_screen(Confirm(act, laid_out(lines, CONFIRM_COLUMNS), act=act, back="let it run"), confirmed)


async def _cancel(app: ConsoleApp, job: Job) -> None:
    from pgvault.console.screens.failure_box import FailureBox

    app.tell(f"job {job.id} was asked to stop")
    answer = await app.world.commands.ask("job", "cancel", job.id, "--wait")
    await app.read_jobs()
    ended = answer.document.get("job")
    if isinstance(ended, dict):
        state, verdict = ended.get("state"), ended.get("verdict")
        expected = state == JobState.CANCELLED.value
        app.tell(f"job {job.id}: {': '.join(filter(None, (str(state), str(verdict or ''))))}",
                 "information" if expected else "warning")
    elif answer.failure:
        app.push_screen(FailureBox(f"job {job.id} is not cancelled", answer.failure))
