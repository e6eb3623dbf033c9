"""The path of a tablespace is taken out of the WAL, wherever its record lies, and nothing else changes."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wal_writer import Writer, short

from pgvault.model.replay import TablespaceCreated
from pgvault.wal.bodies import main_data
from pgvault.wal.effects import read_effect
from pgvault.wal.record import Record
from pgvault.wal.records import follow
from pgvault.wal.rewrite import TABLESPACE, Change, record_at, rewritten, without_path

SIZE = 1 << 20
OID = 16_400


def created(path: str, oid: int = OID) -> bytes:
    return short(struct.pack("<I", oid) + path.encode() + b"\0")


def written(path: str, gap: int, block: int) -> tuple[Writer, int]:
    """A creation so many bytes before the end of the first segment, or behind it, with records around it."""
    writer = Writer(block=block)
    while writer.at < writer.start + SIZE - gap - 3 * block:
        writer.append(bytes(min(8000, writer.start + SIZE - gap - 2 * block - writer.at)))
    while writer.at < writer.start + SIZE - gap:
        writer.append(b"x" * 8)
    lsn = writer.append(created(path), rmid=TABLESPACE)
    writer.append(b"behind")
    writer.commit(700, 1)
    return writer, lsn


def whole(writer: Writer) -> bytes:
    return b"".join(data for _, data in writer.segments())


paths = st.integers(1, 1000).map(lambda length: "/" + "p" * length)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(paths, st.integers(0, 2500), st.sampled_from([1024, 8192]))
def test_nothing_but_the_path_and_the_checksum_changes(path: str, gap: int, block: int) -> None:
    writer, lsn = written(path, gap, block)
    data = whole(writer)
    record = record_at(data, writer.start, lsn, block=block, size=SIZE)
    assert record is not None
    changes = without_path(record, lsn, block=block, size=SIZE)
    # Segment by segment, as they are sent.
    after = list(follow((start, b"".join(rewritten([(start, piece)], changes)))
                        for start, piece in writer.segments()))
    before = list(follow(writer.segments()))
    assert [each.lsn for each in after] == writer.lsns
    assert [each for each in after if each.lsn != lsn] == [each for each in before if each.lsn != lsn]
    (changed,) = [each for each in after if each.lsn == lsn]
    assert main_data(changed.data) == struct.pack("<I", OID) + b"\0" + path[1:].encode() + b"\0"
    assert len(changes) <= 5
    effect = read_effect(changed, 15, 1, SIZE)
    assert isinstance(effect, TablespaceCreated)
    assert effect.path == path  # where the archive has such a record, it still says where the tablespace was


@pytest.mark.parametrize("gap", range(8, 64, 8))
@pytest.mark.parametrize("block", [1024, 8192])
def test_what_changes_is_where_the_wal_has_it_on_either_side_of_a_border(block: int, gap: int) -> None:
    writer, lsn = written("/srv/aside", gap, block)
    data = whole(writer)
    record = record_at(data, writer.start, lsn, block=block, size=SIZE)
    assert record is not None
    *checksum, path = without_path(record, lsn, block=block, size=SIZE)
    assert (path.old, path.new) == (ord("/"), 0)
    assert data.index(b"/", lsn + 24 - writer.start) == path.at - writer.start
    assert all(data[each.at - writer.start] == each.old != each.new for each in checksum)
    assert 1 <= len(checksum) <= 4


@given(paths, st.integers(0, 2500), st.sampled_from([1024, 8192]), st.data())
@settings(max_examples=60, deadline=None)
def test_a_record_is_whole_or_known_not_to_be(path: str, gap: int, block: int, data: st.DataObject) -> None:
    writer, lsn = written(path, gap, block)
    content = whole(writer)
    first = lsn // block * block
    pages = data.draw(st.integers(1, 4))
    stretch = content[first - writer.start:first - writer.start + pages * block]
    record = record_at(stretch, first, lsn, block=block, size=SIZE)
    (expected,) = [each.data for each in follow(writer.segments()) if each.lsn == lsn]
    assert record in (None, expected)
    if pages * block > lsn - first + len(expected) + 40 * (1 + len(expected) // block):
        assert record == expected


def test_a_path_that_was_taken_away_before_is_left() -> None:
    writer, lsn = written("", 500, 8192)
    record = record_at(whole(writer), writer.start, lsn, block=8192, size=SIZE)
    assert record is not None
    assert without_path(record, lsn, block=8192, size=SIZE) == ()


def test_what_is_not_there_is_not_changed() -> None:
    """A position that is not of this WAL is an error, and no other byte is touched."""
    writer, lsn = written("/somewhere", 500, 8192)
    data = whole(writer)
    with pytest.raises(ValueError, match="has changed"):
        list(rewritten([(writer.start, data)], [Change(lsn, data[lsn - writer.start] ^ 1, 0)]))
    with pytest.raises(ValueError, match="no record"):
        record_at(data, writer.start, len(data) - 100, block=8192, size=SIZE)
    with pytest.raises(ValueError, match="no record"):
        record_at(data, writer.start, writer.start - 8, block=8192, size=SIZE)
    damaged = bytearray(data)
    damaged[lsn - writer.start + 30] ^= 1
    with pytest.raises(ValueError, match="checksum"):
        record_at(bytes(damaged), writer.start, lsn, block=8192, size=SIZE)


def test_only_the_creation_of_a_tablespace_is_rewritten() -> None:
    writer = Writer()
    dropped = writer.append(short(struct.pack("<I", OID)), rmid=TABLESPACE, info=0x10)
    message = writer.append(b"hello there")
    pathless = writer.append(short(struct.pack("<I", OID)), rmid=TABLESPACE)
    found: dict[int, Record] = {record.lsn: record for record in follow(writer.segments())}
    for lsn, said in ((dropped, "no tablespace"), (message, "no tablespace"), (pathless, "no path")):
        with pytest.raises(ValueError, match=said):
            without_path(found[lsn].data, lsn, block=8192, size=SIZE)
