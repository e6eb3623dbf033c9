"""Everything about one job as fields: how it stands, why it failed and what to do next, its command, its plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from pgvault.console.ages import stamp
from pgvault.console.fields import Field, gap, heading
from pgvault.console.glyphs import Glyphs
from pgvault.console.joblines import took
from pgvault.console.widgets.jobline import job_name, state_part
from pgvault.jobs.encoding import decode, plain
from pgvault.jobs.journal import EVENTS, read_edges
from pgvault.jobs.plan import read_plan
from pgvault.jobs.registry import read_job
from pgvault.jobs.telling import failure_of
from pgvault.model.errors import PgvaultError
from pgvault.model.event import CommandRan, Failure
from pgvault.model.job import Job
from pgvault.model.text import span


class Facts(NamedTuple):
    """What a job's directory holds."""

    job: Job
    failure: Failure | None
    failed_command: CommandRan | None
    """The last one that failed, of a job that failed."""
    plan: Mapping[str, Any]
    journal: Path


def read_facts(directory: Path) -> Facts:
    """PgvaultError or OSError when they cannot be read; of the plan only what can be."""
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
    except FileNotFoundError:  # lost before it began
        return None
    events = (decode(line) for line in reversed(lines))
    return next((event for event in events if isinstance(event, CommandRan) and event.status), None)


def told(facts: Facts, now: datetime, glyphs: Glyphs) -> Iterator[Field]:
    """Of a job at work all but how far it is."""
    job, state = facts.job, state_part(facts.job.state, glyphs)
    if facts.failure:
        yield Field("state", f"{state.text}: {job_name(job)}", state.style)
        yield from explained(facts.failure, facts.failed_command)
        yield gap()
    elif job.state.final:
        yield Field("state", ": ".join(filter(None, (state.text, job.verdict))), state.style)
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
        yield from _plan(facts.plan)


def explained(failure: Failure | PgvaultError, command: CommandRan | None = None) -> Iterator[Field]:
    """What failed, on which host, why, what to do next, and the code by which it is explained."""
    yield Field("what failed", failure.message, "bad")
    if command:
        yield Field("where", f"{command.host or 'this machine'}: {command.command} (exit {command.status})")
    if failure.detail:
        yield Field("cause", failure.detail)
    if failure.hint:
        yield Field("next step", failure.hint, "bold")
    yield Field("code", f"{failure.code}: pgvault explain {failure.code}", "accent")


def _plan(plan: Mapping[str, Any], before: str = "") -> Iterator[Field]:
    for name, value in plan.items():
        if isinstance(value, Mapping):
            yield from _plan(value, f"{before}{name}.")
        elif isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
            for number, each in enumerate(value, 1):
                yield from _plan(each, f"{before}{name}.{number}.")
        else:
            yield Field("", f"{before}{name} = {_value(name, value)}", "", 1)


def _value(name: str, value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, plain(value))) or "-"
    if name.endswith("seconds") and isinstance(value, int | float):
        return span(value)
    return str(plain(value)) if value != "" else "-"
