"""The end of a timeline that no whole segment has: what the receiver was writing when the server was lost (rule 14)."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from support.account import account
from support.cli import environment, pgvault_argv
from support.fleet import Fleet, Shape
from support.installation import installation
from support.objects import wal_path
from support.postgres import Server, wait_until
from support.ssh import SshHost
from target_world import World, end_world, lsn

from pgvault.model.check import Outcome
from pgvault.model.errors import Refused, UsageError, WalMissing
from pgvault.model.target import AtLsn, AtName, AtTime, AtXid, EndOfWal, Immediate
from pgvault.vault.streaming import pad
from pgvault.vault.wal_archive import accept


@contextmanager
def receiving(world: World, server: Server) -> Iterator[subprocess.Popen[str]]:
    """A receiver in a process of its own, already streaming."""
    process = subprocess.Popen(pgvault_argv("receive-wal", "main", config=world.config_file), env=environment(),
                               stderr=subprocess.DEVNULL, text=True)
    try:
        wait_until(lambda: server.scalar("select count(*) from pg_stat_replication where application_name = 'pgvault'"))
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def received(server: Server) -> None:
    """Wait until the receiver has said that all there is is on disk."""
    end = server.scalar("select pg_current_wal_flush_lsn()::text")
    wait_until(lambda: server.scalar("select flush_lsn >= %s::pg_lsn from pg_stat_replication"
                                     " where application_name = 'pgvault'", (end,)))


def add(server: Server, value: int) -> tuple[int, datetime]:
    xid = server.scalar("INSERT INTO logged VALUES (%s) RETURNING pg_current_xact_id()::xid::text", (value,))
    return int(xid), server.scalar("SELECT pg_xact_commit_timestamp(%s::xid)", (xid,))


class Lost:
    """Value 1 is in the last whole segment; 2, then 3, were received after it; then the server was no more.

    The receiver is still at work: it tries to reach the server.
    """

    def __init__(self, world: World, scope: ExitStack) -> None:
        self.world, server = world, world.server
        self.receiver = scope.enter_context(receiving(world, server))
        server.sql("CREATE TABLE logged (value int)")
        world.backup()
        add(server, 1)
        last = server.switch_wal()
        wait_until(lambda: wal_path(world.vault, last).exists())
        self.second = add(server, 2)
        self.between = lsn(server.current_lsn())
        self.third = add(server, 3)
        server.sql("SELECT pg_create_restore_point('last words')")
        self.name = server.scalar("SELECT pg_walfile_name(pg_current_wal_lsn())")
        self.end = lsn(server.current_lsn())
        received(server)
        server.crash()
        shutil.rmtree(server.data)
        self.partial = world.vault.spool.streaming / f"{self.name}.partial"


@pytest.fixture(scope="module", params=[13, 18])
def lost(request: pytest.FixtureRequest, fleet: Fleet, ssh_hosts: Callable[[str], SshHost]) -> Iterator[Lost]:
    settings = {"track_commit_timestamp": "on"}
    server = fleet.make(installation(request.param), Shape(None, 1), settings).start()
    world = World(server, ssh_hosts("openssh"))
    with ExitStack() as scope:
        yield Lost(world, scope)
    end_world(fleet, world)


def conditions(plan) -> dict[str, str]:
    return {each.name: f"{each.detail} {each.fix}" for each in plan.preconditions if each.outcome is Outcome.WARNING}


def test_without_asking_the_last_commits_are_not_there_and_the_plan_says_so(lost: Lost) -> None:
    with lost.world.restored(EndOfWal()) as restored:
        assert restored.column("SELECT value FROM logged ORDER BY 1") == [1]
        plan = restored.verdict.plan
    assert plan.source.wal.partial is None
    assert "--partial" not in plan.to_argv()
    said = conditions(plan)["unused WAL"]
    for words in ("--partial", str(lost.end), f"{lost.name}.partial", f"{lost.third[1]:%H:%M:%S}"):
        assert words in said


def test_asked_for_they_are_brought_back_and_the_receiver_is_left_alone(lost: Lost) -> None:
    before = lost.partial.read_bytes(), lost.partial.stat().st_mtime_ns
    with lost.world.restored(EndOfWal(), partial=True) as restored:
        assert restored.column("SELECT value FROM logged ORDER BY 1") == [1, 2, 3]
        plan = restored.verdict.plan
        assert restored.verdict.proof.lsn >= plan.point.stop_lsn
    assert (plan.source.wal.partial, plan.source.wal.last) == (f"{lost.name}.partial", lost.name)
    assert plan.point.stop_lsn == lost.end
    assert "unused WAL" not in conditions(plan)
    assert (lost.partial.read_bytes(), lost.partial.stat().st_mtime_ns) == before
    assert lost.receiver.poll() is None


def test_targets_are_searched_in_it_when_asked_for_and_else_refused_with_what_it_would_bring(lost: Lost) -> None:
    """Rule 22: the last one reachable is said, here with the option that reaches further."""
    xid, time = lost.second
    for target in (AtTime(time), AtXid(xid), AtName("last words"), AtLsn(lost.between, inclusive=False)):
        with pytest.raises((WalMissing, Refused)) as refused:
            lost.world.plan(target)
        assert f"with --partial it goes on to {lost.end} in the unfinished {lost.name}.partial" in refused.value.detail
        assert lost.world.plan(target, partial=True).source.wal.partial == f"{lost.name}.partial"


@pytest.mark.parametrize("kind", ["time", "xid", "name"])
def test_a_restore_to_a_target_in_it_stops_there(lost: Lost, kind: str) -> None:
    xid, time = lost.second
    target, values = {"time": (AtTime(time), [1, 2]), "xid": (AtXid(xid, inclusive=False), [1]),
                      "name": (AtName("last words"), [1, 2, 3])}[kind]
    with lost.world.restored(target, partial=True) as restored:
        assert restored.column("SELECT value FROM logged ORDER BY 1") == values


def test_it_is_not_sent_for_a_target_before_it(lost: Lost) -> None:
    plan = lost.world.plan(Immediate(), backup="latest", partial=True)
    assert plan.source.wal.partial is None


def test_it_is_shown_and_the_shown_command_is_the_same_restore(lost: Lost) -> None:
    world = lost.world
    argv = ["restore", "main", "auto", world.root / "shown", "--host", "target", "--dry-run"]
    assert "the last one unfinished" in world.cli(*argv, "--partial", check=0).text
    assert "WARNING: unused WAL" in world.cli(*argv, check=0).text
    shown = world.cli(*argv, "--partial", "--format", "json", check=0).json()
    assert (shown["wal"]["partial"], shown["wal"]["last"]) == (f"{lost.name}.partial", lost.name)
    assert " --partial " in shown["command"]
    again = world.cli(*shown["command"].split()[1:], "--dry-run", "--format", "json", check=0).json()
    assert without_space(again) == without_space(shown)
    assert world.cli(*argv, "--format", "json", check=0).json()["wal"]["partial"] is None


def test_a_standby_takes_none(lost: Lost) -> None:
    with pytest.raises(UsageError, match="unfinished"):
        lost.world.plan(EndOfWal(), standby=True, partial=True)


def test_restore_command_never_gets_it(lost: Lost) -> None:
    """Rule 17: to PostgreSQL the segment is absent, whatever there is of it."""
    assert lost.world.cli("get-wal", "main", lost.name).returncode == 1


def test_archived_as_it_is_it_serves_too(lost: Lost) -> None:
    """The last of these stories: the receiver has ended, and what it left was archived."""
    lost.receiver.send_signal(signal.SIGTERM)
    lost.receiver.wait(60)
    pad(lost.partial, 1 << 20)
    with lost.partial.open("rb") as source:
        accept(lost.world.vault, lost.partial.name, source)
    lost.partial.unlink()
    with pytest.raises(WalMissing, match="cannot be reached"):
        lost.world.plan(AtTime(lost.second[1]))
    with lost.world.restored(EndOfWal(), partial=True) as restored:
        assert restored.column("SELECT value FROM logged ORDER BY 1") == [1, 2, 3]


# After a promotion


def test_after_a_promotion_the_end_is_that_of_the_new_timeline_and_the_old_one_can_be_named(
        fleet: Fleet, ssh_hosts: Callable[[str], SshHost], adopt_server: Callable[[Path, int], Server],
        open_tmp: Path) -> None:
    """Rules 13 and 14: the end of the old timeline is no branch beside the one that goes on from it."""
    server = fleet.make(installation(None), Shape(None, 1), {"track_commit_timestamp": "on"}).start()
    world = World(server, ssh_hosts("openssh"))
    try:
        with receiving(world, server):
            server.sql("CREATE TABLE logged (value int)")
            world.backup()
            data = open_tmp / "standby"
            account().run([server.installation.program("pg_basebackup"), "-d", server.conninfo(), "-D", data, "-R",
                           "-c", "fast", "-X", "stream"])
            received(server)  # up to where the standby's own WAL begins
        standby = adopt_server(data, server.major).start()
        world.write_config(conninfo=standby.conninfo())
        with receiving(world, standby):
            add(server, 1)
            end = server.scalar("select pg_current_wal_flush_lsn()::text")
            wait_until(lambda: standby.scalar(f"select pg_last_wal_replay_lsn() >= '{end}'"))
            standby.sql("select pg_promote()")
            _, second = add(standby, 2)
            wait_until(lambda: list(world.vault.wal.glob("*/00000001*.partial.zst")))
            received(standby)
        standby.crash()
        [old] = world.vault.wal.glob("*/00000001*.partial.zst")
        without = world.plan(EndOfWal())
        assert "in the unfinished 00000002" in conditions(without)["unused WAL"]
        assert "in the unfinished 00000001" in conditions(world.plan(EndOfWal(), timeline=1))["unused WAL"]
        with pytest.raises(WalMissing) as refused:
            world.plan(AtTime(second))
        assert "in the unfinished 00000002" in refused.value.detail
        assert world.plan(AtTime(second), partial=True).source.wal.partial[:8] == "00000002"
        plan = world.plan(EndOfWal(), partial=True)
        assert (plan.point.timeline, plan.source.wal.partial[:8]) == (2, "00000002")
        with world.restored(EndOfWal(), partial=True) as restored:
            assert restored.column("SELECT value FROM logged ORDER BY 1") == [1, 2]
            assert restored.verdict.proof.timeline == 3
        with world.restored(EndOfWal(), partial=True, timeline=1) as restored:
            assert restored.column("SELECT value FROM logged ORDER BY 1") == [1]
            assert restored.verdict.plan.source.wal.partial == old.name.removesuffix(".zst")
    finally:
        end_world(fleet, world)


def test_a_target_in_the_unfinished_segment_is_offered_with_it(lost: Lost) -> None:
    """Rule 14: it is used only when asked for, and the person is told that it can be."""
    _, time = lost.second
    first = choices(lost, "--target-time", time.isoformat(), "--exclusive")
    assert not first["reachable"]
    offered = {each["when"]: each for each in first["nearest"]}
    assert offered["at"]["options"][-1] == "--partial"
    assert "--partial" not in offered["earlier"]["options"]
    again = choices(lost, *offered["at"]["options"])
    assert (again["reachable"], again["stop"]["lsn"]) == (True, offered["at"]["lsn"])
    for document, until in ((first, None), (again, lost.third[1])):
        latest = document["windows"][-1]["latest"]
        assert until is None or datetime.fromisoformat(latest["time"]) == until
        assert lsn(latest["lsn"]) >= lost.end if until else lsn(latest["lsn"]) < lost.between


def without_space(plan: dict[str, Any]) -> dict[str, Any]:
    """What is free changes while other tests run."""
    return plan | {"preconditions": [each for each in plan["preconditions"] if each["name"] != "space"], "space": None}


def choices(lost: Lost, *options: str) -> dict[str, Any]:
    return lost.world.cli("restore", "main", "--choices", *options, "--format", "json", check=0).json()
