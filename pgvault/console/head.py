"""The top of every screen: who works where, whether anything runs, and the views as tabs next to the breadcrumb."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pgvault.console.keys import BY_ID, VIEWS, keys_of, shown
from pgvault.console.queries import operator
from pgvault.console.widgets.too_small import WHOLE
from pgvault.model.text import Painted, Part, width

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


def tabs(here: str, room: int, keymap: Mapping[str, str], *, dim: bool = False) -> list[Part]:
    """Return `1 overview [2 backups] 3 wal ...` in at most that many columns; without the other views' names where they
    have no room, and nothing where even that has none. With `dim` their keys would be typed into a field now.
    """
    for names in (VIEWS, (here,)):
        parts = _draw_tabs(here, names, keymap, dim=dim)
        if sum(width(str(part)) for part in parts) <= room:
            return parts
    return []


def _draw_tabs(here: str, names: Sequence[str], keymap: Mapping[str, str], *, dim: bool) -> list[Part]:
    parts: list[Part] = []
    for view in VIEWS:
        key = next(iter(keys_of(BY_ID[f"view-{view}"], keymap)), "")
        text = f"{shown(key)} {view}" if view in names else shown(key)
        parts.append(Painted(f"[{text}]", "title") if view == here else Painted(f" {text} ", "dim" if dim else ""))
    return parts
