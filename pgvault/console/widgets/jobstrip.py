"""The running jobs and those that ended last, a line each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pgvault.console.jobbook import Followed
from pgvault.console.jobline import ended_lines, job_line
from pgvault.console.widgets.lineview import Line, LineView
from pgvault.model.job import Job
from pgvault.model.text import Painted


class JobStrip(LineView):
    """As many of the jobs as there is room for, the running ones first."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._living: Sequence[Followed] = ()
        self._ended: Sequence[Job] = ()
        self._now: datetime | None = None
        self._empty = ""

    @property
    def wanted(self) -> int:
        """Return the number of lines that it would fill."""
        return max(1, len(self._living) + len(self._ended))

    def show(self, living: Sequence[Followed], ended: Sequence[Job], now: datetime, *, empty: str) -> None:
        """Show jobs; `empty` is the text while there is none."""
        self._living, self._ended, self._now, self._empty = living, ended, now, empty
        self.changed()

    def line(self, y: int) -> Line:
        if (not self._living and not self._ended) or self._now is None:
            return [Painted(f" {self._empty}", "dim")] if not y else ()
        hidden = len(self._living) - self.size.height
        if hidden > 0 and y == self.size.height - 1:
            return [Painted(f" and {hidden + 1} more that run: 4 shows them all", "dim")]
        if y < len(self._living):
            return [" ", *job_line(self._living[y], self._now, self.glyphs, self.size.width - 2)]
        index = y - len(self._living)
        if index >= len(self._ended):
            return ()
        return [" ", *ended_lines(self._ended, self._now, self.glyphs)[index]]
