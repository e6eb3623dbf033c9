"""How far recovery comes with a segment when nothing follows: the end of its last complete record."""

from __future__ import annotations

import pytest
from wal_writer import Writer

from pgvault.wal.facts import skim

SIZE, PAGE = 1 << 20, 8192
LONG, SHORT = 40, 24


def reach(writer: Writer) -> int | None:
    """That of the last segment."""
    carry = None
    for start, data in writer.segments():
        facts = skim(data, start, carry)
        carry = facts.carry
    return facts.whole


def fill(writer: Writer, to: int) -> None:
    """One record that ends there."""
    pages = (to - 1) // PAGE - writer.at // PAGE
    first = LONG if writer.at % SIZE == 0 else SHORT if writer.at % PAGE == 0 else 0
    writer.append(bytes(to - writer.at - first - 24 - SHORT * pages))
    assert writer.at == to


@pytest.mark.parametrize("end", [3 * PAGE, 3 * PAGE - 8, 3 * PAGE + SHORT + 24, SIZE - 8])
def test_where_nothing_was_written_behind_a_record_it_is_the_end_of_that(end: int) -> None:
    """At the end of a page too: the header that follows is part of the next record."""
    writer = Writer()
    fill(writer, writer.start + end)
    assert reach(writer) == writer.start + end


@pytest.mark.parametrize("end", [3 * PAGE, 3 * PAGE - 32, SIZE - 3 * PAGE, SIZE - PAGE - 64])
def test_a_record_that_goes_on_in_the_next_segment_is_not_reached(end: int) -> None:
    writer = Writer()
    fill(writer, writer.start + end)
    writer.append(bytes(SIZE))
    start, data = writer.segments()[0]
    assert skim(data, start).whole == writer.start + end


def test_nothing_is_reached_in_a_segment_that_one_record_fills() -> None:
    """With its beginning, recovery comes to that; without, it is not known where."""
    writer = Writer()
    writer.append(b"before")
    begin = writer.at
    writer.append(bytes(2 * SIZE + PAGE))
    start, data = writer.segments()[1]
    carry = skim(writer.segments()[0][1], writer.start).carry
    assert skim(data, start, carry).whole == begin
    assert skim(data, start).whole is None


def test_a_record_that_begins_with_the_segment_leaves_the_segment_before() -> None:
    writer = Writer()
    fill(writer, writer.start + SIZE)
    writer.append(bytes(2 * SIZE))
    carry = skim(writer.segments()[0][1], writer.start).carry
    assert carry is not None
    start, data = writer.segments()[1]
    for before in (carry, None):
        assert skim(data, start, before).whole == start


def test_a_full_segment_is_reached_to_its_end() -> None:
    writer = Writer()
    fill(writer, writer.start + SIZE)
    assert reach(writer) == writer.start + SIZE


def test_a_switch_is_reached() -> None:
    writer = Writer()
    writer.append(b"before")
    at = writer.at
    writer.switch()
    assert reach(writer) == at + 24
