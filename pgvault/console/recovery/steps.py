"""The steps of a recovery: their order, and the line that shows the current one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum

from pgvault.model.text import Painted, Part, width


class Step(Enum):
    WHAT = "WHAT"
    POINT = "POINT"
    WHERE = "WHERE"
    REVIEW = "REVIEW"
    RUN = "RUN"
    PROOF = "PROOF"

    @property
    def title(self) -> str:
        return _TITLES[self]

    @property
    def number(self) -> int:
        return list(Step).index(self) + 1


_TITLES = {Step.WHAT: "what happened", Step.POINT: "the point", Step.WHERE: "where to", Step.REVIEW: "review",
           Step.RUN: "run", Step.PROOF: "proof"}
_PLANNING = (Step.WHAT, Step.POINT, Step.WHERE, Step.REVIEW)


def path(*, read_only: bool) -> tuple[Step, ...]:
    """Return the steps; a read-only console plans and stops there."""
    return _PLANNING if read_only else tuple(Step)


def after(step: Step, *, read_only: bool) -> Step | None:
    """Return the next step; None after the last one."""
    steps = path(read_only=read_only)
    index = steps.index(step) + 1
    return steps[index] if index < len(steps) else None


def before(step: Step) -> Step | None:
    """Return the step before; None at the first, and once the restore runs."""
    return _PLANNING[step.number - 2] if step in _PLANNING and step is not Step.WHAT else None


def shown(step: Step, *, read_only: bool, arrow: str, columns: int) -> list[Part]:
    """Return `step 2 of 6` and the whole path with this step marked; where it has no room, this step and the next."""
    line = list(_shown(step, path(read_only=read_only), arrow))
    if sum(width(str(part)) for part in line) <= columns:
        return line
    coming = after(step, read_only=read_only)
    return [*line[:2], Painted(step.title, "title"), *([Painted(f" {arrow} {coming.title}", "dim")] if coming else [])]


def _shown(step: Step, steps: Sequence[Step], arrow: str) -> Iterator[Part]:
    yield Painted(f" step {step.number} of {len(steps)}", "bold")
    yield "  "
    for each in steps:
        if each is not steps[0]:
            yield Painted(f" {arrow} ", "dim")
        yield Painted(each.title, "title" if each is step else "" if each.number < step.number else "dim")
