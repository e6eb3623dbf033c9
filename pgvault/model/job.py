"""The states of a job and the transitions between them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum


class JobState(Enum):
    STARTING = "starting"
    """The job is being planned. It has not changed anything yet."""
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"
    """The journal has no final event, and the process is gone."""

    @property
    def final(self) -> bool:
        return not NEXT[self]


NEXT: dict[JobState, frozenset[JobState]] = {
    JobState.STARTING: frozenset(
        {JobState.RUNNING, JobState.CANCELLING, JobState.FAILED, JobState.CANCELLED, JobState.LOST}),
    JobState.RUNNING: frozenset(
        {JobState.CANCELLING, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.LOST}),
    JobState.CANCELLING: frozenset({JobState.CANCELLED, JobState.SUCCEEDED, JobState.FAILED, JobState.LOST}),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
    JobState.LOST: frozenset(),
}


class JobKind(Enum):
    BACKUP = "backup"
    RESTORE = "restore"
    BRING_BACK = "bring-back"
    OPEN = "open"
    THROW_AWAY = "throw-away"
    MAINTENANCE = "maintenance"


@dataclass(frozen=True, slots=True)
class Job:
    """One job as the vault records it."""

    id: str
    kind: JobKind
    server: str
    state: JobState
    command: str
    pid: int | None
    host: str
    """The machine on which the job runs."""
    started_at: datetime
    finished_at: datetime | None
    verdict: str
    """What was achieved, or the error's message."""
    exit_code: int | None
