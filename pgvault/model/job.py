"""Jobs: the states of one execution and the moves between them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum


class JobState(Enum):
    STARTING = "starting"
    """It is being planned: nothing was changed yet."""
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"
    """No final event, and its process is gone."""

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
    """One execution as it stands in the vault."""

    id: str
    kind: JobKind
    server: str
    state: JobState
    command: str
    pid: int | None
    host: str
    """The machine it runs on."""
    started_at: datetime
    finished_at: datetime | None
    verdict: str
    """What was achieved, or the error's message."""
    exit_code: int | None
