"""What the receiver takes and what it promises, without a server: a stream that jumps, and two positions."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from making_wal import MIB, new_vault
from psycopg.pq import DiagnosticField

from pgvault.engine.receive_session import Session
from pgvault.io.replication_stream import ReplicationStream, WalData, is_behind, is_removed
from pgvault.model.errors import PgvaultError, from_os_error
from pgvault.model.event import discard
from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment
from pgvault.store.files import fsync_directory, fsync_path
from pgvault.vault.layout import ServerVault
from pgvault.vault.streaming import StreamedSegment

START = Lsn(3 * MIB)


class Connection:
    """Of a stream that has begun; keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def put_copy_data(self, data: bytes) -> None:
        self.sent.append(data)

    def flush(self) -> int:
        return 0


@pytest.fixture
def vault(tmp_path: Path) -> ServerVault:
    vault = new_vault(tmp_path / "vault")
    vault.prepare()
    return vault


def test_a_full_file_system_is_named(tmpfs: Callable[[int], Path]) -> None:
    """By the receiver's writes, which have a descriptor alone."""
    vault = new_vault(tmpfs(1) / "vault")
    vault.prepare()
    segment = StreamedSegment(vault, Segment(1, 3), MIB)
    with pytest.raises(OSError, match="No space left") as failure:
        segment.write(bytes(MIB))
    assert failure.value.filename == str(segment.path)
    assert f"The file system of {segment.path} is full." in from_os_error(failure.value, "receive WAL").detail
    assert segment.flushed == START
    segment.close()


@pytest.mark.parametrize("act", [fsync_path, fsync_directory])
def test_a_failed_flush_says_of_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                     act: Callable[[Path], None]) -> None:
    """Where blocks are given at the flush, as over NFS or under a quota, that is where a full one is met."""
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
    with pytest.raises(OSError, match="No space left") as failure:
        act(tmp_path)
    assert failure.value.filename == str(tmp_path)


@pytest.fixture
def session(vault: ServerVault) -> Session:
    server: Any = type("Server", (), {"name": "main", "compression_level": 3})
    made = Session(server, vault, None, None, discard, 0)  # type: ignore[arg-type]
    made._size = MIB
    return made


@pytest.mark.parametrize("start", [START + 8, START - 8, START + MIB, Lsn(0)])
def test_a_stream_that_jumps_is_refused(session: Session, vault: ServerVault, start: int) -> None:
    """A hole inside a segment would look like a whole one; nothing of what came is written."""
    assert session._write(WalData(START, b"x" * 100), START, 1) == START + 100
    session._flush()
    with pytest.raises(PgvaultError, match="expected"):
        session._write(WalData(Lsn(start + 100), b"y" * 100), Lsn(START + 100), 1)
    session.close()
    [partial] = vault.spool.streaming.iterdir()
    assert partial.read_bytes() == b"x" * 100


def test_what_is_written_and_what_is_flushed_are_two_positions() -> None:
    """The server may remove its WAL before the second (`StandbyReplyMessage`, and pg_receivewal's own message)."""
    stream = ReplicationStream.__new__(ReplicationStream)
    connection: Any = Connection()
    stream._over, stream._pgconn = False, connection
    stream.confirm(Lsn(0x300), Lsn(0x200))
    kind, written, flushed, applied, _, asks = struct.unpack(">cQQQqB", connection.sent[0])
    assert (kind, written, flushed, applied, asks) == (b"r", 0x300, 0x200, 0, 0)


# What a server says of its WAL, in whatever language


class Said:
    """An error as a server sends it; the fields that PostgreSQL does not translate, and one that it does."""

    def __init__(self, text: str, sqlstate: str = "XX000", function: str = "StartReplication") -> None:
        self._fields = {DiagnosticField.MESSAGE_PRIMARY: text, DiagnosticField.SQLSTATE: sqlstate,
                        DiagnosticField.SOURCE_FUNCTION: function}

    def error_field(self, which: DiagnosticField) -> bytes | None:
        return self._fields[which].encode() if which in self._fields else None


GONE = "das angeforderte WAL-Segment 000000010000000000000003 wurde schon entfernt"


@pytest.mark.parametrize(("said", "removed"), [
    (Said(GONE, "58P01", "WalSndSegmentOpen"), True),
    (Said(GONE, "XX000", "CheckXLogRemoved"), True),
    (Said('could not open file "pg_wal/000000010000000000000003": Permission denied', "42501", "WalSndSegmentOpen"),
     False),
    (Said("could not access file »pgaudit«", "58P01", "expand_dynamic_library_name"), False),
    (Said("replication slot \"a\" does not exist", "42704"), False),
])
def test_wal_that_is_gone_is_known_in_any_language(said: Any, removed: bool) -> None:
    assert is_removed(said) is removed


@pytest.mark.parametrize(("text", "behind"), [
    ("angeforderter Startpunkt 0/300000 ist vor der WAL-Flush-Position dieses Servers 0/2FFF00", True),
    ("requested starting point 0/00300000 is ahead of the WAL flush position of this server 0/002FFF00", True),  # 19
    ("angeforderter Startpunkt 0/300000 auf Zeitleiste 2 ist nicht in der History dieses Servers", False),
    ("0/2FFF00 0/300000", False), ("0/300000 0/300000", False), ("", False),
])  # fmt: skip
def test_a_server_that_is_behind_is_known_in_any_language(text: str, behind: bool) -> None:
    assert is_behind(Said(text), START) is behind  # type: ignore[arg-type]
