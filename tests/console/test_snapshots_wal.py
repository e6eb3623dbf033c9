"""Pictures of the WAL view: an evening with a gap, several timelines, accidents, nothing yet and an unusable index."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from desk import NARROW, WIDE, Desk, press, settle
from pictures import backup, steady
from test_wal import SIZE, an_evening, app, branch_off, drop, moment, near, store, view
from textual.pilot import Pilot

from pgvault.console.app import ConsoleApp
from pgvault.model.errors import Corrupt

SIZES = pytest.mark.parametrize("size", [NARROW, WIDE], ids=["80x24", "120x40"])
Picture = Callable[..., bool]


def keys(*pressed: str) -> Callable[[Pilot[None]], Awaitable[None]]:
    async def run(pilot: Pilot[None]) -> None:
        await settle(pilot)
        await press(pilot, "3", *pressed)
        view(pilot).read_around()
        await settle(pilot)
    return run


def evening(desk: Desk, **options: object) -> ConsoleApp:
    """With its transactions, and two tables dropped in it."""
    desk.serve("main", settings='timezone = "Europe/Paris"')
    an_evening(desk)
    desk.says("events main", drop(190, "0/5000100"), drop(130, "0/4000100", "x [/data/pg] y", xid=790))
    found = [near(100 + number * 2.5, 760 + number, number=3 + number // 24, at=1 + number % 24 * 690_000,
                  removed=2 * (number == 36)) for number in range(56)]
    return app(desk, *found, **options)


def family(desk: Desk) -> ConsoleApp:
    """A timeline that branched off another, and one that branched off that."""
    store(desk, {1: steady(2, 8), 2: steady(5, 12, begin=200), 3: steady(10, 16, begin=600)})
    branch_off(desk, 2, 1, 5 * SIZE + 1000)
    branch_off(desk, 3, 2, 10 * SIZE + 1000)
    desk.shelf.put(backup(90, 3), backup(330, 7, timeline=2), backup(700, 12, timeline=3))
    desk.now = moment(1100)
    return app(desk)


@SIZES
def test_the_timeline(desk: Desk, snap_compare: Picture, size: tuple[int, int]) -> None:
    assert snap_compare(evening(desk), terminal_size=size, run_before=keys("g", "n", *"llllllll"))


@SIZES
def test_in_a_gap(desk: Desk, snap_compare: Picture, size: tuple[int, int]) -> None:
    assert snap_compare(evening(desk), terminal_size=size, run_before=keys("l", "l", "l", "l"))


@SIZES
def test_accidents(desk: Desk, snap_compare: Picture, size: tuple[int, int]) -> None:
    assert snap_compare(evening(desk), terminal_size=size, run_before=keys("e", "j"))


@SIZES
def test_timelines(desk: Desk, snap_compare: Picture, size: tuple[int, int]) -> None:
    assert snap_compare(family(desk), terminal_size=size, run_before=keys("k"))


def test_in_ascii(desk: Desk, snap_compare: Picture) -> None:
    assert snap_compare(evening(desk, ascii_only=True), terminal_size=NARROW, run_before=keys("g", "n", "n"))


@SIZES
def test_without_wal(desk: Desk, snap_compare: Picture, size: tuple[int, int]) -> None:
    assert snap_compare(app(desk), terminal_size=size, run_before=keys())


@SIZES
def test_an_unusable_index(desk: Desk, snap_compare: Picture, size: tuple[int, int]) -> None:
    console = app(desk)

    def broken(server: str) -> None:
        raise Corrupt("the index /srv/vault/main/wal.sqlite cannot be used",
                      detail="SQLite says: file is [no] database.",
                      hint="It is a cache; make it again: pgvault rebuild-index main")
    console.queries.picture = broken
    assert snap_compare(console, terminal_size=size, run_before=keys())
