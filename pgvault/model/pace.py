"""The progress of a job's current phase, computed from its events alone, so that a journal shows the same."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta

from pgvault.model.event import PhaseStarted, Progressed
from pgvault.model.text import size, span, width

RATE_WINDOW = timedelta(seconds=10)
_BAR, _LEAST_BAR = 24, 8


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a phase has come, ready to be drawn."""

    phase: str
    done: int
    total: int | None
    rate: float | None
    """The rate over the last seconds, in bytes per second; None if it is not known yet."""

    @property
    def share(self) -> float | None:
        return min(1.0, self.done / self.total) if self.total else None

    @property
    def seconds_left(self) -> float | None:
        return max(0, self.total - self.done) / self.rate if self.total and self.rate else None

    def line(self, columns: int, filled: str = "#", empty: str = "-") -> str:
        """Return one line of at most `columns`. The bar, drawn with the given characters, takes the remaining space."""
        amount = size(self.done) + (f" of {size(self.total)}" if self.total else "")
        rate = f"{size(round(self.rate))}/s" if self.rate else ""
        left = f"{span(round(self.seconds_left))} left" if self.seconds_left else ""
        if self.share is None:
            return _joined(self.phase, amount, rate, left)[:columns]
        parts = (f"{self.share:4.0%}", amount, rate, left)
        bar = _bar(self.share, columns - width(_joined(self.phase, *parts)) - 2, filled, empty)
        return _joined(self.phase, bar, *parts)[:columns]


def _joined(*parts: str) -> str:
    return "  ".join(filter(None, parts))


def _bar(share: float, room: int, filled: str, empty: str) -> str:
    inside = min(_BAR, room - 2)
    done = int(share * inside)
    return f"[{filled * done}{empty * (inside - done)}]" if inside >= _LEAST_BAR else ""


class Pace:
    """The progress of the current phase, with its rate over a window."""

    def __init__(self) -> None:
        self._phase = ""
        self._total: int | None = None
        self._seen: deque[tuple[datetime, int]] = deque()

    def start(self, event: PhaseStarted) -> None:
        self._phase, self._total = event.phase, event.total_bytes
        self._seen = deque([(event.at, 0)])

    def at(self, event: Progressed) -> Progress:
        self._seen.append((event.at, event.done_bytes))
        while len(self._seen) > 2 and event.at - self._seen[0][0] > RATE_WINDOW:
            self._seen.popleft()
        first_at, first_done = self._seen[0]
        seconds = (event.at - first_at).total_seconds()
        rate = (event.done_bytes - first_done) / seconds if seconds > 0.5 else None
        return Progress(self._phase, event.done_bytes, self._total, rate if rate and rate > 0 else None)
