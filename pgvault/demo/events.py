"""The events of the demonstration. The command line shows them as text or as JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StepStarted:
    title: str


@dataclass(frozen=True, slots=True)
class CommandStarted:
    """A command as a person would type it. Its output follows as `OutputLine`."""

    argv: tuple[str, ...]
    background: bool = False


@dataclass(frozen=True, slots=True)
class OutputLine:
    """A line of a command's output; standard output and standard error in their order."""

    line: str


@dataclass(frozen=True, slots=True)
class StepEnded:
    title: str
    seconds: float


Event = StepStarted | CommandStarted | OutputLine | StepEnded
Emit = Callable[[Event], None]
