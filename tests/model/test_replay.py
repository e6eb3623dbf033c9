"""What replay does, summed up from the effects of its WAL."""

from __future__ import annotations

from datetime import UTC, datetime

from pgvault.model.lsn import Lsn
from pgvault.model.replay import (
    Limits,
    ParameterChange,
    PreparedEnded,
    PreparedTransaction,
    TablespaceCreated,
    TablespaceDropped,
    replay_from,
)

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def created(oid: int, at: int, name: str | None = None) -> TablespaceCreated:
    return TablespaceCreated(oid, f"/space/{oid}", Lsn(at), 1, 0, Lsn(at + 40), name)


def prepared(xid: int, at: int) -> PreparedTransaction:
    return PreparedTransaction(xid, f"gid {xid}", 5, 10, NOON, Lsn(at))


def test_each_setting_is_the_largest_of_its_kind() -> None:
    one, other = Limits(100, 8, 10, 0, 64), Limits(50, 9, 10, 2, 128)
    assert Limits.largest(one, None, other) == Limits(100, 9, 10, 2, 128)
    assert Limits.largest(None, one) is one
    assert Limits.largest(None, None) is None
    assert Limits.largest() is None


def test_what_lies_before_the_beginning_does_not_count_but_for_prepared_transactions() -> None:
    few, many = Limits(1, 1, 1, 1, 1), Limits(9, 9, 9, 9, 9)
    effects = [created(1, 10), TablespaceDropped(1, Lsn(20)), ParameterChange(Lsn(30), many, 1), prepared(7, 40),
               prepared(8, 50), PreparedEnded(8, Lsn(60)), created(2, 100), TablespaceDropped(2, Lsn(110)),
               ParameterChange(Lsn(120), few, 1), prepared(9, 130), PreparedEnded(6, Lsn(140)),
               PreparedEnded(99, Lsn(145)), created(3, 150, "named")]
    found = replay_from(effects, Lsn(100), held=[prepared(5, 0), prepared(6, 0)], names={2: "two", 3: "other"},
                        unread=["x"])
    assert found.created == (created(2, 100, "two"), created(3, 150, "named"))
    assert found.dropped == (TablespaceDropped(2, Lsn(110)),)
    assert found.limits == few
    assert [each.xid for each in found.pending] == [5, 7, 9]
    assert found.unread == ("x",)


def test_without_effects_nothing_is_done() -> None:
    found = replay_from([], Lsn(0))
    assert (found.limits, found.created, found.dropped, found.pending, found.unread) == (None, (), (), (), ())
    assert replay_from([created(4, 0)], Lsn(0)).created == (created(4, 0),)
