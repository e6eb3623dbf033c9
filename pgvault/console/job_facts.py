"""Everything about one job as fields: its state, why it failed and what to do next, its command, its plan."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from pgvault.console import plan_facts
from pgvault.console.command_words import in_words
from pgvault.console.fields import Field, gap, heading
from pgvault.console.glyphs import Glyphs
from pgvault.console.jobline import job_name, state_part
from pgvault.console.joblines import took
from pgvault.console.journal_rows import ENDED
from pgvault.jobs.encoding import decode
from pgvault.jobs.failures import failure_of
from pgvault.jobs.journal import EVENTS, read_edges
from pgvault.jobs.plan import read_plan
from pgvault.jobs.registry import read_job
from pgvault.model.errors import PgvaultError
from pgvault.model.event import CommandRan, Failure
from pgvault.model.job import Job
from pgvault.model.text import Painted, Part, stamp

_EVENT_TEXT = 15 + 2 + 8 + 2
"""The columns before an event's text: its time and its word."""


class Facts(NamedTuple):
    """The contents of a job's directory."""

    job: Job
    failure: Failure | None
    failed_command: CommandRan | None
    """The last command that failed, of a job that failed."""
    plan: Mapping[str, Any]
    journal: Path


def read_facts(directory: Path) -> Facts:
    """Read a job's directory, and of the plan what can be read. Raises PgvaultError or OSError if the rest cannot be
    read.
    """
    job = read_job(directory)
    failure = failure_of(job.state, read_edges(directory)[1])
    try:
        plan: Mapping[str, Any] = read_plan(directory)
    except PgvaultError as error:
        plan = {"unreadable": error.detail}
    return Facts(job, failure, _failed_command(directory / EVENTS) if failure else None, plan, directory / EVENTS)


def _failed_command(journal: Path) -> CommandRan | None:
    try:
        with open(journal, "rb") as file:
            lines = [line for line in file if line.startswith(b'{"event":"CommandRan"')]
    except FileNotFoundError:  # it was lost before it began
        return None
    events = (decode(line) for line in reversed(lines))
    return next((event for event in events if isinstance(event, CommandRan) and event.status), None)


def job_fields(facts: Facts, now: datetime, glyphs: Glyphs) -> Iterator[Field]:
    """Yield the facts of a job; of a running one all but its progress."""
    job = facts.job
    yield from ending(facts, glyphs)
    if facts.failure:
        yield gap()
    yield Field("job", f"{job.id}, {job_name(job)}")
    yield Field("began", stamp(job.started_at))
    if job.finished_at:
        yield Field("ended", f"{stamp(job.finished_at)}, after {took(job, now)}")
    if job.pid:
        yield Field("process", f"{job.pid} on {job.host}")
    yield Field("command", job.command or "-")
    yield Field("journal", str(facts.journal))
    if facts.plan:
        yield gap()
        yield heading("plan")
        yield from plan_facts.plan_fields(job.kind, facts.plan)


def digest(facts: Facts, events: Iterable[Sequence[Part]], glyphs: Glyphs) -> Iterator[Field]:
    """Yield the most important facts, for a few lines below a list; `events` are the newest rows of its journal, newest
    first.
    """
    job = facts.job
    yield from ending(facts, glyphs)
    if not job.state.final:
        state = state_part(job.state, glyphs)
        yield Field("state", f"{state.text} since {stamp(job.started_at)}", state.style)
    if place := plan_facts.destination(facts.plan):
        yield Field("to", place)
    yield Field("command", job.command or "-")
    shown = (each for each in events if str(each[1]) != ENDED)  # its end is shown above
    for number, (at, word, text) in enumerate(shown):
        style = text.style if isinstance(text, Painted) else ""
        yield Field("" if number else "last events", f"{at!s:<15}  {word!s:<8}  {text}", style, hang=_EVENT_TEXT)


def ending(facts: Facts, glyphs: Glyphs) -> Iterator[Field]:
    """Yield how the job ended and, unless it succeeded, everything about the cause; nothing for a running job."""
    job, state = facts.job, state_part(facts.job.state, glyphs)
    if facts.failure:
        yield Field("state", f"{state.text}: {job_name(job)}", state.style)
        yield from explained(facts.failure, _where(facts))
    elif job.state.final:
        yield Field("state", ": ".join(filter(None, (state.text, job.verdict))), state.style)


def _where(facts: Facts) -> str:
    """Return the command that failed and its host, or else the job's subject."""
    if ran := facts.failed_command:
        return f"{ran.host or 'this machine'}: {in_words(ran.command)} (exit {ran.status})"
    server = f"server {facts.job.server}" if facts.job.server else "this machine"
    return plan_facts.destination(facts.plan) or server


def explained(failure: Failure | PgvaultError, where: str = "") -> Iterator[Field]:
    """Yield what failed, where, why, what to do next, and the error code for `explain`."""
    yield Field("what failed", failure.message, "bad")
    if where:
        yield Field("where", where)
    if failure.detail:
        yield Field("cause", failure.detail)
    if failure.hint:
        yield Field("next step", failure.hint, "bold")
    yield Field("code", f"{failure.code}: pgvault explain {failure.code}", "accent")
