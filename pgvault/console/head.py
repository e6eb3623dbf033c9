"""The first line of every screen: as whom and where one works, and whether anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvault.console.world import operator
from pgvault.model.text import Painted, Part

if TYPE_CHECKING:
    from pgvault.console.app import ConsoleApp


def head_parts(app: ConsoleApp) -> tuple[list[Part], list[Part]]:
    """What it says at its left and its right."""
    mode = Painted("READ-ONLY", "warn") if app.options.read_only else Painted("ACTIVE", "bold")
    servers = len(app.world.servers)
    left: list[Part] = [" ", Painted("pgvault", "title"), "  ", mode, f"  {operator()}"]
    return left, [f"{servers} server{'s' * (servers != 1)}  ", _jobs(app), f"  {app.world.now():%Y-%m-%d %H:%M}Z "]


def _jobs(app: ConsoleApp) -> Part:
    if app.jobs_problem:
        return Painted("jobs not known", "warn")
    if not app.world.jobs.is_known:
        return "reading the jobs"
    running = len(app.world.jobs.running)
    return Painted(f"{running} job{'s' * (running != 1)} running", "accent") if running else "no jobs running"
