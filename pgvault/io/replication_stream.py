"""PostgreSQL's physical replication: START_REPLICATION and related commands.

Documentation: "Streaming Replication Protocol"; source: `src/backend/replication/walsender.c`. psycopg does not support
replication, so this uses its `PGconn`. Nothing here writes a file or decides where to begin.
"""

from __future__ import annotations

import re
import select
import time
from dataclasses import dataclass
from struct import Struct

import psycopg
from psycopg import pq

from pgvault.io.pooler import SYNTAX_ERROR, no_replication
from pgvault.io.postgres import Connection
from pgvault.io.postgres_failure import translated
from pgvault.model.errors import PgvaultError, ServerBehind, Unreachable, WalRemoved
from pgvault.model.lsn import Lsn

_WAL = Struct(">cQQq")
_KEEPALIVE = Struct(">cQqB")
_STATUS = Struct(">cQQQqB")
_POSTGRES_EPOCH = 946_684_800
_SIZE = re.compile(r"(\d+)(kB|MB|GB)")
_UNITS = {"kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}
_SEGMENT = re.compile(r"\b[0-9A-F]{24}\b")
_POSITION = re.compile(r"\b[0-9A-F]{1,8}/[0-9A-F]{1,8}\b")
_NO_FILE, _REMOVAL_CHECK = "58P01", "CheckXLogRemoved"
"""How an error shows that a segment is gone: the SQLSTATE of a missing file; or, if the segment was removed while it
was read and the SQLSTATE may be any, the PostgreSQL function that noticed it."""


@dataclass(frozen=True, slots=True)
class System:
    """The result of IDENTIFY_SYSTEM, and the segment size."""

    identifier: str
    timeline: int
    position: Lsn
    """How far the server has flushed its WAL."""
    segment_size: int


@dataclass(frozen=True, slots=True)
class WalData:
    start: Lsn
    data: bytes


@dataclass(frozen=True, slots=True)
class Keepalive:
    end: Lsn
    """How far the server has sent."""
    wants_reply: bool


@dataclass(frozen=True, slots=True)
class TimelineEnd:
    """The server has sent everything that it will send of the timeline."""

    next: int | None
    """The timeline that continues from there; None if the server is shutting down."""
    switch: Lsn | None


Message = WalData | Keepalive | TimelineEnd


def identify(server: str, connection: Connection) -> System:
    """Ask which cluster this is, and for its current WAL position."""
    row = _row(server, connection, "IDENTIFY_SYSTEM")
    match = _SIZE.fullmatch(_row(server, connection, "SHOW wal_segment_size")[0].decode())
    if match is None:
        raise PgvaultError(f"{server} did not report wal_segment_size")
    return System(row[0].decode(), int(row[1]), Lsn.parse(row[2].decode()), int(match[1]) * _UNITS[match[2]])


def timeline_history(server: str, connection: Connection, timeline: int) -> bytes | None:
    """Return the content of a `.history` file; None if the server has none."""
    try:
        return _row(server, connection, f"TIMELINE_HISTORY {timeline:d}")[1]
    except Unreachable:
        raise
    except PgvaultError:
        return None


def create_slot(server: str, connection: Connection, slot: str) -> None:
    """Create a physical slot that retains WAL from now on."""
    _command(server, connection, f"CREATE_REPLICATION_SLOT {_quoted(slot)} PHYSICAL RESERVE_WAL")


def reserve_wal(server: str, connection: Connection, slot: str) -> None:
    """Create a temporary slot of this session that retains WAL from now on."""
    _command(server, connection, f"CREATE_REPLICATION_SLOT {_quoted(slot)} TEMPORARY PHYSICAL RESERVE_WAL")


def drop_slot(server: str, connection: Connection, slot: str) -> None:
    _command(server, connection, f"DROP_REPLICATION_SLOT {_quoted(slot)}")


class ReplicationStream:
    """Streams WAL from `start` on, and sends feedback on request."""

    def __init__(self, server: str, connection: Connection, slot: str, timeline: int, start: Lsn) -> None:
        self._server, self._connection, self._pgconn = server, connection, connection.pgconn
        self._over, self._start = False, start
        result = self._begun(f"START_REPLICATION SLOT {_quoted(slot)} PHYSICAL {start} TIMELINE {timeline:d}")
        self._over = result.status != pq.ExecStatus.COPY_BOTH
        self._first_end = _timeline_end(result) if self._over else None

    def receive(self, timeout: float, wake: int) -> Message | None:
        """Return the next message, waiting at most `timeout` seconds; None if none came or `wake` became readable.

        After a TimelineEnd the connection takes commands again. Raises WalRemoved, and Unreachable if it was lost.
        """
        if self._over:
            return self._first_end or TimelineEnd(None, None)
        try:
            size, data = self._pgconn.get_copy_data(1)
            if size == 0 and self._wait(timeout, wake):
                self._pgconn.consume_input()
                size, data = self._pgconn.get_copy_data(1)
        except psycopg.OperationalError as error:
            raise self._lost(error) from None
        if size > 0:
            return _message(bytes(data))
        if size == 0:
            return None
        return self._end()

    def confirm(self, written: Lsn, flushed: Lsn, *, wants_reply: bool = False) -> None:
        """Tell the server what has arrived and what is on disk. It may remove its WAL before `flushed`."""
        if self._over:
            return
        clock = int((time.time() - _POSTGRES_EPOCH) * 1_000_000)
        try:
            self._pgconn.put_copy_data(_STATUS.pack(b"r", written, flushed, 0, clock, wants_reply))
            self._pgconn.flush()
        except psycopg.OperationalError as error:
            raise self._lost(error) from None

    def close(self) -> None:
        """End the copy from this side. The connection cannot be used afterwards."""
        if not self._over:
            try:
                self._pgconn.put_copy_end()
                self._pgconn.flush()
            except psycopg.OperationalError:
                pass

    def _begun(self, command: str) -> pq.abc.PGresult:
        try:
            result = self._connection.ask(command)
        except psycopg.OperationalError as error:
            raise self._lost(error) from None
        if result is None or result.status == pq.ExecStatus.FATAL_ERROR:
            raise self._error(result)
        return result

    def _wait(self, timeout: float, wake: int) -> bool:
        readable, _, _ = select.select([self._pgconn.socket, wake], [], [], timeout)
        return self._pgconn.socket in readable

    def _end(self) -> TimelineEnd:
        """End the copy that the server has ended, and read its answer."""
        self._over = True
        end, is_complete = TimelineEnd(None, None), False
        try:
            result = self._connection.next_result()
            if result is not None and result.status in (pq.ExecStatus.COPY_IN, pq.ExecStatus.COPY_BOTH):
                self._pgconn.put_copy_end()
                result = self._connection.next_result()
            while result is not None:
                if result.status == pq.ExecStatus.FATAL_ERROR and not is_complete:
                    raise self._error(result)
                is_complete = is_complete or result.status == pq.ExecStatus.COMMAND_OK
                end = _timeline_end(result) or end
                result = self._connection.next_result()
        except psycopg.OperationalError as error:
            if not is_complete:  # a server that shuts down closes the connection after this
                raise self._lost(error) from None
        return end

    def _error(self, result: pq.abc.PGresult | None) -> PgvaultError:
        text = _text(result.error_message if result else self._pgconn.error_message)
        if result and is_removed(result):
            return WalRemoved(f"{self._server} has removed WAL that was not archived", detail=f"It reports: {text}.")
        if result and is_behind(result, self._start):
            return ServerBehind(f"{self._server} is behind the archive", detail=f"It reports: {text}.",
                                hint="It may be a lagging standby, or a server that was restored to an earlier time.")
        if self._pgconn.status != pq.ConnStatus.OK:
            return Unreachable(f"the replication connection to {self._server} was lost", detail=f"{text}.")
        return PgvaultError(f"{self._server} does not send its WAL: {text}")

    def _lost(self, error: Exception) -> Unreachable:
        return Unreachable(f"the replication connection to {self._server} was lost", detail=f"{_text(str(error))}.")


def is_removed(error: pq.abc.PGresult) -> bool:
    """Return whether the error means, in any language, that the server no longer has a segment."""
    gone = _field(error, pq.DiagnosticField.SQLSTATE) == _NO_FILE or \
        _field(error, pq.DiagnosticField.SOURCE_FUNCTION) == _REMOVAL_CHECK
    return gone and _SEGMENT.search(_field(error, pq.DiagnosticField.MESSAGE_PRIMARY)) is not None


def is_behind(error: pq.abc.PGresult, start: Lsn) -> bool:
    """Return whether the error means that the server's WAL ends before `start`: it contains that position, then its
    own."""
    named = [Lsn.parse(each) for each in _POSITION.findall(_field(error, pq.DiagnosticField.MESSAGE_PRIMARY))]
    return len(named) == 2 and named[0] == start and named[1] < start


def _field(error: pq.abc.PGresult, which: pq.DiagnosticField) -> str:
    return (error.error_field(which) or b"").decode("utf-8", "replace")


def _message(data: bytes) -> Message:
    if data[:1] == b"w" and len(data) >= _WAL.size:
        return WalData(Lsn(_WAL.unpack_from(data)[1]), data[_WAL.size:])
    if data[:1] == b"k" and len(data) >= _KEEPALIVE.size:
        _, end, _, wants_reply = _KEEPALIVE.unpack_from(data)
        return Keepalive(Lsn(end), bool(wants_reply))
    raise PgvaultError("the server sent an unknown replication message", detail=f"It begins with {data[:8]!r}.")


def _timeline_end(result: pq.abc.PGresult) -> TimelineEnd | None:
    if result.status != pq.ExecStatus.TUPLES_OK or not result.ntuples:
        return None
    timeline, switch = result.get_value(0, 0) or b"", result.get_value(0, 1) or b""
    return TimelineEnd(int(timeline), Lsn.parse(switch.decode()))


def _row(server: str, connection: Connection, command: str) -> list[bytes]:
    result = _command(server, connection, command)
    if result.ntuples < 1:
        raise PgvaultError(f"{server} did not answer {command}")
    return [result.get_value(0, column) or b"" for column in range(result.nfields)]


def _command(server: str, connection: Connection, command: str) -> pq.abc.PGresult:
    try:
        result = connection.ask(command)
        while result is not None and connection.next_result() is not None:
            pass
    except psycopg.OperationalError as error:
        raise translated(server, error, "replicate") from None
    if result is None or result.status not in (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK):
        kind = Unreachable if connection.pgconn.status != pq.ConnStatus.OK else PgvaultError
        text = result.error_message if result else connection.pgconn.error_message
        if result and _field(result, pq.DiagnosticField.SQLSTATE) == SYNTAX_ERROR:
            raise no_replication(server, _text(text))
        raise kind(f"{server} refused a replication command: {_text(text)}")
    return result


def _text(message: bytes | str) -> str:
    text = message.decode("utf-8", "replace") if isinstance(message, bytes) else message
    return " ".join(text.split()).removeprefix("ERROR: ").removeprefix("FATAL: ").strip()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
