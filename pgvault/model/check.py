"""Checks of a server. They depend on one another, so that the first cause is shown instead of everything it breaks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Generic, TypeVar

from pgvault.model.secrets import masked

Facts = TypeVar("Facts")


class Outcome(Enum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"
    """The check did not run, because a check it needs has failed or because it does not apply. It never counts as
    good."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a check."""

    name: str
    outcome: Outcome
    detail: str = ""
    """The evidence that was found."""
    cause: str = ""
    """The reason; for a blocked check the name of the check that blocks it."""
    fix: str = ""
    """The exact command or setting that corrects it."""

    @property
    def root(self) -> str:
        """The name of the check that blocks those which need this one; empty when none does."""
        if self.outcome is Outcome.FAILED:
            return self.name
        return self.cause if self.outcome is Outcome.SKIPPED else ""


@dataclass(frozen=True, slots=True)
class Check(Generic[Facts]):
    """One row of a table of checks."""

    name: str
    find: Callable[[Facts], Finding]
    """A pure function. Its finding has no name yet. It is called only if nothing that it needs has failed."""
    needs: tuple[str, ...] = ()
    """Names of rows above this one."""


def evaluate(checks: Sequence[Check[Facts]], facts: Facts) -> tuple[Finding, ...]:
    """Return the findings in order. A check that needs a failed one is skipped, and names the first cause."""
    done: dict[str, Finding] = {}
    for check in checks:
        root = next((done[need].root for need in check.needs if done[need].root), "")
        finding = Finding("", Outcome.SKIPPED, f"blocked by: {root}", root) if root else check.find(facts)
        done[check.name] = replace(finding, name=check.name, detail=masked(finding.detail), cause=masked(finding.cause))
    return tuple(done.values())


def overall(findings: Iterable[Finding]) -> Outcome:
    outcomes = {finding.outcome for finding in findings}
    for worst in (Outcome.FAILED, Outcome.WARNING):
        if worst in outcomes:
            return worst
    return Outcome.OK


def ok(detail: str = "") -> Finding:
    return Finding("", Outcome.OK, detail)


def warning(detail: str, cause: str = "", fix: str = "") -> Finding:
    return Finding("", Outcome.WARNING, detail, cause, fix)


def failed(detail: str, cause: str = "", fix: str = "") -> Finding:
    return Finding("", Outcome.FAILED, detail, cause, fix)


def not_applicable(why: str) -> Finding:
    """Return a skipped finding that blocks nothing."""
    return Finding("", Outcome.SKIPPED, why)
