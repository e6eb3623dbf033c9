"""pg_control is read as PostgreSQL's own pg_controldata reads it, whatever the major, and never guessed at."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.postgres import Server

from pgvault.model.control_file import HEAD, LIMITS, read_control_file

RAISED = {"max_connections": 61, "max_worker_processes": 12, "max_wal_senders": 13, "max_prepared_transactions": 14,
          "max_locks_per_transaction": 150}  # fmt: skip
NAMES = {"max_connections": "max_connections", "max_worker_processes": "max_worker_processes",
         "max_wal_senders": "max_wal_senders", "max_prepared_transactions": "max_prepared_xacts",
         "max_locks_per_transaction": "max_locks_per_xact"}  # fmt: skip


def test_it_says_what_pg_controldata_says(own_server: Callable[..., Server], major: int) -> None:
    server = own_server(major, settings=RAISED)
    server.sql("checkpoint")
    server.stop()
    found, told = read_control_file((server.data / "global/pg_control").read_bytes()), server.controldata()
    assert found is not None
    assert str(found.system_identifier) == told["Database system identifier"]
    assert found.checkpoint_at is not None
    assert found.checkpoint_at.timestamp() == time.mktime(
        time.strptime(told["Time of latest checkpoint"], "%a %b %d %H:%M:%S %Y"))  # fmt: skip
    assert found.limits == RAISED == {name: int(told[f"{NAMES[name]} setting"]) for name in LIMITS}
    assert (found.block_size, found.wal_block_size) == (
        int(told["Database block size"]), int(told["WAL block size"]))  # fmt: skip


@pytest.mark.parametrize(("version", "record"), [(1300, 88), (1700, 88), (1800, 88), (1905, 96)])
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_version_in_both_byte_orders(order: str, version: int, record: int) -> None:
    """PostgreSQL 19 has eight bytes more in the checkpoint's record, before its time, and the size of SLRU segments."""
    content = bytearray(8192)
    struct.pack_into(f"{order}QI", content, 0, 7, version)
    struct.pack_into(f"{order}q", content, 40 + record - 24, 1_800_000_000)
    struct.pack_into(f"{order}5i3I", content, 40 + record + 52, 1, 2, 3, 4, 5, 0, 0, 0)
    sizes = (8192, 131072, 32, 16384) if version == 1905 else (8192, 131072, 16384)
    struct.pack_into(f"{order}{len(sizes)}I", content, 40 + record + 88, *sizes)
    found = read_control_file(bytes(content))
    assert found is not None
    assert (found.system_identifier, found.checkpoint_at) == (7, datetime.fromtimestamp(1_800_000_000, UTC))
    assert found.limits == dict(zip(LIMITS, (1, 2, 3, 4, 5), strict=True))
    assert (found.block_size, found.wal_block_size, found.is_big_endian) == (8192, 16384, order == ">")
    assert read_control_file(bytes(content[:HEAD])) == found


@pytest.mark.parametrize(("seconds", "at"), [
    (1, datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)), (253402300799, datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    (0, None), (-1, None), (253402300800, None), (2**62, None)])
def test_a_time_that_cannot_be_is_none(seconds: int, at: datetime | None) -> None:
    content = bytearray(HEAD)
    struct.pack_into("<QI", content, 0, 7, 1800)
    struct.pack_into("<q", content, 104, seconds)
    found = read_control_file(bytes(content))
    assert found is not None
    assert found.checkpoint_at == at


@pytest.mark.parametrize(("head", "read"), [
    (struct.pack("<QI", 7, 1), (7, False)), (struct.pack(">QI", 7, 1), (7, True)),
    (struct.pack("<QI", 7, 65535), (7, False)),
    (struct.pack(">QI", 7, 256), (7, True)), (struct.pack("<QI", 7, 0), None), (struct.pack("<QI", 0, 1800), None),
    (struct.pack("<QI", 7, 1800)[:-1], None)])
def test_the_version_tells_the_byte_order(head: bytes, read: tuple[int, bool] | None) -> None:
    found = read_control_file(head)
    assert (found and (found.system_identifier, found.is_big_endian)) == read


def test_of_a_version_that_is_not_known_only_the_identifier_is_read() -> None:
    found = read_control_file(struct.pack("<QI", 7, 2001) + b"\1" * 8180)
    assert found is not None
    assert (found.system_identifier, found.checkpoint_at, found.limits, found.block_size) == (7, None, None, None)


@given(st.binary(max_size=300))
def test_whatever_the_bytes_are_it_ends(content: bytes) -> None:
    read_control_file(content)
    read_control_file(struct.pack("<QI", 7, 1905) + content)
