"""Shows a job's events on standard error: for a person, as one line that is rewritten; for a program, as journal lines.

Without a terminal only changes are shown: each phase, and one line of progress every ten seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from pgvault.cli.output import Output
from pgvault.jobs.encoding import encode
from pgvault.model.event import (
    Checked,
    CommandRan,
    Event,
    JobFinished,
    JobStarted,
    Level,
    Noted,
    PhaseStarted,
    Progressed,
)
from pgvault.model.pace import Pace, Progress
from pgvault.model.text import Part, size, visible

QUIET_SECONDS = 10.0
_LEVELS = {Level.INFO: ("", "dim"), Level.WARNING: ("warning: ", "warn"), Level.ERROR: ("error: ", "bad")}
_OUTCOMES = {"ok": "good", "warning": "warn", "failed": "bad", "skipped": "dim"}


def listener(err: Output, *, as_json: bool) -> JournalLines | TerminalText:
    """Return the `Emit` that shows events on this stream. Close it, or let the job end, before writing anything
    else."""
    return JournalLines(err) if as_json else TerminalText(err)


class JournalLines:
    """An `Emit` that writes the journal's own lines."""

    def __init__(self, err: Output) -> None:
        self._err = err

    def __call__(self, event: Event) -> None:
        self._err.write(encode(event).decode("ascii"))
        self._err.flush()

    def close(self) -> None:
        """Do nothing: no line is left open."""


class TerminalText:
    """An `Emit` for people. It omits failures, since the caller that started the job reports its error once."""

    def __init__(self, err: Output) -> None:
        self._err, self._pace = err, Pace()
        self._progress: Progress | None = None
        self._drawn = False
        self._reported_at: datetime | None = None

    def __call__(self, event: Event) -> None:
        tell: dict[type, Callable[..., None]] = {
            JobStarted: self._started, PhaseStarted: self._phase, Progressed: self._progressed,
            CommandRan: self._command, Checked: self._checked, Noted: self._noted, JobFinished: self._finished}
        tell[type(event)](event)
        self._err.flush()

    def close(self) -> None:
        """Leave the drawn line, with the cursor below it."""
        self._close_phase()
        self._err.flush()

    def _started(self, event: JobStarted) -> None:
        self._line(self._err.paint(f"job {event.job}: {event.kind} of {event.server}", "dim"))

    def _phase(self, event: PhaseStarted) -> None:
        self._close_phase()
        self._pace.start(event)
        self._reported_at = event.at
        if self._err.is_terminal:
            self._draw(visible(event.phase))
        else:
            self._line(event.phase + (f" ({size(event.total_bytes)})" if event.total_bytes else ""))

    def _progressed(self, event: Progressed) -> None:
        self._progress = self._pace.at(event)
        if self._err.is_terminal:
            self._draw(visible(self._progress.line(self._err.columns - 1)))
        elif self._reported_at is None or (event.at - self._reported_at).total_seconds() >= QUIET_SECONDS:
            self._reported_at = event.at
            self._line(self._progress.line(200))

    def _command(self, event: CommandRan) -> None:
        if event.status:
            self._line(self._err.paint(f"{event.host}: {event.command} exited with status {event.status}", "warn"))

    def _checked(self, event: Checked) -> None:
        outcome = self._err.paint(event.outcome, _OUTCOMES.get(event.outcome, "dim"))
        self._line(f"  {event.check}: ", outcome, f" ({event.detail})" if event.detail else "")
        if event.hint and event.outcome != "ok":
            self._line(f"      {event.hint}")

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
        """Leave the last state of a phase."""
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
