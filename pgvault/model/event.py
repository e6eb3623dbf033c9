"""The events of a job: frozen and typed, one JSON line each in its journal.

Engine functions receive an `Emit` and call it; it never blocks and never raises. Counting costs nothing, and reports
are rare: `Progressed` comes at most four times a second.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum

from pgvault.model.job import JobState


def now() -> datetime:
    return datetime.now(UTC)


class Level(Enum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class JobStarted:
    job: str
    kind: str
    server: str
    command: str
    """The command line that does the same, as a person would type it."""
    at: datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True)
class PhaseStarted:
    phase: str
    total_bytes: int | None = None
    """The size of the whole phase in bytes; None if it cannot be known beforehand."""
    at: datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True)
class Progressed:
    done_bytes: int
    files: int = 0
    at: datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True)
class CommandRan:
    host: str
    command: str
    """The command, joined for a shell, with secrets masked."""
    seconds: float
    status: int
    at: datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True)
class Checked:
    check: str
    outcome: str
    detail: str = ""
    hint: str = ""
    at: datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True)
class Noted:
    text: str
    level: Level = Level.INFO
    code: str = ""
    at: datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as it was reported, with everything a person needs to act on it."""

    message: str
    detail: str
    hint: str
    code: str
    exit_code: int


@dataclass(frozen=True, slots=True)
class JobFinished:
    state: JobState
    verdict: str = ""
    """What was achieved, in one sentence."""
    error: Failure | None = None
    at: datetime = field(default_factory=now)


Event = JobStarted | PhaseStarted | Progressed | CommandRan | Checked | Noted | JobFinished
Emit = Callable[[Event], None]
EVENT_TYPES: tuple[type[Event], ...] = (JobStarted, PhaseStarted, Progressed, CommandRan, Checked, Noted, JobFinished)


def discard(event: Event) -> None:
    """Ignore an event: the `Emit` for callers that do not listen."""
