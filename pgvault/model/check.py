"""Checks: findings about a server, chained so that the first cause is shown and not its echoes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum


class Outcome(Enum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"
    """Not run, because what it needs has failed, or because it does not apply: never drawn as good."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a check."""

    name: str
    outcome: Outcome
    detail: str = ""
    """The evidence, as seen."""
    cause: str = ""
    """Why; for a blocked check the name of the check that blocks it."""
    fix: str = ""
    """The exact command or setting that mends it."""


def chain(findings: Iterable[Finding], needs: Mapping[str, tuple[str, ...]]) -> tuple[Finding, ...]:
    """Mark every finding whose needs have failed as blocked: the first cause keeps its evidence."""
    done: dict[str, Finding] = {}
    for finding in findings:
        for need in needs.get(finding.name, ()):
            before = done.get(need)
            if before and (before.outcome is Outcome.FAILED or (before.outcome is Outcome.SKIPPED and before.cause)):
                root = before.cause if before.outcome is Outcome.SKIPPED else before.name
                finding = replace(finding, outcome=Outcome.SKIPPED, detail=f"blocked by: {root}", cause=root, fix="")
                break
        done[finding.name] = finding
    return tuple(done.values())


def overall(findings: Iterable[Finding]) -> Outcome:
    outcomes = {finding.outcome for finding in findings}
    for worst in (Outcome.FAILED, Outcome.WARNING):
        if worst in outcomes:
            return worst
    return Outcome.OK
