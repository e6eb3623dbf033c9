"""Searches the archived WAL: which segments follow each other, which transaction ended where.

The index narrows a question to a segment; only that segment is unpacked and read. Unfinished segments, which the index
lacks, are read when they are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from pgvault.model.errors import NotFound, PgvaultError, WalMissing
from pgvault.model.lsn import Lsn
from pgvault.model.replay import Effect
from pgvault.model.segment import Segment
from pgvault.model.timeline import History, TimelineTree
from pgvault.model.unbroken import along
from pgvault.model.window import DAMAGED, MINIMAL
from pgvault.vault.identity import Identity
from pgvault.vault.layout import ServerVault
from pgvault.vault.wal_effects import load
from pgvault.vault.wal_facts import carry_before, microseconds, moment, timeline_tree
from pgvault.vault.wal_fetch import read_verified
from pgvault.vault.wal_index import WalIndex
from pgvault.vault.wal_rows import Row, Rows, RowsOfPath
from pgvault.vault.wal_unfinished import Unfinished, look
from pgvault.vault.wal_unfinished import segments as unfinished_segments
from pgvault.wal.effects import effects_of
from pgvault.wal.pieces import pieces
from pgvault.wal.transactions import Transaction, transactions_of

_Found = TypeVar("_Found")

@dataclass(frozen=True, slots=True)
class NamedPoint:
    timeline: int
    number: int
    lsn: Lsn
    end_lsn: Lsn
    time: datetime


class WalSearch:
    """Answers questions about one server's archive. Bring its index up to date first (`wal_current.current`)."""

    def __init__(self, server: ServerVault, index: WalIndex, identity: Identity, *, partial: bool = False) -> None:
        """Read the timelines. With `partial`, the unfinished end of a timeline counts too (rule 14: only on request).
        """
        self._server, self._index, self.size = server, index, identity.segment_size
        self._partial = partial
        self._identity = identity
        self.tree: TimelineTree = timeline_tree(server, index)
        self._rows = Rows(index, self.size)
        self._runs: dict[int, list[RowsOfPath]] = {}
        self._begun: dict[Segment, Row | None] = {}

    def with_unfinished(self) -> WalSearch:
        """Return a search that counts the unfinished ends of timelines; itself if it does, or if there are none."""
        if self._partial or not self._unfinished_segments():
            return self
        search = copy(self)
        search._partial = True
        return search

    def timelines(self) -> list[int]:
        """Return the timelines with WAL, even if that is only an unfinished segment."""
        begun = {segment.timeline for segment in self._unfinished_segments()}
        return sorted(begun.union(t for (t,) in self._index.connection.execute(
            "SELECT DISTINCT timeline FROM file WHERE kind = 'segment'")))

    def beginnings(self) -> dict[int, Lsn]:
        """Return where the first archived segment of each timeline begins."""
        return {timeline: Lsn(number * self.size) for timeline, number in self._index.connection.execute(
            "SELECT timeline, min(number) FROM file WHERE kind = 'segment' GROUP BY timeline")}

    def histories(self) -> tuple[str, ...]:
        """Return the names of all archived history files."""
        return tuple(file.name for file in self._index.files("history"))

    def runs(self, history: History) -> list[RowsOfPath]:
        """Return the complete segments that recovery along this path can read one after the other, split where it
        cannot continue. They are read when they are looked at; the index must not change until then.
        """
        if history.timeline not in self._runs:
            self._runs[history.timeline] = list(self._rows.along(history).unbroken())
        return self._runs[history.timeline]

    def begun(self, history: History, number: int) -> Row | None:
        """Return the unfinished segment of this path with that number; None if there is none, or if unfinished ones
        were not requested.
        """
        return self._begun_row(history.segment(number, self.size)) if self._partial else None

    def on_path(self, history: History) -> Iterator[Row]:
        """Yield all segments of this path that exist, in order; some between them may be missing."""
        rows = along(history, self._rows.all, self.size)
        begun = self._unfinished_segments() if self._partial else set()
        rows += [row for segment in begun if history.segment(segment.number, self.size) == segment
                 and (row := self._begun_row(segment)) is not None]
        return iter(sorted(rows, key=lambda row: row.number))

    def unfinished(self, history: History) -> Row | None:
        """Return the unfinished segment at the end of this path; None if there is none."""
        segments = [segment for segment in self._unfinished_segments() if segment.timeline == history.timeline]
        with suppress(PgvaultError):
            return self._begun_row(max(segments)) if segments else None
        return None

    def chunks(self, row: Row) -> Iterator[bytes]:
        """Yield the contents of a segment, compared with its hash. Raises NotFound if it has left the archive."""
        return row.unfinished.part.chunks(self._server, self.size) if row.unfinished else \
            read_verified(self._server, row.name)

    def left_out(self, history: History, row: Row) -> Row | None:
        """Return the unfinished segment with which the WAL would continue after `row`, the last one, if it were
        requested.
        """
        following = history.segment(row.number + 1, self.size)
        if row.stops or self._index.has(following):
            return None
        with suppress(PgvaultError):  # a damaged one adds nothing, and was not asked for
            return self._begun_row(following)
        return None

    def break_behind(self, history: History, row: Row) -> str:
        """Return why recovery ends with this segment though the archive has more of the path, if only in this segment;
        empty if it does not."""
        if row.ends_by == DAMAGED:
            return f"segment {row.name} is damaged at {row.end}"
        if row.ends_by == MINIMAL:
            return f"WAL from {row.end} on was written under wal_level=minimal, which no recovery can pass"
        following = history.segment(row.number + 1, self.size)
        for leg in history.legs:
            first = max(following.number, leg.start // self.size)
            last = 1 << 62 if leg.end is None else leg.end // self.size
            if self._index.connection.execute(
                    "SELECT 1 FROM file WHERE kind = 'segment' AND timeline = ? AND number >= ? AND number < ?",
                    (leg.timeline, first, last)).fetchone():
                if self._index.has(following):
                    return f"the WAL in segment {row.name} ends there, though not the archive"
                return f"segment {following.name(self.size)} behind it is missing"
        return ""

    def transactions(self, row: Row) -> list[Transaction]:
        """Return the ends of transactions in this segment, in order. Raises WalMissing if it cannot be read."""
        carry = carry_before(self._index, self.tree, row.segment, self._identity)
        found = self._read(row, lambda: transactions_of(
            pieces(self.chunks(row), row.segment.start(self.size)), carry))
        return [each for each in found if each.lsn < row.end] if row.ends_by == MINIMAL else found

    def _read(self, row: Row, read: Callable[[], Iterable[_Found]]) -> list[_Found]:
        try:
            return list(read())
        except (FileNotFoundError, NotFound):
            raise WalMissing(f"{row.name} has become a whole segment, or was archived, since it was looked at",
                             hint="Run this again.") from None
        except ValueError as error:
            raise WalMissing(f"segment {row.name} cannot be read", detail=f"{error}.") from None

    def numbers(self, history: History) -> list[int]:
        """Return the numbers of the archived segments of this path, in order; some between them may be missing."""
        found: list[int] = []
        for leg in history.legs:
            last = 1 << 62 if leg.end is None else leg.end // self.size - 1
            found += [number for (number,) in self._index.connection.execute(
                "SELECT number FROM file WHERE kind = 'segment' AND timeline = ? AND number BETWEEN ? AND ?"
                " ORDER BY number", (leg.timeline, leg.start // self.size, last))]
        return found

    def effects(self, history: History, row: Row) -> list[tuple[int, Effect]]:
        """Return what replay along this path does up to the end of this segment, from the first one on, each with the
        number of its segment."""
        found: list[tuple[int, Effect]] = []
        for leg in history.legs:
            first = leg.start // self.size
            last = row.segment.number if leg.end is None else min(leg.end // self.size - 1, row.segment.number)
            found += load(self._index.connection, leg.timeline, first, last)
        if row.unfinished and row.unfinished.facts:
            found += [(row.segment.number, effect) for effect in row.unfinished.facts.effects]
        return found

    def effects_within(self, row: Row) -> list[Effect]:
        """Return all effects of one segment's records, read again: including what ends within it, which the index
        lacks.
        """
        carry = carry_before(self._index, self.tree, row.segment, self._identity)
        return self._read(row, lambda: effects_of(pieces(self.chunks(row), row.segment.start(self.size)), carry))

    def restore_points(self, name: str) -> list[NamedPoint]:
        rows = self._index.connection.execute(
            "SELECT timeline, number, lsn, end_lsn, at FROM restore_point WHERE name = ?", (name,))
        found = [NamedPoint(timeline, number, Lsn(lsn), Lsn(end), moment(at))
                 for timeline, number, lsn, end, at in rows]
        for row in self._begun_rows() if self._partial else ():
            facts = row.unfinished.facts if row.unfinished else None
            found += [NamedPoint(*row.segment, point.lsn, point.end_lsn, point.time)
                      for point in (facts.restore_points if facts else ()) if point.name == name]
        return sorted(found, key=lambda point: point.lsn)

    def segments_with_points(self, since: int | None, until: int | None) -> set[Segment]:
        """Return the archived segments with restore points between these times, in microseconds since 1970."""
        return {Segment(*row) for row in self._index.connection.execute(
            "SELECT timeline, number FROM restore_point WHERE at >= coalesce(?, at) AND at <= coalesce(?, at)",
            (since, until))}

    def restore_point_names(self) -> list[str]:
        return [name for (name,) in self._index.connection.execute(
            "SELECT DISTINCT name FROM restore_point ORDER BY name")]

    def _unfinished_segments(self) -> set[Segment]:
        """Return the segments that are not archived complete."""
        return {segment for segment in unfinished_segments(self._server, self._index, self._identity)
                if not self._index.has(segment)}

    def _begun_rows(self) -> Iterator[Row]:
        for segment in sorted(self._unfinished_segments()):
            if (row := self._begun_row(segment)) is not None:
                yield row

    def _begun_row(self, segment: Segment) -> Row | None:
        """Return the row of an unfinished segment. It is read once, so that all of its facts are of one moment."""
        if segment not in self._begun:
            carry = carry_before(self._index, self.tree, segment, self._identity)
            found = look(self._server, segment, self._identity, carry)
            self._begun[segment] = None if found is None else _begun(segment, found)
        return self._begun[segment]


def _begun(segment: Segment, found: Unfinished) -> Row:
    facts = found.facts
    times = facts.times if facts else None
    xids = facts.xids if facts else None
    return Row(*segment, found.name, found.part.length, found.problem or None,
               microseconds(times.earliest) if times else None, microseconds(times.latest) if times else None,
               xids.oldest if xids else None, xids.newest if xids else None, facts.last if facts else None, found.end,
               stops=True, unfinished=found, ends_by=MINIMAL if facts and facts.minimal is not None else "")
