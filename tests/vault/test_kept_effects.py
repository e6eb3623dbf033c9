"""Effects of replay are kept in the WAL index as they were read."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from pgvault.model.lsn import Lsn
from pgvault.model.replay import (
    Effect,
    Limits,
    ParameterChange,
    PreparedEnded,
    PreparedTransaction,
    TablespaceCreated,
    TablespaceDropped,
)
from pgvault.model.segment import Segment
from pgvault.vault.wal_effects import load, store

TIMES = st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
NUMBERS = st.integers(0, 1 << 31)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)


def effects(lsn: int) -> st.SearchStrategy[Effect]:
    at = st.just(Lsn(lsn))
    return st.one_of(
        st.builds(TablespaceCreated, NUMBERS, TEXTS, at, st.just(2), st.just(7), NUMBERS.map(Lsn), st.none() | TEXTS),
        st.builds(TablespaceDropped, NUMBERS, at), st.builds(PreparedEnded, NUMBERS, at),
        st.builds(ParameterChange, at, st.builds(Limits, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS), NUMBERS),
        st.builds(PreparedTransaction, NUMBERS, TEXTS, NUMBERS, NUMBERS, TIMES, at,
                  st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), max_size=3).map(tuple)))


@given(st.integers(1, 4).flatmap(lambda count: st.tuples(*(effects(1 << 40 | n) for n in range(count)))))
def test_each_kind_is_read_back_as_it_was(kept: tuple[Effect, ...]) -> None:
    with sqlite3.connect(":memory:") as connection:
        connection.execute("CREATE TABLE effect (timeline, number, lsn, kind, facts, PRIMARY KEY (timeline, lsn))")
        store(connection, Segment(2, 7), [TablespaceDropped(1, Lsn(99))])
        store(connection, Segment(2, 7), kept)
        assert list(load(connection, 2, 7, 7)) == [(7, each) for each in kept], "in the place of what was there"
        for timeline, first, last in ((2, 8, 9), (2, 0, 6), (1, 0, 9)):
            assert list(load(connection, timeline, first, last)) == []
        store(connection, Segment(2, 7), [])
        assert list(load(connection, 2, 0, 9)) == []
    connection.close()
