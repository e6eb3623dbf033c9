"""A search of one server's WAL for accidents: its findings and its progress, in the same words wherever they are shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import Enum, auto
from typing import TYPE_CHECKING

from pgvault.console.recovery.accident import Accident, accident_of, together
from pgvault.model.event import Failure

if TYPE_CHECKING:
    from pgvault.console.commands import Commands, Document


MASS = 100
"""The number of changed rows of a table that make an accident, the default of `pgvault events --rows`."""


class Stand(Enum):
    NEW = auto()
    RUNS = auto()
    STOPPED = auto()
    """The person stopped it before its end."""
    FAILED = auto()
    COMPLETE = auto()


class Search:
    """A search: `begin` and then, in the background, `run`; its findings stay when it begins again."""

    def __init__(self, server: str = "", kinds: Sequence[str] = (), rows: int = MASS) -> None:
        """Make a search; `rows` of a table that one transaction changed make an accident."""
        self.server, self.kinds, self.rows = server, tuple(kinds), rows
        self._transactions: list[Accident] | None = None
        self._found: dict[str, Accident] = {}
        self.stand = Stand.NEW
        self.failure: Failure | None = None

    def learn(self, other: Search) -> None:
        """Take over the findings of another search of this server for the same kinds, and its end if it looked for all
        of them.
        """
        if other.server != self.server or other.rows != self.rows:
            return
        self._found |= {key: each for key, each in other._found.items() if each.kind in self.kinds}
        self._transactions = None
        if other.stand is Stand.COMPLETE and self.kinds and {*self.kinds} <= {*other.kinds}:
            self.stand = Stand.COMPLETE

    @property
    def newest_first(self) -> list[Accident]:
        """Return one accident for each transaction, the newest first."""
        if self._transactions is None:
            self._transactions = together(self._found.values())
        return self._transactions

    def accident(self, key: str) -> Accident | None:
        """Return the accident, or the part of one, with this key."""
        for whole in self.newest_first:
            if whole.key == key:
                return whole
            if key.startswith(f"{whole.key}/"):
                return next((part for part in whole.parts if part.key == key), None)
        return None

    def with_fewer(self, rows: int) -> Search:
        """Return a search that finds smaller changes, too; the findings stay."""
        search = Search(self.server, self.kinds, rows)
        search._found = dict(self._found)
        return search

    @property
    def words(self) -> list[str]:
        """Return the words after `pgvault` that search, on every timeline."""
        return search_words(self.server, self.kinds, self.rows)

    @property
    def status(self) -> str:
        """Describe the progress. Only a search of all archived WAL reports that nothing was found."""
        count = f"{len(self.newest_first):,} found"
        match self.stand:
            case Stand.NEW:
                return "the WAL was not searched yet"
            case Stand.RUNS:
                return f"searching the WAL, {count} so far"
            case Stand.STOPPED:
                return f"the search was stopped, {count} so far"
            case Stand.FAILED:
                return f"the search failed, {count} before"
            case Stand.COMPLETE:
                return f"all archived WAL was searched, {count}"

    def begin(self) -> None:
        self.stand, self.failure = Stand.RUNS, None

    def stop(self) -> None:
        """Note that the search is no longer run."""
        if self.stand is Stand.RUNS:
            self.stand = Stand.STOPPED

    async def run(self, commands: Commands, words: Sequence[str], changed: Callable[[], None]) -> None:
        """Run the verb to its end; `changed` is called for each finding, and at the end."""
        def take(document: Document) -> None:
            self.take(document)
            changed()

        answer = await commands.ask(*words, each=take)
        self.failure, self.stand = answer.failure, Stand.FAILED if answer.failure else Stand.COMPLETE
        changed()

    def take(self, document: Document) -> None:
        with suppress(ValueError, KeyError, TypeError):  # it offers no recovery, or is a newer version's
            accident = accident_of(document)
            self._found[accident.key] = accident
            self._transactions = None


def search_words(server: str, kinds: Sequence[str], rows: int = MASS) -> list[str]:
    """Return the words of a search, see `Search.words`."""
    fewer = [] if rows == MASS else ["--rows", str(rows)]
    chosen = [word for kind in kinds for word in ("--kind", kind)]
    return ["events", server, "--newest-first", "--all-timelines", "--partial", *chosen, *fewer]
