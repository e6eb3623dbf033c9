"""What is reported of a restored server's progress, and of its standing still: with a clock of its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pgvault.engine.restore import movement
from pgvault.engine.restore.movement import Advance, Stillness
from pgvault.model.event import Event, Noted, Progressed
from pgvault.model.lsn import Lsn


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(movement, "time", clock)
    return clock


@pytest.fixture
def events() -> list[Event]:
    return []


def progress(events: list[Event]) -> list[int]:
    return [each.done_bytes for each in events if isinstance(each, Progressed)]


@pytest.fixture
def advance(clock: Clock, events: list[Event]) -> Callable[[Lsn | None], Advance]:
    return lambda stop: Advance(events.append, Lsn(100), stop)


def test_the_replay_is_told_once_a_second(advance: Callable[[Lsn | None], Advance], clock: Clock,
                                          events: list[Event]) -> None:
    there = advance(Lsn(200))
    assert there.to(Lsn(110))
    assert progress(events) == []
    clock.now += 1.0
    assert there.to(Lsn(120))
    assert progress(events) == []
    clock.now += 0.5
    assert there.to(Lsn(130))
    clock.now += 0.5
    assert there.to(Lsn(140))
    assert progress(events) == [30]
    clock.now += 1.0
    there.to(Lsn(150))
    assert progress(events) == [30, 50]


def test_it_stands_since_it_last_moved(advance: Callable[[Lsn | None], Advance], clock: Clock) -> None:
    there = advance(None)
    clock.now += 3
    assert there.stands_for == 3
    assert there.to(Lsn(110))
    assert there.stands_for == 0
    clock.now += 2
    assert not there.to(Lsn(110))
    assert not there.to(None)
    assert there.stands_for == 2


@pytest.mark.parametrize(("stop", "at", "told"), [
    (Lsn(200), 250, [100]), (Lsn(200), 90, [0]), (None, 250, [150]), (Lsn(200), 101, [1])])
def test_never_more_than_all_is_told(advance: Callable[[Lsn | None], Advance], clock: Clock, events: list[Event],
                                     stop: Lsn | None, at: int, told: list[int]) -> None:
    there = advance(stop)
    clock.now += 2
    there.to(Lsn(at))
    assert progress(events) == told


@pytest.mark.parametrize(("stop", "at", "told"), [(Lsn(200), 150, [100]), (None, 150, [50]), (None, None, [])])
def test_at_its_end_all_of_it_is_done(advance: Callable[[Lsn | None], Advance], events: list[Event], stop: Lsn | None,
                                      at: int | None, told: list[int]) -> None:
    there = advance(stop)
    there.to(None if at is None else Lsn(at))
    there.end()
    assert progress(events) == told


def test_standing_still_is_told_after_half_a_minute_and_each_time_that_has_doubled(clock: Clock,
                                                                                  events: list[Event]) -> None:
    still = Stillness(events.append)
    assert still.look(["a"], None, "")
    clock.now += 30
    assert not still.look(["a"], Lsn(0x3000000), "replays")
    assert events == []
    clock.now += 1
    assert not still.look(["a"], Lsn(0x3000000), "replays")
    assert still.seconds == 31
    clock.now += 28
    still.look(["a"], None, "")
    clock.now += 2
    still.look(["a"], None, "")
    clock.now += 60
    still.look([], None, "")
    assert [(each.text, each.code) for each in events if isinstance(each, Noted)] == [
        ("nothing has moved for 31 s: the restored server stands still at 0/3000000 (replays)", "standing"),
        ("nothing has moved for 1 min 01 s: the restored server stands still", "standing"),
        ("nothing has moved for 2 min 01 s: the restored server stands still", "standing")]


def test_what_was_seen_before_is_no_movement(clock: Clock, events: list[Event]) -> None:
    """A server that does the same again and again, as after crashes, does not move."""
    still = Stillness(events.append)
    assert still.look(["a"], None, "")
    clock.now += 20
    assert still.look(["a", "b"], None, "")
    assert still.seconds == 0
    clock.now += 20
    assert not still.look(["a"], None, "")
    assert still.seconds == 20
    clock.now += 11
    still.look(["b"], None, "")
    assert len(events) == 1
    assert still.look(["c"], None, "")
    clock.now += 31
    still.look(["c"], None, "")
    assert len(events) == 2  # it is told anew after half a minute
