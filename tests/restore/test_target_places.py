"""Cases 25 and 26: names, transactions, positions and gaps, and rule 23a's way back before a DROP DATABASE."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta

import psycopg
import pytest
from support.fleet import Fleet
from support.objects import wal_path
from support.ssh import SshHost
from target_world import Ended, World, end_world, lsn, make_world

from pgvault.model.backup import Backup
from pgvault.model.errors import Refused, UsageError, WalMissing
from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment
from pgvault.model.target import AtLsn, AtName, AtTime, AtXid, EndOfWal, Immediate, TargetAction
from pgvault.vault.wal_fetch import read_verified
from pgvault.wal.bodies import Relation, parse_body
from pgvault.wal.records import Reading

NAMES = ["it's", 'say "when"', "back\\slash", "ünïcode — 名前", "n" * 63, "$(touch x); '", " two  spaces "]
HEAP, INPLACE, OPERATION = 10, 0x70, 0x70
PG_DATABASE = Relation(1664, 0, 1262)


class Places:
    """Values 1, 2, 3, ... each committed by a transaction of its own, restore points and two backups between them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.xids: dict[int, int] = {}
        world.server.sql("CREATE TABLE logged (value int)")
        self.first = world.backup()
        for value in range(1, 1 + len(NAMES)):
            self.add(value)
            world.server.sql("SELECT pg_create_restore_point(%s)", (NAMES[value - 1],))
        self._odd_transactions()
        world.server.sql("SELECT pg_create_restore_point('twice')")
        self.add(40)
        world.server.sql("SELECT pg_create_restore_point('twice')")
        self.second: Backup = world.backup()
        self.add(50)
        world.server.sql("SELECT pg_create_restore_point('newest')")
        self.add(51)
        self.after_all = lsn(world.server.current_lsn())
        self.ended: list[Ended] = world.ended(world.take_wal())

    def add(self, value: int) -> None:
        with self.world.server.connect() as connection:
            self._insert(connection, value)

    def _insert(self, connection: psycopg.Connection, value: int) -> None:
        self.xids[value] = int(connection.execute(
            "INSERT INTO logged VALUES (%s) RETURNING pg_current_xact_id()::xid::text", (value,)).fetchone()[0])

    def _odd_transactions(self) -> None:
        with self.world.server.connect() as connection:
            connection.execute("BEGIN")
            self._insert(connection, 20)
            connection.execute("PREPARE TRANSACTION 'prepared'")
            self.add(21)
            connection.execute("COMMIT PREPARED 'prepared'")
            connection.execute("BEGIN")
            self._insert(connection, 30)
            connection.execute("SAVEPOINT s")
            connection.execute("INSERT INTO logged VALUES (31)")
            self.subxid = int(connection.execute("SELECT xmin::text FROM logged WHERE value = 31").fetchone()[0])
            connection.execute("RELEASE s")
            connection.execute("COMMIT")
            connection.execute("BEGIN")
            self._insert(connection, 32)
            connection.execute("ROLLBACK")

    def end_of(self, value: int) -> Ended:
        return next(each for each in self.ended if each.xid == self.xids[value])


@pytest.fixture(scope="module")
def places(fleet: Fleet, ssh_hosts: Callable[[str], SshHost]) -> Iterator[Places]:
    world = make_world(fleet, ssh_hosts("openssh"), megabytes=1, settings={"wal_keep_size": "4GB"})
    yield Places(world)
    end_world(fleet, world)


@pytest.mark.parametrize("number", [1, 4, 6])
def test_a_restore_point_before_the_newest_backup(places: Places, number: int) -> None:
    """Case 26: the older backup is chosen, and no name is too odd."""
    with places.world.restored(AtName(NAMES[number - 1])) as restored:
        assert restored.verdict.plan.source.backup.id == places.first.id
        assert restored.column("SELECT value FROM logged ORDER BY value") == list(range(1, number + 1))


def test_every_name_is_found_where_it_was_made(places: Places) -> None:
    stops = [places.world.plan(AtName(name)).point.stop_lsn for name in NAMES]
    commits = [places.end_of(value).lsn for value in range(1, len(NAMES) + 1)]
    assert all(commit < stop for commit, stop in zip(commits, stops, strict=True))
    assert all(stop < commit for stop, commit in zip(stops, commits[1:], strict=False))


def test_a_name_is_typed_at_the_command_line_as_it_is(places: Places) -> None:
    done = places.world.cli("restore", "main", "auto", places.world.root / "typed", "--host", "target", "--dry-run",
                            "--format", "json", "--target-name", "it's", check=0)
    plan = done.json()
    assert plan["backup"] == places.first.id
    assert plan["target"]["stop_lsn"] == str(places.world.plan(AtName("it's")).point.stop_lsn)
    assert "--target-name 'it'\"'\"'s'" in plan["command"]


def test_an_unknown_name_is_refused_with_those_there_are(places: Places) -> None:
    with pytest.raises(WalMissing) as refused:
        places.world.plan(AtName("its"))
    assert "'newest'" in refused.value.detail
    done = places.world.cli("restore", "main", "auto", "/nowhere", "--host", "target", "--target-name", "its")
    assert done.returncode == 9
    assert "restore point" in done.stderr


def test_a_name_that_was_given_twice_is_refused_with_both_places(places: Places) -> None:
    with pytest.raises(Refused) as refused:
        places.world.plan(AtName("twice"))
    found = [lsn(text) for text in re.findall(r"[0-9A-F]+/[0-9A-F]+", refused.value.detail)]
    assert found[0] < places.end_of(40).lsn < found[1]
    assert places.world.plan(AtLsn(found[0])).source.backup.id == places.first.id


def test_a_name_before_the_named_backup_is_refused(places: Places) -> None:
    with pytest.raises(WalMissing) as refused:
        places.world.plan(AtName("it's"), backup=places.second.id)
    assert "There is one at" in refused.value.detail


@pytest.mark.parametrize(("value", "inclusive", "there"), [
    (3, True, [1, 2, 3]),
    (3, False, [1, 2]),
    (20, True, [1, 2, 3, 4, 5, 6, 7, 20, 21]),  # prepared, and committed only after 21
    (20, False, [1, 2, 3, 4, 5, 6, 7, 21]),
    (30, False, [1, 2, 3, 4, 5, 6, 7, 20, 21]),
])  # fmt: skip
def test_a_transaction(places: Places, value: int, inclusive: bool, there: list[int]) -> None:
    """Case 26, by recovery_target_xid's rules; the newest backup is too new for any of these."""
    with places.world.restored(AtXid(places.xids[value], inclusive)) as restored:
        assert restored.verdict.plan.source.backup.id == places.first.id
        assert restored.column("SELECT value FROM logged ORDER BY value") == there


def test_an_aborted_transaction_and_one_with_an_epoch_are_places_too(places: Places) -> None:
    aborted = places.world.plan(AtXid(places.xids[32]))
    assert (aborted.point.stop_lsn, aborted.point.stop_replayed) == (places.end_of(32).lsn, True)
    assert places.world.plan(AtXid((5 << 32) + places.xids[32])).point.stop_lsn == aborted.point.stop_lsn


def test_a_subtransaction_is_refused_with_its_transaction(places: Places) -> None:
    with pytest.raises(WalMissing) as refused:
        places.world.plan(AtXid(places.subxid))
    assert f"{places.subxid} is a subtransaction of transaction {places.xids[30]}" in refused.value.detail
    with pytest.raises(WalMissing) as refused:
        places.world.plan(AtXid(4_000_000_000))
    assert "no transaction 4000000000 ended" in refused.value.detail


@pytest.mark.parametrize(("inclusive", "last"), [(True, 51), (False, 50)])
def test_the_very_position_of_a_commit(places: Places, inclusive: bool, last: int) -> None:
    with places.world.restored(AtLsn(places.end_of(51).lsn, inclusive)) as restored:
        assert restored.verdict.plan.source.backup.id == places.second.id
        assert max(restored.column("SELECT value FROM logged")) == last


def test_a_position_behind_a_commit_and_those_beyond_the_archive(places: Places) -> None:
    """PostgreSQL stops at the first record that begins at or after the position: there has to be one."""
    plan = places.world.plan(AtLsn(places.after_all, inclusive=False))
    assert plan.point.stop_lsn == places.after_all
    end = places.world.plan(EndOfWal()).point.stop_lsn
    with places.world.restored(AtLsn(places.after_all, inclusive=False)) as restored:
        assert max(restored.column("SELECT value FROM logged")) == 51
        assert restored.verdict.proof.lsn <= places.after_all
    for beyond in (end, Lsn(end + 8), Lsn(end + (1 << 30))):
        with pytest.raises(WalMissing) as refused:
            places.world.plan(AtLsn(beyond))
        assert f"reaches to {end}" in refused.value.detail


def test_a_position_within_the_first_backup_is_refused(places: Places) -> None:
    for early in (places.first.begin_lsn, Lsn(places.first.end_lsn - 1), Lsn(0)):
        with pytest.raises(WalMissing):
            places.world.plan(AtLsn(early))
    with places.world.restored(AtLsn(places.first.end_lsn, inclusive=False)) as restored:
        assert restored.column("SELECT value FROM logged") == []


def test_the_end_of_the_backup_and_the_end_of_the_wal(places: Places) -> None:
    with places.world.restored(Immediate(), backup=places.second.id) as restored:
        assert max(restored.column("SELECT value FROM logged")) == 40
    with places.world.restored(EndOfWal(), backup=places.first.id) as restored:
        assert max(restored.column("SELECT value FROM logged")) == 51
        assert restored.verdict.proof.lsn >= restored.verdict.plan.point.stop_lsn


def test_pause_and_shutdown_need_a_target(places: Places) -> None:
    """PostgreSQL would promote at the end of the WAL whatever it is told to do there."""
    for action in (TargetAction.PAUSE, TargetAction.SHUTDOWN):
        with pytest.raises(UsageError):
            places.world.plan(EndOfWal(), action=action)


@pytest.mark.parametrize("major", [15, 18])
def test_drop_database_is_undone_by_the_position_of_its_first_trace(fleet: Fleet, ssh_hosts: Callable[..., SshHost],
                                                                    major: int) -> None:
    """Rule 23a: before the deletion is logged PostgreSQL marks the database invalid, in place and without a
    transaction. A target before the commit is too late; one before that mark is right."""
    world = make_world(fleet, ssh_hosts("openssh"), major)
    try:
        server = world.server
        world.backup()
        server.sql("CREATE DATABASE doomed")
        server.sql("CREATE TABLE precious AS SELECT generate_series(1, 1001) AS i", dbname="doomed")
        before = lsn(server.current_lsn())
        server.sql("DROP DATABASE doomed")
        name = world.take_wal()
        mark = _first_mark(world, name, before)
        assert mark >= before
        with world.restored(AtLsn(mark, inclusive=False)) as restored:
            assert restored.sql("SELECT count(*), sum(i) FROM precious", dbname="doomed") == [(1001, 1001 * 501)]
            assert restored.column("SELECT datconnlimit FROM pg_database WHERE datname = 'doomed'") == [-1]
    finally:
        end_world(fleet, world)


def _first_mark(world: World, last: str, begin: Lsn) -> Lsn:
    """The first in-place update of pg_database that begins at or after a position."""
    size, carry = 16 << 20, None
    for number in range(begin // size, Segment.parse(last, size).number + 1):
        segment = Segment(1, number)
        name = segment.name(size)
        data = b"".join(read_verified(world.vault, name))
        reading = Reading(data, segment.start(size), carry, rmgrs=(HEAP,))
        for record in reading:
            if record.lsn >= begin and record.info & OPERATION == INPLACE and \
                    any(block.relation == PG_DATABASE for block in parse_body(record, reading.major).blocks):
                return Lsn(record.lsn)
        carry = reading.carry
    raise AssertionError("DROP DATABASE left no mark")


@pytest.fixture(scope="module")
def gap(fleet: Fleet, ssh_hosts: Callable[[str], SshHost]) -> Iterator[World]:
    """Values 1 to 4 with a segment each; the second one's is lost; a backup before all, and one before the fourth."""
    world = make_world(fleet, ssh_hosts("openssh"), megabytes=1, settings={"wal_keep_size": "4GB"})
    world.server.sql("CREATE TABLE logged (value int)")
    world.backup()
    names = []
    for value in (1, 2, 3):
        world.server.sql(f"INSERT INTO logged VALUES ({value})")
        names.append(world.take_wal())
    world.backup()
    world.server.sql("INSERT INTO logged VALUES (4)")
    last = world.take_wal()
    world.lost, world.all_ended = names[1], world.ended(last)
    wal_path(world.vault, names[1]).unlink()
    world.cli("rebuild-index", "main", check=0)
    yield world
    end_world(fleet, world)


def _commit_in(world: World, name: str) -> Ended:
    size = 1 << 20
    return next(each for each in world.all_ended if Segment(1, each.lsn // size).name(size) == name)


def test_a_target_in_a_gap_is_refused_with_what_is_nearest(gap: World) -> None:
    """Case 25: before the gap its last commit can be reached, behind it the next backup's end."""
    lost = _commit_in(gap, gap.lost)
    before = max((each for each in gap.all_ended if each.lsn < lost.lsn), key=lambda each: each.lsn)
    for target in (AtTime(lost.time), AtTime(lost.time, inclusive=False), AtLsn(lost.lsn),
                   AtTime(lost.time + timedelta(microseconds=1))):
        with pytest.raises(WalMissing) as refused:
            gap.plan(target)
        assert f"{gap.lost} behind it is missing" in refused.value.detail
        assert f"{before.time:%H:%M:%S.%f}".rstrip("0") in refused.value.detail
        assert "before the end of backup" in refused.value.detail
    with pytest.raises((Refused, WalMissing)):
        gap.plan(AtXid(lost.xid))
    with gap.restored(AtTime(before.time)) as restored:
        assert restored.column("SELECT value FROM logged") == [1]


def test_a_gap_is_no_end(gap: World) -> None:
    """Rule 22: PostgreSQL would end recovery there, promote, and say nothing of what is missing."""
    plans = [gap.plan(EndOfWal()), gap.plan(Immediate(), backup="oldest")]
    assert plans[0].source.backup.id > plans[1].source.backup.id
    with pytest.raises(WalMissing) as refused:
        gap.plan(EndOfWal(), backup="oldest")
    assert f"{gap.lost} behind it is missing" in refused.value.detail
    with gap.restored(EndOfWal()) as restored:
        assert restored.column("SELECT value FROM logged ORDER BY value") == [1, 2, 3, 4]
