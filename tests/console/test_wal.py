"""The WAL view: what is archived on a line of time, the place on it, and the way from there to a recovery."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from desk import Desk, failure, press, screen, settle, toasts, words
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pictures import EPOCH, SECOND, Part, backup, steady, us
from support.objects import wal_path
from textual.pilot import Pilot

from pgvault.console.app import ConsoleApp
from pgvault.console.base import Change
from pgvault.console.recovery.search import Search
from pgvault.console.screens.wal import WalScreen
from pgvault.console.screens.wal_lists import accident_rows, transaction_rows
from pgvault.console.timeline.cursor import recovery_point
from pgvault.engine.event_names import WalObject
from pgvault.engine.event_neighbours import NearTransaction
from pgvault.model.errors import PgvaultError, WalMissing
from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment
from pgvault.model.target import AtLsn, AtTime, Immediate, Target
from pgvault.vault import wal_index
from pgvault.vault.compression import compress
from pgvault.wal.transactions import Kind

SIZE = 16 << 20


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(EPOCH / SECOND + seconds, UTC)


def store(desk: Desk, lanes: Mapping[int, Iterable[Part]], *, points: Mapping[str, tuple[float, int]] | None = None,
          server: str = "main") -> None:
    """Segments as the index has them, read but for those whose commits are not known."""
    with wal_index.writing(desk.shelf.server(server)) as index, index.connection:
        index.connection.execute("BEGIN")
        for timeline, parts in lanes.items():
            for part in parts:
                index.connection.execute("INSERT INTO file VALUES (?, 'segment', ?, ?, ?, 1000, x'00', ?)", (
                    Segment(timeline, part.number).name(SIZE), timeline, part.number, SIZE, us(part.accepted)))
                if part.commits >= 0:
                    index.connection.execute(
                        "INSERT INTO facts (timeline, number, joined, last_lsn, commits, earliest, latest) "
                        "VALUES (?, ?, 1, ?, ?, ?, ?)",
                        (timeline, part.number, (part.number + 1) * SIZE - 0x48, part.commits,
                         *(None if each is None else us(each) for each in (part.earliest, part.latest))))
        for name, (seconds, number) in (points or {}).items():
            lsn = number * SIZE + 1000
            index.connection.execute("INSERT INTO restore_point VALUES (1, ?, ?, ?, ?, ?)",
                                     (lsn, lsn + 100, us(seconds), name, number))


def branch_off(desk: Desk, timeline: int, parent: int, lsn: int) -> None:
    """The history file of a timeline."""
    text = f"{parent}\t{Lsn(lsn)}\tno recovery target specified\n".encode()
    server = desk.shelf.server()
    path = wal_path(server, f"{timeline:08X}.history")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(compress(text, 3))
    with wal_index.writing(server) as index:
        index.add(wal_index.StoredFile(path.name.removesuffix(".zst"), "history", timeline, None, len(text), 100,
                                       sha256(text).digest(), us(0)))


def an_evening(desk: Desk) -> None:
    """Ten minutes of WAL, a backup in the second, a restore point, and nothing archived for three minutes."""
    store(desk, {1: [*steady(2, 5), *steady(9, 11, begin=420)]}, points={"before release": (200, 5)})
    desk.shelf.put(backup(90, 3))
    desk.now = moment(660)


def near(seconds: float, xid: int, *, number: int = 4, at: int = 0, removed: int = 0, kind: Kind = Kind.COMMIT,
         objects: tuple[WalObject, ...] = ()) -> NearTransaction:
    lsn = number * SIZE + (at or xid * 100)
    return NearTransaction(Lsn(lsn), Lsn(lsn + 50), moment(seconds), xid, kind, 1, removed, objects)


def transactions(*found: NearTransaction) -> Callable[..., list[NearTransaction]]:
    def ask(server: str, timeline: int, lsn: Lsn, count: int) -> list[NearTransaction]:
        before = [each for each in found if each.lsn < lsn][-count:]
        return before + [each for each in found if each.lsn >= lsn][:count]
    return ask


def drop(seconds: float, lsn: str, name: str = "orders", *, timeline: int = 1, partial: bool = False,
         kind: str = "drop", xid: int = 801) -> dict[str, object]:
    undo = ["--target-lsn", lsn, "--exclusive", "--target-timeline", str(timeline), *["--partial"] * partial]
    return {"server": "main", "kind": kind, "time": moment(seconds).isoformat(), "timeline": timeline, "lsn": lsn,
            "end_lsn": lsn, "xid": xid, "database": {"oid": 16384, "name": "shop"}, "rows": 0, "name": "",
            "partial": partial, "undo": undo,
            "objects": [{"kind": "table", "schema": "public", "name": name, "oid": 16390, "number": 16390, "deleted": 0,
                         "updated": 0}]}


def view(pilot: Pilot[None]) -> WalScreen:
    assert isinstance(pilot.app.screen, WalScreen)
    return pilot.app.screen


def app(desk: Desk, *found: NearTransaction, **options: object) -> ConsoleApp:
    made = desk.app(**options)
    made.queries.transactions = transactions(*found)
    return made


async def rest(pilot: Pilot[None]) -> None:
    """The cursor stands still for a moment."""
    view(pilot).read_around()
    await settle(pilot)


def line(pilot: Pilot[None], name: str) -> str:
    return next(each for each in screen(pilot).splitlines() if each[1:].strip().startswith(name))


def row(pilot: Pilot[None], name: str) -> str:
    """Of the timeline, also where a toast lies over it."""
    timeline = view(pilot).timeline
    drawn = ("".join(map(str, timeline.line(y))) for y in range(timeline.height_wanted))
    return next(each for each in drawn if each.strip().startswith(name))


class Asked:
    """Recoveries that were begun, in place of the wizard."""

    def __init__(self, console: ConsoleApp) -> None:
        self.calls: list[dict[str, object]] = []
        console.open_recovery = lambda **facts: self.calls.append(facts)

    @property
    def target(self) -> Target:
        return self.calls[-1]["target"]


# What is seen


async def test_it_opens_on_the_last_instant_that_can_be_restored(desk: Desk) -> None:
    an_evening(desk)
    async with desk.open(app(desk)) as pilot:
        await press(pilot, "3")
        assert "main  timeline 1  all:" in screen(pilot)
        assert "3 missing" in line(pilot, "wal")
        assert "◆" in line(pilot, "backups")
        assert "⚑" in line(pilot, "marks")
        assert "├" in line(pilot, "window")
        assert "2026-11-01 12:03:59.000000Z" in line(pilot, "time")
        assert "0/5FFFFB8   000000010000000000000005   timeline 1" in line(pilot, "position")
        assert "the last commit that can be restored" in line(pilot, "here")
        assert "from 20261101T120030Z + 3 segments of WAL (48.0 MiB)" in line(pilot, "restore")


async def test_a_gap_says_its_name_and_what_is_nearest(desk: Desk) -> None:
    an_evening(desk)
    console = app(desk)
    asked = Asked(console)
    async with desk.open(console) as pilot:
        await press(pilot, "3", *["l"] * 8)
        assert "cannot be: 3 segments missing behind 000000010000000000000005" in line(pilot, "restore")
        assert "earlier 2026-11-01 12:03:59Z" in line(pilot, "nearest")
        await press(pilot, "r")
        assert not asked.calls
        assert "this instant cannot be restored" in screen(pilot)


async def test_arrows_move_by_columns_and_stop_at_marks(desk: Desk) -> None:
    an_evening(desk)
    async with desk.open(app(desk)) as pilot:
        await press(pilot, "3", "g")
        begin = view(pilot).timeline.cursor
        await press(pilot, "l", "l", "right")
        assert view(pilot).timeline.frame.column(view(pilot).timeline.cursor.at) == (
            view(pilot).timeline.frame.column(begin.at) + 3)
        await press(pilot, "g", *["l"] * 12)
        seen = set()
        for _ in range(60):
            await pilot.press("l")
            if mark := view(pilot).timeline.cursor.mark:
                seen.add(mark.text)
        await settle(pilot)
        assert "before release" in seen
        await press(pilot, "G", "H")
        assert "2026-11-01 12:0" in line(pilot, "time")


async def test_marks_are_visited_one_by_one(desk: Desk) -> None:
    an_evening(desk)
    async with desk.open(app(desk)) as pilot:
        await press(pilot, "3", "g", "n")
        assert "backup 20261101T120030Z, its end" in line(pilot, "here")
        await press(pilot, "n")
        assert "restore point before release" in line(pilot, "here")
        await press(pilot, "n", "n", "n", "n")
        assert "there is no mark later than this" in screen(pilot)
        await press(pilot, "N", "N")
        assert "restore point before release" in line(pilot, "here")


async def test_zooming_keeps_the_place_and_ends_somewhere(desk: Desk) -> None:
    an_evening(desk)
    async with desk.open(app(desk)) as pilot:
        await press(pilot, "3", "N")
        here = line(pilot, "here")
        await press(pilot, *["+"] * 4)
        assert "part:" in screen(pilot)
        assert line(pilot, "here") == here
        assert "⚑" in line(pilot, "marks")
        for _ in range(30):
            await pilot.press("+")
        await settle(pilot)
        assert "nothing is closer than this" in screen(pilot)
        assert "⚑" in row(pilot, "marks")
        await press(pilot, "0")
        assert "all:" in screen(pilot)
        await press(pilot, "minus")
        assert "the whole archive is shown" in screen(pilot)


async def test_each_timeline_has_a_lane_and_the_one_looked_at_has_all_rows(desk: Desk) -> None:
    store(desk, {1: steady(2, 8), 2: steady(5, 12, begin=200)})
    branch_off(desk, 2, 1, 5 * SIZE + 1000)
    desk.shelf.put(backup(90, 3))
    desk.now = moment(800)
    async with desk.open(app(desk)) as pilot:
        await press(pilot, "3")
        assert "timeline 2 of 2" in screen(pilot)
        assert "◆" in line(pilot, "tl 1")
        assert "╰" in line(pilot, "marks")
        await press(pilot, "up")
        assert "timeline 1 of 2" in screen(pilot)
        assert "╰━" in line(pilot, "tl 2")
        await press(pilot, "j")
        assert "timeline 2 of 2" in screen(pilot)


# The way to a recovery


async def test_r_recovers_to_the_instant_the_mark_or_before_the_transaction(desk: Desk) -> None:
    an_evening(desk)
    console = app(desk, near(150, 800), near(151, 801, removed=2), near(152, 802))
    asked = Asked(console)
    async with desk.open(console) as pilot:
        await press(pilot, "3", "g", "n", "r")
        assert (asked.target, asked.calls[-1]["backup"]) == (Immediate(), "20261101T120030Z")
        await press(pilot, "l", "l", "l", "r")
        assert isinstance(asked.target, AtTime)
        await rest(pilot)
        assert "removed 2 files" in screen(pilot)
        await press(pilot, "tab", "g", "j", "enter")
        assert "transaction 801" in screen(pilot), "enter shows all of it, as everywhere"
        assert "removed 2 files" in screen(pilot)
        await press(pilot, "escape", "r")
        assert asked.target == AtLsn(Lsn(4 * SIZE + 80100), inclusive=False)
        assert asked.calls[-1]["timeline"] == 1
        assert "the commit of transaction 801" in line(pilot, "here")


async def test_the_transactions_follow_the_cursor_and_lead_it_when_one_is_among_them(desk: Desk) -> None:
    an_evening(desk)
    found = [near(121 + number / 10, 800 + number, at=number * 32000) for number in range(500)]
    async with desk.open(app(desk, *found)) as pilot:
        await press(pilot, "3", "g", *["l"] * 14)
        await rest(pilot)
        listing, timeline = view(pilot).nearby.listing, view(pilot).timeline
        at = timeline.cursor.at
        row = view(pilot).nearby.around.found[listing.index]
        assert us((row.time - moment(0)).total_seconds()) <= at
        await press(pilot, "tab", "j", "j")
        assert timeline.cursor.lsn is not None
        assert str(timeline.cursor.lsn) in line(pilot, "position")
        before = timeline.cursor.lsn
        await press(pilot, *["j"] * 110)
        await rest(pilot)
        assert listing.key == str(timeline.cursor.lsn)
        assert timeline.cursor.lsn > before


async def test_the_command_runs_unchanged(desk: Desk) -> None:
    an_evening(desk)
    async with desk.open(app(desk)) as pilot:
        await press(pilot, "3", "h", "h")
        words = view(pilot).command_words()
    command = shlex.split(pilot.app.queries.commands.shown(words))
    assert command[0] == "pgvault"
    assert words[:2] == ["restore", "main"]
    assert "--choices" in words
    assert "--target-timeline" in words


# Accidents


async def test_accidents_are_listed_newest_first_and_marked(desk: Desk) -> None:
    an_evening(desk)
    desk.says("events main", drop(190, "0/5000100"), drop(130, "0/4000100", "[red]items"))
    console = app(desk)
    asked = Asked(console)
    async with desk.open(console) as pilot:
        await press(pilot, "3", "e")
        assert console.queries.commands.asked[-1][:2] == ("events", "main")
        rows = [each for each in screen(pilot).splitlines() if "DROP TABLE shop.public" in each]
        assert "orders" in rows[0]
        assert any("[red]items" in each for each in rows)
        assert "!" in line(pilot, "marks")
        assert "main / wal / accidents" in screen(pilot)
        await press(pilot, "j", "r")
        assert asked.target == AtLsn(Lsn.parse("0/4000100"), inclusive=False)
        assert asked.calls[-1]["expect"] == ('shop.public."[red]items"',)
        await press(pilot, "escape")
        assert "transactions around the cursor" in screen(pilot)
        assert "!" in line(pilot, "marks")
        await press(pilot, "g", "n", "n")
        assert "DROP TABLE" in line(pilot, "here")


async def test_an_accident_in_the_unfinished_segment_can_be_chosen_though_the_archive_ends_before(desk: Desk) -> None:
    an_evening(desk)
    desk.says("events main", drop(630, "0/C000100", partial=True))
    console = app(desk)
    asked = Asked(console)
    async with desk.open(console) as pilot:
        await press(pilot, "3", "e", "g", "r")
        assert asked.calls
        assert asked.target == AtLsn(Lsn.parse("0/C000100"), inclusive=False)
        assert asked.calls[-1]["partial"]


async def test_the_row_that_has_the_focus_is_what_r_takes(desk: Desk) -> None:
    """Also where its rows came after the focus did, and whatever moved the timeline's cursor meanwhile."""
    an_evening(desk)
    desk.says("events main", drop(190, "0/5000100"), drop(130, "0/4000100", "items"), drop(60, "0/3000100", "old"))
    console = app(desk, *(near(100 + number, 700 + number) for number in range(30)))
    asked = Asked(console)
    async with desk.open(console) as pilot:
        await press(pilot, "3", "tab")
        await rest(pilot)
        row = view(pilot).nearby.listing
        assert row.key == str(view(pilot).timeline.cursor.lsn)
        await press(pilot, "k", "r")
        assert asked.target == AtLsn(Lsn.parse(row.key), inclusive=False)
        await press(pilot, "n")
        assert view(pilot).timeline.has_focus, "a mark is the timeline's"
        await press(pilot, "r")
        assert asked.target == recovery_point(view(pilot).chart, view(pilot).timeline.cursor).target
        await press(pilot, "e")
        assert row.index == 0, "the newest accident, wherever the list was before"
        await press(pilot, "j", "n", "N", "tab", "r")
        assert asked.target == view(pilot).nearby.search.accident(row.key).point.target


async def test_an_accident_on_a_timeline_that_is_not_drawn_can_be_chosen(desk: Desk) -> None:
    an_evening(desk)
    desk.says("events main", drop(630, "0/C000100", timeline=7, partial=True))
    console = app(desk)
    asked = Asked(console)
    async with desk.open(console) as pilot:
        await press(pilot, "3", "e", "r")
        assert asked.calls[-1]["timeline"] == 7
        assert asked.target == AtLsn(Lsn.parse("0/C000100"), inclusive=False)


async def test_leaving_the_accidents_the_list_goes_where_the_cursor_is(desk: Desk) -> None:
    an_evening(desk)
    desk.says("events main", drop(129.5, "0/4000100"))
    console = app(desk, *(near(100 + number, 700 + number, number=2, at=0x1000 * number) for number in range(30)))
    async with desk.open(console) as pilot:
        await press(pilot, "3", "e", "escape")
        await rest(pilot)
        nearby = view(pilot).nearby
        assert nearby.listing.index == max(0, nearby.around.index_at(view(pilot).timeline.cursor))


async def test_a_search_that_finds_nothing_or_fails_says_so(desk: Desk) -> None:
    an_evening(desk)
    desk.says("events main")
    async with desk.open(app(desk)) as pilot:
        await press(pilot, "3", "e")
        assert "No drop, truncation or mass delete is in the archived WAL." in screen(pilot)
        desk.says("events main", answer=failure("segment X cannot be read", "It [is] damaged.", "pgvault verify main"))
        await press(pilot, "e")
        assert "segment X cannot be read" in screen(pilot)
        assert "It [is] damaged." in screen(pilot)


# Where there is nothing, or too little


async def test_without_wal_it_says_what_belongs_here_and_how_it_comes(desk: Desk) -> None:
    desk.shelf.put(backup(90, 3))
    async with desk.open(app(desk)) as pilot:
        await press(pilot, "3")
        assert "No WAL of main is archived yet" in screen(pilot)
        assert "pgvault receive-wal main" in screen(pilot)
        await press(pilot, "plus")
        assert "no WAL of this server is known" in screen(pilot)


async def test_without_anything_nothing_is_looked_for(desk: Desk) -> None:
    async with desk.open(app(desk)) as pilot:
        await press(pilot, "3")
        await rest(pilot)
        assert toasts(pilot) == []


async def test_a_vault_that_cannot_be_read_says_why(desk: Desk) -> None:
    an_evening(desk)
    desk.shelf.server().cache.wal.write_bytes(b"no index at all, but long enough to be looked at" * 50)
    async with desk.open(app(desk)) as pilot:
        await press(pilot, "3")
        assert "cannot be used" in words(pilot)
        assert "pgvault rebuild-index main" in words(pilot)


async def test_what_was_read_stays_with_its_age_when_it_cannot_be_read_again(
        desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    an_evening(desk)
    console = app(desk)
    async with desk.open(console) as pilot:
        await press(pilot, "3")

        def broken(server: str) -> None:
            raise PgvaultError("the disk [nas] does not answer")
        console.queries.picture = broken
        view(pilot)._stamp = None
        view(pilot).world_changed(Change.VAULT)
        await settle(pilot)
        assert "now: the disk [nas] does not answer" in screen(pilot)
        assert "━" in line(pilot, "wal")


async def test_segments_that_are_not_read_yet_are_told_and_read(desk: Desk) -> None:
    store(desk, {1: [*steady(2, 5), Part(6, accepted=300)]})
    desk.shelf.put(backup(90, 3))
    desk.says("wal main")
    console = app(desk)
    async with desk.open(console) as pilot:
        await press(pilot, "3")
        assert "1 segment not read yet" in screen(pilot)
        assert ("wal", "main") in console.queries.commands.asked
    console = app(desk, read_only=True)
    async with desk.open(console) as pilot:
        await press(pilot, "3")
        assert ("wal", "main") not in console.queries.commands.asked


async def test_wal_around_the_cursor_that_cannot_be_read_says_why(desk: Desk) -> None:
    an_evening(desk)
    console = app(desk)

    def missing(*_: object) -> list[NearTransaction]:
        raise WalMissing("segment [5] left the archive", hint="Run this again.")
    console.queries.transactions = missing
    async with desk.open(console) as pilot:
        await press(pilot, "3")
        await rest(pilot)
        assert "segment [5] left the archive" in screen(pilot)


async def test_another_server_is_another_timeline(desk: Desk) -> None:
    desk.serve("main", "other")
    an_evening(desk)
    async with desk.open(app(desk)) as pilot:
        await press(pilot, "3", "right_square_bracket")
        assert "No WAL of other is archived yet" in screen(pilot)
        await press(pilot, "left_square_bracket", "h")
        assert "timeline 1" in screen(pilot)
        assert view(pilot).timeline.has_focus


async def test_new_wal_moves_the_end_along_and_nothing_else(desk: Desk) -> None:
    an_evening(desk)
    async with desk.open(app(desk)) as pilot:
        await press(pilot, "3", "g", "n", "plus")
        before = (view(pilot).timeline.cursor, view(pilot).timeline.frame)
        store(desk, {1: [Part(12, 3, 610, 640, 650)]})
        await pilot.app._look_at_vault()
        await settle(pilot)
        assert (view(pilot).timeline.cursor, view(pilot).timeline.frame) == before
        assert view(pilot).timeline.lane.slots.numbers[-1] == 12


# Text from outside


@given(st.text(max_size=60) | st.sampled_from(["x [/data/pg] y", "[red]", "\x1b[2J", "漢字" * 50, "א" * 2000]))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_name_is_more_than_text(name: str) -> None:
    search = Search()
    search.take(drop(150, "0/4000100", name))
    assert [str(cell) for cell in accident_rows(search.newest_first).cells(0)][2].startswith("DROP TABLE")
    relation = WalObject("table", name, name, 1, 1)
    [_, _, what, lsn] = transaction_rows([near(1, 2, removed=1, objects=(relation,))]).cells(0)
    assert lsn == str(Lsn(4 * SIZE + 200))
    assert name in str(what) or not name


async def test_names_with_markup_and_controls_are_drawn_as_text(desk: Desk) -> None:
    store(desk, {1: steady(2, 5)}, points={"x [/data/pg] y": (150, 4), "\x1b[2Jזה": (200, 5)})
    desk.shelf.put(backup(90, 3))
    desk.now = moment(300)
    async with desk.open(app(desk)) as pilot:
        await press(pilot, "3", "g", "n", "n")
        assert "restore point x [/data/pg] y" in line(pilot, "here")
        await press(pilot, "n")
        assert "\\x1b[2J" in line(pilot, "here")
