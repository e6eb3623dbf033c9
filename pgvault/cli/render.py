"""A job's events on standard error: for a person, as one line that is rewritten; for a program, as journal lines.

Without a terminal only changes are told: each phase, and one line of progress every ten seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from pgvault.cli.output import Output, Part, size, span, visible, width
from pgvault.jobs.encoding import encode
from pgvault.model.event import (
    Checked,
    CommandRan,
    Emit,
    Event,
    JobFinished,
    JobStarted,
    Level,
    Noted,
    PhaseStarted,
    Progressed,
)

RATE_WINDOW = timedelta(seconds=10)
QUIET_SECONDS = 10.0
_BAR, _LEAST_BAR = 24, 8
_LEVELS = {Level.INFO: ("", "dim"), Level.WARNING: ("warning: ", "warn"), Level.ERROR: ("error: ", "bad")}
_OUTCOMES = {"ok": "good", "warning": "warn", "failed": "bad", "skipped": "dim"}


def listener(err: Output, *, as_json: bool) -> Emit:
    """What shows events on this stream."""
    return JournalLines(err) if as_json else TerminalText(err)


class JournalLines:
    """An `Emit` that writes the journal's own lines."""

    def __init__(self, err: Output) -> None:
        self._err = err

    def __call__(self, event: Event) -> None:
        self._err.write(encode(event).decode("ascii"))
        self._err.flush()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a phase is, ready to be drawn."""

    phase: str
    done: int
    total: int | None
    rate: float | None
    """Bytes a second over the last seconds; None before it can be known."""

    @property
    def share(self) -> float | None:
        return min(1.0, self.done / self.total) if self.total else None

    @property
    def seconds_left(self) -> float | None:
        return max(0, self.total - self.done) / self.rate if self.total and self.rate else None

    def line(self, columns: int) -> str:
        """One line of at most `columns`; the bar takes what room there is."""
        amount = size(self.done) + (f" of {size(self.total)}" if self.total else "")
        rate = f"{size(round(self.rate))}/s" if self.rate else ""
        left = f"{span(round(self.seconds_left))} left" if self.seconds_left else ""
        if self.share is None:
            return _joined(self.phase, amount, rate, left)[:columns]
        parts = (f"{self.share:4.0%}", amount, rate, left)
        bar = _bar(self.share, columns - width(_joined(self.phase, *parts)) - 2)
        return _joined(self.phase, bar, *parts)[:columns]


def _joined(*parts: str) -> str:
    return "  ".join(filter(None, parts))


def _bar(share: float, room: int) -> str:
    inside = min(_BAR, room - 2)
    filled = int(share * inside)
    return "[" + "#" * filled + "-" * (inside - filled) + "]" if inside >= _LEAST_BAR else ""


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


class TerminalText:
    """An `Emit` for people. Failures are not told here: whoever started the job tells its error once."""

    def __init__(self, err: Output) -> None:
        self._err, self._pace = err, Pace()
        self._progress: Progress | None = None
        self._drawn = False
        self._told_at: datetime | None = None

    def __call__(self, event: Event) -> None:
        tell: dict[type, Callable[..., None]] = {
            JobStarted: self._started, PhaseStarted: self._phase, Progressed: self._progressed,
            CommandRan: self._command, Checked: self._checked, Noted: self._noted, JobFinished: self._finished}
        tell[type(event)](event)
        self._err.flush()

    def _started(self, event: JobStarted) -> None:
        self._line(self._err.paint(f"job {event.job}: {event.kind} of {event.server}", "dim"))

    def _phase(self, event: PhaseStarted) -> None:
        self._close_phase()
        self._pace.start(event)
        self._told_at = event.at
        if self._err.is_terminal:
            self._draw(visible(event.phase))
        else:
            self._line(event.phase + (f" ({size(event.total_bytes)})" if event.total_bytes else ""))

    def _progressed(self, event: Progressed) -> None:
        self._progress = self._pace.at(event)
        if self._err.is_terminal:
            self._draw(visible(self._progress.line(self._err.columns - 1)))
        elif self._told_at is None or (event.at - self._told_at).total_seconds() >= QUIET_SECONDS:
            self._told_at = event.at
            self._line(self._progress.line(200))

    def _command(self, event: CommandRan) -> None:
        if event.status:
            self._line(self._err.paint(f"{event.host}: {event.command} ended with {event.status}", "warn"))

    def _checked(self, event: Checked) -> None:
        outcome = self._err.paint(event.outcome, _OUTCOMES.get(event.outcome, "dim"))
        self._line(f"  {event.check}: ", outcome, f" ({event.detail})" if event.detail else "")

    def _noted(self, event: Noted) -> None:
        if event.code == "internal-error":  # a traceback is for the journal
            return
        prefix, style = _LEVELS[event.level]
        for line in event.text.splitlines():
            self._line(self._err.paint(prefix + line, style))

    def _finished(self, event: JobFinished) -> None:
        self._close_phase()
        if event.error is None and event.verdict not in ("", "None"):
            self._line(self._err.paint(event.verdict, "good"))

    def _close_phase(self) -> None:
        """Leave the last state of a phase standing."""
        if self._drawn:
            self._err.write("\n")
            self._drawn = False
        elif self._progress and not self._err.is_terminal:
            self._line(self._progress.line(200))
        self._progress = None

    def _draw(self, text: str) -> None:
        self._err.write(f"\r{text}\x1b[K")
        self._drawn = True

    def _line(self, *parts: Part) -> None:
        if self._drawn:
            self._err.write("\r\x1b[K")
        self._err.line(*parts)
        if self._drawn and self._progress:
            self._draw(visible(self._progress.line(self._err.columns - 1)))
