"""A search of one server's WAL for accidents: what it found and how far it is, in the same words wherever it is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import Enum, auto
from typing import TYPE_CHECKING

from pgvault.console.wizard.accident import Accident, accident_of
from pgvault.model.event import Failure

if TYPE_CHECKING:
    from pgvault.console.commands import Commands, Document


class Stand(Enum):
    NEW = auto()
    RUNS = auto()
    STOPPED = auto()
    """Before its end, by the person."""
    FAILED = auto()
    COMPLETE = auto()


class Search:
    """`begin` and then, beside the screens, `run`; what it found stays when it is begun again."""

    def __init__(self, server: str = "", kinds: Sequence[str] = ()) -> None:
        self.server, self.kinds = server, tuple(kinds)
        self._found: dict[str, Accident] = {}
        self.stand = Stand.NEW
        self.failure: Failure | None = None

    def narrowed(self, server: str, kinds: Sequence[str]) -> Search:
        """The same for these kinds alone; a new one where not all of them were looked for."""
        search = Search(server, kinds)
        if kinds and server == self.server and set(kinds) <= set(self.kinds):
            search._found = {key: each for key, each in self._found.items() if each.kind in kinds}
            search.stand = self.stand if self.stand is Stand.COMPLETE else Stand.NEW
        return search

    @property
    def newest_first(self) -> list[Accident]:
        return sorted(self._found.values(), key=lambda each: each.time, reverse=True)

    def accident(self, key: str) -> Accident | None:
        return self._found.get(key)

    @property
    def status(self) -> str:
        """How far it is. That nothing was found is said of all archived WAL alone."""
        count = f"{len(self._found):,} found"
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
        """Whoever ran it does so no more."""
        if self.stand is Stand.RUNS:
            self.stand = Stand.STOPPED

    async def run(self, commands: Commands, words: Sequence[str], changed: Callable[[], None]) -> None:
        """Until the verb has ended; `changed` is called for everything that it finds, and at the end."""
        def take(document: Document) -> None:
            self.take(document)
            changed()

        answer = await commands.ask(*words, each=take)
        self.failure, self.stand = answer.failure, Stand.FAILED if answer.failure else Stand.COMPLETE
        changed()

    def take(self, document: Document) -> None:
        with suppress(ValueError, KeyError, TypeError):  # it offers no way back, or is a newer version's
            accident = accident_of(document)
            self._found[accident.key] = accident


def search_words(server: str, kinds: Sequence[str]) -> list[str]:
    """The words behind `pgvault` that search for these kinds, on whatever timeline they happened."""
    chosen = [word for kind in kinds for word in ("--kind", kind)]
    return ["events", server, "--newest-first", "--all-timelines", "--partial", *chosen]
