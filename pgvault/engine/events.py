"""Events in the archived WAL: drops, truncations, mass deletions, restore points.

Each event has the position to stop before, which a restore that undoes it uses. For most that is the commit's; for DROP
DATABASE it is the first trace of it, since its files are removed before it commits (W5). Reading WAL takes 0.1 to 0.5 s
for a segment of 16 MiB, so only segments are read that may contain events by the index, within the requested times, and
a few segments before each. Events come on one timeline path, the newest timeline's unless another is named, in the
order of their positions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice

from pgvault.engine.event_names import (
    NameBook,
    NamesAt,
    WalObject,
    dropped_schema,
    in_order,
    named,
    truncated_or_rewritten,
)
from pgvault.engine.event_reading import LEAST, LOOK_BACK, Found, Rules, Stretch, backwards, forwards
from pgvault.engine.progress import reading_progress
from pgvault.model.errors import NotFound
from pgvault.model.event import Emit, Level, Noted, discard
from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment
from pgvault.model.target import AtLsn
from pgvault.model.timeline import History
from pgvault.vault.identity import Identity, read_identity
from pgvault.vault.layout import ServerVault
from pgvault.vault.names import RelationName
from pgvault.vault.wal_current import current
from pgvault.vault.wal_facts import microseconds
from pgvault.vault.wal_records import RecordReader
from pgvault.vault.wal_rows import Row
from pgvault.vault.wal_search import WalSearch
from pgvault.wal.accidents import FIRST_USER_OID, EventKind, Finding
from pgvault.wal.bodies import Relation
from pgvault.wal.transaction_changes import RMGRS

MASS = 100
"""The number of rows of one relation, deleted or updated by one transaction, that make it an event."""
SHOWN = frozenset(EventKind) - {EventKind.REWRITE}
"""The kinds that are returned by default."""
_REMOVALS = frozenset((EventKind.DROP, EventKind.TRUNCATE, EventKind.REWRITE, EventKind.DROP_DATABASE))


@dataclass(frozen=True, slots=True)
class Database:
    oid: int
    """0 if the event concerns no database."""
    name: str
    """The database's name; empty if no backup knows it."""

    def __str__(self) -> str:
        return self.name or str(self.oid)


@dataclass(frozen=True, slots=True)
class WalEvent:
    kind: EventKind
    time: datetime
    """When it was committed, by the server's clock. Times are not exactly in the order of positions."""
    timeline: int
    """The timeline to restore along: that of the segment from which it was read."""
    lsn: Lsn
    """Position of the record to stop before."""
    end_lsn: Lsn
    """WAL up to here contains the event."""
    xid: int
    """The top-level transaction's xid; 0 for a restore point."""
    database: Database
    objects: tuple[WalObject, ...] = ()
    """The main one first. A truncation shows no indexes; a database or a restore point has no objects."""
    name: str = ""
    """The name of a restore point."""
    partial: bool = False
    """Whether it is in an unfinished segment, which a restore uses only on request."""
    prepared: str | None = None
    """The name of the prepared transaction, empty if the WAL does not show it; None if it was not prepared. Before the
    event it is prepared already, and COMMIT PREPARED there would repeat it."""
    schema: str = ""
    """The schema that was dropped with all its contents; empty if unknown."""

    @property
    def before(self) -> AtLsn:
        """The target of a restore that undoes it."""
        return AtLsn(self.lsn, inclusive=False)

    @property
    def rows(self) -> int:
        """How many rows were deleted or updated, at least: those whose records were read."""
        return sum(each.deleted + each.updated for each in self.objects)


def find_events(server: ServerVault, *, since: datetime | None = None, until: datetime | None = None,
                kinds: Collection[EventKind] = SHOWN, object: str = "", timeline: int | None = None,
                everywhere: bool = False, newest_first: bool = False, limit: int | None = None, partial: bool = False,
                mass: int = MASS, emit: Emit = discard) -> Iterator[WalEvent]:
    """Yield the events between two times, inclusive. `object` is the name of a relation or database, or its number.

    `everywhere` reads all timelines, one after another, each from its branch point. The segment with the branch point
    belongs to both, and so do the events in it before that point.

    `partial` also reads the unfinished end of the timeline. What cannot be read is reported (`Noted`) and skipped.
    Consume all events in one thread, and close the iterator when done. NotFound if nothing was archived, and with the
    first event if there is no such timeline.
    """
    identity = read_identity(server)
    if identity is None:
        raise NotFound(f"nothing of {server.name} is in the vault yet", hint=f"pgvault check {server.name}")
    query = _Query(since, until, frozenset(kinds), object, newest_first, partial, mass, limit, everywhere)
    return _find(server, identity, timeline, query, emit)


@dataclass(frozen=True, slots=True)
class _Query:
    since: datetime | None
    until: datetime | None
    kinds: frozenset[EventKind]
    object: str
    newest_first: bool
    partial: bool
    mass: int
    limit: int | None
    everywhere: bool

    def wants(self, event: WalEvent) -> bool:
        if event.kind not in self.kinds or not self._is_between(event.time):
            return False
        if not self.object:
            return True
        if event.kind is EventKind.DROP_DATABASE:
            return self.object in (event.database.name, str(event.database.oid))
        return any(each.is_called(self.object) for each in event.objects)

    def _is_between(self, time: datetime) -> bool:
        return not (self.since and time < self.since) and not (self.until and time > self.until)

    def spans(self, search: WalSearch, rows: list[Row], timeline: int) -> Iterator[tuple[int, int]]:
        """Yield the stretches of rows that may contain wanted events, in the order in which they are read."""
        first, behind = self._between(search, rows, timeline)
        points = search.segments_with_points(None, None)
        places = [place for place in range(first, behind) if self._may_hold(rows[place], points)]
        spans: list[tuple[int, int]] = []
        for place in places:
            if spans and place - spans[-1][1] <= LEAST:  # those between are read anyway
                spans[-1] = (spans[-1][0], place + 1)
            else:
                spans.append((place, place + 1))
        return reversed(spans) if self.newest_first else iter(spans)

    def _may_hold(self, row: Row, points: set[Segment]) -> bool:
        """Return whether this segment may contain such an event, according to the index."""
        if row.problem or row.unfinished or row.removals is None or row.most_rows is None:
            return True
        return bool(row.removals and self.kinds & _REMOVALS) \
            or (EventKind.DELETE in self.kinds and row.most_rows >= self.mass) \
            or (EventKind.RESTORE_POINT in self.kinds and row.segment in points)

    def _between(self, search: WalSearch, rows: list[Row], timeline: int) -> tuple[int, int]:
        """Return the first and the last row within the requested times, on the path to this timeline."""
        first, behind = self._span(search, rows)
        if self.everywhere:
            own = next((i for i, row in enumerate(rows) if row.segment.timeline == timeline), behind)
            first = min(max(first, own), behind)
        return first, behind

    def _span(self, search: WalSearch, rows: list[Row]) -> tuple[int, int]:
        if self.since is None and self.until is None:
            return 0, len(rows)
        since = microseconds(self.since) if self.since else None
        until = microseconds(self.until) if self.until else None
        points, unread = search.segments_with_points(since, until), _unread(rows, since, until)
        inside = [i for i, row in enumerate(rows) if row.segment in points or row.unfinished or i in unread or (
            row.earliest is not None and row.latest is not None
            and (since is None or row.latest >= since) and (until is None or row.earliest <= until))]
        return (inside[0], inside[-1] + 1) if inside else (0, 0)


def _unread(rows: list[Row], since: int | None, until: int | None) -> list[int]:
    """Return the rows without times that may lie within these times, judging by their neighbours. Skipping them must be
    reported."""
    found: list[int] = []
    for i, row in enumerate(rows):
        if row.problem:
            found.append(i)
        elif row.earliest is not None and row.latest is not None:
            if since is not None and row.earliest < since:
                found.clear()
            if until is not None and row.latest > until:
                break
    return found


def _find(server: ServerVault, identity: Identity, timeline: int | None, query: _Query,
          emit: Emit) -> Iterator[WalEvent]:
    with current(server, identity, on_progress=reading_progress(emit)) as index:
        search = WalSearch(server, index, identity, partial=query.partial)
        histories = [path_to(server, search, timeline)]
        if query.everywhere:
            timelines = sorted(search.timelines(), reverse=query.newest_first)
            histories = [search.tree.history(each) for each in timelines]
        reader = RecordReader(server, index, identity, search, RMGRS)
        found = (event for history in histories for event in _on_path(server, search, reader, history, query, emit))
        yield from found if query.limit is None else islice(found, query.limit)


def _on_path(server: ServerVault, search: WalSearch, reader: RecordReader, history: History, query: _Query,
             emit: Emit) -> Iterator[WalEvent]:
    rows = list(search.on_path(history))
    if not query.partial and (left_out := search.unfinished(history)):
        emit(Noted(f"the unfinished segment {left_out.name} was not read; --partial reads it too", Level.INFO,
                   "unfinished"))
    with NameBook(server, history) as book:
        rules = Rules(emit, query.mass, lambda lsn: book.at(Lsn(lsn)).kind, frozenset(book.rewritten_catalogs()))
        stretch = Stretch(reader, emit)
        for first, behind in query.spans(search, rows, history.timeline):
            earlier = rows[max(first - LOOK_BACK, 0):first][::-1]
            if query.newest_first:
                found = backwards(stretch, rows[first:behind][::-1], earlier, rules)
            else:
                found = forwards(stretch, earlier, rows[first:behind], rules)
            yield from filter(query.wants, _describe_all(found, book, newest_first=query.newest_first))


def _describe_all(found: Iterator[Found], book: NameBook, *, newest_first: bool) -> Iterator[WalEvent]:
    for row, finding in found:
        events = list(describe_event(finding, book.at(finding.lsn), row))
        yield from reversed(events) if newest_first else events


def path_to(server: ServerVault, search: WalSearch, timeline: int | None) -> History:
    """Return the path to a timeline, by default the newest; NotFound if there is no WAL of it."""
    timelines = search.timelines()
    if not timelines or (timeline is not None and timeline not in timelines):
        what = "no WAL" if timeline is None else f"no WAL of timeline {timeline}"
        raise NotFound(f"{what} of {server.name} is archived", hint=f"pgvault wal {server.name}")
    return search.tree.history(timeline or timelines[-1])


def describe_event(finding: Finding, names: NamesAt, row: Row) -> Iterator[WalEvent]:
    """Translate the finding to names, for a drop with what else lost its files; nothing if it concerns only the
    system's own relations."""
    objects = _rows(finding, names) if finding.kind is EventKind.DELETE else _relations(finding, names)
    if objects is None:
        return
    is_point = finding.kind is EventKind.RESTORE_POINT
    name = names.database(finding.database) if finding.database else ""
    if finding.kind is EventKind.DROP_DATABASE:
        name = finding.name or name
    event = WalEvent(finding.kind, finding.time, row.segment.timeline, finding.lsn, finding.end_lsn, finding.xid,
                     Database(finding.database, name), objects, finding.name if is_point else "",
                     row.unfinished is not None, finding.prepared)
    if finding.kind is not EventKind.DROP or not finding.exact:
        yield event
        return
    yield replace(event, schema=dropped_schema(finding, names, objects))
    if others := truncated_or_rewritten(finding, names):
        was_rewritten = finding.transient >= len(others) or not others[0].is_main
        yield replace(event, kind=EventKind.REWRITE if was_rewritten else EventKind.TRUNCATE, objects=others)


def _rows(finding: Finding, names: NamesAt) -> tuple[WalObject, ...] | None:
    """Return the relations whose rows were changed. Rows of a TOAST table count for its table."""
    objects = []
    for relation, deleted, updated in finding.rows:
        found = names.by_number(relation.database, relation.number)
        if found is None:
            objects.append(WalObject("table", "", "", 0, relation.number, deleted, updated))
        elif found.oid >= FIRST_USER_OID and found.kind != "t":
            objects.append(named(found, deleted=deleted, updated=updated))
    return tuple(objects) or None


def _relations(finding: Finding, names: NamesAt) -> tuple[WalObject, ...] | None:
    """Return the relations that lost their files: by OID if the WAL has it, else by the owners of the files."""
    if not finding.files:
        return ()
    files = [(file, names.by_number(file.database, file.number)) for file in finding.files]
    if all(found is not None and found.oid < FIRST_USER_OID for _, found in files):
        return None
    if finding.exact:
        objects = {oid: _by_oid(finding, names, oid) for oid in finding.oids}
    else:
        objects = _by_file(finding, names, files)
    if not objects:
        objects = {file.number: WalObject("relation", "", "", 0, file.number) for file in finding.files}
    ordered = in_order(objects.values())
    if finding.kind is EventKind.TRUNCATE:
        return tuple(each for each in ordered if each.is_main) or ordered[:1]
    return ordered


def _by_file(finding: Finding, names: NamesAt, files: list[tuple[Relation, RelationName | None]]
             ) -> dict[int, WalObject]:
    """Look up the removed files. Unknown ones are searched among the locked relations."""
    objects = {found.oid: replace(named(found), number=file.number) for file, found in files if found is not None}
    nameless = {file.number for file, found in files if found is None}
    for oid in nameless.intersection(finding.oids):  # never rewritten: the file number is the OID
        objects[oid] = _by_oid(finding, names, oid)
        nameless.discard(oid)
    if nameless:  # rewritten since the backup
        for oid in finding.oids:
            objects.setdefault(oid, _by_oid(finding, names, oid))
    return objects


def _by_oid(finding: Finding, names: NamesAt, oid: int) -> WalObject:
    if (found := names.by_oid(finding.database, oid)) is not None:
        return named(found)
    return WalObject("table" if oid == finding.first_locked else "relation", "", "", oid, 0)


def removed_files(files: tuple[Relation, ...], names: NamesAt) -> tuple[WalObject, ...]:
    """Return the relations of these files, as far as they are known."""
    found = (names.by_number(file.database, file.number) for file in files)
    return in_order(named(each) for each in found if each is not None)
