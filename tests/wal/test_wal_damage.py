"""Hostile input: whatever is done to real WAL, the reader answers or says ValueError, and soon."""

from __future__ import annotations

from contextlib import suppress

from crc32c import crc32c
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wal_history import SIZE, History

from pgvault.model.errors import UnknownWal
from pgvault.model.lsn import Lsn
from pgvault.wal.bodies import parse_body
from pgvault.wal.carry import Carry
from pgvault.wal.facts import SegmentFacts, skim
from pgvault.wal.pages import read_header
from pgvault.wal.records import Cause, Reading
from pgvault.wal.transactions import read_transaction, transactions

calm = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
edits = st.lists(st.tuples(st.integers(0, SIZE - 1), st.binary(min_size=1, max_size=40)), min_size=1, max_size=8)


def _edited(data: bytes, changes: list[tuple[int, bytes]]) -> bytes:
    spoilt = bytearray(data)
    for at, content in changes:
        spoilt[at:at + len(content)] = content
    return bytes(spoilt[:SIZE])


def _try(data: bytes, start: Lsn, carry: Carry | None = None) -> SegmentFacts | None:
    """Every way of reading it; None when it is refused."""
    try:
        facts = skim(data, start, carry)
        reading = Reading(data, start, carry, rmgrs=(0, 1))
        ended = list(transactions(data, start, carry))
    except (ValueError, UnknownWal):
        return None
    assert len(ended) == facts.commits + facts.aborts
    assert len(list(reading)) <= facts.records == reading.records <= SIZE // 24 + 1
    assert reading.carry == facts.carry
    assert facts.end is None or facts.end.lsn <= start + len(data)
    return facts


@calm
@given(st.data())
def test_edited_segments(history: History, data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(history.pieces) - 1))
    start, whole = history.pieces[number]
    _try(_edited(whole, data.draw(edits)), start)


@calm
@given(st.data())
def test_edits_after_a_carry(history: History, data: st.DataObject) -> None:
    """The record that crosses the border is the one that is spoilt."""
    number = data.draw(st.integers(1, len(history.pieces) - 1))
    before, start = history.pieces[number - 1], history.pieces[number][0]
    carry = skim(before[1], before[0]).carry
    spoilt = _edited(history.pieces[number][1], [
        (at % 9000, content) for at, content in data.draw(edits)])
    facts = _try(spoilt, start, carry)
    assert facts, "with a carry, damage is an early end and no refusal"


@calm
@given(st.data())
def test_truncated_segments(history: History, data: st.DataObject) -> None:
    start, whole = history.pieces[data.draw(st.integers(0, len(history.pieces) - 1))]
    length = data.draw(st.one_of(st.integers(0, SIZE), st.integers(0, 128).map(lambda page: page * 8192)))
    facts = _try(whole[:length], start)
    if length < 40:
        assert facts is None
    elif length % 8192 and facts and not (facts.end and facts.end.cause is not Cause.DAMAGED):
        assert facts.end.cause is Cause.DAMAGED
        assert "truncated" in facts.end.text
    # Zeros instead of an absence: as a file is that was made in full length and written to half.
    zeroed = _try(whole[:length] + bytes(SIZE - length), start)
    assert length < 40 or (zeroed and zeroed.records <= skim(whole, start).records)


@calm
@given(st.binary(max_size=20_000), st.integers(0, 2**64 - 1))
def test_random_bytes(garbage: bytes, start: int) -> None:
    assert _try(garbage, Lsn(start)) is None or read_header(garbage)


@calm
@given(st.data())
def test_garbage_behind_a_good_header(history: History, data: st.DataObject) -> None:
    start, whole = history.pieces[0]
    garbage = data.draw(st.binary(min_size=100, max_size=20_000))
    assert _try((whole[:40] + garbage * (SIZE // 100))[:SIZE], start)


@calm
@given(st.data())
def test_edited_records_with_a_right_checksum(history: History, data: st.DataObject) -> None:
    """Someone who can write WAL can also compute a CRC: the parsers stand on their own."""
    record = data.draw(st.sampled_from(history.samples))
    content = bytearray(record.data)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(24, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(24, len(content)))
    for spoilt in (bytes(content), bytes(content[:cut])):
        for parse in (parse_body, read_transaction):
            with suppress(ValueError):
                parse(record._replace(data=spoilt), history.major)


# Numbers that are taken modulo what is there: what is drawn does not depend on the WAL that a server has written.
places = st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=4)


@calm
@given(piece=st.integers(0, 5), number=st.integers(0, 1 << 20), edits=places)
def test_transactions_edited_in_place_with_a_right_checksum(history: History, piece: int, number: int,
                                                            edits: list[tuple[int, int]]) -> None:
    start, whole = history.pieces[piece % len(history.pieces)]
    inside = [r for r in Reading(whole, start, rmgrs=(0, 1))
              if len(r.data) > 24 and r.lsn >= start and r.lsn % 8192 + len(r.data) <= 8192]
    if not inside:
        return
    record = inside[number % len(inside)]
    content = bytearray(record.data)
    for at, value in edits:
        content[16 + at % (len(content) - 16)] = value
    crc = crc32c(bytes(content[:20]), crc32c(bytes(content[24:])))
    content[20:24] = crc.to_bytes(4, "little")
    at = record.lsn - start
    _try(whole[:at] + bytes(content) + whole[at + len(content):], start)
