"""A recovery as it is planned: what was said and found so far, and what the steps ask. It knows no widget."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from pgvault.console.queries import Queries, run_query
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
        """`file` was taken for it; None: what is said is not saved. `warn` shows a text with its severity."""
        self.queries, self.draft = queries, draft
        self._file, self._warn = file, warn
        self._unsaved = False
        self.found = Search()
        """What the first step found in the WAL."""
        self.aimed_at = ""
        """The key of an accident that was chosen there."""
        self._taken: tuple[list[str], Answer] | None = None
        """The question of the point that was just taken, and what it came to."""
        self._placed: tuple[Point | None, tuple[int, datetime | None]] | None = None
        """The point that was taken, and where it is on the line of time."""

    # The draft and its file

    def change(self, draft: Draft) -> None:
        """Take another draft, and save it, so that nothing of it is lost."""
        if draft == self.draft:
            return
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
        """Return whether it has a file, by which it can be taken up again."""
        return self._file is not None

    @property
    def is_saved(self) -> bool:
        """Return whether all answers are in the file."""
        return self.is_kept and not self._unsaved

    def let_go(self) -> None:
        """Give the draft free, which may be taken up again from now on."""
        if self._file:
            self._file.let_go()

    def remove(self) -> None:
        """Remove the draft, which is of no more use."""
        if self._file:
            self._file.remove()

    # What the configuration says

    @property
    def zone(self) -> str | None:
        """Return the zone that the configuration gives the server."""
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

    # What the vault says

    def take(self, draft: Draft, answer: Answer) -> None:
        """Take the draft's point, which came to this."""
        self.change(draft)
        self._taken = draft.question(), answer
        self._placed = draft.point, place_of(draft.point, answer)

    @property
    def place(self) -> tuple[int, datetime | None] | None:
        """The timeline and the time of the draft's point, without a time at the end; None where that is not known."""
        if self._placed and self._placed[0] == self.draft.point:
            return self._placed[1]
        point = self.draft.point or Point(EndOfWal())
        is_known = point.time or isinstance(point.target, EndOfWal)
        return (point.timeline or 1, point.time) if is_known else None

    async def ask(self, draft: Draft) -> Answer | Failure:
        """What the draft's point comes to; asked of the vault each time, since its WAL goes on, but for the first time
        after it was taken."""
        taken, self._taken = self._taken, None
        if taken and taken[0] == draft.question():
            return taken[1]
        answer = await self.queries.commands.ask(*draft.question())
        if answer.failure or not answer.documents:
            return answer.failure or Failure("the point could not be looked up", "", "", "failed", 1)
        return answer_of(answer.document)

    async def picture(self) -> WalPicture | PgvaultError:
        return await run_query(lambda: self.queries.picture(self.draft.server))
