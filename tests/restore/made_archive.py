"""An archive that a made-up server left: its records, backups, idle stretches, gaps and timelines, without a file.

The server lives step by step, as a real one does: its WAL grows, its clock goes on or is put back, a backup ends and
closes its segment. What recovery would do is told from the records alone (`meets`), knowing nothing of pgvault's rules.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from pgvault.model.backup import Backup, BackupStatus
from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment
from pgvault.model.timeline import Ancestor, History, TimelineTree
from pgvault.model.unbroken import unbroken
from pgvault.model.wal_picture import NOT_KNOWN, Lane, RestorePoint, WalPicture
from pgvault.model.window import survey
from pgvault.vault.wal_facts import microseconds
from pgvault.vault.wal_rows import Row
from pgvault.vault.wal_search import NamedPoint
from pgvault.wal.transactions import Kind, Transaction

SIZE = 1 << 20
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
_RECORD, _HEADER = 64, 40


@dataclass(frozen=True, slots=True)
class Record:
    lsn: Lsn
    time: datetime | None = None
    """Of the end of a transaction, or of a restore point."""
    xid: int = 0
    """Not 0: it ends this transaction."""
    name: str = ""
    """Of a restore point."""

    @property
    def end(self) -> Lsn:
        return Lsn(self.lsn + _RECORD)


class Server:
    """Makes WAL on its newest timeline."""

    def __init__(self) -> None:
        self.clock, self.position, self.timeline = NOON, Lsn(2 * SIZE + _HEADER), 1
        self.records: dict[int, list[Record]] = {1: []}
        """By timeline: on it and, in the segment in which it branched off, those copied from before."""
        self.histories: list[History] = [History(1, ())]
        self.backups: list[Backup] = []
        self._xid = 700

    def write(self, **facts: object) -> Record:
        record = Record(self.position, **facts)  # type: ignore[arg-type]
        self.records[self.timeline].append(record)
        self.position = record.end
        return record

    def idle(self, seconds: float) -> None:
        self.clock += timedelta(seconds=seconds)

    def commit(self, early: float = 0) -> Record:
        """Its time is taken so many seconds before it is written."""
        self._xid += 1
        return self.write(time=self.clock - timedelta(seconds=early), xid=self._xid)

    def point(self, name: str) -> Record:
        return self.write(time=self.clock, name=name)

    def switch(self) -> None:
        """Nothing is closed in which nothing is."""
        if self.position % SIZE != _HEADER:
            self.write()
            self.position = Lsn((self.position // SIZE + 1) * SIZE + _HEADER)

    def backup(self, *meanwhile: float) -> Backup:
        """With a commit after each of these seconds of it."""
        begun, begin = self.clock, self.write().lsn
        for seconds in meanwhile:
            self.idle(seconds)
            self.commit()
        self.idle(1.25)
        end = self.write().end
        backup = Backup(f"{NOON + timedelta(seconds=len(self.backups)):%Y%m%dT%H%M%SZ}", "main", BackupStatus.DONE,
                        "pg_basebackup", begun, "1", "18.1", SIZE, self.timeline, "/data", finished_at=self.clock,
                        begin_lsn=begin, end_lsn=end)
        self.backups.append(backup)
        self.switch()
        return backup

    def promote(self, at: Lsn) -> None:
        """As after a recovery of the present timeline to the record that begins here."""
        parent, self.timeline = self.histories[-1], self.timeline + 1
        self.histories.append(History(self.timeline, (*parent.ancestors, Ancestor(parent.timeline, at, "no target"))))
        self.records[self.timeline] = [each for each in self.records[parent.timeline]
                                       if at // SIZE * SIZE <= each.lsn < at]
        self.position = at
        self.write()


@dataclass(frozen=True, slots=True)
class MadeArchive:
    """What of a server's WAL is archived. It answers as `WalSearch` does."""

    server: Server
    lost: frozenset[Segment] = frozenset()
    size: int = SIZE
    rows: dict[Segment, Row] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.server.switch()
        for timeline, records in self.server.records.items():
            for number in sorted({each.lsn // SIZE for each in records}):
                if (segment := Segment(timeline, number)) not in self.lost:
                    self.rows[segment] = _row(segment, self.records(segment))

    def records(self, segment: Segment) -> list[Record]:
        return [each for each in self.server.records[segment.timeline] if each.lsn // SIZE == segment.number]

    @property
    def tree(self) -> TimelineTree:
        return TimelineTree(tuple(self.server.histories))

    @property
    def archived(self) -> list[Row]:
        return [each for _, each in sorted(self.rows.items())]

    @property
    def backups(self) -> list[Backup]:
        return self.server.backups

    def meets(self, timeline: int, backup: Backup) -> list[Record]:
        """What recovery from this backup reads on the way to a timeline, from its first segment's start on."""
        history, found = self.tree.history(timeline), []
        for segment in history.path(backup.begin_lsn or Lsn(0), Lsn(1 << 40), SIZE):
            if segment not in self.rows:
                return found
            found += self.records(segment)
        return found

    def replays(self, timeline: int, backup: Backup) -> list[Record]:
        """What recovery from this backup replays of it, which is from the backup's begin on."""
        return [each for each in self.meets(timeline, backup) if each.lsn >= (backup.begin_lsn or 0)]

    # As WalSearch

    def timelines(self) -> list[int]:
        return sorted({segment.timeline for segment in self.rows})

    def beginnings(self) -> dict[int, Lsn]:
        return {each: min(segment.start(SIZE) for segment in self.rows if segment.timeline == each)
                for each in self.timelines()}

    def runs(self, history: History) -> list[list[Row]]:
        path = history.path(Lsn(0), Lsn(SIZE * max((each.number + 1 for each in self.rows), default=1)), SIZE)
        rows = [self.rows[segment] for segment in path if segment in self.rows]
        return [rows[run] for run in unbroken([row.number for row in rows], [row.stops for row in rows])]

    def begun(self, history: History, number: int) -> None:
        """There is no unfinished segment."""

    def transactions(self, row: Row) -> list[Transaction]:
        return [Transaction(each.lsn, each.end, Kind.COMMIT, each.xid, each.time or NOON, 5, (), "", (), ())
                for each in self.records(row.segment) if each.xid]

    def break_behind(self, history: History, row: Row) -> str:
        following = next(history.path(row.segment.end(SIZE), Lsn(0), SIZE))
        behind = history.path(following.start(SIZE), Lsn(self.server.position + SIZE), SIZE)
        return f"segment {following.name(SIZE)} behind it is missing" if any(s in self.rows for s in behind) else ""

    def left_out(self, history: History, row: Row) -> None:
        """There is no unfinished segment."""

    def restore_points(self, name: str) -> list[NamedPoint]:
        return sorted((NamedPoint(*segment, each.lsn, each.end, each.time or NOON) for segment in self.rows
                       for each in self.records(segment) if each.name == name), key=lambda point: point.lsn)

    def restore_point_names(self) -> list[str]:
        return sorted({each.name for segment in self.rows for each in self.records(segment) if each.name})

    def latest_between(self, segment: Segment, begin: Lsn, end: Lsn) -> int | None:
        return max((microseconds(each.time) for each in self.records(segment)
                    if each.xid and each.time and begin <= each.lsn < end), default=None)

    # As the console sees it

    def picture(self) -> WalPicture:
        points = [RestorePoint(each.name, *segment, each.lsn, each.end, microseconds(each.time or NOON))
                  for segment in sorted(self.rows) for each in self.records(segment) if each.name]
        return WalPicture("main", SIZE, survey(
                              self.archived, self.tree, self.backups, SIZE, self.latest_between), self.tree,
                          tuple(map(self._lane, self.timelines())), tuple(points), tuple(self.backups), 0, NOON)

    def _lane(self, timeline: int) -> Lane:
        rows = [row for segment, row in sorted(self.rows.items()) if segment.timeline == timeline]
        counts = [sum(bool(each.xid) for each in self.records(row.segment)) for row in rows]
        return Lane(timeline, array("q", (row.segment.number for row in rows)), _times(row.earliest for row in rows),
                    _times(row.latest for row in rows), array("q", bytes(8 * len(rows))), array("q", counts))


def _row(segment: Segment, records: list[Record]) -> Row:
    ends = [each for each in records if each.xid and each.time]
    times, xids = [microseconds(each.time or NOON) for each in ends], [each.xid for each in ends]
    return Row(*segment, segment.name(SIZE), 1000, None, min(times, default=None), max(times, default=None),
               min(xids, default=None), max(xids, default=None), records[-1].lsn, segment.end(SIZE), stops=False)


def _times(values: Iterator[int | None]) -> array[int]:
    return array("q", (NOT_KNOWN if each is None else each for each in values))


STEPS = st.sampled_from([0, 0.000001, 0.334, 1, 30, 3600])
_DONE = st.one_of(st.tuples(st.just("commit"), st.sampled_from([0, 0, 0, 0.4])), st.tuples(st.just("idle"), STEPS),
                  st.tuples(st.just("backup"), st.lists(STEPS, max_size=2)), st.tuples(st.just("switch")),
                  st.tuples(st.just("point"), st.sampled_from("ab")), st.tuples(st.just("write")))


@st.composite
def archives(draw: st.DrawFn, *, timelines: int = 2, overtaking: bool = True) -> MadeArchive:
    """Anything that a server may have lived through, beginning with a backup of it.

    `overtaking`: times of commits are not in the order of positions, and the clock may be put back.
    """
    server = Server()
    server.commit()
    server.backup()
    for timeline in range(1, draw(st.integers(1, timelines)) + 1):
        if timeline > 1:
            begun = [each.switch for each in server.histories[-1].ancestors]
            oldest = max([server.backups[0].end_lsn or Lsn(0), *begun])
            places = [each.lsn for each in server.records[server.timeline] if each.lsn >= oldest]
            if places:
                server.promote(draw(st.sampled_from(places)))
        for what, *how in draw(st.lists(_DONE, max_size=10)):
            if what == "backup":
                server.backup(*how[0])
            elif what == "commit":
                server.commit(*how if overtaking else ())
            else:
                getattr(server, what)(*how)
            if overtaking and draw(st.integers(0, 19)) == 0:
                server.switch()  # within a segment the times of its facts would not tell before or behind what
                server.idle(-900)
    server.switch()
    segments = sorted({Segment(timeline, each.lsn // SIZE) for timeline, records in server.records.items()
                       for each in records})
    lost = draw(st.sets(st.sampled_from(segments), max_size=1)) if draw(st.booleans()) else set()
    return MadeArchive(server, frozenset(lost))
