"""Case 27: a recovery makes a second timeline that goes on beside the first one; a target says on which it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import pytest
from support.fleet import Fleet
from support.objects import wal_path
from support.postgres import Server, wait_until
from support.ssh import SshHost
from target_world import World, end_world, lsn, make_world

from pgvault.model.backup import Backup
from pgvault.model.check import Outcome
from pgvault.model.errors import Refused, WalMissing
from pgvault.model.lsn import Lsn
from pgvault.model.target import AtLsn, AtName, AtTime, AtXid, EndOfWal
from pgvault.model.times import rfc3339, utc
from pgvault.vault.wal_archive import accept


class Fork:
    """Values from 100 on are of timeline 1 after the branch, from 200 on of timeline 2; both servers live on.

    In time: 1, (the branch), 100, 200, 101, 201; then 102 on timeline 1 alone; then 202 on timeline 2 alone.
    """

    def __init__(self, world: World, fleet: Fleet, scope: ExitStack) -> None:
        self.world, self.first = world, world.server
        self.times: dict[int, datetime] = {}
        self.xids: dict[int, int] = {}
        self.first.sql("CREATE TABLE logged (value int)")
        self.first_backup = world.backup()
        self.add(self.first, 1)
        self.first.sql("SELECT pg_create_restore_point('branch')")
        self.add(self.first, 100)
        world.take_wal()
        self.second = self._recovered(fleet, scope)
        for server, value in ((self.second, 200), (self.first, 101), (self.second, 201), (self.first, 102)):
            self.add(server, value)
        self.first.sql("SELECT pg_create_restore_point('on the first')")
        self.add(self.first, 103)
        self.before_second_backup = datetime.now(UTC)
        self.second_backup = self._backup_of_second()
        self.add(self.second, 202)
        self.second.sql("SELECT pg_create_restore_point('on the second')")
        self.add(self.second, 203)
        self.middle = lsn(self.second.current_lsn())
        self.add(self.second, 204)
        world.take_wal(self.first)
        world.take_wal(self.second)

    def add(self, server: Server, value: int) -> None:
        xid = server.scalar("INSERT INTO logged VALUES (%s) RETURNING pg_current_xact_id()::xid::text", (value,))
        self.times[value] = server.scalar("SELECT pg_xact_commit_timestamp(%s::xid)", (xid,))
        self.xids[value] = int(xid)

    def _recovered(self, fleet: Fleet, scope: ExitStack) -> Server:
        """A server recovered to the branch that archives into the same vault, as after a disaster."""
        restored = scope.enter_context(self.world.restored(AtName("branch"), start=False))
        with (restored.data / "postgresql.auto.conf").open("a") as conf:
            for name, value in self.world.archiving().items():
                conf.write(f"{name} = '{value}'\n")
        server = fleet.adopt(self.first.installation, restored.data)
        scope.callback(fleet.remove, server)
        server.start()
        wait_until(lambda: not server.scalar("SELECT pg_is_in_recovery()"))
        return server

    def _backup_of_second(self) -> Backup:
        self.world.write_config(conninfo=self.second.conninfo())
        backup = self.world.backup()
        self.world.write_config()
        return backup

    def on_first(self, *values: int) -> list[int]:
        return [1, *values]


@pytest.fixture(scope="module")
def fork(fleet: Fleet, ssh_hosts: Callable[[str], SshHost]) -> Iterator[Fork]:
    world = make_world(fleet, ssh_hosts("openssh"), megabytes=1)
    with ExitStack() as scope:
        yield Fork(world, fleet, scope)
    end_world(fleet, world)


def values(world: World, target: object, **request: object) -> tuple[str, int, list[int]]:
    """The backup that was used, the timeline of the restored server, and what it holds."""
    with world.restored(target, **request) as restored:
        found = restored.column("SELECT value FROM logged ORDER BY value")
        return restored.verdict.plan.source.backup.id, restored.verdict.proof.timeline, found


@pytest.mark.parametrize(("timeline", "there"), [(1, [1, 100, 101]), (2, [1, 200])])
def test_a_time_that_was_on_both_has_to_be_chosen(fork: Fork, timeline: int, there: list[int]) -> None:
    time = fork.times[101]
    with pytest.raises(Refused) as refused:
        fork.world.plan(AtTime(time))
    assert "--target-timeline 1 or 2" in refused.value.hint
    assert "timeline 1 it is" in refused.value.detail.replace("On", "on")
    assert "timeline 2 it is" in refused.value.detail
    backup, new, found = values(fork.world, AtTime(time), timeline=timeline)
    assert (backup, found) == (fork.first_backup.id, there)
    assert new >= 3  # 2 is taken, whichever was followed


def test_a_time_that_was_on_one_needs_no_choice(fork: Fork) -> None:
    before = fork.world.plan(AtTime(fork.times[1], inclusive=False))
    assert (before.point.timeline, before.point.timeline_path) == (1, (1,))
    late = fork.world.plan(AtTime(fork.times[203]))  # timeline 1 knows nothing that late
    assert (late.point.timeline, late.point.timeline_path, late.source.backup.id) == (2, (2,), fork.second_backup.id)
    assert values(fork.world, AtTime(fork.times[203]))[2] == [1, 200, 201, 202, 203]


def test_a_newer_backup_of_another_branch_is_never_taken(fork: Fork) -> None:
    """Rule 21."""
    plan = fork.world.plan(AtTime(fork.times[102]), timeline=1)
    assert plan.source.backup.id == fork.first_backup.id
    with pytest.raises((Refused, WalMissing)) as refused:
        fork.world.plan(AtTime(fork.times[102]), timeline=1, backup=fork.second_backup.id)
    assert "no backup lies on the path to timeline 1" in refused.value.detail.lower()


def test_names_and_transactions_are_where_they_are(fork: Fork) -> None:
    on_first, on_second = (fork.world.plan(AtName(f"on the {which}")) for which in ("first", "second"))
    assert (on_first.point.timeline, on_first.source.backup.id) == (1, fork.first_backup.id)
    assert (on_second.point.timeline, on_second.source.backup.id) == (2, fork.second_backup.id)
    assert values(fork.world, AtName("on the first"))[2] == [1, 100, 101, 102]
    before_the_branch = fork.world.plan(AtName("branch"))
    assert before_the_branch.point.timeline == 1
    with pytest.raises(WalMissing) as refused:
        fork.world.plan(AtName("on the first"), timeline=2)
    assert "on timeline 1" in refused.value.detail
    # the same number was given out on both sides
    assert fork.xids[100] == fork.xids[200]
    with pytest.raises(Refused) as refused:
        fork.world.plan(AtXid(fork.xids[100]))
    assert "--target-timeline 1 or 2" in refused.value.hint
    assert values(fork.world, AtXid(fork.xids[200]), timeline=2)[2] == [1, 200]


def test_a_position_is_on_both_where_both_reach(fork: Fork) -> None:
    plan = fork.world.plan(AtLsn(fork.middle, inclusive=False), timeline=2)
    assert plan.source.backup.id == fork.second_backup.id
    switch = fork.world.plan(AtName("branch")).point.stop_lsn
    assert fork.world.plan(AtLsn(switch)).point.timeline == 1
    with pytest.raises(Refused):
        fork.world.plan(AtLsn(Lsn(switch + 1024)))


def test_the_end_has_to_be_chosen_while_both_go_on(fork: Fork) -> None:
    with pytest.raises(Refused):
        fork.world.plan(EndOfWal())
    _, one, on_first = values(fork.world, EndOfWal(), timeline=1)
    _, other, on_second = values(fork.world, EndOfWal(), timeline=2)
    assert (on_first, on_second) == ([1, 100, 101, 102, 103], [1, 200, 201, 202, 203, 204])
    assert 2 < one < other  # no number is given twice


def test_a_timeline_that_is_not_archived_is_refused(fork: Fork) -> None:
    with pytest.raises(Refused) as refused:
        fork.world.plan(EndOfWal(), timeline=7)
    assert "Known: 1, 2." in refused.value.detail


def test_an_ended_timeline_is_no_branch_of_its_own(fleet: Fleet, ssh_hosts: Callable[[str], SshHost]) -> None:
    """A failover: the first server is gone, its WAL ends where the second timeline begins. And an orphan history file
    of a recovery that archived nothing else neither adds a timeline nor has its number given out again."""
    world = make_world(fleet, ssh_hosts("openssh"), megabytes=1)
    with ExitStack() as scope:
        scope.callback(end_world, fleet, world)
        world.server.sql("CREATE TABLE logged (value int)")
        world.backup()
        world.server.sql("INSERT INTO logged VALUES (1)")
        world.take_wal()
        world.server.stop()
        restored = scope.enter_context(world.restored(EndOfWal(), start=False))
        with (restored.data / "postgresql.auto.conf").open("a") as conf:
            for name, value in world.archiving().items():
                conf.write(f"{name} = '{value}'\n")
        second = fleet.adopt(world.server.installation, restored.data)
        scope.callback(fleet.remove, second)
        second.start()
        wait_until(lambda: not second.scalar("SELECT pg_is_in_recovery()"))
        second.sql("INSERT INTO logged VALUES (2)")
        world.take_wal(second)
        orphan = (second.wal / "00000002.history").read_bytes() + b"2\t0/F0000000\tno recovery target specified\n"
        accept(world.vault, "00000003.history", BytesIO(orphan))
        assert values(world, EndOfWal()) == (world.plan(EndOfWal()).source.backup.id, 4, [1, 2])
        assert world.plan(EndOfWal()).point.timeline_path == (1, 2)
        wal_path(world.vault, "00000002.history").unlink()
        with pytest.raises(Refused) as refused:  # nothing tells now where timeline 2 comes from
            world.plan(EndOfWal())
        assert "00000002.history" in refused.value.detail
        assert world.plan(EndOfWal(), timeline=1).point.timeline_path == (1,)


def test_an_orphan_history_beside_the_first_timeline(fleet: Fleet, ssh_hosts: Callable[[str], SshHost]) -> None:
    """It says that timeline 2 branched off; there is none, and PostgreSQL is not led there."""
    world = make_world(fleet, ssh_hosts("openssh"), megabytes=1)
    try:
        world.server.sql("CREATE TABLE logged (value int)")
        world.backup()
        branch = world.server.current_lsn()
        world.server.sql("INSERT INTO logged VALUES (1)")
        world.take_wal()
        accept(world.vault, "00000002.history", BytesIO(f"1\t{branch}\tbefore 1\n".encode()))
        assert world.plan(EndOfWal()).point.timeline_path == (1,)
        assert values(world, EndOfWal())[1:] == (3, [1])
        with pytest.raises(Refused):
            world.plan(EndOfWal(), timeline=2)
    finally:
        end_world(fleet, world)


def test_each_reading_is_offered_with_its_timeline(fork: Fork) -> None:
    time = fork.times[101].isoformat()
    document = choices(fork.world, "--target-time", time)
    assert "on more than one timeline" in document["reason"]
    assert [(each["when"], each["timeline"], each["reason"]) for each in document["nearest"]] == [
        ("at", 1, "on timeline 1"), ("at", 2, "on timeline 2")]
    for each in document["nearest"]:
        found = choices(fork.world, *each["options"])
        assert (found["reachable"], found["timeline"], found["stop"]["lsn"]) == (True, each["timeline"], each["lsn"])
    assert [each["reason"] for each in document["backups"]] == [
        "ends after the target, at " + utc(fork.second_backup.end_time), "reaches the target on timeline 1 and 2"]
    assert [each["earliest"]["timeline"] for each in document["windows"]] == [1, 1]


def test_a_backup_of_another_branch_is_judged_so(fork: Fork) -> None:
    """And of a time that only one timeline has, the others have their last commit."""
    document = choices(fork.world, "--target-time", fork.times[102].isoformat(), "--target-timeline", "1")
    assert document["backups"][0]["reason"] == "lies on another branch, timeline 2"
    assert document["backups"][1]["proposed"]
    late = choices(fork.world, "--target-time", (fork.times[204] + timedelta(hours=1)).isoformat())
    assert [(each["when"], each["timeline"], each["time"]) for each in late["nearest"]] == [
        ("earlier", 2, rfc3339(fork.times[204])), ("earlier", 1, rfc3339(fork.times[103]))]
    wrong = choices(fork.world, "--target-name", "on the first", "--target-timeline", "2")
    assert [(each["when"], each["timeline"]) for each in wrong["nearest"]] == [("at", 1)]


def choices(world: World, *options: str) -> dict[str, Any]:
    return world.cli("restore", "main", "--choices", *options, "--format", "json", check=0).json()


# A standby


@pytest.mark.parametrize("which", ["first", "second"])
def test_a_standby_follows_the_timeline_that_its_server_is_on(fork: Fork, which: str) -> None:
    """The other one is in the archive too, and for PostgreSQL the newest number is the latest."""
    world, server = fork.world, {"first": fork.first, "second": fork.second}[which]
    timeline = {"first": 1, "second": 2}[which]
    world.write_config(conninfo=server.conninfo())
    try:
        with world.restored(EndOfWal(), standby=True) as restored:
            assert restored.verdict.proof.state == "following"
            assert restored.verdict.plan.point.timeline == timeline
            there = server.scalar("SELECT count(*) FROM logged")
            wait_until(lambda: restored.column("SELECT count(*) FROM logged") == [there])
            held = {path.name for path in restored.data.glob("pgvault_wal/*.history")}
            assert held == {f"{number:08X}.history" for number in range(2, timeline + 1)}
    finally:
        world.write_config()


def test_a_standby_of_a_timeline_that_its_server_left_is_refused(fork: Fork) -> None:
    fork.world.write_config(conninfo=fork.second.conninfo())
    try:
        plan = fork.world.plan(EndOfWal(), standby=True, timeline=1)
    finally:
        fork.world.write_config()
    (failed,) = plan.failed
    assert failed.name == "timeline of the original server"
    assert "The server is on timeline 2, and the archived WAL of timeline 1 leads to " in failed.detail


def test_without_the_server_a_person_says_which_timeline_a_standby_follows(fork: Fork) -> None:
    """Nothing is guessed between two branches; what is named is taken, and the doubt is said."""
    fork.world.write_config(conninfo="host=127.0.0.1 port=1 user=postgres dbname=postgres")
    try:
        with pytest.raises(Refused) as refused:
            fork.world.plan(EndOfWal(), standby=True)
        plan = fork.world.plan(EndOfWal(), standby=True, timeline=1)
    finally:
        fork.world.write_config()
    assert "--target-timeline 1 or 2" in refused.value.hint
    (doubt,) = [each for each in plan.preconditions if each.name == "timeline of the original server"]
    assert (doubt.outcome, plan.source.wal.histories) == (Outcome.WARNING, ())
    assert doubt.detail.endswith("The standby follows timeline 1.")
