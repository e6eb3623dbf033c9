"""What one segment leaves to the next, across timelines too, and an unfinished one that no recovery passes."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path

import pytest
from making_wal import MIB, new_vault, put
from support.objects import wal_path
from wal_writer import SYSTEM, XLOG, Writer, short

from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment
from pgvault.model.timeline import History
from pgvault.model.window import MINIMAL
from pgvault.vault import wal_index
from pgvault.vault.identity import Identity
from pgvault.vault.layout import ServerVault
from pgvault.vault.wal_archive import accept
from pgvault.vault.wal_facts import carry_to, read_facts
from pgvault.vault.wal_search import WalSearch
from pgvault.wal.effects import PARAMETER_CHANGE

BEFORE, HERE = "000000010000000000000003", "000000010000000000000004"
ON_NEW_TIMELINE = "000000020000000000000004"


@pytest.fixture
def server(tmp_path: Path) -> ServerVault:
    """A record crosses the border between its two segments."""
    server, wal = new_vault(tmp_path / "v"), Writer()
    wal.append(bytes(MIB))
    (_, before), (_, here) = wal.segments()
    put(server, BEFORE, before)
    put(server, HERE, here)
    return server


def test_what_the_segment_before_left_is_known_once_that_was_read(server: ServerVault, tmp_path: Path) -> None:
    assert carry_to(server, HERE) is None
    read_facts(server)
    carry = carry_to(server, HERE)
    assert carry is not None
    assert carry.unfinished is not None
    assert (carry.at, carry.unfinished.lsn) == (4 * MIB, 3 * MIB + 40)
    assert carry_to(server, "000000010000000000000006") is None
    assert carry_to(new_vault(tmp_path / "another"), HERE) is None


def test_a_timeline_goes_on_from_the_segment_of_its_parent(server: ServerVault) -> None:
    accept(server, "00000002.history", BytesIO(b"1\t0/480000\tpromoted\n"))
    read_facts(server)
    assert carry_to(server, ON_NEW_TIMELINE) == carry_to(server, HERE) is not None
    path = wal_path(server, "00000002.history")
    path.chmod(0o600)
    path.write_bytes(b"damaged")
    assert carry_to(server, ON_NEW_TIMELINE) is None, "nothing is sure without its history"


@pytest.mark.parametrize(("level", "ends_by", "passes"), [(1, "", True), (0, MINIMAL, False)])
def test_an_unfinished_segment_ends_where_minimal_wal_begins(
        tmp_path: Path, level: int, ends_by: str, passes: bool) -> None:
    server, wal = new_vault(tmp_path / "v"), Writer()
    wal.append(bytes(MIB // 2))
    [(_, before)] = wal.segments()
    put(server, BEFORE, before)
    wal = Writer(4 * MIB)
    wal.commit(700, 1)
    change = wal.append(short(struct.pack("<6i", 101, 9, 11, 7, 65, level)), rmid=XLOG, info=PARAMETER_CHANGE)
    wal.commit(701, 2)
    (server.spool.streaming / f"{HERE}.partial").write_bytes(wal.segments()[0][1])
    with wal_index.reading(server) as index:
        search = WalSearch(server, index, Identity(str(SYSTEM), MIB), partial=True)
        row = search.unfinished(History(1, ()))
        assert row is not None
        assert (row.segment, row.ends_by, row.stops) == (Segment(1, 4), ends_by, True)
        assert row.reach == row.end == (Lsn(wal.at) if passes else change)
        assert [each.xid for each in search.transactions(row)] == [700, *[701] * passes]


def test_minimal_wal_in_the_newest_segment_is_why_nothing_behind_it_is_reached(tmp_path: Path) -> None:
    """Nothing is archived behind that segment yet; it alone has the WAL that no recovery passes."""
    server, wal = new_vault(tmp_path / "v"), Writer(4 * MIB)
    wal.commit(700, 1)
    change = wal.append(short(struct.pack("<6i", 101, 9, 11, 7, 65, 0)), rmid=XLOG, info=PARAMETER_CHANGE)
    wal.commit(701, 2)
    wal.switch()
    put(server, HERE, wal.segments()[0][1])
    read_facts(server)
    with wal_index.reading(server) as index:
        search = WalSearch(server, index, Identity(str(SYSTEM), MIB))
        [row] = search.on_path(History(1, ()))
        assert (row.ends_by, row.reach) == (MINIMAL, change)
        assert search.break_behind(History(1, ()), row) == (
            f"WAL from {change} on was written under wal_level=minimal, which no recovery can pass")
