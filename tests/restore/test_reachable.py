"""Which instants can be restored, whatever a server lived through: what is chosen, offered, and said of windows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_archive import SIZE, MadeArchive, Record, Server, archives

from pgvault.engine.restore.choose import Choice, NoChoice, Reading, find_choice
from pgvault.engine.restore.nearest import When, nearest
from pgvault.engine.restore.recovery_path import RecoveryPaths
from pgvault.model.backup import Backup
from pgvault.model.segment import Segment
from pgvault.model.target import AtLsn, AtName, AtTime, AtXid, Immediate, Target
from pgvault.model.window import Window, survey

MICROSECOND = timedelta(microseconds=1)


def find(archive: MadeArchive, target: Target, timeline: int | None = None) -> Choice | NoChoice:
    return find_choice(RecoveryPaths(archive), archive.backups, target, timeline)


def windows(archive: MadeArchive) -> tuple[Window, ...]:
    return survey(archive.archived, archive.tree, archive.backups, SIZE, archive.latest_between).windows


def usable(archive: MadeArchive, timeline: int) -> list[Backup]:
    """Those that reach their own end on the way to this timeline, the newest first."""
    history = archive.tree.history(timeline)
    return [backup for backup in reversed(archive.backups) if history.holds(backup.timeline, backup.end_lsn)
            and any(each.end >= backup.end_lsn for each in archive.meets(timeline, backup))]


@st.composite
def instants(draw: st.DrawFn, archive: MadeArchive) -> datetime:
    """Of something that happened, or beside it, or in a stretch in which nothing did."""
    times = sorted({*(each.time for records in archive.server.records.values() for each in records if each.time),
                    *(each.finished_at for each in archive.backups), archive.server.clock})
    place = draw(st.integers(0, len(times) - 1))
    beside = times[place] + draw(st.sampled_from([-1, 0, 0, 1, 500_000])) * MICROSECOND
    between = times[place] + (times[min(place + 1, len(times) - 1)] - times[place]) / 2
    return draw(st.sampled_from([beside, between]))


def first_behind(met: list[Record], target: AtTime) -> Record | None:
    """At which PostgreSQL stops: the first end of a transaction that is too late."""
    return next((each for each in met if each.xid and (
        each.time > target.time or (each.time == target.time and not target.inclusive))), None)


# Times


@pytest.mark.slow
@given(archives(), st.booleans(), st.data())
@settings(max_examples=400)
def test_every_instant_of_a_window_can_be_restored(archive: MadeArchive, inclusive: bool, data: st.DataObject) -> None:
    for window in windows(archive):
        time = data.draw(instants(archive))
        for at in (time, window.from_time, window.until_time):
            if at and window.from_time <= at <= (window.until_time or window.from_time):
                found = find(archive, AtTime(at, inclusive), window.timeline)
                assert isinstance(found, Choice), found.reason


@pytest.mark.slow
@given(archives(), st.booleans(), st.data())
@settings(max_examples=400)
def test_what_is_chosen_for_a_time_is_where_postgresql_stops(archive: MadeArchive, inclusive: bool,
                                                             data: st.DataObject) -> None:
    target = AtTime(data.draw(instants(archive)), inclusive)
    for timeline in archive.timelines():
        found = find(archive, target, timeline)
        newest = None
        for backup in usable(archive, timeline):
            met = archive.meets(timeline, backup)
            stop = first_behind(archive.replays(timeline, backup), target)
            before = [each for each in met if each.xid and stop and each.lsn < stop.lsn
                      and not first_behind([each], target)]
            if stop and stop.lsn >= backup.end_lsn and (target.time >= backup.finished_at or before):
                newest = newest or backup
        if isinstance(found, NoChoice):
            assert newest is None
            continue
        met, end = archive.meets(timeline, found.backup), found.stop
        at = next(each for each in met if each.lsn == end.lsn)
        assert at.lsn >= found.backup.end_lsn
        behind = first_behind(archive.replays(timeline, found.backup), target)
        if behind:
            assert (found.backup, behind.lsn, end.replayed) == (newest, end.lsn, False)
        else:  # PostgreSQL would go on for ever: the position ends it, with all that was committed
            left_out = [each for each in met if each.xid and each.lsn >= at.lsn + end.replayed]
            assert not left_out
            assert target.time in {found.backup.finished_at, *(each.time for each in met if each.xid)}


@pytest.mark.slow
@given(archives(), st.sampled_from([None, 1, 2]), st.booleans(), st.data())
@settings(max_examples=400)
def test_a_refused_time_is_in_no_window_and_the_nearest_lie_on_either_side(
        archive: MadeArchive, timeline: int | None, inclusive: bool, data: st.DataObject) -> None:
    target = AtTime(data.draw(instants(archive)), inclusive)
    found = find(archive, target, timeline)
    if isinstance(found, Choice) or (timeline and timeline not in archive.timelines()):
        return
    if not found.readings:
        for window in windows(archive):
            if timeline in (None, window.timeline):
                assert not window.from_time <= target.time <= (window.until_time or window.from_time)
    for each in offers(archive, found, target, timeline):
        if each.when is When.EARLIER:
            assert each.stop.time <= target.time
        elif each.when is When.LATER:
            assert each.stop.time > target.time


@pytest.mark.slow
@given(archives(timelines=1, overtaking=False), st.data())
@settings(max_examples=400)
def test_what_is_nearest_is_nearest(archive: MadeArchive, data: st.DataObject) -> None:
    """Of all backups' ends, and of all commits that can be reached."""
    target = AtTime(data.draw(instants(archive)))
    found = find(archive, target)
    if isinstance(found, Choice):
        return
    times = {backup.finished_at for backup in usable(archive, 1)}
    times |= {each.time for backup in usable(archive, 1) for each in archive.meets(1, backup)
              if each.xid and each.lsn >= backup.end_lsn}
    offered = {each.when: each.stop.time for each in offers(archive, found, target)}
    assert offered.get(When.EARLIER) == max((time for time in times if time <= target.time), default=None)
    assert offered.get(When.LATER) == min((time for time in times if time > target.time), default=None)


def offers(archive: MadeArchive, found: NoChoice, target: Target, timeline: int | None = None) -> Iterator:
    """What is offered, each looked up again."""
    for each in nearest(found, Reading(target, timeline, "auto"), archive.backups, archive.backups,
                        lambda partial: RecoveryPaths(archive)):
        named = [backup for backup in archive.backups if each.reading.backup in ("", "auto", backup.id)]
        again = find_choice(RecoveryPaths(archive), named, each.reading.target, each.reading.timeline)
        assert isinstance(again, Choice)
        assert again.stop == each.stop
        yield each


# Positions, transactions, names


@pytest.mark.slow
@given(archives(), st.data())
@settings(max_examples=300)
def test_the_newest_backup_that_ends_before_a_record_is_chosen_for_it(archive: MadeArchive,
                                                                     data: st.DataObject) -> None:
    for timeline in archive.timelines():
        records = {each.lsn: each for backup in usable(archive, timeline) for each in archive.meets(timeline, backup)}
        if not records:
            continue
        record = records[data.draw(st.sampled_from(sorted(records)))]
        newest = next((backup for backup in usable(archive, timeline) if backup.end_lsn <= record.lsn
                       and record in archive.meets(timeline, backup)), None)
        targets: list[Target] = [AtLsn(record.lsn), AtLsn(record.lsn, inclusive=False)]
        targets += [AtXid(record.xid), AtXid(record.xid, inclusive=False)] if record.xid else []
        targets += [AtName(record.name)] if record.name and [
            each.name for each in records.values()].count(record.name) == 1 else []
        for target in targets:
            found = find(archive, target, timeline)
            assert (found.backup, found.stop.lsn) == (newest, record.lsn) if newest else isinstance(found, NoChoice)
            if isinstance(found, NoChoice):
                for each in offers(archive, found, target, timeline):
                    assert each.when is not When.EARLIER or each.stop.lsn <= record.lsn
                    assert each.when is not When.LATER or each.stop.lsn >= record.lsn


# What a reviewer met


def test_nothing_was_committed_after_the_newest_backup() -> None:
    """An idle server: every instant between two backups is there, whatever the newer one has behind it."""
    server = Server()
    first = server.backup()
    server.idle(60)
    one, _ = server.commit(), server.idle(60)
    two, _ = server.commit(), server.idle(60)
    newest = server.backup()
    server.idle(3600)
    archive = MadeArchive(server)
    found = find(archive, AtTime(one.time + timedelta(seconds=30)))
    assert isinstance(found, Choice), found.reason
    assert (found.backup, found.stop.lsn, found.stop.replayed) == (first, two.lsn, False)
    at_last = find(archive, AtTime(two.time))
    assert (at_last.backup, at_last.stop.lsn, at_last.stop.replayed) == (first, two.lsn, True)
    between = find(archive, target := AtTime(two.time + timedelta(seconds=30)))
    assert f"before the end of backup {newest.id}" in between.reason
    assert [(each.when, each.reading.target, each.reading.backup) for each in offers(archive, between, target)] == [
        (When.EARLIER, AtTime(two.time), ""), (When.LATER, Immediate(), newest.id)]
    behind = find(archive, target := AtTime(server.clock))
    assert [(each.when, each.reading.backup) for each in offers(archive, behind, target)] == [(When.EARLIER, newest.id)]


def test_the_very_end_of_a_backup_behind_which_nothing_was_committed() -> None:
    """It is shown as an end of what can be restored, so it can be typed."""
    server = Server()
    backup = server.backup()
    archive = MadeArchive(server)
    for inclusive in (True, False):
        found = find(archive, AtTime(backup.finished_at, inclusive))
        assert isinstance(found, Choice), found.reason
        assert (found.stop.lsn, found.stop.replayed, found.stop.time) == (backup.end_lsn, False, backup.finished_at)
    assert isinstance(find(archive, AtTime(backup.finished_at + MICROSECOND)), NoChoice)
    assert isinstance(find(archive, AtTime(backup.finished_at - MICROSECOND)), NoChoice)


def test_a_clock_that_was_put_back_hides_nothing() -> None:
    server = Server()
    first = server.backup()
    server.idle(3600)
    late, _ = server.commit(), server.switch()
    server.idle(-3000)
    server.backup()
    server.commit()
    archive = MadeArchive(server)
    found = find(archive, AtTime(late.time - timedelta(seconds=1)))
    assert isinstance(found, Choice), found.reason
    assert (found.backup, found.stop.lsn) == (first, late.lsn)


def test_a_later_time_of_before_the_backup_is_no_end_of_its_window() -> None:
    """The clock was put back between a commit and the backup, in one segment."""
    server = Server()
    server.backup()
    server.commit()
    server.idle(-900)
    newest = server.backup()
    server.idle(5)
    behind = server.commit()
    for lost, last in ((Segment(1, 2), behind.time), (Segment(1, 4), None)):
        archive = MadeArchive(server, frozenset([Segment(1, 2), lost]))
        [window] = windows(archive)
        assert (window.from_time, window.until_time) == (newest.finished_at, last)
        for inclusive in (True, False):
            found = find(archive, AtTime(window.until_time or window.from_time, inclusive), window.timeline)
            assert isinstance(found, Choice), found.reason


def test_an_end_without_a_commit_behind_a_gap_is_offered_on_its_own_side() -> None:
    server = Server()
    server.backup()
    server.idle(60)
    one = server.commit()
    server.switch()
    server.commit()
    hole = server.position
    server.switch()
    server.idle(60)
    newest = server.backup()
    archive = MadeArchive(server, frozenset([Segment.holding(1, hole, SIZE)]))
    found = find(archive, target := AtTime(one.time + timedelta(seconds=30)))
    assert [(each.when, each.reading.backup) for each in offers(archive, found, target)] == [
        (When.EARLIER, ""), (When.LATER, newest.id)]


def test_a_time_behind_everything_is_refused_at_once() -> None:
    """The WAL is gone through once, not once for each of many backups."""
    server = Server()
    for _ in range(300):
        server.backup()
        server.idle(86_400)
        server.commit()
        server.switch()
    archive = MadeArchive(server)
    ways, asked = RecoveryPaths(archive), []
    way = ways.to(1)
    whole = way.wal_from
    way.wal_from = lambda begin: asked.append(begin) or whole(begin)  # type: ignore[method-assign]
    assert isinstance(find_choice(ways, archive.backups, AtTime(server.clock + MICROSECOND), None), NoChoice)
    assert len(asked) <= len(archive.backups) + 1
