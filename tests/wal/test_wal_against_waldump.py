"""Our reading of real WAL, record by record, against PostgreSQL's own pg_waldump."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from wal_history import SIZE, History

from pgvault.model.lsn import Lsn
from pgvault.wal.bodies import parse_body
from pgvault.wal.facts import Times, Xids, may_hold, skim, skim_all
from pgvault.wal.pages import check_segment, read_header
from pgvault.wal.record import TRANSACTION
from pgvault.wal.records import Cause, Reading, follow
from pgvault.wal.transactions import Kind, read_transaction, transactions, transactions_of

_BLOCK = re.compile(r"blkref #(\d+): rel (\d+)/(\d+)/(\d+)(?: fork (\w+))? blk (\d+)( FPW)?")
_KINDS = {"COMMIT": Kind.COMMIT, "ABORT": Kind.ABORT, "COMMIT_PREPARED": Kind.COMMIT_PREPARED,
          "ABORT_PREPARED": Kind.ABORT_PREPARED}
_ENDED = re.compile(r"((?:COMMIT|ABORT)(?:_PREPARED)?) (?:(\d+): )?(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}) UTC(.*)")


def _skims(history: History) -> list:
    found, carry = [], None
    for start, data in history.pieces:
        found.append(skim(data, start, carry))
        carry = found[-1].carry
    return found


def test_every_record_is_where_pg_waldump_sees_it(history: History) -> None:
    ours = list(follow(history.pieces))
    assert [(r.lsn, len(r.data), r.xid, int.from_bytes(r.data[8:16], "little")) for r in ours] == [
        (r.lsn, r.total, r.xid, r.prev) for r in history.listed]
    names = {(ours.rmid, theirs.rmgr) for ours, theirs in zip(ours, history.listed, strict=True)}
    assert len(names) == len({number for number, _ in names}), "a resource manager has two names"
    for record, following in pairwise(ours):
        gap = following.lsn - record.end_lsn
        assert gap == 0 or (gap in (24, 40) and record.end_lsn % 8192 == 0)


def test_blocks_and_images_agree_with_pg_waldump(history: History) -> None:
    compressed = set()
    for ours, theirs in zip(follow(history.pieces), history.listed, strict=True):
        body = parse_body(ours, history.major)
        assert ours.lsn == theirs.lsn
        assert theirs.total - theirs.plain == sum(len(b.image.data) for b in body.blocks if b.image)
        assert [
            (b.id, *b.relation, b.fork.name.lower(), b.block, bool(b.image and b.image.applied)) for b in body.blocks
        ] == [
            (int(id_), int(spc), int(db), int(rel), fork or "main", int(block), bool(image))
            for id_, spc, db, rel, fork, block, image in _BLOCK.findall(theirs.text)
        ], theirs
        compressed |= {b.image.compression for b in body.blocks if b.image}
    by_default = "lz4" if history.major >= 19 else "pglz"
    assert compressed >= {"", by_default}, "the workload wrote no compressed images"


def test_every_transactions_end_agrees_with_pg_waldump(history: History) -> None:
    theirs = [(listed, match) for listed in history.listed
              if listed.rmgr == "Transaction" and (match := _ENDED.match(listed.text))]
    ours = [t for r in follow(history.pieces, rmgrs=(TRANSACTION,)) if (t := read_transaction(r, history.major))]
    assert len(theirs) > 300
    for transaction, (listed, match) in zip(ours, theirs, strict=True):
        name, prepared, time, rest = match.groups()
        assert (transaction.lsn, transaction.kind) == (listed.lsn, _KINDS[name])
        assert transaction.xid == int(prepared or listed.xid)
        assert transaction.time == datetime.strptime(time, "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC)
        parts = {key.strip(): value for key, _, value in (part.partition(":") for part in rest.split(";"))}
        assert list(transaction.subxids) == [int(x) for x in parts.get("subxacts", "").split()]
        files = parts.get("rels", "").split()
        assert [r.number for r in transaction.relations] == [int(path.split("/")[-1]) for path in files]
        assert ["/".join(map(str, d)) for d in transaction.dropped] == parts.get("dropped stats", "").split()
    kinds = {transaction.kind for transaction in ours}
    assert kinds == set(Kind)
    assert max(len(t.relations) for t in ours) == 1500
    assert max(len(t.subxids) for t in ours) == 3000
    assert (max(len(t.dropped) for t in ours) == 1500) == (history.major >= 15)


def test_the_writer_recognises_its_transactions(history: History) -> None:
    """The xid of a prepared transaction is its own, and its name is kept."""
    ended = {}
    for start, data in history.pieces:
        for transaction in transactions(data, start):
            ended[transaction.xid] = transaction
    facts = history.facts
    assert ended[facts["aborted xid"]].kind is Kind.ABORT
    prepared, undone = ended[facts["it's prepared"]], ended[facts["undone"]]
    assert (prepared.kind, prepared.gid, len(prepared.subxids)) == (Kind.COMMIT_PREPARED, "it's prepared", 1)
    assert (undone.kind, undone.gid, len(undone.relations)) == (Kind.ABORT_PREPARED, "undone", 1)


def test_facts_add_up_over_all_segments(history: History) -> None:
    """Records that span segments are counted once, with the segment in which they end."""
    skims = _skims(history)
    ended = [m for listed in history.listed if listed.rmgr == "Transaction" and (m := _ENDED.match(listed.text))]
    assert sum(f.records for f in skims) == len(history.listed)
    assert sum(f.commits for f in skims) == sum(m[1].startswith("COMMIT") for m in ended)
    assert sum(f.aborts for f in skims) == sum(m[1].startswith("ABORT") for m in ended)
    assert {f.major for f in skims} == {history.major}
    assert [f.first for f in skims if f.first] == sorted(f.first for f in skims if f.first)
    assert skims[0].first == history.listed[0].lsn
    assert [f.last for f in skims if f.last][-1] == history.listed[-1].lsn
    times = [f.times for f in skims if f.times]
    texts = [m[3] for m in ended]
    assert f"{times[0].first:%Y-%m-%d %H:%M:%S.%f}" == texts[0]
    assert f"{times[-1].last:%Y-%m-%d %H:%M:%S.%f}" == texts[-1]
    assert f"{min(t.earliest for t in times):%Y-%m-%d %H:%M:%S.%f}" == min(texts)
    assert f"{max(t.latest for t in times):%Y-%m-%d %H:%M:%S.%f}" == max(texts)
    assert any(f.records == 0 and f.end is None for f in skims), "no record is longer than a segment"


def test_a_reading_may_start_at_any_segment(history: History) -> None:
    """Without the segment before, what began there is left out, as pg_waldump --start does."""
    number = len(history.pieces)
    for low, high in ((1, 4), (number // 3, number // 3 + 3), (number // 2, number - 1)):
        pieces = history.pieces[low:high]
        start, end = pieces[0][0], Lsn(pieces[-1][0] + SIZE)
        assert [r.lsn for r in follow(pieces)] == [r.lsn for r in history.listed_between(start, end)]


def test_a_segment_may_be_read_in_pieces(history: History) -> None:
    """Memory is bounded: pieces of any number of pages, one after the other, tell the same."""
    segments = history.pieces[:12]
    whole = _skims(history)[:12]
    for pages in (1, 3, 50):
        carry, records, commits = None, 0, 0
        for start, data in segments:
            for at in range(0, SIZE, pages * 8192):
                facts = skim(memoryview(data)[at:at + pages * 8192], start + at, carry)
                carry, records, commits = facts.carry, records + facts.records, commits + facts.commits
        assert (records, commits) == (sum(f.records for f in whole), sum(f.commits for f in whole))


def test_the_facts_of_a_large_segment_are_those_of_its_pieces(history: History) -> None:
    """What is read in pieces is told as one: here a run of whole segments stands for one large segment."""
    count = 12
    whole = _skims(history)[:count]
    joined = skim_all(history.pieces[:count])
    times = [f.times for f in whole if f.times]
    assert joined.records == sum(f.records for f in whole)
    assert (joined.commits, joined.aborts) == (sum(f.commits for f in whole), sum(f.aborts for f in whole))
    assert joined.restore_points == tuple(p for f in whole for p in f.restore_points)
    assert joined.times == Times(times[0].first, times[-1].last, min(t.earliest for t in times),
                                 max(t.latest for t in times))
    assert joined.xids == Xids(min(f.xids.oldest for f in whole if f.xids), max(f.xids.newest for f in whole if f.xids))
    assert (joined.end, joined.carry) == (whole[-1].end, whole[-1].carry)
    assert len(list(transactions_of(history.pieces[:count]))) == joined.commits + joined.aborts


def test_restore_points_are_found_by_name(history: History) -> None:
    points = {p.name: p for f in _skims(history) for p in f.restore_points}
    expected = {key.removeprefix("point "): Lsn.parse(at) for key, at in history.facts.items()
                if key.startswith("point ")}
    # pg_create_restore_point answers with the end of its record.
    assert {name: point.end_lsn for name, point in points.items()} == expected
    assert set(points) == {"it's", "before the flood", "naïve ☕"}
    listed = {listed.lsn for listed in history.listed if listed.text.startswith("RESTORE_POINT")}
    assert {point.lsn for point in points.values()} == listed


def test_a_switch_and_the_end_of_the_wal_are_told_apart(history: History) -> None:
    skims = _skims(history)
    ends = [f.end for f in skims if f.end]
    assert {e.cause for e in ends[:-1]} == {Cause.SWITCHED}
    switches = [a.end_lsn for a in follow(history.pieces) if a.rmid == 0 and a.info & 0xF0 == 0x40]
    assert len(switches) == len(ends) - 1
    assert all(position % SIZE == 0 for position in switches)
    assert ends[-1].cause is Cause.UNWRITTEN
    assert ends[-1].lsn > history.listed[-1].lsn
    assert skims[-1].carry is None


def test_every_checksum_of_a_real_server_is_right(history: History) -> None:
    carry = None
    for (start, data), quick in zip(history.pieces, _skims(history), strict=True):
        facts = skim(data, start, carry, every_crc=True)
        assert facts == quick
        carry = facts.carry


def test_arriving_segments_pass_and_misnamed_ones_do_not(history: History) -> None:
    """Rule 12."""
    for segment, data in history.segments:
        header = read_header(data)
        check_segment(header, len(data), segment, SIZE, history.system_identifier)
        assert (header.major, header.timeline, header.segment_size) == (history.major, 1, SIZE)
        with pytest.raises(ValueError, match="holds the WAL from"):
            check_segment(read_header(data), len(data), segment.next(), SIZE, history.system_identifier)
        with pytest.raises(ValueError, match="another cluster"):
            check_segment(read_header(data), len(data), segment, SIZE, history.system_identifier + 1)


def test_xid_ranges_hold_every_transaction_of_their_segment(history: History) -> None:
    for (start, data), facts in zip(history.pieces, _skims(history), strict=True):
        for transaction in transactions(data, start):
            assert facts.xids
            oldest, newest = facts.xids.oldest, facts.xids.newest
            assert may_hold(oldest, newest, transaction.xid)
            assert not may_hold(oldest, newest, newest + 1)


def test_a_carry_serves_whichever_reading_comes_next(history: History) -> None:
    """Also when the readings before looked for other records."""
    carry, found = None, []
    for number, (start, data) in enumerate(history.pieces):
        if number % 2:
            carry = skim(data, start, carry).carry
        else:
            reading = Reading(data, start, carry, rmgrs=())
            assert list(reading) == []
            carry = reading.carry
        found.append(carry)
    assert found[-1] is None
    assert all(found[:-1])
    assert read_header(history.pieces[0][1]).major == history.major
