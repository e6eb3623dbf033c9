"""A log file as the rows of a list: its last lines at once, all of them once they are counted, or those that match a
filter.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterator, Sequence
from typing import Protocol

from pgvault.console.widgets.rows import Column
from pgvault.io.lines import LineFile
from pgvault.model.text import Painted, Part

COLUMNS = (Column("", 20, flexible=True),)
LAST_LINES = 500
"""The number of lines that are shown before the file's lines are counted."""
_STYLES = {" ERROR ": "bad", " WARNING ": "warn", " CRITICAL ": "bad", " DEBUG ": "dim"}
_LEVEL_WITHIN = 60
"""The first columns of a line, within which its level is found."""


class LogRows(Protocol):
    def __len__(self) -> int: ...
    def cells(self, index: int) -> Sequence[Part]: ...
    def key(self, index: int) -> str: ...
    def text(self, index: int) -> str: ...


class LastLines:
    """The last lines of a file whose lines are being counted."""

    def __init__(self, file: LineFile) -> None:
        self._lines = file.tail(LAST_LINES)

    def __len__(self) -> int:
        return len(self._lines)

    def text(self, index: int) -> str:
        return self._lines[index]

    def cells(self, index: int) -> Sequence[Part]:
        return [painted(self._lines[index])]

    def key(self, index: int) -> str:
        return f"last {index - len(self._lines)}"


class AllLines:
    """All lines, as many as there were when it was made."""

    def __init__(self, file: LineFile) -> None:
        self._file, self._count = file, file.count

    def __len__(self) -> int:
        return self._count

    def text(self, index: int) -> str:
        return _line(self._file, index)

    def cells(self, index: int) -> Sequence[Part]:
        return [painted(self.text(index))]

    def key(self, index: int) -> str:
        return str(index)

    def place_of(self, key: str) -> int | None:
        return int(key) if key.isdecimal() and int(key) < self._count else None


class FoundLines:
    """The lines that match a filter; `go_on` finds further ones until there are no more."""

    def __init__(self, file: LineFile, pattern: str) -> None:
        self._file, self._numbers = file, array("q")
        self.pattern = pattern
        self._searched = 0
        self._search = self._begin()

    def _begin(self) -> Iterator[array[int]]:
        inverted = self.pattern.startswith("!")
        return self._file.search(self.pattern.removeprefix("!"), invert=inverted, first=self._searched)

    def go_on(self, seconds: float = 0.2) -> bool:
        """Search for about that long, and return whether there may be more. Blocks: call it in a thread."""
        limit = time.monotonic() + seconds
        for numbers in self._search:
            self._numbers.extend(numbers)
            if time.monotonic() > limit:
                return True
        self._searched = max(self._file.count - 1, 0)  # the last line may become longer
        return False

    def grew(self) -> None:
        """Search the lines that were appended to the file, too."""
        while self._numbers and self._numbers[-1] >= self._searched:
            self._numbers.pop()
        self._search = self._begin()

    def __len__(self) -> int:
        return len(self._numbers)

    def text(self, index: int) -> str:
        return _line(self._file, self._numbers[index])

    def cells(self, index: int) -> Sequence[Part]:
        return [painted(self.text(index))]

    def key(self, index: int) -> str:
        return str(self._numbers[index])


def painted(line: str) -> Part:
    """Paint a line by its level."""
    head = line[:_LEVEL_WITHIN]
    style = next((style for word, style in _STYLES.items() if word in head), "")
    return Painted(line, style) if style else line


def _line(file: LineFile, number: int) -> str:
    """Return a line; empty if the file was truncated meanwhile."""
    try:
        return file.line(number)
    except (IndexError, OSError):
        return ""
