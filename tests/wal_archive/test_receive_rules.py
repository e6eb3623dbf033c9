"""What the receiver takes and what it promises, without a server: a stream that jumps, and two positions."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from making_wal import MIB, new_vault

from pgvault.engine.receive_session import Session
from pgvault.io.replication_stream import ReplicationStream, WalData
from pgvault.model.errors import PgvaultError
from pgvault.model.event import discard
from pgvault.model.lsn import Lsn
from pgvault.vault.layout import ServerVault

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
    with pytest.raises(PgvaultError, match="was to come"):
        session._write(WalData(Lsn(start + 100), b"y" * 100), Lsn(START + 100), 1)
    session.close()
    [partial] = vault.streaming.iterdir()
    assert partial.read_bytes() == b"x" * 100


def test_what_is_written_and_what_is_flushed_are_two_positions() -> None:
    """The server may remove its WAL before the second (`StandbyReplyMessage`, and pg_receivewal's own message)."""
    stream = ReplicationStream.__new__(ReplicationStream)
    connection: Any = Connection()
    stream._over, stream._pgconn = False, connection
    stream.confirm(Lsn(0x300), Lsn(0x200))
    kind, written, flushed, applied, _, asks = struct.unpack(">cQQQqB", connection.sent[0])
    assert (kind, written, flushed, applied, asks) == (b"r", 0x300, 0x200, 0, 0)
