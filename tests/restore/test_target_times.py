"""Case 24: a restore to any instant holds exactly what was committed by then, as the workload's own log tells.

The log maps each value to its transaction; pg_waldump, which is PostgreSQL's own, tells when and where each
transaction ended. Neither knows anything of pgvault's reading.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg
import pytest
from support.fleet import Fleet
from support.ssh import SshHost
from target_world import NAME, Ended, World, end_world, make_world

from pgvault.engine.restore.choose import Choice, choose
from pgvault.model.backup import Backup
from pgvault.model.errors import PgvaultError, WalMissing
from pgvault.model.lsn import Lsn
from pgvault.model.target import AtTime
from pgvault.vault import catalog
from pgvault.vault.identity import read_identity
from pgvault.vault.wal_current import current
from pgvault.vault.wal_search import WalSearch

TIMES = 200
RESTORES = 12
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Story:
    world: World
    backups: list[Backup]
    ended: list[Ended]
    """In the order of positions."""
    values: dict[int, int]
    """Value to transaction, as the clients saw it, of those that they committed."""

    def committed_before(self, position: Lsn) -> set[int]:
        done = {each.xid for each in self.ended if each.commits and each.lsn < position}
        return {value for value, xid in self.values.items() if xid in done}

    def committed_by(self, time: datetime, inclusive: bool) -> set[int]:
        done = {each.xid for each in self.ended
                if each.commits and (each.time < time or (inclusive and each.time == time))}
        return {value for value, xid in self.values.items() if xid in done}


class Client(threading.Thread):
    """Commits, aborts, subtransactions and prepared transactions, and a log of what should stay."""

    def __init__(self, world: World, number: int, stop: threading.Event) -> None:
        super().__init__()
        self._world, self._number, self._stop_asked = world, number, stop
        self.values: dict[int, int] = {}

    def run(self) -> None:
        dice = random.Random(self._number)
        with self._world.server.connect() as connection:
            value = self._number * 1_000_000
            while not self._stop_asked.wait(dice.expovariate(150)):
                value += 10
                kind = dice.choices(["plain", "abort", "nested", "prepared", "undone"], [6, 1, 2, 1, 0.5])[0]
                self._transaction(connection, kind, value)

    def _transaction(self, connection: psycopg.Connection, kind: str, value: int) -> None:
        insert = "INSERT INTO logged SELECT %s, repeat(md5(random()::text), 20)"
        connection.execute("BEGIN")
        connection.execute(insert, (value,))
        xid = int(connection.execute("SELECT pg_current_xact_id()::xid::text").fetchone()[0])
        kept = [value]
        if kind == "nested":
            for step, ending in enumerate(("RELEASE s", "ROLLBACK TO s", "RELEASE s"), 1):
                connection.execute("SAVEPOINT s")
                connection.execute(insert, (value + step,))
                connection.execute(ending)
                kept += [value + step] * ending.startswith("RELEASE")
        if kind in ("prepared", "undone"):
            connection.execute(f"PREPARE TRANSACTION '{value}'")
            connection.execute(f"{'COMMIT' if kind == 'prepared' else 'ROLLBACK'} PREPARED '{value}'")
        else:
            connection.execute("ROLLBACK" if kind == "abort" else "COMMIT")
        if kind not in ("abort", "undone"):
            self.values |= dict.fromkeys(kept, xid)


@pytest.fixture(scope="module")
def story(fleet: Fleet, ssh_hosts: Callable[[str], SshHost]) -> Iterator[Story]:
    """Three clients at work, four backups meanwhile, segments of 1 MiB."""
    world = make_world(fleet, ssh_hosts("openssh"), megabytes=1, settings={"wal_keep_size": "4GB"})
    world.server.sql("CREATE TABLE logged (value int, filler text)")
    stop = threading.Event()
    clients = [Client(world, number, stop) for number in (1, 2, 3)]
    for client in clients:
        client.start()
    backups = []
    try:
        for _ in range(4):
            backups.append(world.backup())
            assert not stop.wait(1)
    finally:
        stop.set()
        for client in clients:
            client.join()
    last = world.take_wal()
    values = {value: xid for client in clients for value, xid in client.values.items()}
    yield Story(world, backups, world.ended(last), values)
    end_world(fleet, world)


def targets(story: Story) -> list[AtTime]:
    """Random instants, half of them the very microsecond of a commit or one beside it."""
    dice = random.Random(24)
    start, end = story.backups[0].finished_at, max(each.time for each in story.ended)
    commits = [each.time for each in story.ended if start < each.time < end]
    chosen = []
    for i in range(TIMES):
        time = start + (end - start) * dice.random() if i % 2 else \
            dice.choice(commits) + dice.choice([-1, 0, 0, 1]) * MICROSECOND
        chosen.append(AtTime(max(start, min(time, end - MICROSECOND)), dice.random() < 0.5))
    return chosen


def expected(story: Story, target: AtTime) -> tuple[Backup, Ended]:
    """By PostgreSQL's rule: the first end of a transaction that is too late, met from a backup that ended before."""
    for backup in reversed(story.backups):
        begin = backup.begin_lsn - backup.begin_lsn % backup.segment_size
        for each in story.ended:
            if each.lsn >= begin and (each.time > target.time or (each.time == target.time and not target.inclusive)):
                if each.lsn >= backup.end_lsn:
                    return backup, each
                break
    raise AssertionError("every target lies behind the first backup")


def test_the_workload_is_what_the_case_asks_for(story: Story) -> None:
    segments = {each.lsn >> 20 for each in story.ended}
    assert len(story.values) > 300
    assert len(segments) > 8
    assert story.values.keys() - story.committed_before(Lsn(1 << 63)) == set()
    with story.world.server.connect() as connection:
        there = {row[0] for row in connection.execute("SELECT value FROM logged")}
        assert there == story.values.keys()
        xids = sorted(set(story.values.values()))
        times = dict(connection.execute(
            "SELECT x::text::int, pg_xact_commit_timestamp(x::text::xid) FROM unnest(%s::int[]) x", (xids,)))
    assert {each.xid: each.time for each in story.ended if each.xid in times} == times


def test_two_hundred_plans_stop_where_postgresql_would(story: Story) -> None:
    """Rules 21 and 23a: the newest backup that ends before the target, and the position that ends it."""
    with current(story.world.vault, read_identity(story.world.vault)) as index:
        search = WalSearch(story.world.vault, index, read_identity(story.world.vault))
        backups = catalog.backups(story.world.vault)
        chosen = set()
        for target in targets(story):
            choice: Choice = choose(search, backups, target, None)
            backup, record = expected(story, target)
            assert (choice.backup.id, choice.stop.lsn) == (backup.id, record.lsn), target
            assert (choice.stop.time, choice.stop.replayed) == (record.time, False)
            assert choice.history.timeline == 1
            chosen.add(backup.id)
    assert chosen == {backup.id for backup in story.backups}


@pytest.mark.parametrize("number", range(RESTORES))
def test_a_restore_to_a_time_equals_the_log(story: Story, number: int) -> None:
    target = targets(story)[number]
    backup, record = expected(story, target)
    with story.world.restored(target) as restored:
        assert restored.verdict.plan.source.backup.id == backup.id
        found = restored.column("SELECT value FROM logged")
        assert sorted(found) == sorted(story.committed_before(record.lsn))
        assert restored.verdict.proof.timeline >= 2
        assert restored.verdict.proof.lsn <= record.lsn
    by_clock = story.committed_by(target.time, target.inclusive)
    inverted = [each for each in story.ended if (each.lsn < record.lsn) != (
        each.time < target.time or (target.inclusive and each.time == target.time))]
    assert set(found) ^ by_clock == set() or inverted  # clock and position differ only where commits overtook
    assert len(inverted) < 4


def test_the_last_commit_is_the_latest_time(story: Story) -> None:
    """Rule 23a. PostgreSQL itself cannot stop at the time of the archive's last commit: nothing later ends it."""
    last = max(each.time for each in story.ended)
    with story.world.restored(AtTime(last)) as restored:
        assert set(restored.column("SELECT value FROM logged")) == story.values.keys()
        assert restored.verdict.proof.last_commit is not None
    with pytest.raises(WalMissing) as refused:
        story.world.plan(AtTime(last + MICROSECOND))
    assert f"{last:%H:%M:%S.%f}".rstrip("0") in refused.value.detail


def test_a_time_before_the_first_backup_ended_is_refused(story: Story) -> None:
    """Case 25, rule 22: with the earliest instant that is possible."""
    first = story.backups[0]
    inside = next(each for each in story.ended if first.begin_lsn <= each.lsn < first.end_lsn)
    for time in (inside.time - MICROSECOND, first.finished_at - timedelta(days=3)):
        with pytest.raises(WalMissing) as refused:
            story.world.plan(AtTime(time))
        assert f"before the end of backup {first.id}, {first.finished_at:%Y-%m-%d %H:%M:%S}" in refused.value.detail


@pytest.mark.parametrize("whole_second", [0, 1])
def test_the_second_in_which_a_backup_ended(story: Story, whole_second: int) -> None:
    """Case 25: the plan refuses, or what it accepts is reached; whole seconds are what people type."""
    time = story.backups[1].finished_at.replace(microsecond=0) + timedelta(seconds=whole_second)
    try:
        backup, record = expected(story, AtTime(time))
    except AssertionError:
        with pytest.raises(PgvaultError):
            story.world.plan(AtTime(time))
        return
    with story.world.restored(AtTime(time)) as restored:
        assert restored.verdict.plan.source.backup.id == backup.id
        assert set(restored.column("SELECT value FROM logged")) == story.committed_before(record.lsn)


def test_postgresql_is_given_the_position(story: Story) -> None:
    """Rules 23a and 26: a position with its timeline, quoted, whatever else was typed."""
    target = targets(story)[0]
    _, record = expected(story, target)
    with story.world.restored(target, start=False) as restored:
        lines = (restored.data / "postgresql.auto.conf").read_text().splitlines()
    assert f"recovery_target_lsn = '{record.lsn}'" in lines
    assert "recovery_target_inclusive = 'off'" in lines
    assert "recovery_target_timeline = '1'" in lines
    assert not any(line.startswith(("recovery_target_time ", "recovery_target_name")) for line in lines)
    assert restored.verdict.plan.server == NAME
