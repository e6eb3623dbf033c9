"""What the facts of a segment say that its commits may have destroyed, so that a search passes over the others."""

from __future__ import annotations

import struct

import pytest
from made_up import DELETE, UPDATE, Deeds

from pgvault.wal.facts import SegmentFacts, skim

TABLE = 20000
HAS_PARTS, PREPARED, FORCED = 0x80, 1 << 4, 1 << 31
COMMIT_PREPARED, ABORT_PREPARED = 0x30, 0x40


def facts_of(deeds: Deeds) -> SegmentFacts:
    [(start, data)] = deeds.segments()
    return skim(data, start)


def rows(deeds: Deeds, xid: int, number: int) -> None:
    for n in range(number):
        deeds.row(xid, TABLE + n % 3, operation=UPDATE if n % 2 else DELETE)


def test_the_most_rows_that_one_commit_changed() -> None:
    """In all relations together. What was rolled back destroyed nothing."""
    deeds = Deeds()
    for xid, number, commits in ((500, 4, True), (501, 7, True), (502, 5, True), (503, 9, False)):
        rows(deeds, xid, number)
        deeds.end(xid, commits=commits)
    facts = facts_of(deeds)
    assert (facts.most_rows, facts.running) == (7, {})


def test_the_rows_of_subtransactions_are_those_of_their_transaction() -> None:
    deeds = Deeds()
    for xid, number in ((600, 3), (601, 4), (602, 5), (700, 8)):
        rows(deeds, xid, number)
    deeds.end(600, subxids=(601, 602, 650))
    facts = facts_of(deeds)
    assert (facts.most_rows, facts.running) == (12, {700: 8})


def test_a_commit_that_changed_no_row_counts_for_none() -> None:
    deeds = Deeds()
    deeds.end(500)
    deeds.end(600, subxids=(601,))
    assert (facts_of(deeds).most_rows, facts_of(deeds).removals) == (0, 0)


def test_each_commit_that_removed_files_counts() -> None:
    deeds = Deeds()
    deeds.end(500, files=(TABLE,))
    deeds.end(501, files=(TABLE + 1, TABLE + 2))
    deeds.end(502, files=(TABLE + 3,), commits=False)  # a table that was never there
    deeds.end(503, subxids=(504,))
    deeds.commit(505, 0, rest=struct.pack("<I", FORCED), info=HAS_PARTS)  # as DROP DATABASE does
    deeds.commit(506, 0, rest=struct.pack("<I", 1 << 30), info=HAS_PARTS)
    assert facts_of(deeds).removals == 3


def test_commits_that_cannot_be_decoded_count_as_removals_for_the_search_to_look_at() -> None:
    deeds = Deeds()
    rows(deeds, 500, 3)
    for xid in (500, 501):
        deeds.commit(xid, 0, rest=struct.pack("<Ii", 1 << 2, -1), info=HAS_PARTS)
    facts = facts_of(deeds)
    assert (facts.removals, facts.most_rows, facts.running) == (2, 3, {})


@pytest.mark.parametrize(("info", "most"), [(COMMIT_PREPARED, 6), (ABORT_PREPARED, 0)])
def test_what_was_prepared_ends_under_the_xid_it_was_prepared_with(info: int, most: int) -> None:
    deeds = Deeds()
    rows(deeds, 500, 6)
    deeds.commit(0, 0, rest=struct.pack("<II", PREPARED, 500), info=info | HAS_PARTS)
    facts = facts_of(deeds)
    assert (facts.most_rows, facts.running) == (most, {})


def test_what_no_checkpoint_finds_running_is_forgotten() -> None:
    """After a crash its transactions end without a record."""
    deeds = Deeds()
    for xid in (500, 501, 502):
        rows(deeds, xid, 2)
    deeds.checkpoint(510, 501)
    assert facts_of(deeds).running == {501: 2, 502: 2}
    deeds.checkpoint(510, 0)  # wal_level was minimal: it says nothing
    assert facts_of(deeds).running == {501: 2, 502: 2}
