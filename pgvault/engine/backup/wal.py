"""Makes sure that a backup's WAL is archived: it is DONE only if every segment from start to end is.

Normally the receiver or the archive_command brings the WAL. A temporary slot, created before the copy begins, prevents
the server from removing it. WAL that has not arrived when the copy is over is fetched through that slot.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO

import psycopg

from pgvault.config.schema import ServerConfig
from pgvault.engine.incoming import archive_waiting
from pgvault.engine.progress import Progress
from pgvault.io.postgres import Connection, connect
from pgvault.io.replication_stream import ReplicationStream, TimelineEnd, WalData, reserve_wal, timeline_history
from pgvault.model.backup import Backup
from pgvault.model.errors import Cancelled, NoSpace, PgvaultError
from pgvault.model.event import Emit, Level, Noted, PhaseStarted
from pgvault.model.lsn import Lsn
from pgvault.model.majors import facts_of
from pgvault.model.segment import Segment
from pgvault.store.files import open_private, temporary_name
from pgvault.vault.layout import ServerVault
from pgvault.vault.wal_archive import accept, is_archived, level_for
from pgvault.vault.wal_whole import missing_wal

PATIENCE_SECONDS = 60.0
"""How long a backup waits for WAL that it cannot fetch itself before it becomes WAITING_FOR_WALS."""
_POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Slot:
    """A replication session whose temporary slot retains the server's WAL."""

    connection: Connection
    name: str


def connect_patiently(config: ServerConfig, major: int, cancelled: threading.Event) -> Connection:
    """Open a replication session that may be silent for long: the slot's during the copy, and the copy's while the slot
    is created. Newer servers can be configured to end such sessions. It also receives warnings."""
    patience = dict.fromkeys(facts_of(major).session_timeouts, "0")
    return connect(config, replication=True, settings=patience | {"client_min_messages": "warning"},
                   cancelled=cancelled.is_set)


class WalReservation:
    """Retains the server's WAL from `hold` on, if the server has a free slot and WAL sender."""

    def __init__(self, config: ServerConfig, emit: Emit, cancelled: threading.Event) -> None:
        self._config, self._emit, self._cancelled = config, emit, cancelled
        self.slot: Slot | None = None

    def __enter__(self) -> WalReservation:
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()

    def release(self) -> None:
        if self.slot:
            self.slot.connection.close()
            self.slot = None

    def hold(self, major: int) -> None:
        """Retain WAL from now on. Call it after the copy's own session is open, which a server with one sender needs
        more."""
        self.release()
        name = f"pgvault_backup_{os.getpid()}_{os.urandom(2).hex()}"
        connection: Connection | None = None
        try:
            connection = connect_patiently(self._config, major, self._cancelled)
            reserve_wal(self._config.name, connection, name)
        except Cancelled:
            raise
        except PgvaultError as error:
            if connection:
                connection.close()
            self._report_no_slot(f"{error.message}. {error.detail}")
        else:
            self.slot = Slot(connection, name)

    def _report_no_slot(self, reason: str) -> None:
        self._emit(Noted("could not create a temporary replication slot, so the WAL of this backup must be archived "
                         f"by the receiver or archive_command: {' '.join(reason.split())}", Level.WARNING, "no-slot"))


def ensure_wal(server: ServerVault, config: ServerConfig, backup: Backup, slot: Slot | None, emit: Emit,
               cancelled: threading.Event) -> list[Segment]:
    """Fetch missing WAL of the backup, or wait for it. Return what is still missing."""
    level = level_for(config.compression_level)
    archive_waiting(server, level=level, emit=emit)
    missing = missing_wal(server, backup)
    if missing and slot is not None:
        wanted = missing[-1].number - missing[0].number + 1  # including archived segments in between
        emit(PhaseStarted("fetch WAL", wanted * backup.segment_size))
        try:
            _fetch(server, backup, slot, missing, level, Progress(emit), cancelled)
        except (Cancelled, NoSpace):
            raise
        except (PgvaultError, psycopg.Error) as error:
            emit(Noted(f"could not fetch the backup's WAL: {' '.join(str(error).split())}", Level.WARNING))
        missing = missing_wal(server, backup)
    if missing:
        emit(PhaseStarted("wait for WAL"))
        emit(Noted(f"waiting for the server to archive {names(missing, backup.segment_size)}"))
    give_up = time.monotonic() + PATIENCE_SECONDS
    while missing and time.monotonic() < give_up:
        if cancelled.wait(_POLL_SECONDS):
            raise _cancelled(f"backup {backup.id} was cancelled while waiting for WAL")
        archive_waiting(server, level=level, emit=emit)
        missing = missing_wal(server, backup)
    return missing


def names(segments: Sequence[Segment], size: int) -> str:
    """Name these segments."""
    named = ", ".join(segment.name(size) for segment in segments[:4])
    return named if len(segments) <= 4 else f"{named} and {len(segments) - 4} more, up to {segments[-1].name(size)}"


def _cancelled(what: str) -> Cancelled:
    return Cancelled(what, detail="Its files are complete; it becomes DONE when its WAL arrives.",
                     hint="To see whether it has arrived: pgvault list-backups all")


def _fetch(server: ServerVault, backup: Backup, slot: Slot, missing: list[Segment], level: int,
           progress: Progress, cancelled: threading.Event) -> None:
    """Stream from the first missing segment to the last. Each is accepted as if it had been archived."""
    size = backup.segment_size
    history = f"{backup.timeline:08X}.history"
    if backup.timeline > 1 and not is_archived(server, history):
        text = timeline_history(server.name, slot.connection, backup.timeline)
        if text is not None:
            accept(server, history, BytesIO(text), level=level)
    stream = ReplicationStream(server.name, slot.connection, slot.name, backup.timeline, missing[0].start(size))
    for number in range(missing[0].number, missing[-1].number + 1):
        segment = Segment(backup.timeline, number)
        spool = temporary_name(server.spool.streaming / segment.name(size))
        try:
            with open(open_private(spool, os.O_RDWR | os.O_EXCL), "w+b") as file:
                _receive(stream, file, segment.start(size), segment.end(size), slot, progress, cancelled)
                file.seek(0)
                accept(server, segment.name(size), file, level=level)
        finally:
            spool.unlink(missing_ok=True)
    progress.report()


def _receive(stream: ReplicationStream, file: BinaryIO, start: Lsn, end: Lsn, slot: Slot,
             progress: Progress, cancelled: threading.Event) -> None:
    """Receive one complete segment into the file. The server sends no message across a segment boundary."""
    position, give_up = start, time.monotonic() + PATIENCE_SECONDS
    while position < end:
        if cancelled.is_set():
            raise _cancelled("the backup was cancelled while fetching its WAL")
        message = stream.receive(_POLL_SECONDS, slot.connection.pgconn.socket)
        if isinstance(message, WalData):
            if message.start != position:
                raise PgvaultError("the server sent WAL out of order",
                                   detail=f"Expected {position}, received {message.start}.")
            file.write(message.data)
            position = Lsn(position + len(message.data))
            progress.add(len(message.data))
            give_up = time.monotonic() + PATIENCE_SECONDS
        elif isinstance(message, TimelineEnd):
            raise PgvaultError("the server ended its timeline before the backup's WAL was sent")
        elif time.monotonic() > give_up:  # such as a standby whose primary is idle
            raise PgvaultError(f"the server has written WAL only up to {position}",
                               detail=f"The backup's last segment ends at {end}.")
        elif message is not None and message.wants_reply:
            stream.confirm(position, start)
