"""Cancels a job in two steps: it first says what the job leaves behind, and reports the verdict afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pgvault.console.background import run_in_background
from pgvault.console.fields import Field
from pgvault.console.queries import run_query
from pgvault.jobs.journal import read_edges
from pgvault.jobs.registry import jobs_directory
from pgvault.model.event import JobFinished
from pgvault.model.job import Job, JobKind, JobState

if TYPE_CHECKING:
    from pgvault.console.base import BaseConsole

_UNDOES, _STOPS = "stops and undoes what it began; that may take a while.", "stops here, and undoes nothing."
_BEFORE = ("The destination becomes what it was: what was written is removed, and a directory that was set aside is "
           "put back.")
_AFTER = ("The restored files are complete and stay; a server that was started continues, but its "
          "arrival is no longer awaited.")
_LEFT: Mapping[JobKind, tuple[str, ...]] = {
    JobKind.BACKUP: (
        _UNDOES, "The backup becomes failed: nothing can be restored from it, and the server's backup mode ends.",
        "Older backups and the archived WAL stay as they are."),
    JobKind.RESTORE: (
        _UNDOES, f"Until all files are complete: {_BEFORE}", f"After that: {_AFTER} The verdict says which."),
    JobKind.BRING_BACK: (
        _UNDOES, "Until it is committed nothing is changed in the live server, and nothing stays there.",
        "The restored server stays as it is."),
    JobKind.OPEN: (
        _STOPS, "A server that was asked to end its recovery continues to do so."),
    JobKind.THROW_AWAY: (
        _STOPS, "A server that was stopped stays stopped; files that were removed are gone.",
        "The same command run again removes the rest."),
    JobKind.MAINTENANCE: (
        _UNDOES, "What is complete stays, what was begun is undone.",
        "The same command run again continues with the rest."),
}
_OF_PHASE: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(("salvage", "copy"), (_UNDOES, _BEFORE)),
    **dict.fromkeys(("start", "recover", "look"), (_STOPS, _AFTER))}
"""What is left of a restore in a phase where that is certain; the flush may end at any moment."""


def left(job: Job, phase: str) -> tuple[str, ...]:
    """Describe what cancelling does, and the state that it leaves, by the kind of job and its progress."""
    if job.kind is JobKind.RESTORE and (known := _OF_PHASE.get(phase)):
        return known
    return _LEFT[job.kind]


def why_not_cancel(job: Job | None) -> str:
    """Return why the job cannot be cancelled, in one line; empty if it can."""
    if job is None:
        return "no job is selected"
    if job.state.final:
        return f"job {job.id} has ended: {job.state.value}"
    if job.state is JobState.CANCELLING:
        return "it is being cancelled: what it began is being undone"
    return ""


def ask_to_cancel(app: BaseConsole, job: Job) -> None:
    """Show what cancelling does, and cancel when that is confirmed."""
    from pgvault.console.screens.confirm import Confirm

    followed = app.queries.jobs.followed(job.id)
    first, *others = left(job, followed.phase if followed else "")
    fields = [Field("", f"Job {job.id} {first}", "bold", 0), *(Field("", line, "", 0) for line in others)]

    def confirmed(yes: bool | None) -> None:
        if yes:  # by the app: leaving the screen does not end the waiting
            run_in_background(app, f"cancel-{job.id}", _cancel, app, job)

    act = f"cancel the {job.kind.value}{f' of {job.server}' if job.server else ''}"
    app.push_screen(Confirm(act, fields, act=act, back="let it run"), confirmed)


async def _cancel(app: BaseConsole, job: Job) -> None:
    from pgvault.console.screens.text_box import FailureBox

    app.tell(f"job {job.id} was asked to stop")
    answer = await app.queries.commands.ask("job", "cancel", job.id, "--wait")
    await app.read_jobs()
    ended = answer.document.get("job")
    if isinstance(ended, dict):
        state, verdict = ended.get("state"), ended.get("verdict")
        expected = state == JobState.CANCELLED.value
        ending = await run_query(lambda: read_edges(jobs_directory(app.queries.home) / job.id)[1], "read the job")
        detail = ending.error.detail if isinstance(ending, JobFinished) and ending.error else ""
        app.tell(f"job {job.id}: {': '.join(filter(None, (str(state), str(verdict or ''), detail)))}",
                 "information" if expected else "warning")
    elif answer.failure:
        app.push_screen(FailureBox(f"job {job.id} is not cancelled", answer.failure))
