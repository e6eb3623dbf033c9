"""What the timeline says of a place and what a restore comes to agree: "restore from" is a promise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from made_archive import SIZE, MadeArchive, Server, archives

from pgvault.console.timeline.axis import microseconds, moment
from pgvault.console.timeline.chart import Chart, MarkKind, chart_of
from pgvault.console.timeline.cursor import Cursor, cursor_fields, reach_of, recovery_point
from pgvault.console.widgets.timeline import latest
from pgvault.engine.restore.choose import Choice, NoChoice, find_choice
from pgvault.engine.restore.recovery_path import RecoveryPaths
from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment
from pgvault.model.target import AtLsn
from pgvault.model.times import parse_time


def asked(archive: MadeArchive, chart: Chart, cursor: Cursor) -> Choice | NoChoice:
    """What `r` at this place comes to."""
    target, backup = recovery_point(chart, cursor)
    named = [each for each in archive.backups if backup in ("auto", each.id)]
    return find_choice(RecoveryPaths(archive), named, target, cursor.timeline)


def cursors(archive: MadeArchive, chart: Chart) -> Iterator[Cursor]:
    """Wherever one may come to: each mark, each transaction, and instants at both and beside them."""
    times = {at for lane in chart.lanes for at in (*lane.slots.begin, *lane.slots.end)}
    times |= {mark.at for lane in chart.lanes for mark in lane.marks}
    times |= {microseconds(each.time) for records in archive.server.records.values() for each in records if each.time}
    instants = {at + beside for at in times for beside in (-1, 0, 1)}
    for lane in chart.lanes:
        yield from (Cursor(lane.timeline, mark.at, mark) for mark in lane.marks)
        yield from (Cursor(lane.timeline, at) for at in sorted(instants))
        for segment in archive.rows:
            if segment.timeline == lane.timeline:
                yield from (Cursor(lane.timeline, microseconds(each.time), None, each.lsn)
                            for each in archive.records(segment) if each.xid)
    yield latest(chart)


@given(archives())
@settings(max_examples=150)
def test_wherever_the_screen_says_restore_from_a_restore_is_possible(archive: MadeArchive) -> None:
    chart = chart_of(archive.picture())
    for cursor in cursors(archive, chart):
        if reach_of(chart, cursor).backup:
            found = asked(archive, chart, cursor)
            assert isinstance(found, Choice), (cursor, found.reason)


@given(archives(), st.integers(-900, 900))
@settings(max_examples=100)
def test_a_vaults_clock_changes_nothing_that_the_screen_says_of_a_place(archive: MadeArchive, ahead: int) -> None:
    """Places are compared with a backup's end by the server's clock, as the times of commits are."""
    picture = archive.picture()
    same = replace(picture, backups=tuple(
        replace(each, finished_at=each.finished_at + timedelta(seconds=ahead), ended_at=each.finished_at)
        if each.finished_at else each for each in picture.backups))
    chart, shifted = chart_of(picture), chart_of(same)
    for cursor in cursors(archive, chart):
        seen, wanted = reach_of(shifted, cursor), reach_of(chart, cursor)
        assert (seen.backup and seen.backup.id, seen.reason) == (wanted.backup and wanted.backup.id, wanted.reason)


@given(archives(), st.integers(1, 10**8))
@settings(max_examples=150)
def test_what_is_nearest_on_the_screen_can_be_typed(archive: MadeArchive, step: int) -> None:
    chart = chart_of(archive.picture())
    for cursor in cursors(archive, chart):
        found = reach_of(chart, cursor)
        for word, at in (("earlier", found.earlier), ("later", found.later)):
            if at is not None:
                shown = next(field.text for field in cursor_fields(chart, cursor, step, None)
                             if field.name == "nearest")
                typed = parse_time(shown.split(word)[1].split("Z")[0].strip() + "Z")
                assert typed == moment(at)
                assert isinstance(asked(archive, chart, Cursor(cursor.timeline, at)), Choice)


def idle_server() -> tuple[MadeArchive, Lsn]:
    """The position is that of the last record, behind an end of a backup behind which nothing was committed."""
    server = Server()
    server.backup()
    server.idle(60)
    server.commit()
    server.idle(60)
    backup = server.backup()
    return MadeArchive(server), backup.end_lsn


def test_the_cursor_as_the_view_opens_on_an_idle_server() -> None:
    """It stands on the last commit, which is a place: a position is asked for, and the newest backup will do."""
    archive, end = idle_server()
    chart = chart_of(archive.picture())
    cursor = latest(chart)
    assert cursor.mark
    assert cursor.mark.kind is MarkKind.WINDOW_END
    assert recovery_point(chart, cursor).target == AtLsn(end)
    found = asked(archive, chart, cursor)
    assert isinstance(found, Choice)
    assert found.backup == reach_of(chart, cursor).backup == archive.backups[-1]


def test_behind_the_last_record_there_is_no_place_to_stop_at() -> None:
    archive, _ = idle_server()
    chart = chart_of(archive.picture())
    until = Segment(1, max(segment.number for segment in archive.rows)).end(SIZE)
    cursor = Cursor(1, chart.until, None, until)
    assert reach_of(chart, cursor).backup is None
