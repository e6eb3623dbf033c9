"""Times in WAL that no server's clock ever said: whoever asks is told, and nothing falls over."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from made_up import DATABASE, Deeds
from test_event_reading import archived, name_of
from wal_writer import XLOG, restore_point

from pgvault.config.schema import ServerConfig
from pgvault.engine.event_neighbours import transactions_near
from pgvault.engine.events import find_events
from pgvault.engine.overview import protection
from pgvault.engine.wal_picture import wal_picture
from pgvault.engine.wal_status import wal_status
from pgvault.model.event import Event, Noted
from pgvault.model.text import when
from pgvault.vault.layout import ServerVault
from pgvault.wal.accidents import EventKind

TABLE = 20000
SECOND = 1_000_000
YEAR = 31_556_952 * SECOND
NOW = datetime(2026, 11, 25, tzinfo=UTC)
ZONES = [ZoneInfo("Pacific/Kiritimati"), ZoneInfo("Etc/GMT+12")]

Ending = Callable[[Deeds, int], object]
ENDINGS: dict[str, Ending] = {
    "commit": lambda deeds, time: deeds.commit(701, time),
    "abort": lambda deeds, time: deeds.commit(701, time, info=0x20),
    "drop": lambda deeds, time: deeds.commit(
        701, time, info=0x80, rest=struct.pack("<IiIII", 4, 1, 1663, DATABASE, TABLE)),
    "prepared": lambda deeds, time: deeds.commit(701, time, info=0xB0, rest=struct.pack("<II", 16, 701)),
    "point": lambda deeds, time: deeds.append(restore_point("there", time), rmid=XLOG, info=0x70),
}


def lived(home: Path, ending: Ending, time: int, *, streamed: bool = False) -> tuple[ServerVault, Deeds]:
    """A mass deletion of the time, with others before it and behind it, in a segment of its own each."""
    deeds = Deeds()
    for xid in (700, 701, 702):
        for _ in range(100):
            deeds.row(xid, TABLE + xid)
        if xid == 701:
            ending(deeds, time)
        else:
            deeds.end(xid)
        if xid != 702 and not (streamed and xid == 701):
            deeds.switch()
    return archived(home, deeds, streamed=streamed), deeds


def ask_everything(vault: ServerVault) -> list[str]:
    """What was told beside the answers; each time in these is one that can be shown, wherever one lives."""
    told: list[Event] = []
    for newest_first in (False, True):
        for event in find_events(vault, kinds=set(EventKind), newest_first=newest_first, partial=True,
                                 emit=told.append):
            assert when(event.time)
            assert all(event.time.astimezone(zone) for zone in ZONES)
    list(find_events(vault, since=NOW, emit=told.append))
    list(find_events(vault, until=NOW, emit=told.append))
    transactions_near(vault, 1, wal_status(vault).survey.timelines[0].ranges[0].first.start(1 << 20), 10, partial=True)
    wal_picture(vault)
    protection(ServerConfig(name="main", conninfo="host=nowhere"), vault.home.parent, NOW)
    return [each.text for each in told if isinstance(each, Noted) and each.code == "not-read"]


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.integers(-(1 << 63), (1 << 63) - 1), st.sampled_from(sorted(ENDINGS)))
@example(-(1 << 63), "commit")
@example((1 << 63) - 1, "commit")
@example(292_000 * YEAR, "drop")
@example(-31 * YEAR, "point")
@example(7999 * YEAR, "prepared")
@example(7999 * YEAR, "abort")
@example(-1999 * YEAR, "drop")
def test_any_time_can_be_met(time: int, ending: str) -> None:
    with tempfile.TemporaryDirectory() as home:
        vault, deeds = lived(Path(home), ENDINGS[ending], time)
        told, not_read = ask_everything(vault), wal_status(vault).not_read
        assert [each.segment for each in not_read] == [name_of(deeds, 1)] * len(not_read)
        assert bool(told) == bool(not_read and ending != "abort")
        for newest_first in (False, True):
            found = {event.xid for event in find_events(vault, newest_first=newest_first)}
            assert {700, 702} <= found


@pytest.mark.parametrize("ending", sorted(ENDINGS))
@pytest.mark.parametrize("time", [292_000 * YEAR, -2500 * YEAR])
def test_an_impossible_time_is_told_with_its_segment(tmp_path: Path, ending: str, time: int) -> None:
    vault, deeds = lived(tmp_path, ENDINGS[ending], time)
    [not_read] = wal_status(vault).not_read
    assert (not_read.segment, "impossible" in not_read.reason) == (name_of(deeds, 1), True)
    told: list[Event] = []
    assert [event.xid for event in find_events(vault, emit=told.append)] == [700, 702]
    notes = [each.text for each in told if isinstance(each, Noted)]
    assert ["impossible" in text for text in notes] == ([] if ending == "abort" else [True])


def test_an_impossible_time_in_the_unfinished_segment_is_told(tmp_path: Path) -> None:
    vault, _ = lived(tmp_path, ENDINGS["commit"], 292_000 * YEAR, streamed=True)
    told: list[Event] = []
    list(find_events(vault, partial=True, emit=told.append))
    assert ["impossible" in each.text for each in told if isinstance(each, Noted)] == [True]


def test_what_can_be_seen_near_it_is_seen(tmp_path: Path) -> None:
    vault, deeds = lived(tmp_path, ENDINGS["commit"], 292_000 * YEAR)
    assert [each.xid for each in transactions_near(vault, 1, deeds.segments()[1][0], 3)] == [700, 702]
