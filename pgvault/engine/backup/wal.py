"""Making sure that a backup's WAL is in the archive: it is DONE only when every segment from begin to end is.

Normally the receiver or the archive_command brings it. A temporary slot, made before the copy begins, keeps the server
from removing it meanwhile; what nobody has brought when the copy is over is fetched through that slot.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from typing import BinaryIO

import psycopg

from pgvault.config.schema import ServerConfig
from pgvault.engine.incoming import archive_waiting
from pgvault.io.postgres import Connection, connect
from pgvault.io.replication_stream import ReplicationStream, TimelineEnd, WalData, timeline_history
from pgvault.model.backup import Backup, BackupStatus
from pgvault.model.errors import Cancelled, PgvaultError
from pgvault.model.event import Emit, Level, Noted, PhaseStarted
from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment
from pgvault.vault import catalog, wal_index
from pgvault.vault.files import temporary_name
from pgvault.vault.layout import ServerVault
from pgvault.vault.wal_archive import accept, level_for, path_of

PATIENCE_SECONDS = 60.0
"""How long a backup waits for WAL that it cannot fetch itself, before it is left WAITING_FOR_WALS."""
_POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Reserved:
    """A replication session whose temporary slot holds the server's WAL."""

    connection: Connection
    slot: str


@contextmanager
def reserve_wal(config: ServerConfig, emit: Emit) -> Iterator[Reserved | None]:
    """Hold the server's WAL from now on; None, said in a note, when the server has no slot or sender to spare."""
    slot = f"pgvault_backup_{os.getpid()}_{os.urandom(2).hex()}"
    connection = connect(config, replication=True)
    try:
        result = connection.pgconn.exec_(
            f'CREATE_REPLICATION_SLOT "{slot}" TEMPORARY PHYSICAL RESERVE_WAL'.encode())
        reserved = Reserved(connection, slot) if result.ntuples == 1 else None
        if reserved is None:
            emit(Noted("the server gave no temporary replication slot, so the WAL of this backup has to be archived "
                       f"by the receiver or archive_command: {result.get_error_message()}", Level.WARNING))
        yield reserved
    finally:
        connection.close()


def missing_segments(server: ServerVault, backup: Backup) -> list[Segment]:
    """Segments from the backup's begin to its end that are not in the archive."""
    begin, end = backup.begin_segment, backup.end_segment
    if begin is None or end is None:
        return []
    wanted = [Segment(backup.timeline, number) for number in range(begin.number, end.number + 1)]
    with wal_index.writing(server) as index:
        return [segment for segment in wanted if not index.has(segment)]


def settle(server: ServerVault) -> list[Backup]:
    """Make every backup DONE whose WAL has arrived since; those that became so."""
    settled = []
    for backup in catalog.backups(server):
        if backup.status is BackupStatus.WAITING_FOR_WALS and not missing_segments(server, backup):
            settled.append(replace(backup, status=BackupStatus.DONE))
            catalog.write(server, settled[-1])
    return settled


def ensure_wal(server: ServerVault, config: ServerConfig, backup: Backup, reserved: Reserved | None, emit: Emit,
               cancelled: threading.Event) -> bool:
    """Whether the backup's WAL is in the archive; fetches what is missing, or waits for it."""
    level = level_for(config.compression_level)
    archive_waiting(server, level=level, emit=emit)
    missing = missing_segments(server, backup)
    if missing and reserved is not None:
        emit(PhaseStarted("fetch WAL", len(missing) * backup.segment_size))
        try:
            _fetch(server, config, backup, reserved, missing, level, cancelled)
        except (PgvaultError, psycopg.Error) as error:
            if isinstance(error, Cancelled):
                raise
            emit(Noted(f"could not fetch the backup's WAL: {error}", Level.WARNING))
        missing = missing_segments(server, backup)
    if missing:
        names = f"{missing[0].name(backup.segment_size)} to {missing[-1].name(backup.segment_size)}"
        emit(PhaseStarted("wait for WAL"))
        emit(Noted(f"waiting for the server to archive {names}"))
    waited = 0.0
    while missing and waited < PATIENCE_SECONDS:
        if cancelled.wait(_POLL_SECONDS):
            raise Cancelled(f"backup {backup.id} was cancelled while it waited for WAL",
                            detail="Its files are complete; it becomes DONE when its WAL arrives.")
        waited += _POLL_SECONDS
        archive_waiting(server, level=level, emit=emit)
        missing = missing_segments(server, backup)
    return not missing


def _fetch(server: ServerVault, config: ServerConfig, backup: Backup, reserved: Reserved, missing: list[Segment],
           level: int, cancelled: threading.Event) -> None:
    """Stream from the first missing segment to the last; each is accepted as if it had been archived."""
    size = backup.segment_size
    history = f"{backup.timeline:08X}.history"
    if backup.timeline > 1 and not path_of(server, history).exists():
        text = timeline_history(server.name, reserved.connection, backup.timeline)
        if text is not None:
            accept(server, history, BytesIO(text), level=level)
    stream = ReplicationStream(server.name, reserved.connection, reserved.slot, backup.timeline, missing[0].start(size))
    for number in range(missing[0].number, missing[-1].number + 1):
        segment = Segment(backup.timeline, number)
        spool = temporary_name(server.streaming / segment.name(size))
        try:
            with spool.open("w+b") as file:
                _receive(stream, file, segment.start(size), segment.end(size), reserved, cancelled)
                file.seek(0)
                accept(server, segment.name(size), file, level=level)
        finally:
            spool.unlink(missing_ok=True)


def _receive(stream: ReplicationStream, file: BinaryIO, start: Lsn, end: Lsn, reserved: Reserved,
             cancelled: threading.Event) -> None:
    """One whole segment into the file. The server sends no message across a segment's border."""
    position = start
    while position < end:
        if cancelled.is_set():
            raise Cancelled("the backup was cancelled while it fetched its WAL")
        message = stream.receive(_POLL_SECONDS, reserved.connection.pgconn.socket)
        if isinstance(message, WalData):
            if message.start != position:
                raise PgvaultError("the server sent WAL out of order",
                                   detail=f"{position} was expected, {message.start} came.")
            file.write(message.data)
            position = Lsn(position + len(message.data))
        elif isinstance(message, TimelineEnd):
            raise PgvaultError("the server ended its timeline before the backup's WAL was sent")
        elif message is not None and message.wants_reply:
            stream.confirm(position, start)
