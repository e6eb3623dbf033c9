"""The entries of help and palette, and the search among them. Pure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from pgvault.console.widgets.rows import fits


class Entry(NamedTuple):
    """One thing that can be done or gone to."""

    key: str
    """A key that is unique among all entries."""
    keys: str
    """The keys as a person presses them; empty for none."""
    label: str
    meaning: str
    run: Callable[[], Awaitable[None] | None]
    why_not: str = ""
    """Why the entry is unavailable now; it is shown all the same."""

    @property
    def text(self) -> str:
        return f"{self.keys} {self.label} {self.meaning}"


def matching(entries: Sequence[Entry], typed: str) -> list[Entry]:
    """Return the entries that contain every typed word; first the one with exactly that key, then those whose label
    begins with it. A leading `!` inverts the search.
    """
    pattern = typed.strip()
    if not pattern:
        return list(entries)
    if pattern.startswith("!") and len(pattern) > 1:
        return [entry for entry in entries if fits(pattern, entry.text)]
    words = pattern.split()
    return sorted((entry for entry in entries if all(fits(word, entry.text) or word == "!" for word in words)),
                  key=lambda entry: _rank(entry, pattern))


def _rank(entry: Entry, pattern: str) -> int:
    if pattern in entry.keys.split():
        return 0
    return 1 if entry.label.casefold().startswith(pattern.casefold()) else 2
