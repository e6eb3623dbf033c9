"""WAL that was acknowledged is on the disk; what the sender still has to keep is not gone."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path

import pytest
from making_wal import MIB, new_vault, put, segment
from support.durability import Durability
from support.objects import wal_path

from pgvault.engine.incoming import archive_waiting
from pgvault.model.errors import Rejected
from pgvault.model.segment import Segment
from pgvault.vault.layout import ServerVault
from pgvault.vault.streaming import StreamedSegment, pad, partials
from pgvault.vault.wal_archive import accept

ONE, TWO = "000000010000000000000001", "000000010000000000000002"
HISTORY = "00000002.history"
LABEL = f"{ONE}.00000028.backup"


@pytest.fixture
def server(tmp_path: Path, durability: Durability) -> ServerVault:
    server = new_vault(tmp_path / "vault")
    server.prepare()
    return server


def assert_holds(durability: Durability, tmp_path: Path, *paths: Path) -> None:
    for path in paths:
        assert durability.holds(path, tmp_path), f"a power failure may lose {path.relative_to(tmp_path)}"
    assert not durability.too_early


@pytest.mark.parametrize(("name", "content"), [
    (ONE, segment(ONE)),
    (f"{ONE}.partial", segment(ONE)),
    (HISTORY, b"1\t0/1000000\tno recovery target specified\n"),
    (LABEL, f"START WAL LOCATION: 0/1000028 (file {ONE})\n".encode())],
    ids=["segment", "partial", "history", "label"])
def test_each_kind_of_file_that_was_accepted(server: ServerVault, tmp_path: Path, durability: Durability, name: str,
                                             content: bytes) -> None:
    accept(server, name, BytesIO(content))
    assert_holds(durability, tmp_path, wal_path(server, name))


def test_a_segment_that_comes_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have been renamed by one that died before its flush: only the second answer acknowledges it."""
    server = new_vault(tmp_path / "vault")
    put(server, ONE)
    durability = Durability(monkeypatch)  # so nothing of before is certain
    assert not put(server, ONE).new
    path = wal_path(server, ONE)
    assert_holds(durability, path.parent, path)


def test_a_good_copy_in_the_place_of_a_damaged_one(server: ServerVault, tmp_path: Path,
                                                   durability: Durability) -> None:
    put(server, ONE)
    wal_path(server, ONE).write_bytes(b"damaged")
    assert put(server, ONE).new
    assert_holds(durability, tmp_path, wal_path(server, ONE), *server.spool.quarantine.iterdir())


def test_what_was_rejected(server: ServerVault, tmp_path: Path, durability: Durability) -> None:
    put(server, ONE)
    with pytest.raises(Rejected):
        put(server, ONE, segment(ONE, seed=1))
    assert len(list(server.spool.quarantine.iterdir())) == 2
    assert_holds(durability, tmp_path, wal_path(server, ONE), *server.spool.quarantine.iterdir())


def test_a_source_is_removed_when_the_archive_has_it(server: ServerVault, tmp_path: Path, durability: Durability,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    source = server.spool.incoming / ONE
    source.write_bytes(segment(ONE))
    unlink, removed = os.unlink, []

    def watched(path: str | Path) -> None:
        if Path(path) == source:
            assert_holds(durability, tmp_path, wal_path(server, ONE))
            removed.append(path)
        unlink(path)

    monkeypatch.setattr(os, "unlink", watched)
    archive_waiting(server)
    assert removed == [source]


def test_what_is_streamed_as_far_as_it_is_called_flushed(server: ServerVault, tmp_path: Path,
                                                         durability: Durability) -> None:
    place = Segment.parse(ONE, MIB)
    streamed = StreamedSegment(server, place, MIB)
    streamed.write(b"x" * 1000)
    assert (streamed.flushed, streamed.written) == (place.start(MIB), place.start(MIB) + 1000)
    assert not durability.holds(streamed.path, tmp_path)
    streamed.flush()
    assert streamed.flushed == place.start(MIB) + 1000
    assert_holds(durability, tmp_path, streamed.path)

    streamed.write(b"x" * (MIB - 1000))
    assert streamed.is_full
    complete = streamed.finish()
    assert streamed.flushed == place.end(MIB)
    assert_holds(durability, tmp_path, complete)


def test_a_segment_takes_what_is_its_own_and_no_more(server: ServerVault, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest belongs to the next one; a disk that takes less at a time than it is given loses nothing."""
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: write(file, data[:70_000], at))
    streamed, content = StreamedSegment(server, Segment.parse(TWO, MIB), MIB), segment(TWO)
    assert streamed.path.stat().st_mode & 0o777 == 0o600
    assert streamed.write(content[:100]) == 100
    assert streamed.write(content[100:] + b"next") == MIB - 100
    assert streamed.is_full
    assert streamed.write(b"next") == 0
    assert partials(server) == [TWO]
    (server.spool.streaming / "odd.partial").touch()
    complete = streamed.finish()
    assert complete.read_bytes() == content
    assert partials(server) == []
    streamed.close()  # again is no error


def test_what_was_streamed_before_is_not_lost_by_beginning_anew(server: ServerVault) -> None:
    first = StreamedSegment(server, Segment.parse(TWO, MIB), MIB)
    first.write(b"x" * 1000)
    first.close()
    again = StreamedSegment(server, Segment.parse(TWO, MIB), MIB)
    again.write(b"x" * 10)
    again.close()
    assert again.path.stat().st_size == 1000


def test_an_empty_partial_segment_is_not_made_whole(server: ServerVault) -> None:
    partial = server.spool.streaming / f"{ONE}.partial"
    for content in (b"", b"x"):
        partial.write_bytes(content)
        assert pad(partial, MIB) is bool(content)
        assert partial.stat().st_size == (MIB if content else 0)


def test_a_partial_segment_that_is_made_whole(server: ServerVault, durability: Durability) -> None:
    partial = server.spool.streaming / f"{ONE}.partial"
    partial.write_bytes(segment(ONE)[:5000])
    assert pad(partial, MIB)
    assert partial.read_bytes() == segment(ONE)[:5000].ljust(MIB, b"\0")
    assert durability.is_flushed(partial)
