"""The first line of every screen: who works where, and whether anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvault.console.queries import operator
from pgvault.console.widgets.too_small import WHOLE
from pgvault.model.text import Painted, Part

if TYPE_CHECKING:
    from pgvault.console.base import BaseConsole


def head_parts(app: BaseConsole) -> tuple[list[Part], list[Part]]:
    """Return the left and the right part of the line; a small terminal leaves out what does not change."""
    mode = Painted("READ-ONLY", "warn") if app.options.read_only else Painted("ACTIVE", "bold")
    servers = len(app.queries.servers)
    clock = f"  {app.queries.now():%Y-%m-%d %H:%M}Z "
    left: list[Part] = [" ", Painted("pgvault", "title"), "  ", mode]
    if app.size.width < WHOLE[0]:
        return left, [_jobs(app), clock]
    return [*left, f"  {operator()}"], [f"{servers} server{'s' * (servers != 1)}  ", _jobs(app), clock]


def _jobs(app: BaseConsole) -> Part:
    if app.jobs_problem:
        return Painted("jobs not known", "warn")
    if not app.queries.jobs.is_known:
        return "reading the jobs"
    running = len(app.queries.jobs.running)
    return Painted(f"{running} job{'s' * (running != 1)} running", "accent") if running else "no jobs running"
