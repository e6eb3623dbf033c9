"""Reading the archive: borders, gaps, damage, what is unfinished, and only as much as is asked for."""

from __future__ import annotations

from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from happenings import Site, site
from made_up import Deeds
from support.fleet import Fleet
from support.objects import wal_path
from support.postgres import wait_until
from wal_writer import short

from pgvault.engine.event_neighbours import transactions_near
from pgvault.engine.events import WalEvent, find_events
from pgvault.model.errors import NotFound
from pgvault.model.event import Event, Noted
from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment
from pgvault.vault.layout import ServerVault, Vault
from pgvault.vault.wal_archive import accept
from pgvault.wal.accidents import EventKind
from pgvault.wal.transaction_changes import DATABASE, HEAP, STANDBY, STORAGE, XLOG
from pgvault.wal.transactions import Kind

MIB = 1 << 20
TABLE = 20000


def archived(home: Path, deeds: Deeds, *, without: tuple[int, ...] = (), streamed: bool = False) -> ServerVault:
    """A vault with this WAL; with `streamed` its last segment is still being received."""
    vault = Vault.open_or_create(home).server("main")
    vault.prepare()
    segments = deeds.segments()
    for number, (start, data) in enumerate(segments):
        name = Segment.holding(1, start, MIB).name(MIB)
        if streamed and number == len(segments) - 1:
            (vault.spool.streaming / f"{name}.partial").write_bytes(data)
        elif number not in without:
            accept(vault, name, BytesIO(data))
    return vault


def name_of(deeds: Deeds, number: int) -> str:
    return Segment.holding(1, deeds.segments()[number][0], MIB).name(MIB)


def fill(deeds: Deeds, until: int) -> None:
    """Up to a position, in records of no interest."""
    while until - deeds.at > 3000:
        deeds.append(bytes(1000))
    while deeds.at < until:
        deeds.append(bytes(8))


def numbers(events: list[WalEvent]) -> list[int]:
    return [event.objects[0].number for event in events]


@pytest.mark.parametrize("before", range(-80, 16, 8))
def test_a_row_whose_record_crosses_a_border_counts(tmp_path: Path, before: int) -> None:
    deeds = Deeds()
    fill(deeds, deeds.start + MIB + before - 50 * 56)
    for _ in range(100):
        deeds.row(700, TABLE)
    deeds.end(700)
    vault = archived(tmp_path, deeds)
    for newest_first in (False, True):
        [event] = find_events(vault, newest_first=newest_first)
        assert event.rows == 100
        [title] = [each.title for each in event.objects]
        assert title == f"table {TABLE}"


def accidents(count: int) -> Deeds:
    """One mass deletion in each of so many segments, from table to table."""
    deeds = Deeds()
    for number in range(count):
        deeds.running(700 + number, 700 + number)
        for _ in range(100):
            deeds.row(700 + number, TABLE + number)
        deeds.end(700 + number)
        deeds.point(f"point {number}")
        if number < count - 1:
            fill(deeds, deeds.start + (number + 1) * MIB + 100)
    return deeds


def test_a_missing_segment_hides_only_itself(tmp_path: Path) -> None:
    vault = archived(tmp_path, accidents(5), without=(2,))
    for newest_first in (False, True):
        found = list(find_events(vault, kinds={EventKind.DELETE}, newest_first=newest_first))
        assert sorted(numbers(found)) == [TABLE, TABLE + 1, TABLE + 3, TABLE + 4]


def test_a_damaged_segment_is_told_and_passed_over(tmp_path: Path) -> None:
    deeds = accidents(5)
    vault = archived(tmp_path, deeds)
    list(find_events(vault))
    path = wal_path(vault, name_of(deeds, 2))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    told: list[Event] = []
    found = list(find_events(vault, kinds={EventKind.DELETE}, emit=told.append))
    assert numbers(found) == [TABLE, TABLE + 1, TABLE + 3, TABLE + 4]
    [note] = [each for each in told if isinstance(each, Noted) and each.code == "not-read"]
    assert name_of(deeds, 2) in note.text


def test_what_could_not_be_read_is_told_wherever_it_may_matter(tmp_path: Path) -> None:
    """Of a segment that arrived damaged no times are known: it is of between its neighbours'."""
    deeds = accidents(8)
    vault = archived(tmp_path, deeds)
    for number in (1, 7):
        wal_path(vault, name_of(deeds, number)).write_bytes(b"nonsense")
    first, _, _, middle, *_ = find_events(vault, kinds={EventKind.DELETE})

    def told(**times: Any) -> list[str]:
        notes: list[Event] = []
        list(find_events(vault, emit=notes.append, **times))
        return [note.text.split()[1] for note in notes if isinstance(note, Noted) and note.code == "not-read"]

    second, last = name_of(deeds, 1), name_of(deeds, 7)
    assert told(since=middle.time + timedelta(days=1)) == [last]
    assert told(since=middle.time, until=middle.time) == []
    assert told(since=first.time, until=first.time) == [second]
    assert told(since=first.time, newest_first=True) == [last, second]


@pytest.mark.parametrize(("rmid", "info", "body"), [
    (HEAP, 0x10, b""), (HEAP, 0x10, short(b"")), (STORAGE, 0x10, short(b"ab")), (DATABASE, 0x20, short(b"")),
    (STANDBY, 0x00, short(b"")), (STANDBY, 0x10, short(b"ab")), (XLOG, 0x00, short(b"a")), (XLOG, 0x70, short(b"a")),
    (XLOG, 0xB0, b"")])
def test_a_record_that_makes_no_sense_is_told(tmp_path: Path, rmid: int, info: int, body: bytes) -> None:
    deeds = Deeds()
    deeds.create(7, TABLE)
    deeds.append(body, rmid=rmid, info=info, xid=7)
    notes: list[Event] = []
    assert list(find_events(archived(tmp_path, deeds), emit=notes.append)) == []
    assert [note.code for note in notes if isinstance(note, Noted)] == ["not-read"]


def test_the_unfinished_segment_is_read_when_asked_for(tmp_path: Path) -> None:
    vault = archived(tmp_path, accidents(3), streamed=True)
    told: list[Event] = []
    assert numbers(list(find_events(vault, kinds={EventKind.DELETE}, emit=told.append))) == [TABLE, TABLE + 1]
    assert any(isinstance(each, Noted) and "--partial" in each.text for each in told)
    for newest_first in (False, True):
        found = list(find_events(vault, kinds={EventKind.DELETE}, partial=True, newest_first=newest_first))
        if newest_first:
            found.reverse()
        assert numbers(found) == [TABLE, TABLE + 1, TABLE + 2]
        assert [each.partial for each in found] == [False, False, True]


def test_only_what_may_hold_something_is_read(tmp_path: Path) -> None:
    """Of the segments far before what is asked for nothing is needed: they may as well be damaged."""
    deeds = accidents(12)
    vault = archived(tmp_path, deeds)
    [*_, last] = find_events(vault, kinds={EventKind.DELETE})
    for number in range(8):
        wal_path(vault, name_of(deeds, number)).write_bytes(b"nonsense")
    told: list[Event] = []
    assert list(find_events(vault, since=last.time, kinds={EventKind.DELETE}, emit=told.append)) == [last]
    assert list(find_events(vault, newest_first=True, limit=1, kinds={EventKind.DELETE}, emit=told.append)) == [last]
    assert told == []
    assert list(find_events(vault, since=last.time + timedelta(days=1), emit=told.append)) == []


def test_nothing_archived_and_no_such_timeline(tmp_path: Path) -> None:
    vault = Vault.open_or_create(tmp_path).server("main")
    with pytest.raises(NotFound):
        find_events(vault)
    vault = archived(tmp_path, accidents(1))
    with pytest.raises(NotFound):
        list(find_events(vault, timeline=2))
    with pytest.raises(NotFound):
        transactions_near(vault, 2, Lsn(0), 3)


def test_transactions_around_a_place(tmp_path: Path) -> None:
    vault = archived(tmp_path, accidents(6))
    events = list(find_events(vault, kinds={EventKind.DELETE}))
    near = transactions_near(vault, 1, events[3].lsn, 2)
    assert [each.xid for each in near] == [701, 702, 703, 704]
    assert near[2].before == events[3].before
    assert (near[2].kind, near[2].time, near[2].removed, near[2].objects) == (Kind.COMMIT, events[3].time, 0, ())
    assert [each.xid for each in transactions_near(vault, 1, Lsn(0), 2)] == [700, 701]
    assert [each.xid for each in transactions_near(vault, 1, Lsn(1 << 40), 2)] == [704, 705]
    assert [each.xid for each in transactions_near(vault, 1, Lsn(events[3].lsn + 8), 1)] == [703, 704]


def test_transactions_around_a_drop_say_what_was_dropped(lived: Site) -> None:
    [event] = lived.of("drop", lived.events())
    near = transactions_near(lived.vault, 1, event.lsn, 3)
    drop = next(each for each in near if each.lsn == event.lsn)
    assert (drop.objects[0].title, drop.before, drop.after.inclusive) == ("table public.plain", event.before, True)
    assert drop.removed == len(drop.objects)


def test_on_the_way_to_another_timeline(fleet: Fleet) -> None:
    """What happened before the branch is told by the file that has it."""
    with site(fleet, 18) as made:
        made.server.sql("CREATE TABLE lost (id int)")
        made.backup()
        made.do("drop", "DROP TABLE lost")
        made.server.stop()
        (made.server.data / "recovery.signal").touch()
        made.server.configure({"restore_command": "false"})
        made.server.start()
        wait_until(lambda: not made.server.scalar("SELECT pg_is_in_recovery()"))
        made.server.sql("CREATE TABLE found (id int)")
        made.do("later", "DROP TABLE found")
        made.archive()
        for path in made.server.wal.glob("*.history"):
            accept(made.vault, path.name, BytesIO(path.read_bytes()))
        drop, later = made.events(kinds={EventKind.DROP})
        assert drop.objects[0].title == "table public.lost"
        assert (drop.timeline, later.timeline) == (2, 2)
        found = made.events(kinds={EventKind.DROP}, everywhere=True, newest_first=True)
        assert {(each.time, each.objects[0].title) for each in found} == {
            (each.time, each.objects[0].title) for each in (drop, later)}
