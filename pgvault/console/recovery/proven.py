"""The end of a restore as lines: the verdict and its grounds, or what failed and what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pgvault.console.fields import LABEL, Field, gap, heading
from pgvault.console.recovery.afterwards import BRING_BACK, OPEN, Next, Shown, afterwards
from pgvault.console.recovery.draft import Draft, Then
from pgvault.console.recovery.planned import OUTCOME, describe_change, outcome_field
from pgvault.jobs.copies import made_a_server
from pgvault.model.event import Checked, Event, JobFinished, Level, Noted, PhaseStarted
from pgvault.model.job import Job, JobKind, JobState
from pgvault.model.text import span

_SAYS = " says: "
"""The words before a line of the restored server's own log."""
_DONE_BESIDES = ("salvaged", "kept")
"""Codes of what was done with the overwritten cluster: its newest WAL is in the vault, its directory has another name.
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that has ended, its events and the plan that it carried out."""

    job: Job
    events: Sequence[Event] = ()
    plan: Mapping[str, Any] = field(default_factory=dict)

    @property
    def finished(self) -> JobFinished | None:
        return next((each for each in reversed(self.events) if isinstance(each, JobFinished)), None)


def proof_fields(ended: Ended, draft: Draft, since: Sequence[Job], line: Shown,
                 key: Callable[[str], str]) -> Iterator[Field]:
    """Yield the proof. `since` are the later jobs on the restored server, newest first, and stand first; `key` returns
    an action's key.
    """
    job = ended.job
    yield from _since(since)
    if job.state is JobState.SUCCEEDED:
        yield Field("verdict", job.verdict, "good")
        yield from _checks(ended)
        yield from (Field("kept", each.text) for each in ended.events
                    if isinstance(each, Noted) and each.code in _DONE_BESIDES)
        yield from _next(ended, draft, since, line, key)
        yield from _took(ended)
        if not is_thrown_away(since):
            yield from _made_safe(ended)
    else:
        yield from _failure(ended)
        if made_a_server(job):
            yield from _next(ended, draft, since, line, key)
        yield from _took(ended)
        yield from _left(ended)
    yield from _log(ended)


def _took(ended: Ended) -> Iterator[Field]:
    yield Field("took", f"{_span(ended.job)}; pgvault job show {ended.job.id}")


def _span(job: Job) -> str:
    return span((job.finished_at - job.started_at).total_seconds() if job.finished_at else None)


def _checks(ended: Ended) -> Iterator[Field]:
    for number, each in enumerate(e for e in ended.events if isinstance(e, Checked)):
        detail = f": {each.detail}" if each.detail else ""
        yield outcome_field("proof" if not number else "", each.outcome, f"{each.check}{detail}")
        if each.hint and each.outcome != "ok":
            yield Field("", each.hint, "bold", indent=LABEL + OUTCOME)


_SINCE = {JobState.SUCCEEDED: "good", JobState.FAILED: "bad", JobState.LOST: "bad", JobState.CANCELLED: "warn"}


def _since(jobs: Sequence[Job]) -> Iterator[Field]:
    """Yield what was done with the restored server, the newest of each kind: only a successful job counts."""
    for kind in dict.fromkeys(job.kind for job in jobs):
        job = next(each for each in jobs if each.kind is kind)
        outcome = job.verdict if job.state is JobState.SUCCEEDED else \
            ": ".join(filter(None, (f"{job.state.value}, job {job.id}", job.verdict)))
        yield Field(kind.value.replace("-", " "), outcome, _SINCE.get(job.state, "accent"))


def is_thrown_away(jobs: Sequence[Job]) -> bool:
    return any(job.kind is JobKind.THROW_AWAY and job.state is JobState.SUCCEEDED for job in jobs)


def _next(ended: Ended, draft: Draft, since: Sequence[Job], line: Shown, key: Callable[[str], str]) -> Iterator[Field]:
    if not draft.is_asked:
        done = "it was shut down at the target; " if draft.start else ""
        yield Field("next", f"{done}start it: pg_ctl start -D {shlex.quote(draft.directory)}")
        return
    steps = next_of(ended, draft, since)
    if not steps:
        return
    yield gap()
    yield heading("What comes next; c shows the command")
    for each in steps:
        yield Field(f"{key(each.action)} {each.name}", each.says, "bold" if each.action == BRING_BACK else "")
        if each.words:
            yield Field("", line(each.words), "accent")
    yield gap()


def next_of(ended: Ended, draft: Draft, since: Sequence[Job] = ()) -> list[Next]:
    """Return what can be done with the restored server; nothing if it cannot be queried, or is gone."""
    if not made_a_server(ended.job) or not draft.is_asked or draft.then is Then.STANDBY or \
            is_thrown_away(since):
        return []
    steps = list(afterwards(draft, _span(ended.job)))
    if ended.job.state is JobState.SUCCEEDED:
        return steps
    return sorted(steps, key=lambda each: each.action != OPEN)  # an unreadable table is locked until OPEN


def _made_safe(ended: Ended) -> Iterator[Field]:
    safe = [describe_change(change) for change in ended.plan.get("settings_changed", [])]
    for number, text in enumerate([*safe, "archiving is off there: set it up anew before you rely on it"]):
        yield Field("made safe" if not number else "", text)


def _failure(ended: Ended) -> Iterator[Field]:
    finished, job = ended.finished, ended.job
    style = "warn" if job.state is JobState.CANCELLED else "bad"
    yield Field(job.state.value, job.verdict, style)
    if finished and (error := finished.error):
        if error.detail:
            yield Field("cause", error.detail)
        if error.hint:
            yield Field("next step", error.hint, "bold")
        yield Field("exit code", f"{error.exit_code}: pgvault explain {error.code}")
    elif job.state is JobState.LOST:
        yield Field("next step", f"its process is gone: the same restore, planned again, clears what it left; "
                                 f"pgvault job show {job.id}", "bold")


def _left(ended: Ended) -> Iterator[Field]:
    """Yield the state of the destination."""
    notes = [each for each in ended.events if isinstance(each, Noted)
             and (each.level is not Level.INFO or each.code in ("undone", *_DONE_BESIDES))
             and each.code not in ("cancelling", "internal-error")]
    for number, each in enumerate(notes):
        yield Field("destination" if not number else "", each.text, "warn" if each.level is not Level.INFO else "")
    if not any(isinstance(each, PhaseStarted) for each in ended.events):
        yield Field("destination", "nothing was written there")


def _log(ended: Ended) -> Iterator[Field]:
    lines = [each.text.partition(_SAYS)[2] for each in ended.events if isinstance(each, Noted) and _SAYS in each.text]
    if lines:
        yield gap()
        yield heading("The restored server's own log")
        for line in lines:
            yield Field("", line, "dim", 1)
