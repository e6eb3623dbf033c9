"""The span of time that the columns show, and the conversion between a column and an instant."""

from __future__ import annotations

from dataclasses import dataclass, replace

ZOOM = 2


@dataclass(frozen=True, slots=True)
class Frame:
    """Columns from 0 to `width`: each has at least a microsecond, and every instant of the frame is in one of them."""

    begin: int
    until: int
    """The end, not included."""
    width: int

    @classmethod
    def over(cls, begin: int, until: int, width: int) -> Frame:
        """Return the frame from one instant to another, or a longer one if that is too short for the columns."""
        width = max(width, 1)
        return cls(begin, max(until, begin + width), width)

    @property
    def span(self) -> int:
        return self.until - self.begin

    @property
    def step(self) -> int:
        """Return the least number of microseconds in a column."""
        return max(1, self.span // self.width)

    def edge(self, column: int) -> int:
        """Return the first instant of a column."""
        return self.begin + self.span * column // self.width

    def column(self, at: int) -> int:
        """Return the column of an instant; below 0, or `width` and more, when it is outside."""
        return (self.width * (at - self.begin + 1) - 1) // self.span

    def middle(self, column: int) -> int:
        """Return the instant in the middle of a column."""
        return (self.edge(column) + self.edge(column + 1) - 1) // 2

    def shows(self, at: int) -> bool:
        return self.begin <= at < self.until

    def widened(self, width: int) -> Frame:
        """Return the same time on another number of columns."""
        return Frame.over(self.begin, self.until, width)

    def zoomed(self, around: int, whole: Frame, *, out: bool = False) -> Frame:
        """Return half the time or twice as much; the instant keeps its column, as far as the limits of time allow."""
        span = min(whole.span, self.span * ZOOM if out else max(self.width, self.span // ZOOM))
        begin = around - span * (around - self.begin) // self.span
        return replace(self, begin=begin, until=begin + span)._within(whole)

    def moved_to(self, at: int, whole: Frame) -> Frame:
        """Return the frame moved, by a quarter of it or more, so that it shows the instant; itself if it already does.
        """
        if self.shows(at):
            return self
        quarter = self.span // 4
        begin = at - quarter if at < self.begin else at - self.span + quarter + 1
        return replace(self, begin=begin, until=begin + self.span)._within(whole)

    def _within(self, whole: Frame) -> Frame:
        span = min(self.span, whole.span)
        begin = max(whole.begin, min(self.begin, whole.until - span))
        return Frame.over(begin, begin + span, self.width)
