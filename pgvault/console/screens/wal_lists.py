"""The list of the WAL view: the transactions around the cursor, or the accidents that a search finds."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

from pgvault.console.fields import wrapped
from pgvault.console.recovery.accident import Accident, Row, marks, rows
from pgvault.console.recovery.search import Search, Stand
from pgvault.console.timeline.around import Around
from pgvault.console.timeline.axis import microseconds
from pgvault.console.timeline.cursor import Cursor
from pgvault.console.widgets.listing import Listing
from pgvault.console.widgets.pane import ListPane
from pgvault.console.widgets.rows import Column, ItemRows
from pgvault.engine.event_neighbours import NearTransaction
from pgvault.model.errors import PgvaultError
from pgvault.model.target import AtLsn
from pgvault.model.text import Painted, Part
from pgvault.model.times import utc

_ROOM = 74
"""The columns of a text in the list."""
_ENDS = {"COMMIT": "commit", "ABORT": "abort", "COMMIT_PREPARED": "commit prepared", "ABORT_PREPARED": "abort prepared"}
_COLUMNS = (Column("time, UTC", 18), Column("xid", 10, right=True), Column("what", 40, flexible=True),
            Column("WAL position", 13, wide=True))
"""The columns of both lists."""
_TRANSACTIONS = "The transactions around the cursor appear here once it rests and the WAL there is read."
_COMES = "Drops, truncations and mass deletes appear here as they are found, the newest first."
_NO_ACCIDENT: Mapping[Stand, str] = {
    Stand.NEW: _COMES, Stand.RUNS: _COMES,
    Stand.STOPPED: "The search was stopped before its end; e searches again.",
    Stand.COMPLETE: "No drop, truncation or mass delete is in the archived WAL."}
"""The text shown for the accidents while there is none."""


def _time(time: datetime) -> str:
    return f"{time.astimezone(UTC):%m-%d %H:%M:%S.%f}"[:-3]


def transaction_rows(found: Sequence[NearTransaction]) -> ItemRows[NearTransaction]:
    return ItemRows(found, _transaction, lambda each: str(each.lsn))


def _transaction(each: NearTransaction) -> list[Part]:
    end = _ENDS[each.kind.name]
    if each.removed:
        names = [f"{found.schema}.{found.name}" for found in each.objects if found.name and found.is_main]
        files = f"removed {each.removed} file{'s' * (each.removed != 1)}"
        what: Part = Painted(f"{end}, {files}" + (f" of {', '.join(names)}" if names else ""), "bad")
    else:
        what = end if each.kind.commits else Painted(end, "dim")
    return [_time(each.time), str(each.xid), what, str(each.lsn)]


def accident_rows(found: Sequence[Accident], opened: Collection[str] = ()) -> ItemRows[Row]:
    return ItemRows([*rows(found, opened)], _accident, lambda row: row.accident.key)


def _accident(row: Row) -> list[Part]:
    each, what = row.accident, Painted(row.text, "bad")
    if row.is_part:
        return ["", "", what, ""]
    lsn = str(each.point.target.lsn) if isinstance(each.point.target, AtLsn) else ""
    return [_time(each.time), str(each.xid), what, lsn]


class NearbyPane(ListPane):
    """The list, which shows one of the two; its cursor and the timeline's move together."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__("transactions", _COLUMNS, empty=_TRANSACTIONS, id=id)
        self.around: Around | None = None
        self.problem: PgvaultError | None = None
        """Why the transactions could not be read."""
        self.search = Search()
        self.opened: set[str] = set()
        """The keys of the accidents with visible parts."""
        self.shows_accidents = False

    def turn_to(self, cursor: Cursor, *, accidents: bool) -> None:
        """Show one list or the other, with its row at the cursor, or else the newest accident."""
        self.shows_accidents = accidents
        self.show(accident_rows(()))
        self.refill(cursor)

    def refill(self, cursor: Cursor) -> None:
        """Show what is known now. A focused list with rows leads; the first rows are shown around the cursor."""
        leads = self.has_focus_within and len(self.listing.rows) > 0
        self.listing.empty = self._empty_text()
        if self.shows_accidents:
            self.retitle(self._accidents_title)
            self.show(accident_rows(self.search.newest_first, self.opened))
        else:
            self.retitle("transactions around the cursor: r recovers to just before one")
            self.show(transaction_rows(self.around.found if self.around else ()))
        if not leads:
            self._put(cursor)
        self.listing.changed()

    def put(self, cursor: Cursor) -> None:
        """Move the list's cursor to the timeline's place, unless the list leads."""
        if not self.has_focus_within:
            self._put(cursor)

    def _put(self, cursor: Cursor) -> None:
        if self.pattern:
            return
        if self.shows_accidents:
            if cursor.mark and cursor.mark.key:
                self.listing.go_to_key(cursor.mark.key)
        elif self.around and self.around.timeline == cursor.timeline:
            index = max(0, self.around.index_at(cursor))
            self.listing.top = max(0, index - self.listing.size.height // 2)  # with the rows before and after it
            self.listing.go_to(index)

    def on_listing_sided(self, event: Listing.Sided) -> None:
        if self.shows_accidents:
            (self.opened.add if event.unfolds else self.opened.discard)(event.key)
            self.show(accident_rows(self.search.newest_first, self.opened))

    def _count(self) -> None:
        """Count the rows; below accidents, mention the changes that are too small to be listed."""
        super()._count()
        if self.shows_accidents and not self.pattern:
            parts = "right opens one; " * any(each.parts for each in self.search.newest_first)
            self.say(f"{parts}fewer than {self.search.rows} rows left out: pgvault events --rows 1")

    def place(self, key: str) -> Cursor | None:
        """Return the place of the row with this key."""
        if self.shows_accidents:
            accident = self.search.accident(key)
            return next((Cursor(timeline, mark.at, mark) for timeline, mark in marks([accident] if accident else [])),
                        None)
        if self.around is None:
            return None
        each = next((each for each in self.around.found if str(each.lsn) == key), None)
        if each is None:
            return None
        end = "commit" if each.kind.commits else "abort"
        return Cursor(self.around.timeline, microseconds(each.time), None, each.lsn,
                      f"the {end} of transaction {each.xid}; r stops before it")

    def details(self, key: str) -> tuple[str, str]:
        """Return all of a row: its title, and its text."""
        if accident := self.search.accident(key) if self.shows_accidents else None:
            tables = ["", "tables:", *accident.expect] if accident.expect else []
            return accident.what, "\n".join([f"{accident.what}, at {utc(accident.time)}", f"transaction {accident.xid}",
                                             f"recovers to: {accident.point.label}", *tables])
        each = next(each for each in (self.around.found if self.around else ()) if str(each.lsn) == key)
        _, _, what, lsn = _transaction(each)
        return f"transaction {each.xid}", f"{utc(each.time)}\n{what}\nends at {lsn} on timeline {each.timeline}"

    def accident_at(self, cursor: Cursor) -> Accident | None:
        return self.search.accident(cursor.mark.key) if cursor.mark else None

    @property
    def _accidents_title(self) -> str:
        """Describe the search's progress; if something was found, only this line can say why it ended early."""
        end = ", esc stops" if self.search.stand is Stand.RUNS else \
            f": {self.search.failure.message}" if self.search.failure else ""
        return f"accidents: {self.search.status}{end}"

    def _empty_text(self) -> str:
        """Return the text of an empty list: what belongs there, or why it is missing."""
        failure = self.search.failure if self.shows_accidents else self.problem
        if failure:
            texts = [failure.message, failure.detail, failure.hint]
        elif self.shows_accidents:
            texts = [_NO_ACCIDENT[self.search.stand]]
        else:
            texts = ["No transaction ended near this place." if self.around else _TRANSACTIONS]
        return "\n".join(line for text in texts if text for line in wrapped(text, _ROOM))
