"""A server that is idle since its newest backup: what the plan says can be restored, a real PostgreSQL restores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from support.fleet import Fleet
from support.ssh import SshHost
from target_world import NAME, Ended, World, end_world, make_world

from pgvault.console.timeline.chart import MarkKind, chart_of
from pgvault.console.timeline.cursor import reach_of, recovery_point
from pgvault.console.widgets.timeline import latest
from pgvault.engine.wal_picture import wal_picture
from pgvault.model.backup import Backup
from pgvault.model.errors import PgvaultError
from pgvault.model.target import AtLsn, AtTime
from pgvault.model.times import rfc3339, utc

MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Idle:
    """Values 1 and 2 between two backups; nothing after the newer one."""

    world: World
    older: Backup
    one: Ended
    two: Ended
    newest: Backup


@pytest.fixture(scope="module", params=[13, 18])
def idle(request: pytest.FixtureRequest, fleet: Fleet, ssh_hosts: Callable[[str], SshHost]) -> Iterator[Idle]:
    world = make_world(fleet, ssh_hosts("openssh"), request.param, megabytes=1,
                       settings={"wal_keep_size": "4GB", "autovacuum": "off"})
    world.server.sql("CREATE TABLE logged (value int)")
    older = world.backup()
    for value in (1, 2):
        world.server.sql(f"INSERT INTO logged VALUES ({value})")
    newest = world.backup()
    one, two = [each for each in world.ended(world.take_wal()) if older.end_lsn <= each.lsn < newest.begin_lsn][-2:]
    world.cli("wal", NAME, check=0)  # what it reads of the commits, the others find
    yield Idle(world, older, one, two, newest)
    end_world(fleet, world)


def test_a_time_between_the_backups(idle: Idle) -> None:
    with idle.world.restored(AtTime(idle.two.time - MICROSECOND)) as restored:
        assert restored.verdict.plan.source.backup.id == idle.older.id
        assert restored.column("SELECT value FROM logged") == [1]


def test_the_time_of_the_last_commit(idle: Idle) -> None:
    with idle.world.restored(AtTime(idle.two.time)) as restored:
        assert restored.verdict.plan.source.backup.id == idle.older.id
        assert restored.column("SELECT value FROM logged ORDER BY value") == [1, 2]


def test_the_time_at_which_the_newest_backup_ended(idle: Idle) -> None:
    """PostgreSQL would find no commit behind it and end with FATAL; it is given the position."""
    with idle.world.restored(AtTime(idle.newest.end_time)) as restored:
        assert restored.verdict.plan.source.backup.id == idle.newest.id
        assert restored.column("SELECT value FROM logged ORDER BY value") == [1, 2]


def test_the_place_on_which_the_wal_view_opens(idle: Idle) -> None:
    chart = chart_of(wal_picture(idle.world.vault))
    cursor = latest(chart)
    target, backup = recovery_point(chart, cursor)
    assert cursor.mark.kind is MarkKind.WINDOW_END
    assert isinstance(target, AtLsn)
    with idle.world.restored(target, timeline=cursor.timeline, backup=backup) as restored:
        assert restored.verdict.plan.source.backup.id == reach_of(chart, cursor).backup.id == idle.newest.id
        assert restored.column("SELECT value FROM logged ORDER BY value") == [1, 2]


def test_a_time_at_which_nothing_can_be_stopped_at(idle: Idle) -> None:
    """Between the last commit and the newest backup's end, and behind it: refused with what lies on either side."""
    between, behind = idle.newest.end_time - MICROSECOND, idle.newest.end_time + timedelta(hours=1)
    assert idle.two.time < between
    for time in (between, behind):
        with pytest.raises(PgvaultError):
            idle.world.plan(AtTime(time))
    assert _nearest(idle, between) == [("earlier", rfc3339(idle.two.time)), ("later", rfc3339(idle.newest.end_time))]
    assert _nearest(idle, behind) == [("earlier", rfc3339(idle.newest.end_time))]


def _nearest(idle: Idle, time: datetime) -> list[tuple[str, str]]:
    document = idle.world.cli("restore", NAME, "auto", "--choices", "--target-time", utc(time), "--format", "json",
                              check=0).json()
    assert not document["reachable"]
    assert [each["latest"]["time"] for each in document["windows"]] == [rfc3339(idle.two.time)]
    return [(each["when"], each["time"]) for each in document["nearest"]]
