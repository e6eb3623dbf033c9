"""One connection of the WAL receiver: identifies the server and follows its timelines."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from io import BytesIO
from typing import Protocol

from psycopg.errors import InsufficientPrivilege

from pgvault.config.schema import ServerConfig
from pgvault.engine.frontier import frontier
from pgvault.engine.incoming import take
from pgvault.io.postgres import Connection, session
from pgvault.io.replication_stream import (
    Keepalive,
    ReplicationStream,
    System,
    TimelineEnd,
    WalData,
    create_slot,
    drop_slot,
    identify,
    timeline_history,
)
from pgvault.model.errors import Corrupt, PgvaultError, Refused, Unreachable, WalRemoved
from pgvault.model.event import Emit, Level, Noted
from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment
from pgvault.model.timeline import History, parse_history
from pgvault.store.leases import Concern
from pgvault.vault import wal_index
from pgvault.vault.identity import Identity, claim
from pgvault.vault.layout import ServerVault
from pgvault.vault.streaming import PARTIAL, StreamedSegment, pad, partials
from pgvault.vault.wal_archive import accept, level_for
from pgvault.vault.wal_facts import read_facts
from pgvault.vault.wal_rebuild import reconcile

STATUS_SECONDS = 10.0
FLUSH_SECONDS = 1.0
"""Streamed bytes are on disk after this time at the latest, or at once when the server pauses."""
IDLE_SECONDS = 0.1
"""After this time without a message there is time to read archived WAL."""
SILENCE_SECONDS = 60.0
"""After this time without a message the server is asked for one. If none comes for as long again, the connection counts
as lost."""
HEARD_SECONDS = 10.0
"""Minimum interval for recording that the server was heard; see `facts.UNHEARD`, which depends on it."""


class Wish(Protocol):
    """A request to stop: see `receive.Stop`."""

    is_set: bool

    def fileno(self) -> int: ...


class Ending(Enum):
    STOPPED = "stopped"
    SHUTDOWN = "shutdown"


@dataclass(frozen=True, slots=True)
class _Slot:
    kind: str
    held_from: Lsn | None
    status: str


class Session:
    """Streams until stopped or until the connection ends."""

    def __init__(self, server: ServerConfig, vault: ServerVault, connection: Connection, stop: Wish, emit: Emit,
                 not_before: int) -> None:
        self._server, self._vault, self._connection = server, vault, connection
        self._stop, self._emit, self._not_before = stop, emit, not_before
        self._level = level_for(server.compression_level)
        self._file: StreamedSegment | None = None
        self._has_unread = True
        self._asked: Segment | None = None
        self._heard_recorded_at = float("-inf")
        self.received = False
        """Whether the server sent anything, so that earlier failures are over."""

    def run(self) -> Ending:
        system = identify(self._server.name, self._connection)
        self._claim(system)
        self._size = system.segment_size
        held_from = self._ensure_slot()
        history = self._archive_histories(system.timeline)
        self._archive_leftovers()
        self._reconcile()
        with wal_index.reading(self._vault) as index:
            archived = index.segments()
        place = frontier(history, archived, system.position, held_from, self._size, self._not_before)
        self._archive_partials(history, place.begin, archived)
        if place.missing and place.after:
            self._report_gap(place.after, place.begin)
        return self._follow_timelines(place.begin)

    def close(self) -> None:
        if self._file:
            self._file.close()

    def skip_removed(self, error: WalRemoved) -> int:
        """Return the number of the first segment after the requested one that the server still has."""
        asked = self._asked.number if self._asked else 0
        begin = next((number for number in self._numbers_on_server() if number > asked), asked + 1)
        self._emit(Noted(f"{error.message}: {error.detail} The gap is harmful until the next backup; "
                         "take one soon", Level.ERROR, "gap"))
        return begin

    # Preparation before the first byte

    def _claim(self, system: System) -> None:
        with self._vault.leases.hold(Concern.ARCHIVE, wait=True):
            claim(self._vault, Identity(system.identifier, system.segment_size))

    def _reconcile(self) -> None:
        """Make the index agree with the files. A damaged one is a cache, and is rebuilt."""
        try:
            reconcile(self._vault)
        except Corrupt:
            with self._vault.leases.hold(Concern.ARCHIVE, wait=True):
                wal_index.discard(self._vault)
            reconcile(self._vault)

    def _ensure_slot(self) -> Lsn | None:
        """Return where the slot's WAL begins. A slot that is missing or has lost its WAL is created."""
        name, slot = self._server.slot_name, self._slot()
        if slot and slot.kind != "physical":
            raise Refused(f"the replication slot {name} of {self._server.name} is a {slot.kind} slot",
                          hint="Set slot_name to another slot in the configuration.")
        if slot and slot.status == "lost":
            self._emit(Noted(f"the replication slot {name} had lost its WAL and is recreated", Level.WARNING, "slot"))
            drop_slot(self._server.name, self._connection, name)
            slot = None
        if slot is None:
            create_slot(self._server.name, self._connection, name)
            self._emit(Noted(f"created the replication slot {name}: the server retains WAL from now on", code="slot"))
            slot = self._slot()
        return slot.held_from if slot else None

    def _slot(self) -> _Slot | None:
        with self._asking("query the replication slot") as sql:
            row = sql.execute("SELECT slot_type, restart_lsn::text, wal_status FROM pg_replication_slots"
                              " WHERE slot_name = %s", (self._server.slot_name,)).fetchone()
        return _Slot(row[0], Lsn.parse(row[1]) if row[1] else None, row[2] or "") if row else None

    @contextmanager
    def _asking(self, doing: str) -> Iterator[Connection]:
        with session(self._server, doing, cancelled=lambda: self._stop.is_set) as sql:
            yield sql

    def _numbers_on_server(self) -> list[int]:
        """Return the numbers of the segments that the server has, certainly or at least probably, in ascending
        order."""
        with self._asking("list the server's WAL") as sql:
            row = sql.execute(
                "SELECT (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn()"
                " ELSE pg_current_wal_flush_lsn() END)::text,"
                " (SELECT restart_lsn::text FROM pg_replication_slots WHERE slot_name = %s)",
                (self._server.slot_name,)).fetchone()
            known = [Lsn.parse(text) // self._size for text in row or () if text]
            try:
                names = [each[0] for each in sql.execute("SELECT name FROM pg_ls_waldir()").fetchall()]
            except InsufficientPrivilege:  # without this privilege, other facts must suffice
                names = []
        for name in names:
            with suppress(ValueError):
                number = Segment.parse(name, self._size).number
                if not known or number <= max(known):  # later ones are recycled files
                    known.append(number)
        return sorted(known)

    def _archive_histories(self, timeline: int) -> History:
        """Archive the history files of this timeline and its ancestors. Return this timeline's history."""
        if timeline == 1:
            return History(1, ())
        text = timeline_history(self._server.name, self._connection, timeline)
        if text is None:
            raise PgvaultError(f"{self._server.name} has no history file of its timeline {timeline}",
                               hint="The start of that timeline is unknown without it: search its pg_wal.")
        history = parse_history(text.decode(), timeline)
        for ancestor in history.ancestors[1:]:
            if older := timeline_history(self._server.name, self._connection, ancestor.timeline):
                self._archive_history(ancestor.timeline, older)
        self._archive_history(timeline, text)
        return history

    def _archive_history(self, timeline: int, text: bytes) -> None:
        accept(self._vault, f"{timeline:08X}.history", BytesIO(text), level=self._level)

    # Remains of an earlier receiver

    def _archive_leftovers(self) -> None:
        for path in sorted(self._vault.spool.streaming.iterdir()):
            if len(path.name) == 24:
                take(self._vault, path, level=self._level, emit=self._emit)

    def _archive_partials(self, history: History, begin: Segment, archived: set[Segment]) -> None:
        """Archive partial segments that streaming will not reach again."""
        for name in partials(self._vault):
            segment = Segment.parse(name, self._size)
            start = segment.start(self._size)
            if segment.number >= begin.number and next(history.path(start, Lsn(start + 1), self._size)) == segment:
                continue
            if segment in archived:
                (self._vault.spool.streaming / (name + PARTIAL)).unlink()
            else:
                self._archive_partial(name)

    def _archive_partial(self, name: str) -> None:
        path = self._vault.spool.streaming / (name + PARTIAL)
        if not pad(path, self._size):
            path.unlink()
        elif take(self._vault, path, level=self._level, emit=self._emit) is None:
            self._emit(Noted(f"archived {path.name}, the end of its timeline", code="partial"))

    # Streaming

    def _follow_timelines(self, begin: Segment) -> Ending:
        while True:
            self._asked = begin
            start = begin.start(self._size)
            self._emit(Noted(f"receiving WAL of {self._server.name} from {start} on timeline {begin.timeline}",
                             code="receiving"))
            stream = ReplicationStream(self._server.name, self._connection, self._server.slot_name, begin.timeline,
                                       start)
            end = self._follow(stream, begin)
            if end is None:
                return Ending.STOPPED
            if end.next is None or end.switch is None:
                return Ending.SHUTDOWN
            if self._file:
                self._file.close()
                self._archive_partial(self._file.segment.name(self._size))
                self._file = None
            self._archive_histories(end.next)
            self._emit(Noted(f"{self._server.name} was promoted: timeline {end.next} goes on from {end.switch}",
                             code="promoted"))
            begin = Segment.holding(end.next, end.switch, self._size)

    def _follow(self, stream: ReplicationStream, begin: Segment) -> TimelineEnd | None:
        """Stream one timeline to its end, and return that; None if asked to stop."""
        position = confirmed = begin.start(self._size)
        flush_at = status_at = heard = time.monotonic()
        asked: float | None = None
        while True:
            due = min(flush_at, status_at) if confirmed < position else status_at
            patience = max(0.0, due - time.monotonic())
            message = stream.receive(min(patience, IDLE_SECONDS) if self._has_unread else patience, self._stop.fileno())
            if isinstance(message, TimelineEnd):
                self._flush()
                return message
            if isinstance(message, WalData):
                if confirmed == position:
                    flush_at = time.monotonic() + FLUSH_SECONDS
                position = self._write(message, position, begin.timeline)
            now = time.monotonic()  # time spent on archiving is not the server's silence
            if message is not None:
                heard, asked, self.received = now, None, True
                self._record_heard(now)
            if now >= due or self._stop.is_set or (isinstance(message, Keepalive) and message.wants_reply):
                self._flush()
                is_silent = asked is None and now - heard >= SILENCE_SECONDS
                stream.confirm(position, position, wants_reply=is_silent)
                confirmed, status_at, asked = position, now + STATUS_SECONDS, now if is_silent else asked
            if self._stop.is_set:
                stream.close()
                return None
            if asked is not None and now - asked >= SILENCE_SECONDS:
                raise Unreachable(f"{self._server.name} has been silent for {now - heard:.0f} seconds")
            if message is None:
                self._read_facts()

    def _record_heard(self, now: float) -> None:
        """Record that the server was heard. A process that lives or connects does not prove that WAL arrives."""
        if now - self._heard_recorded_at >= HEARD_SECONDS:
            self._vault.leases.renew(Concern.RECEIVE)
            self._heard_recorded_at = now

    def _write(self, message: WalData, position: Lsn, timeline: int) -> Lsn:
        """Write received WAL, and archive full segments. Return the position after it."""
        if message.start != position:
            raise PgvaultError(f"{self._server.name} sent WAL from {message.start}, expected {position}")
        rest = memoryview(message.data)
        while rest:
            if self._file is None:
                self._file = StreamedSegment(self._vault, Segment.holding(timeline, position, self._size), self._size)
            taken = self._file.write(rest)
            rest, position = rest[taken:], Lsn(position + taken)
            if self._file.is_full:
                file, self._file = self._file, None
                self._archive(file)
                self._has_unread = True
        return position

    def _archive(self, file: StreamedSegment) -> None:
        """Archive a segment. If the archive refuses it, it is not confirmed either, so that the server keeps it (rule
        11)."""
        name = file.segment.name(self._size)
        if rejection := take(self._vault, file.finish(), level=self._level, emit=self._emit):
            raise Refused(f"the archive refuses {name} from {self._server.name}: {rejection.message}",
                          detail=f"{rejection.detail} Two servers may archive under one name, or this one was restored "
                                 "to an earlier time.".strip(),
                          hint=f"Find out which server the archive belongs to. If it is another, give this one a new "
                               f"name in the configuration. The received segment is in {self._vault.spool.quarantine}.")

    def _flush(self) -> None:
        """Make everything written so far survive a power failure. All before the open file is archived."""
        if self._file:
            self._file.flush()

    def _read_facts(self) -> None:
        """Read one segment while the server is silent, before waiting for the socket again."""
        if self._has_unread:
            self._has_unread = read_facts(self._vault, limit=1) > 0

    def _report_gap(self, after: Segment, begin: Segment) -> None:
        missing = begin.number - after.number - 1
        self._emit(Noted(f"{missing} segments after {after.name(self._size)} are not archived, and "
                         f"{self._server.name} no longer has them; receiving continues with "
                         f"{begin.name(self._size)}",
                         Level.ERROR, "gap"))
