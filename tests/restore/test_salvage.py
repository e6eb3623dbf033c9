"""Which files of an old pg_wal hold WAL that the vault has not: by what is in them, whatever their names say."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from wal_writer import SYSTEM, Writer

from pgvault.engine.restore.salvage import not_planned, salvage
from pgvault.io.local_host import LocalHost
from pgvault.model.event import discard
from pgvault.model.segment import Segment
from pgvault.vault.identity import Identity, claim
from pgvault.vault.layout import ServerVault, Vault
from pgvault.vault.wal_fetch import fetch

SIZE = 1 << 20
ONE, TWO, THREE = (f"00000001000000000000000{n}" for n in (1, 2, 3))


@pytest.fixture
def server(tmp_path: Path) -> ServerVault:
    vault = Vault.open_or_create(tmp_path / "vault").server("main")
    vault.prepare()
    claim(vault, Identity(str(SYSTEM), SIZE))
    return vault


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data/pg_wal/archive_status").mkdir(parents=True)
    return tmp_path / "data"


def wal(name: str, *, whole: bool = False) -> bytes:
    """A segment's content: its server is still writing it, or has closed it."""
    writer = Writer(Segment.parse(name, SIZE).start(SIZE))
    writer.append(b"x" * 100)
    if whole:
        writer.switch()
    return writer.segments()[0][1]


def put(data: Path, name: str, content: bytes, *, status: str = "") -> None:
    (data / "pg_wal" / name).write_bytes(content)
    if status:
        (data / "pg_wal/archive_status" / f"{name}.{status}").touch()


def salvaged(data: Path, server: ServerVault) -> tuple[str, ...]:
    return asyncio.run(salvage(LocalHost(), str(data), server, level=1, emit=discard))


def test_the_segment_that_was_being_written_is_a_part(data: Path, server: ServerVault) -> None:
    put(data, ONE, wal(ONE))
    assert salvaged(data, server) == (f"{ONE}.partial",)
    assert fetch(server, f"{ONE}.partial") == wal(ONE)


def test_a_segment_before_one_that_was_begun_is_whole(data: Path, server: ServerVault) -> None:
    put(data, ONE, wal(ONE, whole=True))
    put(data, TWO, wal(TWO))
    assert salvaged(data, server) == (ONE, f"{TWO}.partial")


def test_a_recycled_segment_says_nothing_of_the_one_before_it(data: Path, server: ServerVault) -> None:
    """It waits under the next name, with the content of its earlier life: taken as a whole, the segment that was being
    written could never be completed."""
    put(data, TWO, wal(TWO))
    put(data, THREE, wal(ONE))
    assert salvaged(data, server) == (f"{TWO}.partial",)


@pytest.mark.parametrize("status", ["ready", "done"])
def test_what_postgresql_calls_complete_is_whole(data: Path, server: ServerVault, status: str) -> None:
    put(data, TWO, wal(TWO, whole=True), status=status)
    put(data, THREE, wal(ONE))
    assert salvaged(data, server) == (TWO,)


def test_what_an_unfinished_segment_was_restored_as_is_a_part(data: Path, server: ServerVault) -> None:
    """Recovery keeps it as a whole one that is done; as that, the receiver would begin behind it, and what the server
    still writes there would be in no archive."""
    put(data, TWO, wal(TWO), status="done")
    assert salvaged(data, server) == (f"{TWO}.partial",)
    assert fetch(server, TWO) is None


def test_another_clusters_wal_is_left_alone(data: Path, server: ServerVault) -> None:
    other = bytearray(wal(ONE))
    other[24] ^= 1
    put(data, ONE, bytes(other))
    put(data, "00000002.history", b"1\t0/1000000\tx\n")
    assert salvaged(data, server) == ()


def test_what_the_vault_has_is_not_read_again(data: Path, server: ServerVault) -> None:
    put(data, ONE, wal(ONE))
    put(data, TWO, wal(TWO, whole=True))
    salvaged(data, server)
    put(data, THREE, wal(THREE))
    assert salvaged(data, server) == (TWO, f"{THREE}.partial")


@pytest.mark.parametrize(("stored", "more"), [
    ((ONE,), "--target-timeline 1"), ((ONE, f"{TWO}.partial"), "--target-timeline 1 --partial")])
def test_a_restore_to_the_end_says_that_salvaged_wal_lies_behind_it(stored: tuple[str, ...], more: str) -> None:
    note = not_planned(stored, 1)
    assert note is not None
    assert note.text.endswith(f"--target-end {more}")


def test_without_salvaged_wal_it_says_nothing() -> None:
    assert not_planned((), 1) is None
    assert not_planned(("00000002.history",), 1) is None
