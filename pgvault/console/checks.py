"""The checks of the servers as this console last saw them: run by the verb, kept with their time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from pgvault.console.commands import Document
from pgvault.model.check import Finding, Outcome
from pgvault.model.event import Failure

if TYPE_CHECKING:
    from pgvault.console.queries import Queries


@dataclass(frozen=True, slots=True)
class Checked:
    """The result of one server's check, and when it was made."""

    at: datetime
    outcome: Outcome
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Why a check that was asked for brought no result."""

    at: datetime
    failure: Failure


class Checks:
    """The findings, the checks that are running, and why an answer is missing."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries
        self.found: dict[str, Checked] = {}
        self.running: dict[str, datetime] = {}
        """The servers that are being checked, each with the time when its check began."""
        self.missing: dict[str, NoAnswer] = {}
        """The servers whose last check brought no answer; earlier findings are still there."""

    @property
    def in_doubt(self) -> set[str]:
        """Return the servers with a bad finding, or with none: something done since may have corrected it."""
        return {server for server, found in self.found.items() if found.outcome is not Outcome.OK} | self.missing.keys()

    async def run(self, server: str, changed: Callable[[], None]) -> None:
        """Check a server, or `all`; `changed` is called as answers come. A server that is being checked is left out."""
        asked = self._queries.servers if server == "all" else (server,)
        wanted = [name for name in asked if name not in self.running]
        if not wanted:
            return
        self.running.update(dict.fromkeys(wanted, self._queries.now()))
        changed()

        def take(document: Document) -> None:
            if (name := document.get("server")) in wanted:
                self.found[name] = _checked(document, self._queries.now())
                self.running.pop(name, None)
                self.missing.pop(name, None)
                changed()

        try:
            answer = await self._queries.commands.ask("check", "all" if len(wanted) > 1 else wanted[0], each=take)
            for name in wanted:
                if name in self.running and answer.failure:
                    self.missing[name] = NoAnswer(self._queries.now(), answer.failure)
        finally:
            for name in wanted:
                self.running.pop(name, None)
            changed()


def _checked(document: Document, at: datetime) -> Checked:
    findings = tuple(Finding(str(each["name"]), Outcome(each["outcome"]), str(each.get("detail", "")),
                             str(each.get("cause", "")), str(each.get("fix", "")))
                     for each in document.get("checks", ()))
    return Checked(at, Outcome(document["outcome"]), findings)
