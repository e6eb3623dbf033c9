"""Segments in which nothing can have been lost are not read, and nothing is missed by that."""

from __future__ import annotations

import json
import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from happenings import Site
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import Deeds
from support.objects import wal_path
from test_event_reading import archived, fill, name_of

from pgvault.engine import event_reading, events
from pgvault.engine.events import WalEvent, find_events
from pgvault.model.event import Event
from pgvault.vault import wal_index
from pgvault.vault.layout import ServerVault
from pgvault.vault.wal_archive import accept
from pgvault.vault.wal_facts import read_facts
from pgvault.wal.accidents import EventKind

MIB = 1 << 20
TABLE = 20000


def forget_losses(vault: ServerVault) -> None:
    """As if nothing were known: every segment has to be read."""
    with wal_index.writing(vault) as index, index.connection:
        index.connection.execute("UPDATE facts SET removals = NULL")


def both_ways(vault: ServerVault, **query: Any) -> list[WalEvent]:
    events = list(find_events(vault, **query))
    assert list(find_events(vault, newest_first=True, **query)) == events[::-1]
    return events


def next_segment(deeds: Deeds) -> None:
    fill(deeds, (deeds.at // MIB + 1) * MIB + 100)


def test_quiet_segments_are_not_read(tmp_path: Path) -> None:
    deeds = Deeds()
    for number in range(14):
        deeds.running(700 + number, 700 + number)
        if number == 3:
            deeds.lock(700 + number, TABLE)
            deeds.end(700 + number, files=(TABLE,), dropped=(TABLE,))
        for _ in range(100 if number == 10 else 99):
            deeds.row(700 + number, TABLE + number)
        if number != 3:
            deeds.end(700 + number)
        if number == 6:
            deeds.point("there")
        next_segment(deeds)
    vault = archived(tmp_path, deeds)
    events = both_ways(vault)
    assert [event.kind for event in events] == [EventKind.DROP, EventKind.RESTORE_POINT, EventKind.DELETE]
    for number in (7, 11, 12, 13):
        wal_path(vault, name_of(deeds, number)).write_bytes(b"nonsense")
    told: list[Event] = []
    assert both_ways(vault, emit=told.append) == events
    for number in range(5, 11):
        wal_path(vault, name_of(deeds, number)).write_bytes(b"nonsense")
    assert both_ways(vault, kinds={EventKind.DROP, EventKind.TRUNCATE}, emit=told.append) == events[:1]
    assert told == []


def test_rows_are_added_up_over_segments_in_whatever_order_they_arrive(tmp_path: Path) -> None:
    deeds = Deeds()
    for xid in (800, 801, 800):
        for _ in range(25):
            deeds.row(xid, TABLE)
            deeds.row(900, TABLE + 1)
        next_segment(deeds)
        next_segment(deeds)
    deeds.end(801, commits=False)
    deeds.end(900, subxids=(800,))
    deeds.running(901, 901)
    next_segment(deeds)
    vault = archived(tmp_path, deeds, without=(0, 2))
    read_facts(vault)
    for number in (2, 0):
        accept(vault, name_of(deeds, number), BytesIO(deeds.segments()[number][1]))
        read_facts(vault)
    assert [event.rows for event in both_ways(vault, mass=75)] == [75]
    with wal_index.reading(vault) as index:
        rows = [most for [most] in index.connection.execute("SELECT most_rows FROM facts ORDER BY number")]
    assert rows == [None, 0, 0, 0, 0, 0, 125, 0]


def long_one(tmp_path: Path, *, drops: bool) -> ServerVault:
    """A transaction that others write 40 segments between its deed and its end."""
    deeds = Deeds()
    deeds.running(700, 700)
    next_segment(deeds)
    deeds.running(700, 700)
    if drops:
        deeds.lock(700, TABLE)
        deeds.create(700, TABLE + 7)
    for _ in range(500):
        deeds.row(700, TABLE)
    for number in range(40):
        deeds.row(701 + number, TABLE + 1)
        deeds.end(701 + number)
        next_segment(deeds)
        deeds.running(702 + number, 700)
    deeds.end(700, files=(TABLE,) if drops else ())
    next_segment(deeds)
    return archived(tmp_path, deeds)


@pytest.mark.slow
def test_a_transaction_is_read_from_its_beginning_however_much_others_wrote_meanwhile(tmp_path: Path) -> None:
    told: list[Event] = []
    event, = both_ways(long_one(tmp_path, drops=False), kinds={EventKind.DELETE}, emit=told.append)
    assert event.rows == 500
    assert told == []


@pytest.mark.slow
def test_a_beginning_out_of_reach_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vault = long_one(tmp_path, drops=False)
    monkeypatch.setattr(event_reading, "LOOK_BACK", 20)
    monkeypatch.setattr(events, "LOOK_BACK", 20)
    for newest_first in (False, True):
        told: list[Event] = []
        assert list(find_events(vault, kinds={EventKind.DELETE}, newest_first=newest_first, emit=told.append)) == []
        assert [each.code for each in told] == ["cut-off"]


@pytest.mark.slow
def test_a_rewrite_that_takes_long_is_no_drop(tmp_path: Path) -> None:
    vault = long_one(tmp_path, drops=True)
    event, = both_ways(vault, kinds=set(EventKind) - {EventKind.DELETE})
    forget_losses(vault)
    assert both_ways(vault, kinds=set(EventKind) - {EventKind.DELETE}) == [event]


def test_what_a_crash_left_is_not_handed_on_for_ever(tmp_path: Path) -> None:
    deeds = Deeds()
    for xid in range(700, 750):
        deeds.row(xid, TABLE)
    next_segment(deeds)
    deeds.row(760, TABLE)
    deeds.checkpoint(761, 755)
    next_segment(deeds)
    next_segment(deeds)
    vault = archived(tmp_path, deeds)
    read_facts(vault)
    with wal_index.reading(vault) as index:
        kept = [json.loads(text) for [text] in index.connection.execute("SELECT running FROM facts ORDER BY number")]
    assert [len(each) for each in kept[:3]] == [50, 1, 1]


deeds_of_a_day = st.lists(st.tuples(
    st.sampled_from(["row", "row", "row", "rows", "commit", "abort", "drop", "point", "segment", "running"]),
    st.integers(700, 706)), max_size=80)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(deeds_of_a_day, st.sampled_from([1, 5, 60, 100]))
def test_nothing_is_missed(day: list[tuple[str, int]], mass: int) -> None:
    deeds, ended = Deeds(), set[int]()
    for what, xid in day:
        if xid in ended and what in ("row", "rows", "commit", "abort", "drop"):
            continue  # no transaction does anything behind its end
        if what in ("commit", "abort", "drop"):
            ended.add(xid)
        if what in ("row", "rows"):
            for _ in range(40 if what == "rows" else 1):
                deeds.row(xid, TABLE + xid % 2)
        elif what == "segment":
            next_segment(deeds)
        elif what == "running":
            deeds.running(707, 700)
        elif what == "point":
            deeds.point("there")
        elif what == "drop":
            deeds.end(xid, files=(TABLE + 5,), subxids=(xid + 10,))
        else:
            deeds.end(xid, commits=what == "commit")
    deeds.append(b"end")
    with tempfile.TemporaryDirectory() as home:
        vault = archived(Path(home), deeds)
        for query in ({}, {"kinds": {EventKind.DELETE}}, {"kinds": {EventKind.TRUNCATE}}):
            events = both_ways(vault, mass=mass, **query)
            forget_losses(vault)
            assert both_ways(vault, mass=mass, **query) == events
            with wal_index.writing(vault) as index:
                index.forget_facts()


@pytest.mark.parametrize("mass", [50, 100])
def test_nothing_of_what_servers_write_is_missed(lived: Site, mass: int) -> None:
    query: dict[str, Any] = {"kinds": set(EventKind), "mass": mass}
    events = both_ways(lived.vault, **query)
    with wal_index.reading(lived.vault) as index:
        [[quiet]] = index.connection.execute(
            "SELECT count(*) FROM facts WHERE removals = 0 AND most_rows < ?", (mass,))
    assert quiet
    forget_losses(lived.vault)
    assert both_ways(lived.vault, **query) == events
    with wal_index.writing(lived.vault) as index:
        index.forget_facts()
