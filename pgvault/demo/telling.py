"""What the demonstration tells of itself; the command line shows it as text or as JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StepStarted:
    title: str


@dataclass(frozen=True, slots=True)
class CommandStarted:
    """A command as a person would type it; what it says follows as `Said`."""

    argv: tuple[str, ...]
    background: bool = False


@dataclass(frozen=True, slots=True)
class Said:
    """A line of a command's output, standard output and standard error in their order."""

    line: str


@dataclass(frozen=True, slots=True)
class StepEnded:
    title: str
    seconds: float


Happening = StepStarted | CommandStarted | Said | StepEnded
Tell = Callable[[Happening], None]
