"""The main data of a record without block references, and the refusal to guess at one that has them or is cut."""

from __future__ import annotations

import struct

import pytest

from pgvault.wal.bodies import main_data, parse_body
from pgvault.wal.record import HEADER_SIZE, Record

HEADER = bytes(HEADER_SIZE)
TOP_XID, ORIGIN = b"\xfc" + bytes(4), b"\xfd" + bytes(2)
SHORT, LONG = b"\xff\x03abc", b"\xfe" + struct.pack("<I", 300) + b"x" * 300
CUT = "the record's main data is truncated"


@pytest.mark.parametrize("before", [b"", TOP_XID, ORIGIN, ORIGIN + TOP_XID])
@pytest.mark.parametrize(("told", "main"), [(SHORT, b"abc"), (LONG, b"x" * 300), (b"\xff\0", b"")])
def test_it_is_what_stands_behind_its_length(before: bytes, told: bytes, main: bytes) -> None:
    assert main_data(HEADER + before + told) == main


@pytest.mark.parametrize(("body", "why"), [
    (b"\0" + bytes(20), "the record refers to blocks"), (ORIGIN + b"\x20" + SHORT, "the record refers to blocks"),
    (b"", CUT), (b"\xff", CUT), (b"\xfe\1\0\0", CUT), (TOP_XID, CUT),
    *((told, f"the record's main data has {there} bytes instead of {said}") for told, there, said in (
        (SHORT + b"!", 4, 3), (SHORT[:-1], 2, 3), (LONG[:-1], 299, 300)))])
def test_what_does_not_hold_together_is_refused(body: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=f"^{why}$"):
        main_data(HEADER + body)


def test_a_body_says_its_origin_and_its_top_transaction() -> None:
    data = HEADER + b"\xfd\5\0" + b"\xfc\7\0\0\0" + SHORT
    body = parse_body(Record(0, len(data), 8, 0, 0, data), 18)
    assert (body.origin, body.top_xid, body.main, body.blocks) == (5, 7, b"abc", ())
    plain = parse_body(Record(0, len(data), 8, 0, 0, HEADER + SHORT), 18)
    assert (plain.origin, plain.top_xid, plain.main) == (0, 0, b"abc")
