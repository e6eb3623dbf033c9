"""A job's journal as the rows of a list: any number of events, each read from the file when it is shown.

The steps of the progress, which may be tens of thousands, are left out: a job's progress is shown elsewhere.
"""

from __future__ import annotations

import os
import threading
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path

from pgvault.console.command_words import in_words
from pgvault.console.widgets.rows import Column, LazyRows, fits
from pgvault.jobs.encoding import decode
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
from pgvault.model.text import Painted, Part, size, span

COLUMNS = (Column("time", 15), Column("event", 8), Column("", 20, flexible=True))
ENDED = "ended"
"""The word for a job's end."""
_PROGRESS = b'{"event":"Progressed"'
_LEVELS = {Level.INFO: "", Level.WARNING: "warn", Level.ERROR: "bad"}


class JournalRows:
    """The rows of a journal, which grow with `read`; a row is the event's number, so that the cursor stays where it is.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._read_to = path, 0
        self._turn = threading.Lock()
        self._starts, self._lengths = array("q"), array("q")

    def read(self) -> bool:
        """Take in what was appended; return True if there was something to show. A torn last line is left for the next
        time.

        One thread reads at a time; a caller that no longer waits for it lets it finish.
        """
        before = len(self._starts)
        try:
            with self._turn, open(self._path, "rb") as file:
                file.seek(self._read_to)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    if not line.startswith(_PROGRESS) and not line.isspace():
                        self._starts.append(self._read_to)
                        self._lengths.append(len(line))
                    self._read_to += len(line)
        except FileNotFoundError:
            return False
        return len(self._starts) > before

    def __len__(self) -> int:
        return len(self._starts)

    def key(self, index: int) -> str:
        return str(index)

    def place_of(self, key: str) -> int | None:
        return int(key)

    def cells(self, index: int) -> Sequence[Part]:
        return self._parts(index, in_words)

    def last(self, count: int) -> list[Sequence[Part]]:
        """Return the newest rows, newest first."""
        return [self.cells(index) for index in reversed(range(len(self))[-count:])]

    def text(self, index: int) -> str:
        """Return the whole row, with commands as they were run: for reading and copying."""
        return "  ".join(filter(None, map(str, self._parts(index, str))))

    def _parts(self, index: int, command: Callable[[str], str]) -> Sequence[Part]:
        line = self._line(index)
        event = decode(line)
        if event is None:
            return ["", Painted("unknown", "dim"), line.decode("utf-8", "backslashreplace").rstrip()]
        word, text = event_parts(event, command)
        return [Painted(f"{event.at:%m-%d %H:%M:%SZ}", "dim"), word, text]

    def found(self, pattern: str) -> LazyRows[int]:
        """Return the rows that match the filter; this reads all of them."""
        fitting = [index for index in range(len(self)) if fits(pattern, self.text(index))]
        return LazyRows(fitting, self.cells, str)

    def _line(self, index: int) -> bytes:
        try:
            with open(self._path, "rb") as file:
                return os.pread(file.fileno(), self._lengths[index], self._starts[index])
        except OSError:  # removed meanwhile
            return b""


def event_parts(event: Event, command: Callable[[str], str]) -> tuple[Part, Part]:
    """Return an event as a word and a text; `command` formats a command that was run."""
    match event:
        case JobStarted():
            return "started", event.command
        case PhaseStarted():
            total = f", {size(event.total_bytes)}" if event.total_bytes else ""
            return Painted("phase", "accent"), f"{event.phase}{total}"
        case Progressed():
            return "progress", size(event.done_bytes)
        case CommandRan():
            where = f"{event.host}: " if event.host else ""
            text = f"{where}{command(event.command)}  ({span(event.seconds)}, exit {event.status})"
            return "command", Painted(text, "bad") if event.status else text
        case Checked():
            text = ": ".join(filter(None, (event.check, event.outcome, event.detail)))
            return "check", Painted(text, {"failed": "bad", "warning": "warn"}.get(event.outcome, ""))
        case Noted():
            style = _LEVELS[event.level]
            word = "note" if event.level is Level.INFO else event.level.value
            return Painted(word, style), Painted(event.text, style)
        case JobFinished():
            how = event.error.message if event.error else event.verdict
            return Painted(ENDED, "bold"), ": ".join(filter(None, (event.state.value, how)))
