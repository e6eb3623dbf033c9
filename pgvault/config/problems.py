"""Problems in a configuration: file, line, key, and the nearest valid word.

`load` stops at the first problem, `config check` lists them all; both come from one pass over the files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from pgvault.model.errors import ConfigError


class BadValue(ValueError):
    """A setting does not accept this value. The hint is a sentence about what to write instead."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ConfigProblem(NamedTuple):
    """One problem. It never holds a value that could be a secret."""

    path: Path
    line: int
    """The line, counted from 1; 0 if the problem is with the file as a whole."""
    key: str
    """Dotted, as in `servers.main.slot_name`; empty if no key is concerned."""
    message: str
    hint: str = ""
    """A sentence: the next step."""

    @property
    def where(self) -> str:
        return f"{self.path}:{self.line}" if self.line else str(self.path)

    def headline(self) -> str:
        return ": ".join(part for part in (self.where, self.key, self.message) if part)

    def __str__(self) -> str:
        hint = self.hint.removesuffix(".")
        return self.headline() + (f"; {hint[0].lower()}{hint[1:]}" if hint else "")


def first_of(problems: Sequence[ConfigProblem]) -> ConfigError:
    """Return the error for the first problem, with the number of further problems."""
    further = len(problems) - 1
    detail = ""
    if further:
        detail = f"There {'is 1 further problem' if further == 1 else f'are {further} further problems'}; "
        detail += "pgvault config check lists them all."
    return ConfigError(problems[0].headline(), detail=detail, hint=problems[0].hint)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `Did you mean "x"?`, or the known words if none is near, or nothing if there are none."""
    import difflib  # only a wrong configuration needs it

    words = sorted(known)
    by_lower = {w.lower(): w for w in words}
    if close := difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6):
        return f'Did you mean "{by_lower[close[0]]}"?'
    return f"Known: {', '.join(words)}." if words else ""
