"""PostgreSQL's BASE_BACKUP replication command, in both of its protocol forms.

Documentation: "Streaming Replication Protocol", BASE_BACKUP; source: `src/backend/backup/basebackup.c` and
`basebackup_copy.c`. A newer server sends everything in one copy stream of typed messages; an older one sends one plain
tar copy stream per tablespace and one for the manifest, without the trailing zeros of the tars. Which one does what is
in `pgvault.model.majors`. Start and stop happen in this one session: when it ends, the backup has failed.
"""

from __future__ import annotations

import re
import select
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import psycopg
from psycopg import pq

from pgvault.io.patience import POLL_SECONDS
from pgvault.io.pooler import SYNTAX_ERROR, no_replication
from pgvault.io.postgres import Connection
from pgvault.model.errors import Cancelled, PgvaultError, Refused, Unreachable
from pgvault.model.lsn import Lsn
from pgvault.model.majors import facts_of

_DATA_CORRUPTED = "XX001"
_INSUFFICIENT_PRIVILEGE = "42501"
_ENDED = "The session was terminated on the server, or the server was stopped."
_ACCESS = "PostgreSQL may not read the named file, or the role lacks a privilege."
_CAUSES: Mapping[str, tuple[str, str]] = {
    "57P01": (_ENDED, "Check the server's log for the reason, then run the backup again."),
    "57P02": (_ENDED, "Check the server's log for the reason, then run the backup again."),
    "57014": ("The backup was cancelled on the server.",
              "Check the server's log for the reason, then run the backup again."),
    _INSUFFICIENT_PRIVILEGE: (_ACCESS, "Make PostgreSQL's user the owner of the file, or find the missing privilege: "
                                       "pgvault check {server}"),
}
"""Cause and next step by SQLSTATE, for errors to which PostgreSQL adds no hint."""
NEXT_STEP = "Check the server's log, then run the backup again."
_CANCEL_SECONDS = 3.0
"""Time for a request to end the backup, which may have to use the same dead network path."""
CANCELLED_HINT = "Older backups are unchanged. Run the backup again when you are ready."
_QUOTED_PATH = re.compile(r"[\"“«»„]\s?([^\"”«»“]+?)\s?[\"”«»“]")


@dataclass(frozen=True, slots=True)
class Options:
    label: str
    fast_checkpoint: bool
    max_rate_kib: int | None = None
    """KiB per second, 32 to 1048576."""


@dataclass(frozen=True, slots=True)
class SentTablespace:
    oid: int
    location: str
    size_kib: int


@dataclass(frozen=True, slots=True)
class Started:
    lsn: Lsn
    timeline: int
    tablespaces: tuple[SentTablespace, ...]
    size_bytes: int
    """The server's estimate of what it will send."""


@dataclass(frozen=True, slots=True)
class Stopped:
    lsn: Lsn
    timeline: int
    corrupt_files: tuple[str, ...]
    """Files with pages that failed their checksum on the server."""
    corrupt: bool


class ArchiveSink(Protocol):
    """Receives the streams of a base backup in the order in which they come."""

    def archive(self, tablespace: int | None) -> None:
        """Begin a tar stream of a tablespace (its oid) or, with None, of the data directory."""

    def tar(self, chunk: memoryview) -> None: ...

    def manifest(self, chunk: memoryview) -> None: ...


class BaseBackup:
    """One run of the command on a replication connection to `server`: `start`, `stream`, `stop`, in this order."""

    def __init__(self, server: str, connection: Connection, options: Options,
                 silent: Callable[[float], None]) -> None:
        """Make a run. `silent` is called repeatedly during a silence, with its duration in seconds, and raises to end
        the backup.
        """
        self._server, self._connection, self._silent = server, connection, silent
        self._pgconn = connection.pgconn
        self._options = options
        self._corrupt_files: dict[str, None] = {}
        self.skipped: dict[str, None] = {}
        """Links and special files that the server leaves out. Most are known when `start` returns."""
        self._is_typed = facts_of(self._pgconn.server_version // 10000).typed_base_backup
        self._tablespaces: tuple[SentTablespace, ...] = ()
        self._end: pq.abc.PGresult | None = None
        connection.add_notice_handler(self._notice)

    def start(self) -> Started:
        """Begin the backup. This waits for its checkpoint."""
        self._pgconn.send_query(self.command().encode())
        self._pgconn.flush()
        [row] = self._rows(self._next_result())
        lsn, timeline = Lsn.parse(row[0] or ""), int(row[1] or 0)
        spaces = self._rows(self._next_result())
        self._tablespaces = tuple(SentTablespace(int(oid), location or "", int(size or 0))
                                  for oid, location, size in spaces if oid is not None)
        return Started(lsn, timeline, self._tablespaces, sum(int(size or 0) for _, _, size in spaces) * 1024)

    def stream(self, sink: ArchiveSink) -> None:
        """Pass everything to the sink, up to and including the manifest.

        The protocol ends a copy that an error interrupted like a complete one: only what follows tells them apart.
        """
        if self._is_typed:
            self._stream_typed(sink)
        else:
            self._stream_plain(sink)
        self._end = self._next_result()

    def stop(self) -> Stopped:
        """Return what the server reports at the end."""
        assert self._end
        [row] = self._rows(self._end)
        lsn, timeline = Lsn.parse(row[0] or ""), int(row[1] or 0)
        corrupt = False
        while (result := self._get_result()) is not None:
            if result.status == pq.ExecStatus.FATAL_ERROR:
                if result.error_field(pq.DiagnosticField.SQLSTATE) != _DATA_CORRUPTED.encode():
                    raise self._failure(result)
                corrupt = True
        return Stopped(lsn, timeline, tuple(self._corrupt_files) if corrupt else (), corrupt)

    def command(self) -> str:
        options = self._options
        label = "'" + options.label.replace("'", "''") + "'"
        if self._is_typed:
            parts = [f"LABEL {label}", "PROGRESS", f"CHECKPOINT '{'fast' if options.fast_checkpoint else 'spread'}'",
                     "WAIT false", "TABLESPACE_MAP", "MANIFEST 'yes'", "MANIFEST_CHECKSUMS 'CRC32C'"]
            if options.max_rate_kib:
                parts.append(f"MAX_RATE {options.max_rate_kib}")
            return f"BASE_BACKUP ({', '.join(parts)})"
        parts = ["BASE_BACKUP", f"LABEL {label}", "PROGRESS", *(["FAST"] if options.fast_checkpoint else []), "NOWAIT",
                 *([f"MAX_RATE {options.max_rate_kib}"] if options.max_rate_kib else []),
                 "TABLESPACE_MAP", "MANIFEST 'yes'", "MANIFEST_CHECKSUMS 'CRC32C'"]
        return " ".join(parts)

    def _stream_typed(self, sink: ArchiveSink) -> None:
        self._expect(self._next_result(), pq.ExecStatus.COPY_OUT)
        take = sink.tar
        for message in self._copy_messages():
            kind = message[0]
            if kind == 0x64:  # d: content
                take(message[1:])
            elif kind == 0x6E:  # n: a new archive: its name and its tablespace's location
                sink.archive(_tablespace_of(bytes(message[1:]).split(b"\0", 1)[0]))
                take = sink.tar
            elif kind == 0x6D:  # m: the manifest follows
                take = sink.manifest

    def _stream_plain(self, sink: ArchiveSink) -> None:
        for oid in [*(space.oid for space in self._tablespaces), None]:
            self._expect(self._next_result(), pq.ExecStatus.COPY_OUT)
            sink.archive(oid)
            for message in self._copy_messages():
                sink.tar(message)
        self._expect(self._next_result(), pq.ExecStatus.COPY_OUT)
        for message in self._copy_messages():
            sink.manifest(message)

    def _copy_messages(self) -> Iterator[memoryview]:
        get_copy_data = self._pgconn.get_copy_data
        while True:
            length, message = get_copy_data(1)
            if length > 0:
                yield message
            elif length == 0:
                self._wait()
                self._pgconn.consume_input()
            else:
                return

    def _wait(self) -> None:
        """Wait until the server has sent something, or until a request to cancel."""
        poll, since = select.poll(), time.monotonic()
        poll.register(self._pgconn.socket, select.POLLIN)
        while not poll.poll(POLL_SECONDS * 1000):
            self._stop_if_cancelled()
            self._silent(time.monotonic() - since)
        self._stop_if_cancelled()

    def _stop_if_cancelled(self) -> None:
        if self._connection.cancelled():
            self._connection.cancel_within(_CANCEL_SECONDS)
            raise Cancelled("the backup was cancelled", hint=CANCELLED_HINT)

    def _get_result(self) -> pq.abc.PGresult | None:
        while self._pgconn.is_busy():
            self._wait()
            self._pgconn.consume_input()
        return self._pgconn.get_result()

    def _next_result(self) -> pq.abc.PGresult:
        result = self._get_result()
        if result is None:
            raise PgvaultError(f"{self._server} ended the base backup early", hint=NEXT_STEP)
        if result.status == pq.ExecStatus.COMMAND_OK:  # the end of one command: its result follows
            return self._next_result()
        if result.status == pq.ExecStatus.FATAL_ERROR:
            raise self._failure(result)
        return result

    def _expect(self, result: pq.abc.PGresult, status: pq.ExecStatus) -> None:
        if result.status != status:
            raise PgvaultError(f"{self._server} did not answer BASE_BACKUP like PostgreSQL",
                               detail=f"Expected {status.name}, received {pq.ExecStatus(result.status).name}.",
                               hint="Check that conninfo leads to PostgreSQL itself, and not to a connection pooler.")

    def _rows(self, result: pq.abc.PGresult) -> list[list[str | None]]:
        self._expect(result, pq.ExecStatus.TUPLES_OK)
        values = [[result.get_value(row, column) for column in range(result.nfields)] for row in range(result.ntuples)]
        return [[None if value is None else value.decode() for value in row] for row in values]

    def _failure(self, result: pq.abc.PGresult) -> PgvaultError:
        def field(which: pq.DiagnosticField) -> str:
            return (result.error_field(which) or b"").decode("utf-8", "replace")

        text = field(pq.DiagnosticField.MESSAGE_PRIMARY) or result.get_error_message()
        sqlstate = field(pq.DiagnosticField.SQLSTATE)
        if sqlstate == SYNTAX_ERROR:
            return no_replication(self._server, text)
        kind = Refused if sqlstate == _INSUFFICIENT_PRIVILEGE else PgvaultError if sqlstate else Unreachable
        cause, next_step = _CAUSES.get(sqlstate, ("", NEXT_STEP))
        return kind(f"{self._server} could not make a base backup: {text}",
                    detail=field(pq.DiagnosticField.MESSAGE_DETAIL) or cause,
                    hint=field(pq.DiagnosticField.MESSAGE_HINT) or next_step.format(server=self._server))

    def _notice(self, notice: psycopg.errors.Diagnostic) -> None:
        # The wording depends on the server's language, but not the quotes around the file name, nor the function that
        # reports the warning.
        found = _QUOTED_PATH.search(notice.message_primary or "")
        if notice.source_function == "sendDir":
            self.skipped[self._relative(found[1] if found else notice.message_primary or "")] = None
        elif found and "/" in found[1]:
            self._corrupt_files[self._relative(found[1])] = None

    def _relative(self, path: str) -> str:
        """Return a path as in the backup, in which files of a tablespace are relative to its location."""
        for space in self._tablespaces:
            if path.startswith(f"{space.location}/"):
                return f"pg_tblspc/{space.oid}/{path.removeprefix(space.location).lstrip('/')}"
        return path.removeprefix("./")


def _tablespace_of(name: bytes) -> int | None:
    """Return the oid in an archive's name, such as `16406.tar`; None for `base.tar`."""
    stem = name.split(b".", 1)[0]
    if stem == b"base":
        return None
    if not stem.isdigit() or len(stem) > 10:
        raise PgvaultError("the server sent an invalid base backup",
                           detail=f"The name of an archive is {name[:40]!r}.", hint=NEXT_STEP)
    return int(stem)
