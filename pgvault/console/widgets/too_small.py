"""The contents of a terminal that is too small for a screen: the size that is needed, the running jobs, and how to
leave.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pgvault.console.jobline import job_line
from pgvault.console.widgets.lineview import Line, LineView
from pgvault.model.text import Painted

if TYPE_CHECKING:
    from textual.geometry import Size

    from pgvault.console.base import BaseConsole

COLUMNS, LINES = 60, 15
"""The least size in which a screen can be used."""
WHOLE = 80, 24
"""The least size in which every screen is complete."""


def lacking(size: Size) -> str:
    """Return the note for a terminal that shows each screen, but not all of it at once; empty for one that does."""
    return "" if size.width >= WHOLE[0] and size.height >= WHOLE[1] else f"small: {WHOLE[0]}x{WHOLE[1]} shows more "


class TooSmall(LineView):
    """The note, hidden while there is room; `View` shows it in front of everything else."""

    DEFAULT_CSS = """
    TooSmall { display: none; layer: front; dock: top; width: 100%; height: 100%; background: $background; }
    """

    def line(self, y: int) -> Line:
        app = cast("BaseConsole", self.app)
        if y == 0:
            return [Painted(f"this is {app.size.width}x{app.size.height}; {COLUMNS}x{LINES} is needed, "
                            f"{WHOLE[0]}x{WHOLE[1]} shows all", "warn")]
        if y == 1:
            return [Painted("q", "accent"), " quit; jobs go on"]
        running = app.queries.jobs.running
        if y - 2 < len(running):
            return job_line(running[y - 2], app.queries.now(), self.glyphs, self.size.width)
        idle = "jobs not known" if app.jobs_problem else "no jobs running"
        return [Painted(idle, "dim")] if y == 2 else ()
