"""What the archive answers of a path over two timelines, and of the unfinished segment at its end."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from making_wal import MIB, new_vault, put
from support.objects import wal_path
from wal_writer import RESTORE_POINT, SYSTEM, XLOG, Writer, restore_point, short

from pgvault.model.lsn import Lsn
from pgvault.model.replay import ParameterChange
from pgvault.model.segment import Segment
from pgvault.model.timeline import Ancestor, History
from pgvault.vault import wal_current, wal_index
from pgvault.vault.identity import Identity
from pgvault.vault.layout import ServerVault
from pgvault.vault.wal_archive import accept
from pgvault.vault.wal_current import current
from pgvault.vault.wal_facts import read_facts
from pgvault.vault.wal_queries import has_histories, newest_accepted
from pgvault.vault.wal_search import WalSearch
from pgvault.wal.effects import PARAMETER_CHANGE

CLUSTER = Identity(str(SYSTEM), MIB)
ONE, TWO = History(1, ()), History(2, (Ancestor(1, Lsn(4 * MIB), "promoted"),))
NEXT = "000000020000000000000006"


def write(wal: Writer, change: int) -> None:
    """A segment that sets max_connections to this number, commits the transaction of it, and is closed."""
    wal.append(short(struct.pack("<6i", change, 9, 11, 7, 65, 1)), rmid=XLOG, info=PARAMETER_CHANGE)
    wal.append(restore_point("here", change), rmid=XLOG, info=RESTORE_POINT)
    wal.commit(change, change)
    wal.switch()


@pytest.fixture
def server(tmp_path: Path) -> ServerVault:
    """Segments 3 to 5 of timeline 1, 4 and 5 of timeline 2, which branched off there; its 6 is being streamed."""
    server, one = new_vault(tmp_path / "v"), Writer()
    write(one, 103)
    two = Writer(4 * MIB, timeline=2, previous=one.previous)
    for number in (4, 5, 6):
        write(one, 100 + number)
        write(two, 200 + number)
    for start, content in one.segments()[:3]:
        put(server, Segment(1, start // MIB).name(MIB), content)
    accept(server, "00000002.history", BytesIO(b"1\t0/400000\tpromoted\n"))
    (_, fourth), (_, fifth), (_, sixth) = two.segments()
    put(server, Segment(2, 4).name(MIB), fourth)
    put(server, Segment(2, 5).name(MIB), fifth)
    (server.spool.streaming / f"{NEXT}.partial").write_bytes(sixth)
    read_facts(server)
    return server


@pytest.fixture
def index(server: ServerVault) -> Iterator[wal_index.WalIndex]:
    with wal_index.reading(server) as index:
        yield index


def search(server: ServerVault, index: wal_index.WalIndex, *, partial: bool = False) -> WalSearch:
    return WalSearch(server, index, CLUSTER, partial=partial)


def test_each_segment_is_that_of_the_timeline_that_recovery_reads_it_on(
        server: ServerVault, index: wal_index.WalIndex) -> None:
    found = search(server, index)
    assert [row.segment for row in found.on_path(ONE)] == [Segment(1, 3), Segment(1, 4), Segment(1, 5)]
    assert [row.segment for row in found.on_path(TWO)] == [Segment(1, 3), Segment(2, 4), Segment(2, 5)]
    assert (found.numbers(ONE), found.numbers(TWO)) == ([3, 4, 5], [3, 4, 5])
    wal_path(server, Segment(1, 3).name(MIB)).unlink()
    with current(server, CLUSTER) as without:
        assert search(server, without).numbers(TWO) == [4, 5]


def test_what_replay_does_is_read_along_the_path(server: ServerVault, index: wal_index.WalIndex) -> None:
    found = search(server, index)

    def settings(history: History, last: int) -> list[tuple[int, int]]:
        rows = {row.number: row for row in found.on_path(history)}
        return [(number, each.limits.max_connections) for number, each in found.effects(history, rows[last])
                if isinstance(each, ParameterChange)]

    assert settings(ONE, 5) == [(3, 103), (4, 104), (5, 105)]
    assert settings(TWO, 5) == [(3, 103), (4, 204), (5, 205)]
    assert settings(TWO, 4) == [(3, 103), (4, 204)]
    assert settings(TWO, 3) == [(3, 103)]


def test_what_one_segment_does_is_read_again(server: ServerVault, index: wal_index.WalIndex) -> None:
    found = search(server, index)
    last = list(found.on_path(TWO))[-1]
    assert [each.lsn for each in found.effects_within(last) if isinstance(each, ParameterChange)] == [5 * MIB + 40]


def test_the_unfinished_segment_counts_when_it_is_asked_for(server: ServerVault, index: wal_index.WalIndex) -> None:
    found, without = search(server, index, partial=True), search(server, index)
    assert [point.number for point in without.restore_points("here")] == [3, 4, 4, 5, 5]
    assert [point.number for point in found.restore_points("here")] == [3, 4, 4, 5, 5, 6]
    assert found.restore_points("elsewhere") == []
    row = found.begun(TWO, 6)
    assert row is not None
    assert (row.oldest_xid, row.newest_xid) == (206, 206)
    assert found.effects(TWO, row)[-1][0] == 6
    assert (found.begun(ONE, 6), without.begun(TWO, 6)) == (None, None)


def test_nothing_ends_recovery_at_the_end_of_the_archive(server: ServerVault, index: wal_index.WalIndex) -> None:
    found = search(server, index)
    rows = list(found.on_path(ONE))
    assert found.break_behind(ONE, rows[-1]) == ""
    assert found.break_behind(ONE, rows[0]._replace(number=1)).startswith(f"segment {Segment(1, 2).name(MIB)} ")


def test_what_the_index_has(server: ServerVault, index: wal_index.WalIndex, tmp_path: Path) -> None:
    assert has_histories(index)
    assert newest_accepted(index) == max(file.accepted_at for file in index.files("segment"))
    empty = new_vault(tmp_path / "empty")
    empty.prepare()
    with wal_index.writing(empty) as nothing:
        assert (has_histories(nothing), newest_accepted(nothing)) == (False, None)


def test_a_full_vault_is_read_as_its_files_are(server: ServerVault, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index cannot be brought up to date; a copy in memory is."""
    wal_path(server, Segment(1, 5).name(MIB)).unlink()
    path = wal_path(server, Segment(2, 5).name(MIB))
    content = path.read_bytes()
    path.unlink()
    with current(server, CLUSTER) as index:
        assert search(server, index).numbers(TWO) == [3, 4]
    path.write_bytes(content)
    damaged = wal_path(server, Segment(2, 7).name(MIB))
    damaged.write_bytes(b"no segment")
    before = server.cache.wal.read_bytes()
    monkeypatch.setattr(wal_current, "_brought_up_to_date", lambda *_: False)
    with current(server, CLUSTER) as index:
        found = search(server, index)
        assert (found.numbers(ONE), found.numbers(TWO)) == ([3, 4], [3, 4, 5])
        assert [row.problem for row in found.on_path(TWO)] == [None] * 3
        row = index.find(path.name.removesuffix(".zst"))
        assert row is not None
        assert (row.plain, len(row.sha256)) == (MIB, 32)
    assert server.cache.wal.read_bytes() == before
