"""The main data of a record without block references, and the refusal to guess at one that has them or is cut."""

from __future__ import annotations

import struct

import pytest

from pgvault.wal.bodies import main_data
from pgvault.wal.record import HEADER_SIZE

HEADER = bytes(HEADER_SIZE)
TOP_XID, ORIGIN = b"\xfc" + bytes(4), b"\xfd" + bytes(2)
SHORT, LONG = b"\xff\x03abc", b"\xfe" + struct.pack("<I", 300) + b"x" * 300


@pytest.mark.parametrize("before", [b"", TOP_XID, ORIGIN, ORIGIN + TOP_XID])
@pytest.mark.parametrize(("told", "main"), [(SHORT, b"abc"), (LONG, b"x" * 300), (b"\xff\0", b"")])
def test_it_is_what_stands_behind_its_length(before: bytes, told: bytes, main: bytes) -> None:
    assert main_data(HEADER + before + told) == main


@pytest.mark.parametrize(("body", "why"), [
    (b"\0" + bytes(20), "the record refers to blocks"), (ORIGIN + b"\x20" + SHORT, "the record refers to blocks"),
    (b"", "main data is cut short"), (b"\xff", "main data is cut short"), (b"\xfe\1\0\0", "main data is cut short"),
    (TOP_XID, "main data is cut short"), (SHORT + b"!", "has 4 bytes instead of 3"),
    (SHORT[:-1], "has 2 bytes instead of 3"), (LONG[:-1], "has 299 bytes instead of 300")])
def test_what_does_not_hold_together_is_refused(body: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        main_data(HEADER + body)
