"""Why WAL is refused, or ends, in the words that people read."""

from __future__ import annotations

import re
import struct

import pytest
from wal_writer import RESTORE_POINT, SYSTEM, TRANSACTION, XLOG, Writer, short

from pgvault.model.errors import UnknownWal
from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment
from pgvault.wal.facts import skim, skim_all
from pgvault.wal.pages import check_segment, read_header
from pgvault.wal.records import Cause, Reading, follow
from pgvault.wal.rewrite import record_at
from pgvault.wal.transactions import transactions

SIZE = 1 << 20


def first_page(**given: int) -> bytes:
    writer = Writer(**given)
    writer.append(b"x")
    return writer.segments()[0][1]


# The first page


def spoilt(offset: int, content: bytes) -> bytes:
    page = bytearray(first_page())
    page[offset:offset + len(content)] = content
    return bytes(page)


@pytest.mark.parametrize(("page", "why"), [
    (b"x" * 39, "not a WAL page: only 39 bytes"), (spoilt(0, b"\0\0"), "not a WAL page: it is all zeros"),
    (spoilt(0, b"\xd1\x18"), "a WAL page from a big-endian machine, which is not supported"),
    (spoilt(0, b"\xff\xcf"), "not a WAL page: its magic number is CFFF"),
    (spoilt(0, b"\0\xe0"), "not a WAL page: its magic number is E000"),
    (spoilt(2, b"\0\0"), "a WAL page, but not the first one of a segment"),
    (spoilt(2, b"\x12\0"), "not a WAL page: its flags are 0012"),
    (spoilt(32, struct.pack("<I", 3 << 20)), "not a WAL page: 3145728 bytes is no segment size"),
    *((spoilt(36, struct.pack("<I", size)), f"not a WAL page: {size} bytes is no page size")
      for size in (0, 512, 1023, 8193, 1 << 17)),
    (spoilt(4, bytes(4)), "not a WAL page: it claims timeline 0 and address 0/300000"),
    (spoilt(8, b"\x08"), "not a WAL page: it claims timeline 1 and address 0/300008")])
def test_why_a_segment_cannot_begin_so(page: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(why)}$"):
        read_header(page)


@pytest.mark.parametrize(("block", "flags"), [(1024, 2), (65536, 3), (8192, 0xF)])
def test_a_first_page_says_what_its_segment_is(block: int, flags: int) -> None:
    page = bytearray(spoilt(36, struct.pack("<I", block)))
    page[2] = flags
    struct.pack_into("<I", page, 16, 77)
    assert read_header(bytes(page[:40])) == (0xD118, 18, flags, 1, 0x300000, 77, SYSTEM, SIZE, block)


@pytest.mark.parametrize(("magic", "whose"), [
    (0xD087, "PostgreSQL 9.5's WAL"), (0xD093, "PostgreSQL 9.6's WAL"), (0xD097, "PostgreSQL 10's WAL"),
    (0xD098, "PostgreSQL 11's WAL"), (0xD101, "PostgreSQL 12's WAL"), (0xD000, "the WAL of a PostgreSQL before 13"),
    (0xD105, "the WAL of a PostgreSQL before 13"), (0xD107, "the WAL of an unreleased PostgreSQL")])
def test_whose_wal_is_not_supported(magic: int, whose: str) -> None:
    with pytest.raises(UnknownWal) as refused:
        read_header(first_page(magic=magic))
    assert str(refused.value) == (f"{whose} is not supported\ndetail: Its pages have the magic number {magic:04X}.\n"
                                  "hint: pgvault protects PostgreSQL 13 and newer.")


@pytest.mark.parametrize("magic", [0xD123, 0xDFFF])
def test_newer_wal_is_archived_and_not_read(magic: int) -> None:
    header = read_header(first_page(magic=magic))
    assert header.major is None
    with pytest.raises(UnknownWal) as refused:
        header.known_major()
    assert str(refused.value) == (
        "the WAL of a newer PostgreSQL is not known to this version\n"
        f"detail: Its pages have the magic number {magic:04X}; known are PostgreSQL 13 to 19.\n"
        "hint: Archiving and restoring to the end of the WAL work; update pgvault to search in this WAL.")


@pytest.mark.parametrize(("segment", "length", "size", "system", "why"), [
    (Segment(1, 3), SIZE, SIZE, 7,
     f"it belongs to another cluster: its system identifier is {SYSTEM}, that of this one is 7"),
    (Segment(1, 3), SIZE, 2 * SIZE, SYSTEM, "it is part of segments of 1048576 bytes, not of 2097152"),
    (Segment(1, 3), SIZE + 1, SIZE, SYSTEM, "it has more than a segment's 1048576 bytes"),
    (Segment(1, 3), 100, SIZE, SYSTEM, "it has 100 bytes, fewer than a segment's 1048576 bytes"),
    (Segment(1, 4), SIZE, SIZE, SYSTEM, "it holds the WAL from 0/300000, not from 0/400000"),
    (Segment(0, 3), SIZE, SIZE, SYSTEM, "it holds WAL of timeline 1, newer than in its name")])
def test_why_a_file_does_not_belong_under_its_name(
        segment: Segment, length: int, size: int, system: int, why: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(why)}$"):
        check_segment(read_header(first_page()), length, segment, size, system)
    for timeline in (1, 2):
        check_segment(read_header(first_page()), SIZE, Segment(timeline, 3), SIZE, SYSTEM)


# Where the WAL ends


def two_pages(offset: int, content: bytes) -> bytes:
    """A record that crosses into the second page, of which some bytes are others."""
    writer = Writer(timeline=2)
    for body in (b"before", bytes(12_000), b"after"):
        writer.append(body)
    data = bytearray(writer.segments()[0][1])
    data[8192 + offset:8192 + offset + len(content)] = content
    return bytes(data)


@pytest.mark.parametrize(("offset", "content", "cause", "why"), [
    (0, bytes(24), Cause.UNWRITTEN, "the page is empty"),
    (0, b"\x16\xd1", Cause.DAMAGED, "the page's magic number is D116"),
    (0, b"\0\0", Cause.DAMAGED, "the page's magic number is 0000"),
    (8, b"\0\0\x20", Cause.UNWRITTEN, "the page belongs at 0/200000"),
    (8, b"\0\0\x40", Cause.DAMAGED, "the page belongs at 0/400000"),
    (4, b"\1", Cause.DAMAGED, "the page is of timeline 1, those before of 2"),
    (2, b"\3", Cause.DAMAGED, "the page's header is not that of this cluster"),
    (2, b"\0", Cause.DAMAGED, "the page continues a record by 0 bytes, but 3904 were missing"),
    (16, b"\1\0", Cause.DAMAGED, "the page continues a record by 1 bytes, but 3904 were missing"),
    (100, b"x", Cause.DAMAGED, "the record's checksum is wrong")])
def test_why_a_page_does_not_follow(offset: int, content: bytes, cause: Cause, why: str) -> None:
    end = skim(two_pages(offset, content), 3 << 20).end
    assert end is not None
    assert (end.cause, end.text) == (cause, why)


@pytest.mark.parametrize(("head", "cause", "why"), [
    (struct.pack("<I", 0), Cause.UNWRITTEN, "no record follows"),
    (struct.pack("<I", 23), Cause.DAMAGED, "a record of 23 bytes is too short"),
    (struct.pack("<IIQ", 30, 0, 8), Cause.DAMAGED, "the record does not link to the one before"),
    (struct.pack("<I", 1 << 30), Cause.DAMAGED, "a record cannot have 1073741824 bytes")])
def test_why_no_record_begins(head: bytes, cause: Cause, why: str) -> None:
    writer = Writer()
    writer.append(b"before")
    lsn = writer.append(b"x" * 50)
    data = bytearray(writer.segments()[0][1])
    data[lsn - writer.start:lsn - writer.start + len(head)] = head
    facts = skim(bytes(data), writer.start)
    assert facts.end is not None
    assert (facts.records, facts.end.lsn, facts.end.cause, facts.end.text) == (1, lsn, cause, why)


@pytest.mark.parametrize("length", [50, 12_000])
def test_a_record_that_links_elsewhere_is_of_another_history(length: int) -> None:
    """Also when it crosses pages."""
    writer = Writer()
    writer.append(b"before")
    writer.append(b"more")
    writer.previous -= 8
    lsn = writer.append(bytes(length))
    end = skim(writer.segments()[0][1], writer.start).end
    assert end is not None
    assert (end.lsn, end.text) == (lsn, "the record does not link to the one before")


def test_the_longest_record_is_one_byte_short_of_a_gibibyte() -> None:
    writer = Writer()
    lsn = writer.append(bytes(9000))
    data = bytearray(writer.segments()[0][1])
    struct.pack_into("<I", data, lsn - writer.start, (1 << 30) - 1)
    end = skim(bytes(data), writer.start).end
    assert end is not None
    assert end.text.startswith("the page continues a record by"), "its length alone is none"


def test_wal_that_is_cut_inside_a_page() -> None:
    writer = Writer()
    for _ in range(3):
        writer.append(bytes(6000))
    end = skim(writer.segments()[0][1][:8192 + 4096], writer.start).end
    assert end is not None
    assert (end.cause, end.text, end.lsn) == (Cause.DAMAGED, "the file is truncated inside a page", writer.lsns[1])


def test_a_switch_is_an_end_that_goes_on() -> None:
    writer = Writer()
    writer.append(b"before")
    writer.switch()
    end = skim(writer.segments()[0][1], writer.start).end
    assert end is not None
    assert (end.cause, end.text) == (Cause.SWITCHED, "the server switched to the next segment")


# What cannot be read at all


def test_what_does_not_follow_is_refused() -> None:
    writer = Writer()
    writer.append(bytes(1_500_000))
    (start, first), (_, second) = writer.segments()
    with pytest.raises(ValueError, match=r"^the WAL at hand starts at 0/300000, not at 0/400000$"):
        Reading(first, start + SIZE)
    with pytest.raises(ValueError, match=r"^2097152 bytes from 0/300000 are more than one segment$"):
        Reading(first + second, start)
    carry = skim(first, start).carry
    assert carry is not None
    with pytest.raises(ValueError, match=r"^the reading before did not keep the records that are now requested$"):
        Reading(second, carry.at, carry)
    with pytest.raises(ValueError, match=r"^it is empty$"):
        skim_all([])


@pytest.mark.parametrize(("rmid", "info", "body", "why"), [
    (XLOG, RESTORE_POINT, short(bytes(71)), "the restore point at {} has 71 bytes"),
    (XLOG, RESTORE_POINT, short(struct.pack("<q64s", 1 << 62, b"a")),
     "the restore point at {} cannot be decoded: its time is impossible"),
    (TRANSACTION, 0, short(bytes(7)), "the transaction record at {} is too short"),
    (TRANSACTION, 0, short(struct.pack("<q", 1 << 62)), "the time of a transaction in it is impossible")])
def test_a_record_of_use_that_makes_no_sense(rmid: int, info: int, body: bytes, why: str) -> None:
    writer = Writer()
    lsn = writer.append(body, rmid=rmid, info=info, xid=7)
    with pytest.raises(ValueError, match=f"^{re.escape(why.format(lsn))}$"):
        skim(writer.segments()[0][1], writer.start)


@pytest.mark.parametrize(("rest", "why"), [
    (struct.pack("<I", 1 << 12), "it has parts of unknown kinds, 1000"),
    (struct.pack("<Ii", 2, -1), "a list of -1 elements does not fit"),
    (struct.pack("<Ii", 2, 1), "a list of 1 elements does not fit"),
    (struct.pack("<IiI", 2, 1, 8) + b"!", "21 bytes of data, of which 20 were expected")])
def test_why_a_transaction_is_not_understood(rest: bytes, why: str) -> None:
    writer = Writer()
    lsn = writer.commit(7, 42, rest=rest, info=0x80)
    with pytest.raises(ValueError, match=rf"^the transaction record at {lsn} cannot be decoded: {why}$"):
        list(transactions(writer.segments()[0][1], writer.start))


def test_only_what_is_asked_for_is_handed_out() -> None:
    writer = Writer()
    writer.append(b"message")
    writer.commit(7, 42)
    writer.append(bytes(9000))
    assert [record.lsn for record in follow(writer.segments(), rmgrs=(TRANSACTION,))] == [writer.lsns[1]]
    assert len(list(follow(writer.segments()))) == 3


def test_a_page_that_continues_nothing_passes_nothing_over() -> None:
    """Only its flag says that it does, whatever number stands in it."""
    data = bytearray(first_page())
    struct.pack_into("<I", data, 16, 77)
    facts = skim(bytes(data), 3 << 20)
    assert (facts.records, facts.first) == (1, (3 << 20) + 40)


@pytest.mark.parametrize("length", [100, 20_000])
def test_a_record_is_taken_out_when_its_last_byte_is_there(length: int) -> None:
    writer = Writer()
    lsn = writer.append(bytes(length))
    whole = bytes(writer.bytes)[:len(writer.bytes) - (-length % 8)]
    found = record_at(whole, writer.start, lsn, block=8192, size=SIZE)
    assert found is not None
    assert len(found) == 24 + length
    assert record_at(whole[:-1], writer.start, lsn, block=8192, size=SIZE) is None
    with pytest.raises(ValueError, match=rf"^no record at {Lsn(lsn + 8)}$"):
        record_at(whole, writer.start, lsn + 8, block=8192, size=SIZE)
    for outside in (writer.start - 8, writer.start + len(whole)):
        with pytest.raises(ValueError, match=rf"^no record at {Lsn(outside)} in the WAL from 0/300000 to "):
            record_at(whole, writer.start, outside, block=8192, size=SIZE)
    damaged = bytearray(whole)
    damaged[-1] ^= 1
    with pytest.raises(ValueError, match=rf"^the checksum of the record at {lsn} is wrong$"):
        record_at(bytes(damaged), writer.start, lsn, block=8192, size=SIZE)
