"""A recovery while it is planned: the answers and findings so far, and the questions of the steps. It knows no widget.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from pgvault.console.commands import Answer as CommandAnswer
from pgvault.console.queries import Queries, run_query
from pgvault.console.recovery.ahead import Ahead
from pgvault.console.recovery.answer import Answer, answer_of, place_of
from pgvault.console.recovery.draft import Draft, Point
from pgvault.console.recovery.drafts import DraftFile
from pgvault.console.recovery.search import Search
from pgvault.model.errors import PgvaultError
from pgvault.model.event import Failure
from pgvault.model.target import EndOfWal

if TYPE_CHECKING:
    from pgvault.model.wal_picture import WalPicture


class Session:
    def __init__(self, queries: Queries, draft: Draft, file: DraftFile | None,
                 warn: Callable[[str, str], None]) -> None:
        """Begin a session. `file` was taken for it, or is None: then answers are not saved. `warn` shows a text with
        its severity.
        """
        self.queries, self.draft = queries, draft
        self._file, self._warn = file, warn
        self._unsaved = False
        self.found = Search()
        """The findings of the first step in the WAL."""
        self.aimed_at = ""
        """The key of the accident that was chosen in it."""
        self._taken: tuple[list[str], Answer] | None = None
        """The question for the point that was just taken, and its answer."""
        self._placed: tuple[Point | None, tuple[int, datetime | None]] | None = None
        """The point that was taken, and its place on the timeline strip."""
        self._ahead = Ahead(queries.commands.ask)
        """Asks for the plan."""

    # The draft and its file

    def change(self, draft: Draft) -> None:
        """Take another draft and save it, so that none of it is lost."""
        if draft == self.draft:
            return
        if draft.words() != self.draft.words():
            self._ahead.drop()
        self.draft = draft
        if self._file is None:
            return
        try:
            self._file.save(draft)
        except PgvaultError as error:
            if not self._unsaved:
                self._warn(f"{error.message}; it is lost when the console ends", "warning")
            self._unsaved = True

    @property
    def is_kept(self) -> bool:
        """Return whether the draft has a file, from which it can be resumed."""
        return self._file is not None

    @property
    def is_saved(self) -> bool:
        """Return whether all answers are in the file."""
        return self.is_kept and not self._unsaved

    def let_go(self) -> None:
        """Release the draft, which can be resumed from now on."""
        self._ahead.drop()
        if self._file:
            self._file.let_go()

    def remove(self) -> None:
        """Remove the draft, which is no longer needed."""
        if self._file:
            self._file.remove()

    # From the configuration

    @property
    def zone(self) -> str | None:
        """Return the time zone that is configured for the server."""
        return self.queries.config.server(self.draft.server).timezone

    @property
    def hosts(self) -> list[str]:
        """Return the configured hosts."""
        return list(self.queries.config.hosts)

    def describe_host(self, name: str) -> str:
        host = self.queries.config.host(name)
        return f"{name} ({host.ssh})" if host.ssh else f"{name} (this machine)"

    def usual_directory(self, host: str) -> str:
        return (self.queries.config.host(host).data_directory or "") if host else ""

    # From the vault

    def take(self, draft: Draft, answer: Answer) -> None:
        """Take the draft's point with its answer."""
        self.change(draft)
        self._taken = draft.question(), answer
        self._placed = draft.point, place_of(draft.point, answer)

    @property
    def place(self) -> tuple[int, datetime | None] | None:
        """Return the timeline and the time of the draft's point, None if they are not known; without a time at the end.
        """
        if self._placed and self._placed[0] == self.draft.point:
            return self._placed[1]
        point = self.draft.point or Point(EndOfWal())
        is_known = point.time or isinstance(point.target, EndOfWal)
        return (point.timeline or 1, point.time) if is_known else None

    async def ask(self, draft: Draft) -> Answer | Failure:
        """Return the answer for the draft's point. It is asked of the vault each time, since WAL keeps arriving, except
        for the first time after the point was taken.
        """
        taken, self._taken = self._taken, None
        if taken and taken[0] == draft.question():
            return taken[1]
        answer = await self.queries.commands.ask(*draft.question())
        if answer.failure or not answer.documents:
            return answer.failure or Failure("the point could not be looked up", "", "", "failed", 1)
        return answer_of(answer.document)

    def plan_ahead(self) -> None:
        """Begin to plan the draft while the person still looks at it."""
        self._ahead.begin(self._planning)

    async def plan(self) -> CommandAnswer:
        """Return the plan of the draft; the destination is looked at now, or was a moment ago."""
        return await self._ahead.take(self._planning)

    @property
    def _planning(self) -> list[str]:
        return [*self.draft.words(), "--dry-run"]

    async def picture(self) -> WalPicture | PgvaultError:
        return await run_query(lambda: self.queries.picture(self.draft.server))
