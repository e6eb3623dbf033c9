"""Segment arithmetic and the names of archived files: rule 9, with the cluster's own segment size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgvault.model.segment import (
    HistoryFile,
    LabelFile,
    PartialFile,
    Segment,
    SegmentFile,
    is_segment_size,
    parse_wal_name,
)

MIB = 1 << 20
SIZES = st.sampled_from([MIB << n for n in range(11)])
LSNS = st.one_of(st.integers(0, 1 << 33), st.integers(0, (1 << 64) - (1 << 31)))


@pytest.mark.parametrize(("lsn", "size", "name"), [
    (0x1_0000_0000, 16 * MIB, "000000010000000100000000"),
    (0xFFFF_FFFF, 16 * MIB, "0000000100000000000000FF"),
    (0xFFFF_FFFF, MIB, "000000010000000000000FFF"),
    (0x2_C000_0000, 1 << 30, "000000010000000200000003"),
    (0x1234_5678_9ABC_DEF0, 64 * MIB, "000000011234567800000026")])
def test_a_position_is_in_the_file_that_postgresql_names(lsn: int, size: int, name: str) -> None:
    """As `pg_walfile_name` does."""
    assert Segment.holding(1, lsn, size).name(size) == name
    assert Segment.parse(name, size) == Segment.holding(1, lsn, size)


@given(st.integers(1, 0xFFFFFFFF), LSNS, SIZES)
def test_segments_lie_side_by_side(timeline: int, lsn: int, size: int) -> None:
    segment = Segment.holding(timeline, lsn, size)
    assert segment.start(size) <= lsn < segment.end(size)
    assert segment.end(size) - segment.start(size) == size
    assert segment.next() == Segment(timeline, segment.number + 1)
    assert segment.next().start(size) == segment.end(size)
    assert Segment.parse(segment.name(size), size) == segment
    assert segment.name(size) < segment.next().name(size)


@given(LSNS, SIZES)
def test_an_end_on_a_boundary_belongs_to_the_segment_before(lsn: int, size: int) -> None:
    """Rule 5."""
    ending = Segment.ending(3, lsn, size)
    assert ending.timeline == 3
    assert ending.start(size) < max(lsn, 1) <= ending.end(size)


@pytest.mark.parametrize("name", [
    "", "00000001000000000000000", "0000000100000000000000010", "00000001000000000000000g",
    "000000010000000000000001\n", "000000010000000000000001.partial"])
def test_what_is_no_segments_name_is_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match="not a WAL segment's name") as refusal:
        Segment.parse(name, MIB)
    assert repr(name) in str(refusal.value)


@pytest.mark.parametrize(("name", "size"), [
    ("000000000000000000000001", 16 * MIB), ("000000010000000000000100", 16 * MIB),
    ("000000010000000000000004", 1 << 30)])
def test_a_number_that_this_segment_size_has_not_is_refused(name: str, size: int) -> None:
    with pytest.raises(ValueError, match=f"for segments of {size} bytes"):
        Segment.parse(name, size)


def test_sizes_are_powers_of_two_between_a_mebibyte_and_a_gibibyte() -> None:
    assert [n for n in range(40) if is_segment_size(1 << n)] == list(range(20, 31))
    assert not any(is_segment_size(size) for size in (0, -MIB, MIB + 1, 3 * MIB, (1 << 30) + 1))


SEGMENT = "0000000A0000000B0000000C"


@pytest.mark.parametrize(("name", "file"), [
    (SEGMENT, SegmentFile(SEGMENT)),
    (f"{SEGMENT}.partial", PartialFile(f"{SEGMENT}.partial", SEGMENT)),
    (f"{SEGMENT}.00000028.backup", LabelFile(f"{SEGMENT}.00000028.backup", SEGMENT)),
    ("0000000A.history", HistoryFile("0000000A.history", 10))])
def test_each_kind_of_archived_file_is_known_by_its_name(name: str, file: object) -> None:
    assert parse_wal_name(name) == file
    for other in (name + "x", "x" + name, name.replace(".", "..") if "." in name else name[:-1], name + "\n"):
        with pytest.raises(ValueError, match="not the name of a file that PostgreSQL archives"):
            parse_wal_name(other)
