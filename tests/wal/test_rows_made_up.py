"""Rows of pg_database and pg_tablespace read out of WAL made by hand, and what a record holds behind its header."""

from __future__ import annotations

import struct

import pytest
from wal_writer import Image, one_block, page_with_row

from pgvault.wal.bodies import BlockReference, Fork, PageImage, Relation, parse_body
from pgvault.wal.record import HEADER_SIZE, HEAP, Record
from pgvault.wal.rows import InvalidDatabase, inserted_row, invalid_database, relation_at

DATABASES, SPACES = Relation(1664, 0, 1262), Relation(1664, 0, 1213)
OFFSET = struct.pack("<H", 1)
LZ4 = Image(b"c" * 100, 60, 0x0B, 4000)
"""Compressed, with a hole, as PostgreSQL 15 writes it."""


def record(body: bytes, *, lsn: int = 0x300028) -> Record:
    data = bytes(HEADER_SIZE) + body
    return Record(lsn, lsn + len(data), 0, HEAP, 0, data)


def database(major: int, name: bytes = b"shop", limit: int = -2) -> bytes:
    """The columns of a row of pg_database up to datconnlimit, which has moved with PostgreSQL 15."""
    return struct.pack("<I64s12xi" if major >= 15 else "<I64s140xi", 16385, name, limit)


# Of pg_database


@pytest.mark.parametrize("major", [13, 14, 15, 18, 19])
@pytest.mark.parametrize("limit", [-2, -1, 0, 5, -3])
def test_a_database_is_invalid_by_its_limit_alone(major: int, limit: int) -> None:
    body = one_block(DATABASES, OFFSET, data=database(major, limit=limit))
    assert invalid_database(record(body), 1, major) == (True, InvalidDatabase(16385, "shop") if limit == -2 else None)


@pytest.mark.parametrize(("name", "told"), [
    (b"", ""), (b"x" * 63, "x" * 63), ("größe".encode(), "größe"), (b"a\xffb", "a\\xffb"), (b"a\0left", "a")])
def test_its_name_ends_with_the_first_nul(name: bytes, told: str) -> None:
    body = one_block(DATABASES, OFFSET, data=database(18, name))
    assert invalid_database(record(body), 1, 18) == (True, InvalidDatabase(16385, told))


@pytest.mark.parametrize("offset", [1, 2, 7])
@pytest.mark.parametrize("header", [23, 24, 32])
@pytest.mark.parametrize("hole", [False, True])
def test_the_row_is_found_in_the_image_of_its_page(offset: int, header: int, hole: bool) -> None:
    """By its line pointer; what stands before the columns is as long as the row says."""
    page = page_with_row(database(18), offset=offset, header=header)
    image = Image(page[:100] + page[7000:], 100, 0x03) if hole else Image(page)
    body = one_block(DATABASES, OFFSET, image=image)
    assert invalid_database(record(body), offset, 18) == (True, InvalidDatabase(16385, "shop"))
    assert invalid_database(record(body), offset + 1, 18) == (False, None), "there is no such row"


@pytest.mark.parametrize("offset", [0, -1, 2042, 9000])
def test_a_line_pointer_outside_of_the_page_shows_nothing(offset: int) -> None:
    body = one_block(DATABASES, OFFSET, image=Image(page_with_row(database(18))))
    assert invalid_database(record(body), offset, 18) == (False, None)


@pytest.mark.parametrize(("start", "length"), [(8192 - 50, 100), (8191, 1), (8170, 22), (100, 0)])
def test_a_row_that_does_not_lie_in_its_page_shows_nothing(start: int, length: int) -> None:
    page = bytearray(page_with_row(database(18)))
    struct.pack_into("<I", page, 24, start | 1 << 15 | length << 17)
    assert invalid_database(record(one_block(DATABASES, OFFSET, image=Image(bytes(page)))), 1, 18) == (False, None)


def test_what_is_compressed_or_cut_shows_nothing() -> None:
    assert invalid_database(record(one_block(DATABASES, OFFSET, image=LZ4)), 1, 18) == (False, None)
    cut = one_block(DATABASES, OFFSET, data=database(18)[:-1])
    assert invalid_database(record(cut), 1, 18) == (False, None)
    beside = one_block(DATABASES, OFFSET, data=database(18), image=LZ4)
    assert invalid_database(record(beside), 1, 18) == (True, InvalidDatabase(16385, "shop")), "the row counts first"


# Of pg_tablespace


ROW = struct.pack("<I64s", 16400, b"aside")


@pytest.mark.parametrize("header", [23, 24, 32])
def test_an_inserted_row_is_told_from_the_block_s_data(header: int) -> None:
    """Of its header only five bytes are there; then what is longer in it than the 23 bytes of the shortest."""
    data = struct.pack("<HHB", 3, 0x0902, header) + bytes(header - 23) + ROW
    body = one_block(SPACES, OFFSET + b"\0", data=data)
    assert inserted_row(record(body), SPACES, 18) == ROW
    assert inserted_row(record(body), DATABASES, 18) == b"", "of another relation"


def test_an_inserted_row_is_told_from_its_page() -> None:
    page = page_with_row(ROW, offset=3)
    body = one_block(SPACES, struct.pack("<HB", 3, 0), image=Image(page))
    assert inserted_row(record(body), SPACES, 18) == ROW
    assert inserted_row(record(one_block(SPACES, OFFSET + b"\0", image=Image(page))), SPACES, 18) == b""
    assert inserted_row(record(one_block(SPACES, OFFSET + b"\0", image=LZ4)), SPACES, 18) == b""
    assert inserted_row(record(one_block(SPACES, OFFSET + b"\0")), SPACES, 18) == b""


@pytest.mark.parametrize(("major", "image", "at"), [
    (18, None, 28), (18, Image(bytes(8192)), 33), (18, Image(bytes(100), 50, 0x03), 33), (18, LZ4, 35),
    (18, Image(b"c" * 9, 0, 0x06), 33), (15, Image(b"c" * 9, 60, 0x15, 4000), 35),
    (14, Image(b"c" * 9, 60, 0x07, 4000), 35), (14, Image(bytes(100), 50, 0x05), 33)])
def test_where_a_record_names_its_first_relation(major: int, image: Image | None, at: int) -> None:
    """Behind the header of the page's image, which has two bytes more for the hole of a compressed one."""
    found = record(one_block((1, 2, 3), b"main", image=image))
    assert relation_at(found.data, major) == at
    assert found.data[at:at + 12] == struct.pack("<III", 1, 2, 3)
    assert parse_body(found, major).blocks[0].relation == (1, 2, 3)


# What a record holds


@pytest.mark.parametrize(("major", "image", "told"), [
    (18, Image(bytes(8192)), PageImage(bytes(8192), 0, 0, "", True)),
    (18, Image(bytes(8000), 96, 0x01), PageImage(bytes(8000), 96, 192, "", False)),
    (18, LZ4, PageImage(b"c" * 100, 60, 4000, "lz4", True)),
    (15, Image(b"c", 60, 0x11, 4000), PageImage(b"c", 60, 4000, "zstd", False)),
    (18, Image(b"c", 0, 0x06), PageImage(b"c", 0, 0, "pglz", True)),
    (14, Image(b"c", 60, 0x07, 4000), PageImage(b"c", 60, 4000, "pglz", True)),
    (13, Image(bytes(8000), 96, 0x05), PageImage(bytes(8000), 96, 192, "", True)),
    (13, Image(bytes(8000), 96, 0x01), PageImage(bytes(8000), 96, 192, "", False))])
def test_a_page_is_held_without_its_hole_or_compressed(major: int, image: Image, told: PageImage) -> None:
    body = parse_body(record(one_block(DATABASES, b"main", block=7, data=b"data", image=image)), major)
    assert body.main == b"main"
    assert body.blocks == (BlockReference(0, DATABASES, Fork.MAIN, 7, told, b"data"),)


@pytest.mark.parametrize("image", [
    Image(bytes(8192), 0, 0x03), Image(bytes(8000), 96, 0x02), Image(bytes(8193), 0, 0x02),
    Image(bytes(8000), 8100, 0x03), Image(b"c", 60, 0x07, 0), Image(b"c", 8000, 0x07, 4000)])
def test_an_impossible_hole_is_refused(image: Image) -> None:
    with pytest.raises(ValueError, match=r"^a page image of \d+ bytes with a hole of -?\d+ is impossible$"):
        parse_body(record(one_block(DATABASES, b"", image=image)), 18)


def test_pages_of_another_size_have_other_holes() -> None:
    body = parse_body(record(one_block(DATABASES, b"", image=Image(bytes(1000), 96, 0x01))), 18, block_size=1024)
    assert body.blocks[0].image == PageImage(bytes(1000), 96, 24, "", False)


def test_blocks_of_one_relation_name_it_once() -> None:
    first = struct.pack("<BBHIIII", 0, 0x20 | 2, 1, *DATABASES, 5)
    second = struct.pack("<BBHI", 3, 0x80 | 0x20 | 1, 2, 9)
    body = parse_body(record(first + second + b"\xff\1" + b"abb" + b"m"), 18)
    assert body.blocks == (BlockReference(0, DATABASES, Fork.VM, 5, None, b"a"),
                           BlockReference(3, DATABASES, Fork.FSM, 9, None, b"bb"))
    assert body.main == b"m"


BLOCK = struct.pack("<BBHIIII", 2, 0, 0, *DATABASES, 0)


@pytest.mark.parametrize(("body", "why"), [
    (BLOCK + BLOCK, "block reference 2 follows block reference 2"),
    (BLOCK + b"\1" + BLOCK[1:], "block reference 1 follows block reference 2"),
    (struct.pack("<BBHI", 0, 0x80, 0, 0), "the first block reference names no relation"),
    (struct.pack("<BBH", 4, 0x20, 0) + bytes(16), "block reference 4 announces 0 bytes against its flags"),
    (struct.pack("<BBH", 4, 0, 3) + bytes(19), "block reference 4 announces 3 bytes against its flags"),
    (b"\x21" + bytes(20), "a record of PostgreSQL 18 has no part of kind 33"),
    (b"\xff\3ab", "the record has 2 bytes of data instead of 3"),
    (b"\xff\3abcd", "the record has 4 bytes of data instead of 3"),
    (b"\xfe\3\0\0", "the record at 0/300028 is truncated"), (BLOCK[:-1], "the record at 0/300028 is truncated")])
def test_what_does_not_hold_together_is_refused(body: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=f"^{why}$"):
        parse_body(record(body), 18)


def test_a_top_transaction_is_named_from_postgresql_14_on() -> None:
    body = b"\xfc" + struct.pack("<I", 700) + b"\xff\0"
    assert parse_body(record(body), 14).top_xid == 700
    with pytest.raises(ValueError, match=r"^a record of PostgreSQL 13 has no part of kind 252$"):
        parse_body(record(body), 13)


@pytest.mark.parametrize("length", [0, 255, 256, 100_000])
def test_main_data_has_a_short_or_a_long_length(length: int) -> None:
    body = b"\xfe" + struct.pack("<I", length) + b"m" * length
    assert parse_body(record(body), 18).main == b"m" * length
