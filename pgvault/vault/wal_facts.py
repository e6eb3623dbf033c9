"""The facts of the archived records, read once and kept in the index: commits and their times, restore points, the end.

Archiving does not wait for this; it is done at the end of a backup, by the receiver while it is idle, by archive-wal,
and before a query is answered from it. Segments are read in the order of their positions, because a record that begins
in one ends in the next: the unfinished part is kept with the facts, for reading the next segment.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from pgvault.model.errors import NotFound, PgvaultError
from pgvault.model.lsn import Lsn
from pgvault.model.replay import Effect
from pgvault.model.segment import Segment
from pgvault.model.timeline import TimelineTree, parse_history
from pgvault.model.window import MINIMAL as MINIMAL_CAUSE
from pgvault.vault import wal_effects, wal_index
from pgvault.vault.identity import Identity, read_identity
from pgvault.vault.layout import ServerVault
from pgvault.vault.wal_fetch import read_verified
from pgvault.vault.wal_index import WalIndex
from pgvault.wal.carry import Carry, Unfinished
from pgvault.wal.facts import SegmentFacts, skim_all
from pgvault.wal.pages import PageHeader
from pgvault.wal.pieces import pieces

OnProgress = Callable[[int, int], None]
"""Called before the first segment and after each, with the bytes read so far and those of all that were unread when it
began; both 0 where all were read, some of which may be read again. An error that it raises ends the reading, and loses
nothing.
"""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PENDING = """
SELECT file.timeline, file.number FROM file LEFT JOIN facts USING (timeline, number)
WHERE file.kind = 'segment' AND (facts.number IS NULL OR NOT facts.joined)
  AND (file.timeline, file.number) > (?, ?) ORDER BY file.timeline, file.number LIMIT 1"""
_UNREAD = """
SELECT count(*) FROM file LEFT JOIN facts USING (timeline, number) WHERE kind = 'segment' AND facts.number IS NULL"""


def microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def moment(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def timeline_tree(server: ServerVault, index: WalIndex) -> TimelineTree:
    """Return the tree of the archived history files. An unreadable one raises an error, since nothing is certain
    without it.
    """
    histories = []
    for file in index.files("history"):
        text = b"".join(read_verified(server, file.name))
        histories.append(parse_history(text.decode(), file.timeline))
    return TimelineTree(tuple(histories))


def unread(index: WalIndex) -> int:
    """Return how many segments have not been read yet."""
    return int(index.connection.execute(_UNREAD).fetchone()[0])


def read_facts(server: ServerVault, *, limit: int | None = None, on_progress: OnProgress | None = None) -> int:
    """Read unread segments, at most `limit` of them; return how many were read.

    A segment that was read without the end of the previous one, which arrived later, is read again.
    """
    identity = read_identity(server)
    if identity is None:
        return 0
    with wal_index.writing(server) as index:
        return read_facts_into(index, server, identity, limit=limit, on_progress=on_progress)


def read_facts_into(index: WalIndex, server: ServerVault, identity: Identity, *, limit: int | None = None,
                    on_progress: OnProgress | None = None) -> int:
    """Do the same into an open index."""
    done, size = 0, identity.segment_size
    tree = timeline_tree(server, index)
    found = _next_pending(index, Segment(0, 0))
    total = unread(index) * size if on_progress and found else 0
    if on_progress:
        on_progress(0, total)
    while found and (limit is None or done < limit):
        left = _left_before(index, tree, found, identity)
        if left is not None or _running(index, found) is None:
            _read_one(server, index, found, identity, left)
            done += 1
            if on_progress:
                on_progress(min(done * size, total), total)
        found = _next_pending(index, found)
    return done


def _next_pending(index: WalIndex, at: Segment) -> Segment | None:
    row = index.connection.execute(_PENDING, at).fetchone()
    return Segment(*row) if row else None


def _read_one(server: ServerVault, index: WalIndex, segment: Segment, identity: Identity, left: _Left | None) -> None:
    size = identity.segment_size
    name = segment.name(size)
    carry, running = left or (None, {})
    before = _running(index, segment)
    try:
        facts = skim_all(pieces(read_verified(server, name), segment.start(size)), carry,
                         running=running, every_crc=True)
    except NotFound:
        return
    except (PgvaultError, ValueError) as error:
        problem = error.message if isinstance(error, PgvaultError) else str(error)
        _replace(index, segment, {"joined": left is not None, "problem": problem}, ())
    else:
        _store(index, segment, facts, joined=left is not None)
        if before is not None and before != facts.running:
            _read_again(index, Segment(segment.timeline, segment.number + 1))


def carry_before(index: WalIndex, tree: TimelineTree, segment: Segment, identity: Identity) -> Carry | None:
    """Return what the previous segment, on this timeline or on the one it branched from, left unfinished."""
    left = _left_before(index, tree, segment, identity)
    return None if left is None else left.carry


def carry_to(server: ServerVault, name: str) -> Carry | None:
    """Return the same for an archived segment, as far as the index has it."""
    identity = read_identity(server)
    if identity is None:
        return None
    try:
        with wal_index.reading(server) as index:
            segment = Segment.parse(name, identity.segment_size)
            return carry_before(index, timeline_tree(server, index), segment, identity)
    except PgvaultError:
        return None


class _Left(NamedTuple):
    carry: Carry
    running: dict[int, int]


def _left_before(index: WalIndex, tree: TimelineTree, segment: Segment, identity: Identity) -> _Left | None:
    if segment.number == 0:
        return None
    start = segment.start(identity.segment_size)
    before = next(tree.history(segment.timeline).path(Lsn(start - 1), start, identity.segment_size))
    row = index.connection.execute("SELECT carry FROM facts WHERE timeline = ? AND number = ?",
                                   (before.timeline, before.number)).fetchone()
    return _Left(_decode_carry(row[0]), _running(index, before) or {}) if row and row[0] else None


def _running(index: WalIndex, segment: Segment) -> dict[int, int] | None:
    """Return `SegmentFacts.running`; None if the segment was not read."""
    row = index.connection.execute("SELECT running FROM facts WHERE timeline = ? AND number = ?",
                                   (segment.timeline, segment.number)).fetchone()
    return None if row is None else {int(xid): rows for xid, rows in json.loads(row[0] or "{}").items()}


def _read_again(index: WalIndex, segment: Segment) -> None:
    """Mark this segment, and its copies on timelines that branched off before it, to be read again: their facts may be
    based on what no longer holds.
    """
    with index.connection as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE facts SET joined = 0 WHERE timeline >= ? AND number = ?", segment)


def _store(index: WalIndex, segment: Segment, facts: SegmentFacts, *, joined: bool) -> None:
    times = facts.times
    end, cause = (facts.end.lsn, facts.end.cause.value) if facts.end else (None, None)
    if facts.minimal is not None:
        end, cause = facts.minimal, MINIMAL_CAUSE
    row = {
        "joined": joined, "major": facts.major, "records": facts.records,
        "commits": facts.commits, "aborts": facts.aborts,
        "first_time": times and microseconds(times.first), "last_time": times and microseconds(times.last),
        "earliest": times and microseconds(times.earliest), "latest": times and microseconds(times.latest),
        "oldest_xid": facts.xids and facts.xids.oldest, "newest_xid": facts.xids and facts.xids.newest,
        "first_lsn": facts.first, "last_lsn": facts.last, "end_lsn": end,
        "end_cause": cause, "whole": facts.whole, "carry": facts.carry and _encode_carry(facts.carry),
        "removals": facts.removals, "most_rows": facts.most_rows if joined else None,
        "running": json.dumps(facts.running), "passed": facts.passed}
    points = [(segment.timeline, point.lsn, point.end_lsn, microseconds(point.time), point.name, segment.number)
              for point in facts.restore_points]
    _replace(index, segment, row, points, facts.effects)


def _replace(index: WalIndex, segment: Segment, row: Mapping[str, object],
             points: Sequence[tuple[object, ...]], effects: Iterable[Effect] = ()) -> None:
    connection = index.connection
    row = {"timeline": segment.timeline, "number": segment.number, **row}
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        if not index.has(segment):
            return  # the segment left the archive meanwhile
        connection.execute("DELETE FROM restore_point WHERE timeline = ? AND number = ?",
                           (segment.timeline, segment.number))
        connection.execute(f"INSERT OR REPLACE INTO facts ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",
                           [*row.values()])
        connection.executemany("INSERT OR REPLACE INTO restore_point VALUES (?,?,?,?,?,?)", points)
        wal_effects.store(connection, segment, effects)


def _encode_carry(carry: Carry) -> str:
    part, header = carry.unfinished, carry.header
    return json.dumps({
        "at": carry.at, "timeline": carry.timeline, "previous": carry.previous, "resume": carry.resume,
        "skip": carry.skip, "header": [getattr(header, name) for name in PageHeader._fields],
        "unfinished": part and [part.lsn, part.length, part.seen, part.head.hex(), part.crc,
                                base64.b85encode(b"".join(part.kept)).decode()]})


def _decode_carry(text: str) -> Carry:
    facts = json.loads(text)
    header = dict(zip(PageHeader._fields, facts["header"], strict=True))
    header["address"] = Lsn(header["address"])
    part = None
    if facts["unfinished"]:
        lsn, length, seen, head, crc, kept = facts["unfinished"]
        part = Unfinished(lsn, length, seen, bytes.fromhex(head), crc, (base64.b85decode(kept),))
    return Carry(Lsn(facts["at"]), PageHeader(**header), facts["timeline"], facts["previous"], facts["resume"],
                 facts["skip"], part)
