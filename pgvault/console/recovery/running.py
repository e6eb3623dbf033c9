"""A running restore as lines: what it does, how far it is, what is to come, and when it was last heard of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from pgvault.console.fields import LABEL, Field, gap
from pgvault.console.glyphs import Glyphs
from pgvault.console.jobbook import Followed
from pgvault.console.jobline import bar
from pgvault.console.recovery.draft import Draft, Then
from pgvault.model.event import Event, PhaseStarted, Progressed
from pgvault.model.job import JobState
from pgvault.model.pace import Progress
from pgvault.model.text import elapsed, size, span

PHASES = {
    "salvage": ("saves", "the WAL of what is overwritten"),
    "copy": ("copies", "the backup and its WAL"),
    "flush": ("flushes", "everything to the destination's disks"),
    "start": ("starts", "the restored server"),
    "recover": ("replays", "WAL up to the target, in the restored server"),
    "look": ("looks", "whether the expected tables are there"),
}
"""The phases of a restore, in words."""
_WAITS = {"salvage": "the destination's disk", "copy": "the destination, or the connection to it",
          "flush": "the destination's disks", "start": "the restored server to start",
          "recover": "the restored server, which replays WAL", "look": "the restored server to answer"}


@dataclass(frozen=True, slots=True)
class Phase:
    name: str
    began: datetime
    ended: datetime | None = None
    """When the phase ended; None if it is the running one."""
    done: int = 0
    """The bytes done; 0 in a phase that counts none."""


@dataclass
class Course:
    """The phases so far, from the job's events as they arrive."""

    phases: list[Phase] = field(default_factory=list)

    def take(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, PhaseStarted):
                self._end(event.at)
                self.phases.append(Phase(event.phase, event.at))
            elif isinstance(event, Progressed) and self.phases:
                self.phases[-1] = replace(self.phases[-1], done=event.done_bytes)

    def _end(self, at: datetime) -> None:
        if self.phases:
            self.phases[-1] = replace(self.phases[-1], ended=at)


def to_come(draft: Draft, seen: Sequence[str]) -> list[str]:
    """Return the phases that the draft's restore still has before it."""
    phases = ["copy", "flush"]
    if draft.start:
        phases += ["start", "recover"]
    if draft.expect and draft.is_asked and draft.then is not Then.STANDBY:
        phases.append("look")
    last = max((phases.index(name) for name in seen if name in phases), default=-1)
    return phases[last + 1:] if "look" not in seen else []


def run_fields(draft: Draft, followed: Followed | None, phases: Sequence[Phase], now: datetime, glyphs: Glyphs,
               columns: int, *, foremost: bool = False) -> Iterator[Field]:
    """Yield what is known of the draft's job; `followed` is None before the job was first looked at. With `foremost`
    the present activity is on top, where not all lines are visible.
    """
    job = (Field("job", f"pgvault job watch {draft.job}, from any terminal", ""),
           Field("", "it goes on when this screen, the console or the connection ends", "dim"))
    if followed is None:
        yield from (*job, Field("state", "not heard of yet"))
        return
    state, running = _state(followed, now), _running(phases, followed, now, glyphs, columns)
    coming = _coming(draft, followed, phases)
    if foremost:
        yield from (*state, *running, *coming, *_done(phases), *job)
    else:
        yield from (*job, *state, gap(), *_done(phases), *running, *coming)


def _coming(draft: Draft, followed: Followed, phases: Sequence[Phase]) -> Iterator[Field]:
    if followed.job.state is not JobState.CANCELLING:
        coming = to_come(draft, [phase.name for phase in phases] or [followed.phase])
        for number, name in enumerate(coming):
            yield Field("then" if not number else "", _phase_text(name), "dim")


def _phase_text(phase: str) -> str:
    return " ".join(PHASES.get(phase, (phase, ""))).strip()


def _state(followed: Followed, now: datetime) -> Iterator[Field]:
    """Describe the job's state, and when it was last heard of: a silent job is shown with what it waits for."""
    job = followed.job
    undoing = ": what was begun is being undone" if job.state is JobState.CANCELLING else ""
    quiet = followed.stillness(now)
    heard = f"; last heard of {elapsed(followed.heard_at, now)} ago" if followed.heard_at and not quiet else ""
    yield Field("state", f"{job.state.value}{undoing}, {elapsed(job.started_at, now)} since it began{heard}",
                "warn" if undoing else "accent")
    if quiet:
        waits = _WAITS.get(followed.phase, "the job's process")
        yield Field("", followed.note or f"{quiet}: it waits for {waits}", "warn")


def _done(phases: Sequence[Phase]) -> Iterator[Field]:
    for number, phase in enumerate(each for each in phases if each.ended):
        seconds = elapsed(phase.began, phase.ended or phase.began)
        yield Field("done" if not number else "", f"{_phase_text(phase.name)}: "
                                                  f"{f'{size(phase.done)} in ' if phase.done else ''}{seconds}", "good")


def _running(phases: Sequence[Phase], followed: Followed, now: datetime, glyphs: Glyphs,
             columns: int) -> Iterator[Field]:
    """Yield the running phase. The events may have been read further than the job was followed: the amount is shown if
    both are in one phase.
    """
    here = phases[-1] if phases else Phase(followed.phase, followed.phase_at or now) if followed.phase else None
    if here is None:
        return
    yield Field("now", f"{_phase_text(here.name)}, for {elapsed(here.began, now)}", "bold")
    if followed.progress and followed.phase == here.name:
        yield Field("", _progress(followed.progress, glyphs, columns, moves=not followed.stillness(now)))


def _progress(progress: Progress, glyphs: Glyphs, columns: int, *, moves: bool) -> str:
    """Describe the progress; of a phase without news only the amount: its rate is past, and the rest unknown."""
    amount = size(progress.done) + (f" of {size(progress.total)}" if progress.total else "")
    if not moves:
        return amount if progress.share is None else f"{progress.share:.0%}, {amount}"
    rate = f"  {size(round(progress.rate))}/s" if progress.rate else ""
    left = f"  {span(round(progress.seconds_left))} left" if progress.rate and progress.seconds_left else ""
    if progress.share is None:
        return f"{amount}{rate}"
    behind = f" {progress.share:4.0%}  {amount}{rate}{left}"
    return f"{bar(progress.share, max(8, min(columns - LABEL - 2 - len(behind), 40)), glyphs)}{behind}"
