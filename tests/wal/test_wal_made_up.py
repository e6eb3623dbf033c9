"""WAL made by hand: layouts, crashes and ends that no server writes on request."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wal_writer import RESTORE_POINT, SYSTEM, TRANSACTION, XLOG, Writer, one_block, restore_point, short

from pgvault.model.errors import UnknownWal
from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment
from pgvault.wal import pieces as cut
from pgvault.wal.facts import Xids, may_hold, skim, skim_all
from pgvault.wal.pages import check_segment, read_header
from pgvault.wal.record import HEAP, TABLESPACE
from pgvault.wal.records import Cause, Reading, follow
from pgvault.wal.transactions import Kind, transactions

SIZE = 1 << 20
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


def chain(pieces: list[tuple[Lsn, bytes]]) -> list:
    found, carry = [], None
    for start, data in pieces:
        found.append(skim(data, start, carry))
        carry = found[-1].carry
        if carry is None:
            break
    return found


lengths = st.lists(st.one_of(st.integers(0, 200), st.integers(900, 1100), st.integers(8000, 9000),
                             st.integers(0, 3_000_000)), min_size=1, max_size=40)


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(lengths, st.sampled_from([1024, 8192]))
def test_records_of_any_length_are_found_wherever_they_fall(lengths: list[int], block: int) -> None:
    writer = Writer(block=block)
    bodies = [bytes((n % 251,)) * length for n, length in enumerate(lengths)]
    for body in bodies:
        writer.append(body)
    records = list(follow(writer.segments()))
    assert [r.lsn for r in records] == writer.lsns
    assert [r.data[24:] for r in records] == bodies
    facts = chain(writer.segments())
    assert sum(f.records for f in facts) == len(bodies)
    assert facts[-1].end is None or (facts[-1].end.lsn, facts[-1].end.cause) == (writer.at, Cause.UNWRITTEN)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 8200), st.sampled_from([1024, 8192]))
def test_a_commit_is_counted_once_wherever_the_segment_border_cuts_it(gap: int, block: int) -> None:
    writer = Writer(block=block)
    writer.append(bytes(SIZE // 2))
    while writer.at < writer.start + SIZE - 8400:
        writer.append(bytes(40))
    writer.append(bytes(gap))
    for n in range(300):
        writer.commit(1000 + n, n)
    facts = chain(writer.segments())
    assert sum(f.commits for f in facts) == 300
    assert sum(f.records for f in facts) == len(writer.lsns)
    found = [t.xid for start, data in writer.segments()[:1] for t in transactions(data, start)]
    found += [t.xid for t in transactions(writer.segments()[1][1], writer.segments()[1][0], facts[0].carry)]
    assert found == list(range(1000, 1300))


def test_times_are_given_in_order_of_position_and_as_extremes() -> None:
    writer = Writer()
    for xid, time in ((10, 5_000_000), (12, 1_000_001), (11, 9_000_000), (13, 7_000_000)):
        writer.commit(xid, time)
    facts, = chain(writer.segments())
    seconds = [t and (t - EPOCH) / timedelta(seconds=1) for t in (
        facts.times.first, facts.times.last, facts.times.earliest, facts.times.latest)]
    assert seconds == [5, 7, 1.000001, 9]
    assert facts.xids == Xids(10, 13)


def test_xids_go_round() -> None:
    writer = Writer()
    for xid in (3, 4_294_967_290, 4_294_967_294, 5):
        writer.commit(xid, 0)
    xids = chain(writer.segments())[0].xids
    assert xids == Xids(4_294_967_290, 5)
    assert all(may_hold(xids.oldest, xids.newest, xid) for xid in (4_294_967_295, 3, 5))
    assert not any(may_hold(xids.oldest, xids.newest, xid) for xid in (6, 1000, 4_294_967_289))


@pytest.mark.parametrize("pages", [1, 2, 127, 128, 200])
def test_a_record_that_a_crash_left_unfinished_is_dropped(pages: int) -> None:
    """FIRST_IS_OVERWRITE_CONTRECORD, also when it comes in a later segment than the record's start."""
    writer = Writer()
    writer.append(b"before")
    writer.leave_unfinished(2_900_000, pages)
    writer.append(bytes(17), rmid=XLOG, info=0xD0)
    writer.append(b"after")
    facts = chain(writer.segments())
    assert [r.lsn for r in follow(writer.segments())] == writer.lsns
    assert sum(f.records for f in facts) == 3
    assert facts[-1].end.lsn == writer.at


def test_the_segment_after_a_switch_goes_on() -> None:
    writer = Writer()
    writer.append(b"one")
    writer.switch()
    writer.append(b"two")
    first, second = chain(writer.segments())
    assert (first.records, first.end.cause, first.end.lsn) == (2, Cause.SWITCHED, writer.lsns[1] + 24)
    assert (second.records, second.first) == (1, writer.lsns[2])
    assert list(follow(writer.segments()))[1].end_lsn == writer.start + SIZE


def test_a_switch_in_a_large_segment_is_known_when_it_is_read_in_pieces() -> None:
    writer = Writer()
    for number in range(200):
        writer.append(bytes(1000 + number))
    writer.switch()
    [(start, data)] = writer.segments()
    size = len(data) // 8
    whole = skim(data, start)
    parts = skim_all([(Lsn(start + at), data[at:at + size]) for at in range(0, len(data), size)])
    assert parts == whole
    assert parts.end.cause is Cause.SWITCHED


happenings = st.lists(st.one_of(
    st.tuples(st.just("filler"), st.integers(0, 20_000)), st.tuples(st.just("row"), st.integers(700, 705)),
    st.tuples(st.sampled_from(["commit", "abort"]), st.sampled_from([0, 700, 701, 705, 4_294_967_295, 3])),
    st.tuples(st.just("point"), st.integers(0, 9)), st.tuples(st.just("space"), st.integers(16384, 16390))),
    max_size=40)


@settings(max_examples=80, deadline=None)
@given(happenings, st.lists(st.integers(-9, 9), min_size=40, max_size=40), st.integers(1, 40), st.booleans())
def test_a_segment_that_is_read_in_pieces_has_the_facts_of_the_whole(
        happenings: list[tuple[str, int]], times: list[int], pages: int, switches: bool) -> None:
    """Records that cross a piece's border, clocks that are put back, xids that go round, and where its WAL ends."""
    writer = Writer()
    for (what, number), time in zip(happenings, times, strict=False):
        if what == "filler":
            writer.append(bytes(number))
        elif what == "row":
            body = one_block((1663, 5, 16384), struct.pack("<IHBB", number, 1, 0, 0))
            writer.append(body, rmid=HEAP, info=0x10, xid=number)
        elif what == "point":
            writer.append(restore_point(f"point {number}", time), rmid=XLOG, info=RESTORE_POINT)
        elif what == "space":
            writer.append(short(struct.pack("<I", number) + b"/srv\0"), rmid=TABLESPACE)
        else:
            writer.commit(number, time, info=0x20 * (what == "abort"))
    if switches:
        writer.switch()
    if not writer.bytes:
        return
    (start, data), *_ = writer.segments()
    size = pages * 8192
    parts = [(Lsn(start + at), data[at:at + size]) for at in range(0, len(data), size)]
    assert skim_all(parts) == skim(data, start)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=50)), st.integers(1, 40))
def test_pieces_are_the_same_bytes_however_they_come(chunks: list[bytes], size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cut, "PIECE_SIZE", size)
        found = list(cut.pieces(chunks, 100))
    assert b"".join(data for _, data in found) == b"".join(chunks)
    assert [start for start, _ in found] == [100 + size * n for n in range(len(found))]
    assert all(len(data) == size for _, data in found[:-1])


@pytest.mark.parametrize("distance", [8, 16, 24])
def test_a_switch_may_cross_a_page_and_end_with_the_segment(distance: int) -> None:
    for border in (8192, SIZE):
        writer = Writer()
        writer.append(bytes(border // 2))
        room = writer.start + border - writer.at - distance
        pages = 0 if border == 8192 else room // 8192
        writer.append(bytes(room - 24 - 24 * pages))
        if writer.start + border - writer.at != distance:
            writer.append(bytes(writer.start + border - writer.at - distance - 24))
        assert writer.start + border - writer.at == distance
        writer.switch()
        writer.append(b"after")
        assert [r.lsn for r in follow(writer.segments())] == writer.lsns
        assert sum(f.records for f in chain(writer.segments())) == len(writer.lsns)


def test_pages_of_the_parent_timeline_come_first_and_never_again() -> None:
    writer = Writer(timeline=1)
    writer.append(bytes(20_000))
    writer.timeline = 2
    writer.append(bytes(20_000))
    start, data = writer.segments()[0]
    facts = skim(data, start)
    assert (facts.records, facts.timeline, facts.end.cause) == (2, 2, Cause.UNWRITTEN)
    check_segment(read_header(data), len(data), Segment(2, 3), SIZE, SYSTEM)
    writer.timeline = 1
    writer.append(bytes(20_000))
    facts = skim(writer.segments()[0][1], start)
    assert (facts.records, facts.end.cause) == (2, Cause.DAMAGED)
    assert "timeline" in facts.end.text
    with pytest.raises(ValueError, match="newer than in its name"):
        check_segment(read_header(_one(3)), len(_one(3)), Segment(2, 3), SIZE, SYSTEM)


def _one(timeline: int) -> bytes:
    writer = Writer(timeline=timeline)
    writer.append(b"x")
    return writer.segments()[0][1]


def test_a_recycled_file_ends_where_the_old_pages_begin() -> None:
    old, new = Writer(3 << 20), Writer(9 << 20)
    for writer, records in ((old, 3000), (new, 700)):
        for n in range(records):
            writer.append(bytes(100 + n % 7))
    written = -(-len(new.bytes) // 8192) * 8192
    mixed = (bytes(new.bytes) + bytes(written - len(new.bytes)) + old.segments()[0][1][written:])
    facts = skim(mixed, 9 << 20)
    assert (facts.records, facts.end.lsn, facts.end.cause) == (700, new.at, Cause.UNWRITTEN)
    del new.bytes[written - 8192 + 40:]  # the same with a record cut by the page
    mixed = bytes(new.bytes)[:written - 8192] + old.segments()[0][1][written - 8192:]
    facts = skim(mixed, 9 << 20)
    assert facts.records < 700
    assert facts.end.lsn == next(lsn for lsn in new.lsns if lsn > facts.last)


def test_torn_records_before_the_end_are_taken_back() -> None:
    """A cut file may hold a record's header without its content: PostgreSQL's end is before it, and so is ours."""
    writer = Writer()
    for n in range(20):
        writer.append(bytes((n + 1,)) * 200)
    cut = writer.lsns[17] - writer.start + 60
    start, data = writer.segments()[0]
    facts = skim(data[:cut] + bytes(SIZE - cut), start)
    assert (facts.records, facts.last, facts.end.lsn) == (17, writer.lsns[16], writer.lsns[17])


def test_a_torn_record_that_ends_with_its_page_is_taken_back() -> None:
    """What follows it is another page, which was never written."""
    writer = Writer()
    writer.append(b"before" * 100)
    room = writer.block - writer.at % writer.block
    torn = writer.append(b"x" * (room - 24))
    assert writer.at % writer.block == 0
    start, data = writer.segments()[0]
    cut = torn - start + 60
    facts = skim(data[:cut] + bytes(SIZE - cut), start)
    assert (facts.records, facts.last, facts.end.lsn) == (1, writer.lsns[0], torn)
    facts = skim(data, start)
    assert (facts.records, facts.last, facts.end.lsn) == (2, torn, writer.at), "and stays where it is whole"


@pytest.mark.parametrize("byte", [0, 4, 8, 16, 17, 20, 24, 33])
def test_a_damaged_record_ends_the_reading_and_is_not_counted(byte: int) -> None:
    writer = Writer()
    for n in range(10):
        writer.commit(100 + n, n, rest=b"")
    start, data = writer.segments()[0]
    spoilt = bytearray(data)
    spoilt[writer.lsns[6] - start + byte] ^= 0x21
    facts = skim(bytes(spoilt), start, every_crc=True)
    assert (facts.commits, facts.end.lsn) == (6, writer.lsns[6])
    assert len(list(transactions(spoilt, start))) <= 9


@pytest.mark.parametrize(("offset", "cause", "text"), [
    (4, Cause.DAMAGED, "timeline 0"), (8, Cause.DAMAGED, "the page belongs at"), (10, Cause.UNWRITTEN, "belongs at"),
    (16, Cause.DAMAGED, "were missing"), (0, Cause.DAMAGED, "magic"), (2, Cause.DAMAGED, "header")])
def test_a_page_that_does_not_follow_ends_the_reading(offset: int, cause: Cause, text: str) -> None:
    """Each field of its header counts; the record that crosses into it is not whole then."""
    writer = Writer(start=0x30_0000)
    writer.append(b"before")
    writer.append(bytes(12_000))
    writer.append(b"after")
    start, data = writer.segments()[0]
    spoilt = bytearray(data)
    spoilt[8192 + offset] ^= {8: 0x40, 10: 0x20, 4: 1, 2: 2}.get(offset, 1)
    facts = skim(spoilt, start)
    assert (facts.records, facts.end.lsn, facts.end.cause) == (1, writer.lsns[1], cause)
    assert text in facts.end.text


def test_a_record_over_two_pages_is_checked() -> None:
    writer = Writer()
    for body in (b"before", bytes(12_000), b"after"):
        writer.append(body)
    start, data = writer.segments()[0]
    spoilt = bytearray(data)
    spoilt[10_000] ^= 1
    facts = skim(spoilt, start)
    assert (facts.records, facts.end.lsn, facts.end.text) == (1, writer.lsns[1], "the record's checksum is wrong")


@pytest.mark.parametrize("gap", [20, 8192 - 40 - 24 - 24 - 16])
def test_a_record_that_links_elsewhere_ends_the_reading(gap: int) -> None:
    """Its checksum is right: it is whole, but left over from another history. Also when its header crosses pages."""
    writer = Writer()
    writer.append(b"")
    writer.append(bytes(gap))
    writer.previous -= 8
    writer.append(b"astray")
    writer.append(b"after")
    (start, data), = writer.segments()
    facts = skim(data, start)
    assert (facts.records, facts.end.lsn, facts.end.cause) == (2, writer.lsns[2], Cause.DAMAGED)
    assert "link" in facts.end.text
    assert (8192 - writer.lsns[2] % 8192 < 24) == (gap != 20), "the case is not the one that is meant"


def test_every_crc_finds_what_the_quick_pass_does_not_look_at() -> None:
    writer = Writer()
    for _ in range(10):
        writer.append(bytes(50))
    start, data = writer.segments()[0]
    spoilt = bytearray(data)
    spoilt[writer.lsns[4] - start + 30] ^= 1
    assert skim(spoilt, start).records == 10
    for facts in (skim(spoilt, start, every_crc=True), skim_all([(start, spoilt)], every_crc=True)):
        assert (facts.records, facts.end.cause, facts.end.lsn) == (4, Cause.DAMAGED, writer.lsns[4])


def test_a_huge_record_of_no_use_costs_no_memory() -> None:
    writer = Writer()
    writer.append(bytes(3_000_000))
    start, data = writer.segments()[0]
    carry = skim(data, start).carry
    assert carry.unfinished.length == 3_000_024
    assert carry.unfinished.kept == ()
    with pytest.raises(ValueError, match="did not keep"):
        Reading(writer.segments()[1][1], carry.at, carry)


def test_a_restore_point_keeps_its_name_as_written() -> None:
    writer = Writer()
    for name in ("it's", "x" * 63, "☕"):
        writer.append(restore_point(name, 1), rmid=XLOG, info=RESTORE_POINT)
    facts, = chain(writer.segments())
    assert [p.name for p in facts.restore_points] == ["it's", "x" * 63, "☕"]
    assert facts.restore_points[0].time == EPOCH + timedelta(microseconds=1)
    assert [p.lsn for p in facts.restore_points] == writer.lsns


def _commit_body(major: int) -> bytes:
    """A commit with every part that there is."""
    has = 0b1_1111_1111 if major >= 15 else 0b1111_1111
    parts = [struct.pack("<qI", 42, has), struct.pack("<II", 5, 1663), struct.pack("<i2I", 2, 901, 902),
             struct.pack("<i3I", 1, 1663, 5, 16384)]
    if major >= 18:
        parts.append(struct.pack("<i", 1) + struct.pack("<iIQ", 2, 5, 1 << 33))
    elif major >= 15:
        parts.append(struct.pack("<i", 1) + struct.pack("<iII", 2, 5, 777))
    parts += [struct.pack("<i", 2) + bytes(32), struct.pack("<I", 900), b"gid\0", struct.pack("<Qq", 1, 2)]
    return short(b"".join(parts))


@pytest.mark.parametrize(("magic", "major"), [(0xD106, 13), (0xD10D, 14), (0xD110, 15), (0xD113, 16), (0xD116, 17),
                                              (0xD118, 18)])
def test_a_commit_with_every_part_is_understood(magic: int, major: int) -> None:
    writer = Writer(magic=magic)
    lsn = writer.append(_commit_body(major), rmid=TRANSACTION, info=0xB0, xid=899)
    start, data = writer.segments()[0]
    found, = transactions(data, start)
    assert (found.lsn, found.kind, found.xid, found.gid) == (lsn, Kind.COMMIT_PREPARED, 900, "gid")
    assert (found.database, found.subxids, found.relations) == (5, (901, 902), ((1663, 5, 16384),))
    assert found.time == EPOCH + timedelta(microseconds=42)
    assert [d.object for d in found.dropped] == [] if major < 15 else [777 if major < 18 else 1 << 33]


@pytest.mark.parametrize("body", [
    short(b"1234567"), b"", short(struct.pack("<qI", 0, 1 << 12)), short(struct.pack("<qIi", 0, 2, 1 << 30)),
    short(struct.pack("<qIi", 0, 2, -1)), short(struct.pack("<qIi", 0, 2, 0) + b"left over"),
    short(struct.pack("<q", 1 << 62)), short(struct.pack("<qII", 0, 0x90, 5) + b"no end"), b"\xff\xff1", b"\xfe\x01"])
def test_a_commit_that_makes_no_sense_is_not_guessed_at(body: bytes) -> None:
    writer = Writer()
    writer.append(body, rmid=TRANSACTION, info=0x80, xid=1)
    start, data = writer.segments()[0]
    with pytest.raises(ValueError, match="transaction record at 0/300028"):
        list(transactions(data, start))


def test_newer_wal_is_not_read_but_its_header_is() -> None:
    """Rule 34."""
    writer = Writer(magic=0xD123)
    writer.commit(1, 1)
    start, data = writer.segments()[0]
    header = read_header(data)
    check_segment(header, len(data), Segment(1, 3), SIZE, SYSTEM)
    assert (header.major, header.system_identifier) == (None, SYSTEM)
    for read in (skim, lambda *given: list(transactions(*given))):
        with pytest.raises(UnknownWal, match="the WAL of a newer PostgreSQL is not known to this version"):
            read(data, start)


@pytest.mark.parametrize(("magic", "message"), [
    (0xD101, "PostgreSQL 12's WAL is not supported"), (0xD098, "PostgreSQL 11's"), (0xD093, r"PostgreSQL 9\.6's"),
    (0xD05F, "before 13"), (0xD114, "unreleased PostgreSQL"), (0xD121, "unreleased PostgreSQL")])
def test_older_wal_is_refused_by_name(magic: int, message: str) -> None:
    """Rule 34."""
    writer = Writer(magic=magic)
    writer.append(b"x")
    with pytest.raises(UnknownWal, match=message):
        read_header(writer.segments()[0][1])


@pytest.mark.parametrize(("offset", "content", "message"), [
    (0, b"\0\0", "zeros"), (0, b"PK", "magic number is 4B50"), (0, b"\xd1\x18", "big-endian"),
    (2, b"\0\0", "not the first one"), (2, b"\x42\0", "flags"), (4, bytes(4), "timeline 0"), (8, b"\x08", "address"),
    (32, b"\1", "no segment size"), (36, b"\1", "no page size")])
def test_what_is_no_first_page_is_refused_with_the_reason(offset: int, content: bytes, message: str) -> None:
    """Rule 12."""
    page = bytearray(_one(1)[:8192])
    page[offset:offset + len(content)] = content
    with pytest.raises(ValueError, match=message):
        read_header(bytes(page))
    with pytest.raises(ValueError, match="only 39 bytes"):
        read_header(bytes(page[:39]))


def test_a_segment_of_another_size_is_refused() -> None:
    """Rule 12."""
    data = _one(1)
    with pytest.raises(ValueError, match="has 1048568 bytes"):
        check_segment(read_header(data[:-8]), len(data[:-8]), Segment(1, 3), SIZE, SYSTEM)
    with pytest.raises(ValueError, match="segments of 1048576 bytes"):
        check_segment(read_header(data * 2), len(data * 2), Segment(1, 1), 2 * SIZE, SYSTEM)


def test_a_reading_refuses_what_does_not_follow() -> None:
    writer = Writer()
    writer.append(bytes(1_500_000))
    (start, first), (middle, second) = writer.segments()
    carry = skim(first, start).carry
    with pytest.raises(ValueError, match="starts at 0/400000, not at 0/500000"):
        skim(second, 5 << 20, carry)
    with pytest.raises(ValueError, match="more than one segment"):
        skim(first + second, start)
    other = bytearray(second)
    other[24] ^= 1
    facts = skim(bytes(other), middle, carry)
    assert (facts.records, facts.end.cause, facts.end.lsn) == (0, Cause.DAMAGED, writer.lsns[0])
