"""How a restore ended, said line by line: the verdict and what it rests on, or what failed and what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pgvault.config.schema import HostConfig, ServerConfig
from pgvault.console.fields import LABEL, Field, gap, heading
from pgvault.console.wizard.afterwards import BRING_BACK, Next, afterwards
from pgvault.console.wizard.draft import Draft, Then
from pgvault.console.wizard.planned import OUTCOME, outcome_field, told_change
from pgvault.model.event import Checked, Event, JobFinished, Level, Noted, PhaseStarted
from pgvault.model.job import Job, JobState
from pgvault.model.text import span

_SAYS = " says: "
"""In front of what the restored server's own log says."""
_DONE_BESIDES = ("salvaged", "kept")
"""Codes of what was done with what is overwritten: its newest WAL is in the vault, it lies under another name."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that has ended, its events and the plan that it carried out."""

    job: Job
    events: Sequence[Event] = ()
    plan: Mapping[str, Any] = field(default_factory=dict)

    @property
    def finished(self) -> JobFinished | None:
        return next((each for each in reversed(self.events) if isinstance(each, JobFinished)), None)


def told(ended: Ended, draft: Draft, server: ServerConfig, host: HostConfig | None) -> Iterator[Field]:
    job = ended.job
    if job.state is JobState.SUCCEEDED:
        yield Field("verdict", job.verdict, "good")
        yield from _checks(ended)
        yield from (Field("kept", each.text) for each in ended.events
                    if isinstance(each, Noted) and each.code in _DONE_BESIDES)
        yield from _next(ended, draft, server, host)
        yield from _took(ended)
        yield from _made_safe(ended)
    else:
        yield from _failure(ended)
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


def _next(ended: Ended, draft: Draft, server: ServerConfig, host: HostConfig | None) -> Iterator[Field]:
    if not draft.is_asked:
        done = "it was shut down at the target; " if draft.start else ""
        yield Field("next", f"{done}start it: pg_ctl start -D {shlex.quote(draft.directory)}")
        return
    if draft.then is Then.STANDBY:
        return
    yield gap()
    where = f"on host {draft.host}" if draft.host and not (host and host.conninfo) else "on this machine"
    yield heading(f"What comes next, {where}; y copies the commands")
    for each in next_of(ended, draft, server, host):
        yield Field(each.name, each.says, "bold" if each.name == BRING_BACK else "")
        if each.command:
            yield Field("", each.command, "accent")
        if each.note:
            yield Field("", each.note, "dim")
    yield gap()


def next_of(ended: Ended, draft: Draft, server: ServerConfig, host: HostConfig | None) -> list[Next]:
    """What can be done with the server that was restored; nothing where it cannot be asked."""
    if ended.job.state is not JobState.SUCCEEDED or not draft.is_asked or draft.then is Then.STANDBY:
        return []
    return list(afterwards(draft, ended.plan, server, host, _span(ended.job)))


def _made_safe(ended: Ended) -> Iterator[Field]:
    safe = [told_change(change) for change in ended.plan.get("settings_changed", [])]
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
    """In which state the destination is."""
    told = [each for each in ended.events if isinstance(each, Noted) and (each.level is not Level.INFO
            or each.code in ("undone", *_DONE_BESIDES)) and each.code not in ("cancelling", "internal-error")]
    for number, each in enumerate(told):
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
