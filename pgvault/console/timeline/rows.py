"""The contents of each column of a lane: one character and the name of its style."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from math import sqrt
from typing import NamedTuple

from pgvault.console.glyphs import Glyphs
from pgvault.console.timeline.axis import labels
from pgvault.console.timeline.chart import ChartLane, MarkKind, foremost
from pgvault.console.timeline.frame import Frame

ROWS = ("backups", "marks", "wal", "window", "commits")
"""The rows of the selected lane, from the top."""
HIGHER = "commits above"
"""A row above that of the commits, followed by its number, where there is room for higher bars."""


class Cell(NamedTuple):
    glyph: str
    style: str = ""


BLANK = Cell(" ")


class Exact(NamedTuple):
    """Commits with exact times, in order, and the span in which they are complete."""

    times: Sequence[int] = ()
    begin: int = 0
    until: int = 0


class Drawing(NamedTuple):
    """One lane, drawn on the columns of a frame."""

    rows: dict[str, list[Cell]]
    summary: list[Cell]
    """Return the lane on one row: its WAL, with the marks above it."""


def draw(lane: ChartLane, frame: Frame, glyphs: Glyphs, *, exact: Exact | None = None,
         receiving_until: int | None = None, higher: int = 0) -> Drawing:
    """Draw the rows. `receiving_until` is now, while WAL of this timeline is being received; `higher` is the number of
    additional rows for the commits.
    """
    marks = [foremost(lane.marks_in(begin, until)) for begin, until in pairwise(_edges(frame))]
    backups = [foremost([m for m in lane.marks_in(begin, until) if m.kind.is_backup])
               for begin, until in pairwise(_edges(frame))]
    events = [foremost([m for m in lane.marks_in(begin, until) if m.kind in _EVENTS])
              for begin, until in pairwise(_edges(frame))]
    looks = _looks(glyphs)
    wal = _wal(lane, frame, glyphs, receiving_until)
    rows = {
        "backups": [looks[mark.kind] if mark else BLANK for mark in backups],
        "marks": [looks[mark.kind] if mark else BLANK for mark in events],
        "wal": _named_gaps(lane, frame, wal, glyphs),
        "window": _windows(lane, frame, glyphs),
    }
    for row, cells in enumerate(_commits(lane, frame, glyphs, exact or Exact(), 1 + higher)):
        rows[f"{HIGHER} {row}" if row else "commits"] = cells
    over = [looks[mark.kind] if mark and mark.kind in looks else None for mark in marks]
    return Drawing(rows, [cell or below for cell, below in zip(over, wal, strict=True)])


_EVENTS = (MarkKind.ACCIDENT, MarkKind.RESTORE_POINT, MarkKind.BRANCH)


def axis(frame: Frame, glyphs: Glyphs) -> list[Cell]:
    cells = [BLANK] * frame.width
    for column, text in labels(frame):
        for place, char in enumerate(f"{glyphs.tick}{text}", column):
            cells[place] = Cell(char, "dim")
    return cells


def _edges(frame: Frame) -> list[int]:
    return [frame.edge(column) for column in range(frame.width + 1)]


def _looks(glyphs: Glyphs) -> dict[MarkKind, Cell]:
    return {
        MarkKind.ACCIDENT: Cell(glyphs.accident, "bad"), MarkKind.RESTORE_POINT: Cell(glyphs.restore_point, "accent"),
        MarkKind.BACKUP: Cell(glyphs.backup, "good"), MarkKind.BACKUP_RUNNING: Cell(glyphs.running, "accent"),
        MarkKind.BACKUP_UNUSABLE: Cell(glyphs.failed, "bad"), MarkKind.BRANCH: Cell(glyphs.branch, "accent")}


def _wal(lane: ChartLane, frame: Frame, glyphs: Glyphs, receiving_until: int | None) -> list[Cell]:
    """Return the row of the WAL. A column that a gap touches is never drawn as covered."""
    cells: list[Cell] = []
    end = lane.slots.end[-1] if lane.slots.end else None
    for begin, until in pairwise(_edges(frame)):
        covered = lane.slots.covers(begin, until)
        if span := lane.gap_in(begin, until):
            inside = span.begin < begin and until <= span.until
            cells.append(Cell(glyphs.gap, "bad") if inside and not covered else Cell(glyphs.failed, "bad"))
        elif covered:
            cells.append(Cell(glyphs.wal))
        elif receiving_until is not None and end is not None and end < begin <= receiving_until:
            cells.append(Cell(glyphs.streaming, "accent"))
        else:
            cells.append(BLANK)
    return cells


def _named_gaps(lane: ChartLane, frame: Frame, wal: list[Cell], glyphs: Glyphs) -> list[Cell]:
    """Write how many segments are missing, if the gap is wide enough."""
    cells = list(wal)
    for span in lane.gaps[bisect_left(lane.gaps, frame.begin, key=lambda span: span.until):]:
        if span.begin >= frame.until:
            break
        first, last = max(0, frame.column(span.begin) + 1), min(frame.width, frame.column(span.until))
        text = next((text for text in (f" {span.gap.missing:,} missing ", f" {span.gap.missing:,} ")
                     if len(text) <= last - first), "")
        begin = first + (last - first - len(text)) // 2
        for column, char in enumerate(text, begin):
            if cells[column].glyph == glyphs.gap:
                cells[column] = Cell(char, "bad")
    return cells


def _windows(lane: ChartLane, frame: Frame, glyphs: Glyphs) -> list[Cell]:
    cells = [BLANK] * frame.width
    for span in lane.windows:
        first, last = frame.column(span.begin), frame.column(span.until)
        for column in range(max(first, 0), min(last + 1, frame.width)):
            glyph = glyphs.window_begin if column == first else glyphs.window_end if column == last else glyphs.window
            cells[column] = Cell(glyph, "good")
    return cells


def _commits(lane: ChartLane, frame: Frame, glyphs: Glyphs, exact: Exact, rows: int) -> list[list[Cell]]:
    """Yield rows of commits, from few to many by the square root of their number, so that quiet hours next to busy ones
    remain visible. The lowest row comes first.
    """
    edges = _edges(frame)
    counts = [_count(lane, begin, until, exact) for begin, until in pairwise(edges)]
    most, levels = max(1.0, *counts), len(glyphs.density)
    cells: list[list[Cell]] = [[] for _ in range(rows)]
    for count, (begin, until) in zip(counts, pairwise(edges), strict=True):
        level = min(levels * rows - 1, int(levels * rows * sqrt(count / most))) + 1 if count > 0 else 0
        for row in range(rows):
            filled = min(levels, level - levels * row)
            cells[row].append(Cell(glyphs.density[filled - 1], "dim") if filled > 0 else BLANK)
        if not level and lane.slots.unread(begin, until):
            cells[0][-1] = Cell(glyphs.unknown, "dim")
    return cells


def _count(lane: ChartLane, begin: int, until: int, exact: Exact) -> float:
    if exact.begin <= begin and until <= exact.until:
        return bisect_left(exact.times, until) - bisect_left(exact.times, begin)
    count = lane.slots.committed_before(until) - lane.slots.committed_before(begin)
    return count if count > 1e-9 else 0.0

