"""What help and palette offer, and which of it fits what is typed. Pure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from pgvault.console.widgets.rows import fits


class Entry(NamedTuple):
    """One thing that can be done or gone to."""

    key: str
    """What tells it from all others."""
    keys: str
    """As a person presses them; empty for none."""
    label: str
    meaning: str
    run: Callable[[], Awaitable[None] | None]
    why_not: str = ""
    """Why it cannot be done now; it is shown all the same."""

    @property
    def text(self) -> str:
        return f"{self.keys} {self.label} {self.meaning}"


def matching(entries: Sequence[Entry], typed: str) -> list[Entry]:
    """Return those with every typed word; first the one with just that key, then those whose label begins so. `!` in
    front leaves out what fits."""
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
