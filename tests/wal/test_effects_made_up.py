"""What replay does beyond data files, from records made by hand: each major's layouts, and what makes no sense."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta

import pytest
from wal_writer import RESTORE_POINT, TRANSACTION, XLOG, Image, Writer, one_block, page_with_row, restore_point, short

from pgvault.model.lsn import Lsn
from pgvault.model.replay import (
    Limits,
    ParameterChange,
    PreparedEnded,
    PreparedTransaction,
    TablespaceCreated,
    TablespaceDropped,
)
from pgvault.wal.effects import PARAMETER_CHANGE, PG_TABLESPACE, PREPARE, effects_of, read_two_phase
from pgvault.wal.facts import SegmentFacts, skim, skim_all
from pgvault.wal.record import HEAP, TABLESPACE
from pgvault.wal.records import follow
from pgvault.wal.versions import FORMATS

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
MAJORS = sorted(FORMATS)
LIMITS = (101, 9, 11, 7, 65)
REPLICA, MINIMAL = 1, 0
HAS_XINFO, HAS_GID, PREPARED = 0x80, 1 << 7, 1 << 4
ABORT, COMMIT_PREPARED, ABORT_PREPARED, ASSIGNMENT = 0x20, 0x30, 0x40, 0x50


class History(Writer):
    """A `Writer` of what replay does beyond data files."""

    def __init__(self, major: int = 18, **given: int) -> None:
        super().__init__(magic=FORMATS[major].magic, **given)
        self.major = major

    def create(self, oid: int, path: bytes) -> Lsn:
        return self.append(short(struct.pack("<I", oid) + path), rmid=TABLESPACE, xid=700)

    def name(self, oid: int, name: bytes, **how: Image | None) -> Lsn:
        """The row of pg_tablespace that CREATE TABLESPACE writes first."""
        row = struct.pack("<I64s", oid, name)
        data = b"" if how.get("image") else struct.pack("<HHB", 3, 0x0902, 24) + b"\0" + row
        body = one_block(PG_TABLESPACE, struct.pack("<HB", 1, 0), data=data, **how)
        return self.append(body, rmid=HEAP, xid=700)

    def limits(self, wal_level: int = REPLICA) -> Lsn:
        return self.append(short(struct.pack("<6i2?2x", *LIMITS, wal_level, False, False)[:24]), rmid=XLOG,
                           info=PARAMETER_CHANGE)

    def prepare(self, xid: int, gid: bytes = b"a gid") -> Lsn:
        return self.append(short(two_phase(self.major, xid=xid, gid=gid)), rmid=TRANSACTION, info=PREPARE, xid=xid)

    def end(self, xid: int, kind: int = COMMIT_PREPARED) -> Lsn:
        rest = struct.pack("<II", PREPARED | HAS_GID, xid) + b"a gid\0"
        return self.commit(0, 42, rest=rest, info=kind | HAS_XINFO)

    def facts(self) -> SegmentFacts:
        [(start, data)] = self.segments()
        return skim(data, start)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)


def two_phase(major: int, *, xid: int = 700, gid: bytes = b"a gid", lists: tuple[int, ...] = (), locks: bytes = b"",
              magic: int = 0x57F94534) -> bytes:
    """A prepared transaction's state, with these numbers of elements in its lists; `locks` are whole parts of it."""
    wal = FORMATS[major]
    sizes = [4, 12, 12, *([wal.dropped_statistics.size] * 2 if wal.dropped_statistics else []), 16]
    counts = [*lists, *[0] * (len(sizes) - len(lists))]
    header = wal.two_phase_header.pack(magic, 999, xid, 5, 42, 10, *counts, False, len(gid) + 1, 0, 0)
    content = b"".join(padded(bytes(count * size)) for count, size in zip(counts, sizes, strict=True))
    return padded(header) + padded(gid + b"\0") + content + locks + struct.pack("<IBxH", 0, 0, 0)


def with_subxacts(number: int) -> bytes:
    """A state that claims so many subtransactions."""
    state = bytearray(two_phase(18))
    struct.pack_into("<i", state, struct.calcsize("<IIIIqI"), number)
    return bytes(state)


def lock(database: int, relation: int, mode: int, *, kind: int = 0) -> bytes:
    return struct.pack("<IBxH", 20, 1, 0) + padded(struct.pack("<IIIHBBi", database, relation, 0, 0, kind, 1, mode))


# Tablespaces


@pytest.mark.parametrize(("path", "told"), [
    (b"/srv/aside\0", "/srv/aside"), (b"\0", ""), (b"\0srv/aside\0", "/srv/aside"),
    ("/größe".encode() + b"\0", "/größe"), (b"/a\xff\0", "/a\udcff"), (b"/a\0left over\0", "/a")])
def test_a_tablespace_is_made_at_the_path_in_its_record(path: bytes, told: str) -> None:
    """Also where a restore has taken the path away: only its first byte is gone."""
    wal = History()
    wal.append(b"before")
    lsn = wal.create(16400, path)
    wal.append(b"behind")
    assert wal.facts().effects == (
        TablespaceCreated(16400, told, lsn, 1, lsn // wal.size, Lsn(wal.lsns[-1])),)


def test_a_tablespace_gets_its_name_from_the_catalog_s_row() -> None:
    wal = History()
    wal.name(16400, b"aside")
    wal.create(16400, b"/srv/aside\0")
    page = page_with_row(struct.pack("<I64s", 16401, "größe".encode()))
    wal.name(16401, b"", image=Image(page))
    wal.create(16401, b"/srv/big\0")
    wal.name(16402, b"", image=Image(b"c", 0, 0x06))
    wal.create(16402, b"/srv/hidden\0")
    wal.name(16499, b"another")
    assert [(each.oid, each.name) for each in wal.facts().effects] == [
        (16400, "aside"), (16401, "größe"), (16402, None)]
    assert [each.name for each in effects_of(wal.segments())] == [None] * 3, "names are left out here"


def test_a_name_that_is_no_utf8_is_spelled_out() -> None:
    wal = History()
    wal.name(16400, b"a\xffb")
    wal.create(16400, b"/srv/aside\0")
    assert [each.name for each in wal.facts().effects] == ["a\\xffb"]


def test_a_creation_that_crosses_a_border_is_an_effect_of_the_segment_in_which_it_ends() -> None:
    wal = History()
    wal.append(bytes(wal.size - 9000))
    wal.append(bytes(wal.start + wal.size - wal.at - 60))
    lsn = wal.create(16400, b"/srv/aside\0")
    assert lsn < wal.start + wal.size < wal.at
    [found] = effects_of(wal.segments())
    assert (found.lsn, found.segment, found.path) == (lsn, wal.start // wal.size, "/srv/aside")


def test_the_row_may_stand_in_the_segment_behind_the_one_with_its_beginning() -> None:
    wal = History()
    wal.append(bytes(wal.size - 9000))
    wal.append(bytes(wal.start + wal.size - wal.at - 60))
    wal.create(16400, b"/srv/aside\0")
    wal.name(16400, b"aside")
    (first, one), (second, other) = wal.segments()
    carry = skim(one, first).carry
    [found] = skim(other, second, carry).effects
    assert (found.name, found.lsn, found.segment) == ("aside", wal.lsns[-2], first // wal.size)


def test_a_tablespace_is_dropped() -> None:
    wal = History()
    lsn = wal.append(short(struct.pack("<I", 16400)), rmid=TABLESPACE, info=0x10)
    wal.append(short(struct.pack("<I", 16400)), rmid=TABLESPACE, info=0x20)
    assert wal.facts().effects == (TablespaceDropped(16400, lsn),)


# The server's limits


@pytest.mark.parametrize("level", [1, 2])
def test_a_server_names_its_limits(level: int) -> None:
    wal = History()
    lsn = wal.limits(level)
    facts = wal.facts()
    assert facts.effects == (ParameterChange(lsn, Limits(*LIMITS), level),)
    assert facts.minimal is None


def test_facts_end_where_minimal_wal_begins() -> None:
    """No recovery passes it: what is behind is no target."""
    wal = History()
    wal.commit(10, 1_000_000)
    before = wal.commit(11, 2_000_000)
    minimal = wal.limits(MINIMAL)
    wal.commit(12, 9_000_000)
    wal.limits(MINIMAL)
    wal.prepare(13)
    space = wal.create(16400, b"/srv/aside\0")
    facts = wal.facts()
    assert (facts.minimal, facts.whole, facts.last) == (minimal, minimal, before)
    assert (facts.commits, facts.times.latest, facts.xids.newest) == (2, EPOCH + timedelta(seconds=2), 11)
    assert [type(each) for each in facts.effects] == [
        ParameterChange, ParameterChange, PreparedTransaction, TablespaceCreated], "what follows is known all the same"
    assert facts.effects[-1] == TablespaceCreated(16400, "/srv/aside", space, 1, space // wal.size, Lsn(wal.at))


@pytest.mark.parametrize("xids", [(700, 690, 710), (710, 700, 690), (3, 4_294_967_290, 5), (4_294_967_290, 3, 700)])
@pytest.mark.parametrize("goes_on", [True, False])
def test_a_segment_in_pieces_has_the_facts_of_the_whole_wherever_each_of_them_stands(
        xids: tuple[int, ...], goes_on: bool) -> None:
    """Each in a page of its own, and the first piece without any."""
    wal = History()
    for n, xid in enumerate(xids):
        wal.append(bytes(9000))
        wal.commit(xid, (7, 3, 9)[n], info=0x20 * (n == 1))
        wal.append(bytes(9000))
        wal.append(restore_point(f"point {n}"), rmid=XLOG, info=RESTORE_POINT)
        wal.append(bytes(9000))
        wal.create(16400 + n, b"/srv/aside\0")
        wal.prepare(800 + n)
        wal.append(bytes(9000))
        wal.end(800 + n)
    if not goes_on:
        wal.limits(MINIMAL)
    wal.append(bytes(9000))
    wal.commit(900, 1)
    [(start, data)] = wal.segments()
    whole = skim(data, start)
    assert skim_all([(Lsn(start + at), data[at:at + 8192]) for at in range(0, len(data), 8192)]) == whole
    assert (whole.commits, whole.aborts, whole.passed, len(whole.restore_points)) == (5 + goes_on, 1, 3, 3)


def test_what_ends_behind_minimal_wal_runs_no_longer() -> None:
    """Facts of the segments that follow rest on it."""
    wal = History()
    for xid in (500, 501, 502):
        wal.append(one_block((1663, 5, 20000), struct.pack("<IHBB", xid, 1, 0, 0)), rmid=HEAP, info=0x10, xid=xid)
    wal.limits(MINIMAL)
    wal.commit(500, 42)
    wal.commit(501, 42, info=ABORT)
    wal.append(short(bytes(8)), rmid=TRANSACTION, info=ASSIGNMENT, xid=502)
    assert wal.facts().running == {502: 1}


# Prepared transactions


@pytest.mark.parametrize("major", MAJORS)
def test_a_prepared_transaction_is_read_with_the_relations_it_locks(major: int) -> None:
    """Whatever lists stand before; other locks are not of relations, and other parts are no locks."""
    other = struct.pack("<IBxH", 3, 2, 0) + padded(b"abc")
    locks = lock(5, 16384, 8) + other + lock(5, 7, 3, kind=4) + lock(0, 1262, 3)
    state = two_phase(major, lists=(3, 2, 1), locks=locks)
    assert read_two_phase(state, major, 0x300028) == PreparedTransaction(
        700, "a gid", 5, 10, EPOCH + timedelta(microseconds=42), Lsn(0x300028), ((5, 16384, 8), (0, 1262, 3)))
    assert read_two_phase(state, major).lsn == 0, "of its file"


@pytest.mark.parametrize("gid", [b"", b"x" * 7, b"x" * 8, b"x" * 199, "größe".encode(), b"a\xffb"])
def test_its_name_may_be_of_any_length(gid: bytes) -> None:
    state = two_phase(18, gid=gid, lists=(1,), locks=lock(5, 16384, 1))
    found = read_two_phase(state, 18)
    assert (found.gid, found.locks) == (gid.decode("utf-8", "backslashreplace"), ((5, 16384, 1),))


@pytest.mark.parametrize(("state", "why"), [
    (two_phase(18, magic=0x57F94533), "its magic number is 57F94533"),
    (two_phase(18)[:20], "the state of a prepared transaction is truncated"),
    (two_phase(18)[:-8], "the state of a prepared transaction is truncated"),
    (with_subxacts(-1), "a list of -1 elements does not fit"),
    (with_subxacts(1 << 30), "a list of 1073741824 elements does not fit")])
def test_a_state_that_makes_no_sense_is_refused(state: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=f"^{why}$"):
        read_two_phase(state, 18)


@pytest.mark.parametrize("kind", [COMMIT_PREPARED, ABORT_PREPARED])
@pytest.mark.parametrize("major", MAJORS)
def test_what_is_prepared_and_ended_in_one_segment_leaves_nothing(major: int, kind: int) -> None:
    wal = History(major)
    prepared, stays, ended = wal.prepare(700), wal.prepare(701), wal.end(700, kind)
    facts = wal.facts()
    assert [(each.xid, each.lsn) for each in facts.effects] == [(701, stays)]
    assert facts.passed == 1
    assert [(type(each), each.xid, each.lsn) for each in effects_of(wal.segments())] == [
        (PreparedTransaction, 700, prepared), (PreparedTransaction, 701, stays), (PreparedEnded, 700, ended)]


def test_what_was_prepared_earlier_ends() -> None:
    wal = History()
    lsn = wal.end(700)
    facts = wal.facts()
    assert (facts.effects, facts.passed) == ((PreparedEnded(700, lsn),), 0)


@pytest.mark.parametrize(("rmid", "info", "body"), [
    (TABLESPACE, 0, b"\1\0"), (TABLESPACE, 0, struct.pack("<I", 16400) + b"/no end"),
    (XLOG, PARAMETER_CHANGE, bytes(20)), (TRANSACTION, PREPARE, bytes(8)),
    (TRANSACTION, COMMIT_PREPARED, bytes(4))])
def test_a_record_that_makes_no_sense_is_not_guessed_at(rmid: int, info: int, body: bytes) -> None:
    wal = History()
    lsn = wal.append(short(body), rmid=rmid, info=info, xid=700)
    with pytest.raises(ValueError, match=f"^the (transaction )?record at {lsn} cannot be decoded: "):
        list(effects_of(wal.segments()))


def test_effects_come_from_all_pieces_until_the_wal_ends() -> None:
    wal = History()
    one = wal.create(16400, b"/a\0")
    wal.append(bytes(wal.size))
    other = wal.create(16401, b"/b\0")
    assert [each.lsn for each in effects_of(wal.segments())] == [one, other]
    torn = bytearray(wal.segments()[0][1])
    torn[wal.lsns[1] - wal.start + 4] ^= 1
    torn[8192 + 16] ^= 1
    pieces = [(wal.segments()[0][0], bytes(torn)), wal.segments()[1]]
    assert [each.lsn for each in effects_of(pieces)] == [one]
    assert len(list(follow(wal.segments()))) == 3
