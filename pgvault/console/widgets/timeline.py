"""The WAL timeline: a lane for each timeline, the selected one with all its rows, and a cursor over them.

Moving the cursor redraws nothing: the columns of a lane are drawn once for each span of time, and the cursor is laid
over them. `console.timeline` decides what is drawn, and where.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.events import Click, MouseScrollDown, MouseScrollUp, Resize
from textual.message import Message

from pgvault.console.timeline.chart import Chart, ChartLane, Mark, foremost, next_mark
from pgvault.console.timeline.cursor import LABEL, Cursor
from pgvault.console.timeline.frame import Frame
from pgvault.console.timeline.rows import HIGHER, ROWS, Cell, Drawing, Exact, axis, draw
from pgvault.console.widgets.lineview import Line, LineView
from pgvault.model.text import Painted, Part

_MARGIN_SHARE = 40
"""The divisor of the whole time that gives the margin at both ends."""
_LEAST_MARGIN = 1_000_000
"""The least margin, in microseconds."""


class TimelineView(LineView, can_focus=True):
    """Lanes and a cursor; posts `Moved` when the cursor is at another place, or shows another span of time."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "move(-1)", show=False, id="time-earlier"),
        Binding("right,l", "move(1)", show=False, id="time-later"),
        Binding("shift+left,H", "move(-10)", show=False, id="time-much-earlier"),
        Binding("shift+right,L", "move(10)", show=False, id="time-much-later"),
        Binding("up,k", "lane(-1)", show=False, id="time-lane-up"),
        Binding("down,j", "lane(1)", show=False, id="time-lane-down"),
        Binding("home,g", "edge(False)", show=False, id="time-first"),
        Binding("end,G", "edge(True)", show=False, id="time-last"),
    ]

    @dataclass
    class Moved(Message):
        timeline: TimelineView

        @property
        def control(self) -> TimelineView:
            return self.timeline

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.chart: Chart | None = None
        self.cursor = Cursor(0, 0)
        self.exact: Exact | None = None
        self._whole = self._frame = Frame(0, 1, 1)
        self._is_whole = True
        self._receiving: int | None = None
        self._rows: Sequence[str] = ROWS
        """The rows of the selected lane."""
        self._others = 0
        """The other lanes that are shown."""
        self._drawings: dict[int, Drawing] = {}
        self._axis: list[Cell] | None = None

    # Contents

    def show(self, chart: Chart, now: int) -> None:
        """Show a chart; cursor and span of time stay, unless they were at the end of the chart before."""
        was_last = self.chart is None or self.cursor == latest(self.chart)
        self.chart = chart
        self._whole = _whole(chart, now, self._columns)
        if self._is_whole or not self._frame.span:
            self._frame = self._whole
        self.exact = None
        self._forget()
        if was_last or self.cursor.timeline not in [lane.timeline for lane in chart.lanes]:
            self.go(latest(chart))
        else:
            self.go(self.cursor)

    def clear(self) -> None:
        """Show nothing, as for another server."""
        self.chart, self.exact, self._is_whole = None, None, True
        self._forget()
        self.changed()

    def mark_accidents(self, accidents: Sequence[tuple[int, Mark]]) -> None:
        if self.chart:
            self.chart = self.chart.with_accidents(accidents)
            self._forget()
            self.changed()

    def set_exact(self, exact: Exact | None) -> None:
        """Set commits with known times, for the density of the selected lane."""
        if exact != self.exact:
            self.exact = exact
            self._drawings.pop(self._selected, None)
            self.changed()

    def set_receiving(self, until: int | None) -> None:
        """Show that WAL of the newest timeline is being received up to now."""
        if self.chart and until != self._receiving:
            columns = [None if at is None else self._frame.column(at) for at in (until, self._receiving)]
            self._receiving = until
            if columns[0] != columns[1]:
                self._drawings.pop(len(self.chart.lanes) - 1, None)
                self.changed()

    def set_room(self, lines: int, *, higher: bool = False) -> None:
        """Set the number of lines: every lane but the selected one has one. If they are too few for all rows of that
        one, the last rows are left out; `higher` gives the rest to its bars of commits.
        """
        lanes = len(self.chart.lanes) if self.chart else 1
        rows, left = ROWS[:max(1, lines - 1)], lines - len(ROWS) - 1
        others = max(0, min(left, lanes - 1))
        extra = range(left - others if higher else 0, 0, -1)
        room = (*rows[:-1], *(f"{HIGHER} {row}" for row in extra), rows[-1]), others
        if room != (self._rows, self._others):
            self._rows, self._others = room
            self._drawings.clear()
            self.changed()

    @property
    def height_wanted(self) -> int:
        return len(self._rows) + 1 + self._others

    @property
    def frame(self) -> Frame:
        return self._frame

    @property
    def is_whole(self) -> bool:
        return self._is_whole

    @property
    def lane(self) -> ChartLane | None:
        return self.chart.lanes[self._selected] if self.chart and self.chart.lanes else None

    @property
    def _selected(self) -> int:
        return self.chart.lane_of(self.cursor.timeline) if self.chart else 0

    @property
    def _columns(self) -> int:
        return max(1, self.size.width - LABEL - 1)

    # Cursor

    def go(self, cursor: Cursor) -> None:
        """Go to a place; the span of time moves with it."""
        at = max(self._whole.begin, min(cursor.at, self._whole.until - 1))
        before, self.cursor = self.cursor, cursor._replace(at=at)
        if before.timeline != cursor.timeline:
            self._drawings.clear()
        self._set_frame(self._frame.moved_to(at, self._whole))
        self.changed()
        self.post_message(self.Moved(self))

    def go_to_mark(self, *, back: bool) -> bool:
        """Go to the next mark, or the one before; return False if there is none."""
        if (lane := self.lane) is None:
            return False
        mark = next_mark(lane.marks, self.cursor.mark, self.cursor.at, back=back)
        if mark:
            self.go(Cursor(lane.timeline, mark.at, mark))
        return mark is not None

    def zoom(self, *, out: bool = False) -> None:
        self._set_frame(self._frame.zoomed(self.cursor.at, self._whole, out=out))
        self.changed()
        self.post_message(self.Moved(self))

    def show_all(self) -> None:
        self._set_frame(self._whole)
        self.changed()
        self.post_message(self.Moved(self))

    @property
    def is_closest(self) -> bool:
        """True at the closest zoom, where a column is a microsecond."""
        return self._frame.span <= self._frame.width

    def _set_frame(self, frame: Frame) -> None:
        if frame != self._frame:
            self._frame = frame
            self._forget()
        self._is_whole = frame.span >= self._whole.span

    def _forget(self) -> None:
        self._drawings.clear()
        self._axis = None

    def _at_column(self, column: int) -> Cursor:
        """Return the place of a column: the foremost mark in it, or its middle."""
        lane = self.lane
        begin, until = self._frame.edge(column), self._frame.edge(column + 1)
        mark = foremost(lane.marks_in(begin, until)) if lane else None
        return Cursor(self.cursor.timeline, mark.at if mark else self._frame.middle(column), mark)

    def action_move(self, columns: int) -> None:
        if self.chart:
            self.go(self._at_column(self._frame.column(self.cursor.at) + columns))

    def action_lane(self, by: int) -> None:
        if self.chart and self.chart.lanes:
            lane = self.chart.lanes[max(0, min(self._selected + by, len(self.chart.lanes) - 1))]
            if lane.timeline != self.cursor.timeline:
                self.go(Cursor(lane.timeline, self.cursor.at))

    def action_edge(self, last: bool) -> None:
        if lane := self.lane:
            marks = [lane.marks[-1 if last else 0]] if lane.marks else []
            ends = [lane.slots.end[-1] if last else lane.slots.begin[0]] if lane.slots.end else []
            places = [*(Cursor(lane.timeline, mark.at, mark) for mark in marks),
                      *(Cursor(lane.timeline, at) for at in ends)]
            if places:
                self.go((max if last else min)(places, key=lambda place: place.at))

    # Drawing

    def line(self, y: int) -> Line:
        if self.chart is None or not self.chart.lanes:
            return ()
        if y == self.height_wanted - 1:
            if self._axis is None:
                self._axis = axis(self._frame, self.glyphs)
            return ["", " " * LABEL, *self._parts(self._axis)]
        names = list(self._names())
        if y >= len(names):
            return ()
        lane, row = names[y]
        drawing = self._drawing(lane)
        if row:
            name = "" if row.startswith(HIGHER) else row
            return [Painted(f" {name:<{LABEL - 1}}", "dim"), *self._parts(drawing.rows[row])]
        name = f" timeline {self.chart.lanes[lane].timeline}"
        name = name if len(name) < LABEL else f" tl {self.chart.lanes[lane].timeline}"
        return [Painted(f"{name:<{LABEL}}", "dim"), *self._parts(drawing.summary)]

    def _names(self) -> Iterator[tuple[int, str]]:
        """Return the lane and the row of each line, from the top; a lane on one line has no row."""
        assert self.chart
        selected, count = self._selected, len(self.chart.lanes)
        first = max(0, min(selected - (self._others + 1) // 2, count - self._others - 1))
        for lane in range(first, min(first + self._others + 1, count)):
            yield from ((lane, row) for row in (self._rows if lane == selected else ("",)))

    def _drawing(self, lane: int) -> Drawing:
        assert self.chart
        if (drawing := self._drawings.get(lane)) is None:
            here = self.chart.lanes[lane]
            exact = self.exact if lane == self._selected else None
            receiving = self._receiving if lane == len(self.chart.lanes) - 1 else None
            drawing = self._drawings[lane] = draw(here, self._frame, self.glyphs, exact=exact,
                                                  receiving_until=receiving,
                                                  higher=max(0, len(self._rows) - len(ROWS)))
        return drawing

    def _parts(self, cells: Sequence[Cell]) -> Iterator[Part]:
        """Return the cells, joined where they look alike, with the cursor's column laid over them."""
        column = self._frame.column(self.cursor.at)
        shown = list(cells)
        if 0 <= column < len(shown):
            glyph = shown[column].glyph
            shown[column] = Cell(self.glyphs.place if glyph == " " else glyph, "cursor")
        for style, alike in groupby(shown, key=lambda cell: cell.style):
            text = "".join(cell.glyph for cell in alike)
            yield Painted(text, style) if style else text

    # The terminal

    def on_resize(self, event: Resize) -> None:
        if self._frame.width != self._columns:
            self._whole = self._whole.widened(self._columns)
            self._frame = self._whole if self._is_whole else self._frame.widened(self._columns)
            self._forget()
            self.changed()

    def on_click(self, event: Click) -> None:
        column = event.x - LABEL
        names = list(self._names()) if self.chart and self.chart.lanes else []
        if self.chart and event.y < len(names) and 0 <= column < self._frame.width:
            lane = self.chart.lanes[names[event.y][0]]
            self.cursor = self.cursor._replace(timeline=lane.timeline)
            self._drawings.clear()
            self.go(self._at_column(column))

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        self.focus()
        self.action_move(3)

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        self.focus()
        self.action_move(-3)


def latest(chart: Chart) -> Cursor:
    """Return the last restorable commit of the newest timeline that has one, or else the last place."""
    for lane in reversed(chart.lanes):
        if at := max((span.until for span in lane.windows), default=None):
            return Cursor(lane.timeline, at, foremost(lane.marks_in(at, at + 1)))
    return Cursor(chart.lanes[-1].timeline if chart.lanes else 0, chart.until)


def _whole(chart: Chart, now: int, columns: int) -> Frame:
    """Return the span of everything, up to now unless that compresses it."""
    span = chart.until - chart.begin
    until = now if 0 <= now - chart.until <= span // 4 else chart.until
    margin = max(_LEAST_MARGIN, span // _MARGIN_SHARE)
    return Frame.over(chart.begin - margin, until + margin + 1, columns)
