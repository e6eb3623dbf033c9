"""A timeline on one strip that only shows: where a point lies between the backups and the end of the archive."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, cast

from textual.message import Message

from pgvault.console.background import run_in_background
from pgvault.console.queries import run_query
from pgvault.console.recovery.accident import Accident, marks
from pgvault.console.room import STRIP
from pgvault.console.timeline.axis import microseconds
from pgvault.console.timeline.chart import Chart, chart_of
from pgvault.console.timeline.cursor import Cursor
from pgvault.console.widgets.pane import Pane
from pgvault.console.widgets.timeline import TimelineView, latest

if TYPE_CHECKING:
    from pgvault.console.base import BaseConsole


class Strip(Pane):
    """The strip. It is empty where the archive cannot be read: its neighbours say so."""

    DEFAULT_CSS = f"""
    Strip {{ height: {STRIP}; display: none; }}
    """

    @dataclass
    class Read(Message):
        """Posted when the archive was read, and it is known whether there is anything to show."""

    def __init__(self, title: str, *, id: str | None = None) -> None:
        self.timeline = TimelineView()
        super().__init__(title, self.timeline, id=id)
        self._server = ""
        self._stamp: object = None
        self._chart: Chart | None = None
        self._accidents: tuple[Accident, ...] = ()
        self._place: tuple[int, datetime] | None = None
        self.has_room = False
        self.has_nothing = False
        """True if the archive was read, and there is nothing to show."""

    def on_mount(self) -> None:
        super().on_mount()
        self.timeline.can_focus = False

    def read(self, server: str) -> None:
        """Read the archive of this server as it is now."""
        if server != self._server:
            self._server, self._stamp, self._chart, self._place = server, None, None, None
            self.has_nothing = False
            self.timeline.clear()
            self._show()
        run_in_background(self, "strip", self._read, server)

    async def _read(self, server: str) -> None:
        queries = cast("BaseConsole", self.app).queries
        stamp = await run_query(lambda: queries.stamp(server))
        if stamp == self._stamp:
            return
        found = await run_query(lambda: chart_of(queries.picture(server)))
        if server != self._server:
            return
        self._chart = found if isinstance(found, Chart) and any(lane.slots.numbers for lane in found.lanes) else None
        self._stamp = stamp if self._chart else None
        self.has_nothing = self._chart is None
        self._draw()
        self.post_message(self.Read())

    def mark(self, accidents: Iterable[Accident]) -> None:
        self._accidents = tuple(accidents)
        self._draw()

    def point_at(self, timeline: int, time: datetime | None) -> None:
        """Put the cursor at a time; without one it stays where it was."""
        if time:
            self._place = timeline, time
            self._go()

    def show_point(self, server: str, place: tuple[int, datetime | None] | None, accidents: Iterable[Accident]) -> None:
        """Show the archive with the accidents that were found, and the point that was chosen."""
        if place:
            self.read(server)
            self.mark(accidents)
            self.point_at(*place)

    def give_room(self, lines: int) -> None:
        """Give the strip that many lines; with none it is hidden."""
        self.has_room = lines >= STRIP
        if self.has_room:
            self.styles.height = lines
            self.timeline.set_room(lines - 2, higher=True)
        self._show()

    @property
    def is_shown(self) -> bool:
        return self.has_room and self._chart is not None

    def _draw(self) -> None:
        if self._chart:
            now = cast("BaseConsole", self.app).queries.now()
            self.timeline.show(self._chart.with_accidents(marks(self._accidents)), microseconds(now))
            self._go()
        self._show()

    def _show(self) -> None:
        self.display = self.is_shown

    def _go(self) -> None:
        chart = self.timeline.chart
        if chart is None:
            return
        if self._place is None:
            self.timeline.go(latest(chart))
            return
        timeline, time = self._place
        at = microseconds(time)
        lane = chart.lanes[chart.lane_of(timeline)]
        mark = next((mark for mark in lane.marks if mark.at == at), None)
        self.timeline.go(Cursor(timeline, at, mark))
