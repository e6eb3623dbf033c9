"""The jobs of a vault as a console follows them: by reading their journals, so that any number of consoles can.

Ended jobs are read once. Running ones are followed from their first event on, so that a console opened in the middle
shows the whole history.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from pgvault.console.commands import CommandLog
from pgvault.jobs.journal import EVENTS, Tail
from pgvault.jobs.registry import job_ids, jobs_directory, read_job
from pgvault.model.errors import NotFound
from pgvault.model.event import CommandRan, Event, Noted, PhaseStarted, Progressed
from pgvault.model.job import Job
from pgvault.model.pace import Pace, Progress
from pgvault.model.text import span
from pgvault.vault.layout import Vault

LOOKED_AT = 500
"""How many of the newest jobs are examined, besides those that ran at the last look; older ones ended long ago."""
SILENT_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Followed:
    """A running job, and its last reports."""

    job: Job
    phase: str = ""
    phase_at: datetime | None = None
    progress: Progress | None = None
    """The last progress; None in a phase that reports none, of which only the elapsed time is known."""
    heard_at: datetime | None = None
    """The time of the last event."""
    moved_at: datetime | None = None
    """The time of the last event that advanced the progress or began a phase."""
    note: str = ""
    """The last text that the job reported since then."""
    command: str = ""
    """The last command that it ran, with its host."""

    def stillness(self, now: datetime) -> str:
        """Return `no news for 12 s`, or `nothing has moved for 40 s` for a job that reports events and no progress;
        empty while it advances, and in a phase without progress.
        """
        for since, words in ((self.heard_at or self.job.started_at, "no news"),
                             (self.moved_at if self.progress else None, "nothing has moved")):
            seconds = int((now - since).total_seconds()) if since else 0
            if seconds >= SILENT_SECONDS:
                return f"{words} for {span(seconds)}"
        return ""


class _Follower:
    def __init__(self, directory: Path, log: CommandLog | None) -> None:
        self.directory, self._log = directory, log
        self._tail, self._pace = Tail(directory / EVENTS), Pace()
        self.state = Followed(read_job(directory))

    def look(self) -> None:
        """Read new events. The job's state is read first, so that all events of a job that has ended by then are read.
        """
        state = replace(self.state, job=read_job(self.directory))
        for event in self._tail.read():
            state = replace(self._after(state, event), heard_at=event.at)
        self.state = state

    def _after(self, state: Followed, event: Event) -> Followed:
        match event:
            case PhaseStarted():
                self._pace.start(event)
                return replace(state, phase=event.phase, phase_at=event.at, progress=None, command="",
                               moved_at=event.at, note="")
            case Progressed():
                before, progress = state.progress, self._pace.at(event)
                if before and progress.done <= before.done:
                    return replace(state, progress=progress)
                return replace(state, progress=progress, moved_at=event.at, note="")
            case Noted(text):
                return replace(state, note=text)
            case CommandRan():
                if self._log:
                    began = event.at - timedelta(seconds=event.seconds)
                    self._log.record(event.command, event.host, began, event.seconds, event.status)
                return replace(state, command=f"{event.host}: {event.command}" if event.host else event.command)
        return state


class JobBook:
    """All jobs, newest first, and those that run.

    A look publishes its result only when it is complete: until then readers see that of the look before.
    """

    def __init__(self, home: Path, log: CommandLog | None = None) -> None:
        self._home, self._log = home, log
        self._turn = threading.Lock()
        self._followers: dict[str, _Follower] = {}
        self._ended: dict[str, Job] = {}
        self._gone: dict[str, Job] = {}
        """The last known state of ended jobs whose directories are no longer there."""
        self._living: Mapping[str, Followed] = {}
        self.ids: tuple[str, ...] = ()
        """The ids of all jobs, newest first."""
        self._looked = False
        self._changes = 0

    def look(self) -> int:
        """Read what has changed, and return the number of changes so far, by which a late caller misses none.

        Blocks while a few small files are read, and while another thread looks. Raises NotFound where there is no
        vault: what was known of its jobs is kept, and is not known to be current.
        """
        with self._turn:
            self._changes += self._look()
            return self._changes

    def _look(self) -> bool:
        if not Vault(self._home).is_there:
            Vault.open(self._home)
        ids = tuple(sorted(job_ids(self._home), reverse=True))
        for job_id in self._ended.keys() - set(ids):
            self._gone[job_id] = self._ended.pop(job_id)
        at_hand = {*ids[:LOOKED_AT], *self._followers} - self._ended.keys()
        missing = {job_id for job_id in sorted(at_hand, reverse=True) if not self._look_at(job_id)}
        ids = tuple(job_id for job_id in ids if job_id not in missing)
        living = {job_id: self._followers[job_id].state for job_id in sorted(self._followers, reverse=True)}
        changed = (ids, living) != (self.ids, self._living)
        self._living, self.ids = living, ids
        self._looked = True
        return changed

    def job(self, job_id: str) -> Job:
        """Return a job, or the last known state of one that is gone. Raises NotFound for one that was never seen."""
        if followed := self._living.get(job_id):
            return followed.job
        if job := self._ended.get(job_id):
            return job
        try:
            job = read_job(jobs_directory(self._home) / job_id)
        except NotFound:
            if job_id not in self._gone:
                raise
            return self._gone[job_id]
        if job.state.final and job_id in self.ids:  # the others are left to the next look
            self._ended.setdefault(job_id, job)
        return job

    @property
    def is_known(self) -> bool:
        """True once the jobs were read; before that it is not even known whether there are any."""
        return self._looked

    @property
    def running(self) -> Sequence[Followed]:
        """The running jobs, newest first."""
        return list(self._living.values())

    def followed(self, job_id: str) -> Followed | None:
        """Return the job that is followed; None if it has ended."""
        return self._living.get(job_id)

    def _look_at(self, job_id: str) -> bool:
        """Look at a job; return False if it is not there any more."""
        follower = self._followers.get(job_id)
        try:
            if follower is None:
                directory = jobs_directory(self._home) / job_id
                job = read_job(directory)
                if job.state.final and not self._looked:
                    self._ended[job_id] = job
                    return True
                # One that began and ended since the last look is read too: its commands belong in the log.
                follower = self._followers[job_id] = _Follower(directory, self._log)
            follower.look()
        except NotFound:
            if follower:
                self._gone[job_id] = self._followers.pop(job_id).state.job
            return False
        if follower.state.job.state.final:
            self._ended[job_id] = follower.state.job
            del self._followers[job_id]
        return True
