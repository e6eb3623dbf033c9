"""A restore that runs, said line by line: its phase, how far it is, when it was last heard of."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from pgvault.console.fields import Field, gap
from pgvault.console.glyphs import Glyphs
from pgvault.console.jobbook import SILENT_SECONDS, Followed
from pgvault.console.widgets.jobline import bar
from pgvault.model.job import JobState
from pgvault.model.pace import Progress
from pgvault.model.text import size, span

PHASES = {
    "salvage": ("saves", "the WAL of what is overwritten"),
    "copy": ("copies", "the backup and its WAL to the destination"),
    "flush": ("flushes", "everything to the destination's disks"),
    "start": ("starts", "the restored server"),
    "recover": ("replays", "WAL up to the target, in the restored server"),
    "look": ("looks", "whether the expected tables are there"),
}
"""What the phases of a restore are, in words."""
_WAITS = {"salvage": "the destination's disk", "copy": "the destination, or the way to it",
          "flush": "the destination's disks", "start": "the restored server to start",
          "recover": "the restored server, which replays WAL", "look": "the restored server to answer"}


def told(job: str, followed: Followed | None, now: datetime, glyphs: Glyphs, columns: int) -> Iterator[Field]:
    """What is known of the job; `followed` is None before it was first looked at."""
    yield Field("job", f"{job}: it goes on when this screen, the console or the connection ends")
    yield Field("", f"from any terminal: pgvault job watch {job}")
    yield gap()
    if followed is None:
        yield Field("state", "not heard of yet")
        return
    yield from _state(followed, now)
    if followed.progress:
        yield gap()
        yield from _progress(followed.progress, glyphs, columns)
    yield gap()
    yield from _news(followed, now)


def _state(followed: Followed, now: datetime) -> Iterator[Field]:
    job = followed.job
    style = "warn" if job.state is JobState.CANCELLING else "accent"
    undoing = ": what was begun is being undone" if job.state is JobState.CANCELLING else ""
    yield Field("state", f"{job.state.value}{undoing}, {span(_age(job.started_at, now))} since it began", style)
    if followed.phase:
        word, what = PHASES.get(followed.phase, (followed.phase, ""))
        since = f", {span(_age(followed.phase_at, now))}" if followed.phase_at else ""
        yield Field("phase", f"{word} {what}".rstrip() + since, "bold")


def _progress(progress: Progress, glyphs: Glyphs, columns: int) -> Iterator[Field]:
    amount = size(progress.done) + (f" of {size(progress.total)}" if progress.total else "")
    if progress.share is not None:
        room = max(10, min(columns - 24, 50))
        yield Field("done", f"{bar(progress.share, room, glyphs)} {progress.share:4.0%}")
        yield Field("", amount)
    else:
        yield Field("done", amount)
    if progress.rate:
        left = progress.seconds_left
        yield Field("rate", f"{size(round(progress.rate))}/s" + (f", {span(round(left))} left" if left else ""))


def _news(followed: Followed, now: datetime) -> Iterator[Field]:
    age = _age(followed.heard_at or followed.job.started_at, now)
    if age >= SILENT_SECONDS:
        waits = _WAITS.get(followed.phase, "the job's process")
        yield Field("last news", f"no news for {span(age)}: it waits for {waits}", "warn")
    elif followed.heard_at:
        yield Field("last news", f"{span(age)} ago")
    if followed.note:
        yield Field("it says", followed.note)


def _age(moment: datetime, now: datetime) -> int:
    return max(0, round((now - moment).total_seconds()))
