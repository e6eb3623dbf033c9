"""The latest time behind the end of a backup, read from the one segment that the end divides."""

from __future__ import annotations

from pathlib import Path

import pytest
from making_wal import MIB, new_vault, put
from support.objects import wal_path
from wal_writer import Writer

from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment
from pgvault.vault.layout import ServerVault
from pgvault.vault.wal_facts import read_facts
from pgvault.vault.wal_parted import latest_between

BEFORE, SEGMENT = Segment(1, 3), Segment(1, 4)
START = Lsn(4 * MIB)
SINCE_1970 = 946_684_800_000_000
"""Microseconds, of the year 2000."""


@pytest.fixture
def wal() -> Writer:
    """Commits at 40, 70, 50 and 60: the first of them crosses into `SEGMENT`, whose clock is put back."""
    wal = Writer()
    wal.append(bytes(MIB // 2))
    wal.append(bytes(START - wal.at - 24 * ((START - wal.at) // 8192) - 24 - 16))
    for time in (40, 70, 50, 60):
        wal.commit(700 + time, time)
    return wal


@pytest.fixture
def server(tmp_path: Path, wal: Writer) -> ServerVault:
    server = new_vault(tmp_path / "v")
    for segment, (_, data) in zip((BEFORE, SEGMENT), wal.segments(), strict=True):
        put(server, segment.name(MIB), data)
    return server


def latest(server: ServerVault, begin: int, end: int) -> int | None:
    found = latest_between(server)(SEGMENT, Lsn(begin), Lsn(end))
    return None if found is None else found - SINCE_1970


def test_only_what_begins_between_counts(server: ServerVault, wal: Writer) -> None:
    read_facts(server)
    crossing, first, second, third = wal.lsns[-4:]
    assert crossing < START < first
    assert latest(server, START, wal.at) == latest(server, first, third) == 70
    assert latest(server, first + 1, wal.at) == latest(server, second, third + 1) == 60
    assert latest(server, second, third) == 50
    assert latest(server, third + 1, wal.at) is None
    assert latest(server, crossing, first) == 40, "it ends in this segment"


def test_what_cannot_be_read_has_no_time(server: ServerVault, wal: Writer, tmp_path: Path) -> None:
    assert latest(server, wal.lsns[-4], wal.lsns[-3]) is None, "what the segment before left is not known"
    wal_path(server, SEGMENT.name(MIB)).unlink()
    assert latest(server, START, wal.at) is None
    assert latest(new_vault(tmp_path / "another"), START, wal.at) is None
