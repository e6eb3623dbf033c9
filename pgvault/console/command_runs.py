"""The rows of the command log: equal commands that follow one another are one row, with the number of their runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple

from pgvault.console.command_words import in_words
from pgvault.console.commands import Ran
from pgvault.console.fields import Field
from pgvault.model.text import Painted, span, stamp

HERE = "here"


class Runs(NamedTuple):
    """One command, or several in a row that differ only in their time."""

    summary: str
    """The command in a few words."""
    every: tuple[Ran, ...]
    """The runs, newest first."""

    @property
    def newest(self) -> Ran:
        return self.every[0]

    @property
    def key(self) -> str:
        """A key that stays the same while further runs are added."""
        return str(self.every[-1].number)

    @property
    def commands(self) -> list[str]:
        """Return the different commands in full: the short form may leave out what distinguishes them."""
        return list(dict.fromkeys(ran.command for ran in self.every))

    @property
    def took(self) -> str:
        """Return how long all of them took together; empty while one runs."""
        seconds = [ran.seconds for ran in self.every if ran.seconds is not None]
        return span(sum(seconds)) if len(seconds) == len(self.every) else ""

    @property
    def ended(self) -> Painted:
        """Return the exit code in the colour of its meaning: 3 is a check that found something."""
        status = self.newest.status
        if self.newest.seconds is None:
            return Painted("runs", "dim")
        if status is None:
            return Painted("ended", "bad")
        return Painted(str(status), "bad" if status not in (0, 3) else "warn" if status else "good")


def merged(newest_first: Iterable[Ran], own: str) -> list[Runs]:
    """Return the log's rows, without `own`, with which all commands of this console begin. A command that still runs is
    a row of its own.
    """
    def alike(ran: Ran) -> tuple[object, ...]:
        summary = in_words(ran.command.removeprefix(own))
        return summary, ran.where, ran.status, ran.number if ran.seconds is None else None

    return [Runs(str(key[0]), tuple(every)) for key, every in groupby(newest_first, alike)]


def in_short(runs: Runs) -> str:
    """Return host, time, duration and outcome, for a title."""
    count, ended = len(runs.every), runs.ended.text
    return ", ".join(filter(None, (
        runs.newest.where, f"{count} times" if count > 1 else "", stamp(runs.newest.at), runs.took,
        f"exit {ended}" if runs.newest.status is not None else ended)))


def command_fields(runs: Runs) -> Iterator[Field]:
    """Yield all facts about them."""
    for number, command in enumerate(runs.commands):
        yield Field("" if number else "command", command, "bold")
    yield Field("where", runs.newest.where or "this machine")
    count, first = len(runs.every), runs.every[-1]
    if count == 1:
        yield Field("began", stamp(first.at))
    else:
        yield Field("ran", f"{count} times, the first {stamp(first.at)}, the last {stamp(runs.newest.at)}")
    if runs.took:
        yield Field("took", f"{runs.took} in all" if count > 1 else runs.took)
    ended = runs.ended
    words = {"runs": "it runs", "ended": "it was ended: its answer was no longer needed"}
    yield Field("exit", words.get(ended.text, ended.text), ended.style)
