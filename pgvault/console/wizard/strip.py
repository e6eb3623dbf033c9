"""The line of time below the accidents: where the point lies between the backups and the end of the archive."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, cast

from textual import getters

from pgvault.console.beside import begin
from pgvault.console.timeline.axis import microseconds
from pgvault.console.timeline.chart import Chart, chart_of
from pgvault.console.timeline.cursor import Cursor
from pgvault.console.widgets.pane import Pane
from pgvault.console.widgets.timeline import TimelineView, latest
from pgvault.console.wizard.accident import Accident, marks
from pgvault.console.world import look

if TYPE_CHECKING:
    from pgvault.console.wizard.screen import RecoveryScreen

HEIGHT = 8
"""Lines, with the border."""


class Strip(Pane):
    """Only shows: the point is chosen above it. Nothing is drawn where the archive cannot be read: the steps say so."""

    DEFAULT_CSS = f"""
    Strip {{ height: {HEIGHT}; display: none; }}
    """
    timeline = getters.query_one(TimelineView)

    def __init__(self) -> None:
        super().__init__("where that is", TimelineView(id="strip"), id="strip-pane")
        self._chart: Chart | None = None
        self._accidents: tuple[Accident, ...] = ()
        self._place: tuple[int, datetime] | None = None
        self._has_room = False

    def on_mount(self) -> None:
        super().on_mount()
        self.timeline.can_focus = False

    def read(self) -> None:
        """The archive as it is now."""
        begin(self, "strip", self._read)

    async def _read(self) -> None:
        screen = cast("RecoveryScreen", self.screen)
        found = await look(lambda: chart_of(screen.app.world.picture(screen.draft.server)))
        self._chart = found if isinstance(found, Chart) and any(lane.slots.numbers for lane in found.lanes) else None
        self._draw()

    def mark(self, accidents: Iterable[Accident]) -> None:
        self._accidents = tuple(accidents)
        self._draw()

    def point_at(self, timeline: int, time: datetime | None) -> None:
        """The cursor stands there; without a time where it was."""
        if time:
            self._place = timeline, time
            self._go()

    def give_room(self, has_room: bool) -> None:
        self._has_room = has_room
        self._show()

    @property
    def is_shown(self) -> bool:
        return self._has_room and self._chart is not None

    def _draw(self) -> None:
        if self._chart:
            now = cast("RecoveryScreen", self.screen).app.world.now()
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
