"""The texts of the WAL view where there is nothing to draw, and in the borders of its timeline."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from pgvault.console.fields import Field, gap
from pgvault.console.timeline.chart import Chart
from pgvault.console.timeline.cursor import Cursor
from pgvault.console.timeline.frame import Frame
from pgvault.model.errors import PgvaultError
from pgvault.model.text import elapsed, span


def reading(server: str) -> Iterator[Field]:
    yield Field("", f"Reading the WAL index of {server}." if server else "There is no server yet.", "dim", 1)


def nothing_archived(server: str) -> Iterator[Field]:
    yield Field("", f"No WAL of {server} is archived yet", "title", 1)
    yield gap()
    yield Field("", "Here the archived WAL lies on a line of time, with backups, restore points, gaps and what can be "
                "restored. Without WAL only the end of a backup can be.", "", 1)
    yield gap()
    yield Field("receive it", f"pgvault receive-wal {server}")
    yield Field("or push it", f"archive_command = 'pgvault put-wal {server} %f < %p' in the server's configuration")
    yield Field("what lacks", "x checks everything that archiving needs")


def title(chart: Chart, cursor: Cursor, frame: Frame, is_whole: bool) -> str:
    """Return the title: the server, the timeline, the span of time."""
    lanes = len(chart.lanes)
    which = f"timeline {cursor.timeline}" + (f" of {lanes}" if lanes > 1 else "")
    shown = span(max(1, round(frame.span / 1_000_000)) if frame.span >= 10_000_000 else frame.span / 1_000_000)
    return f"{chart.picture.server}  {which}  {'all' if is_whole else 'part'}: {shown}"


def remark(chart: Chart, problem: PgvaultError | None, now: datetime) -> str:
    """Return the limits of the picture, for the lower border; empty if there are none."""
    if problem:
        age = elapsed(chart.picture.read_at, now)
        return f"as it was {age} ago; now: {problem.message}"
    if count := chart.picture.unread:
        return f"{count:,} segment{'s' * (count != 1)} not read yet: their commits are missing here"
    return ""
