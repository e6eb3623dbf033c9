"""What a restore's plan says, the command that makes it again, and the restored server that comes of it."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.plans import SOURCE, restore_plan

from pgvault.jobs.copies import stored_copy
from pgvault.jobs.plan import read_plan, write_plan
from pgvault.model.check import Outcome
from pgvault.model.lsn import Lsn
from pgvault.model.relation import RelationName
from pgvault.model.restore_plan import (
    Listening,
    Precondition,
    Room,
    SettingChange,
    TablespacePlace,
    WalNeed,
    fails,
    holds,
    refusal,
)
from pgvault.model.restored import RestoredCopy, copy_of
from pgvault.model.target import AtXid, TargetAction

COMMAND = ["pgvault", "restore", "main", SOURCE.id, "/new"]
SALES = TablespacePlace(16400, "sales", "/mnt/sales", "/srv/sales", 100)
INSIDE = TablespacePlace(16401, "inside", "pg_tblspc/16401", "", 100)


def test_the_least_a_plans_command_has() -> None:
    assert restore_plan().to_argv() == [*COMMAND, "--target-end", "--target-timeline", "1", "--jobs", "1", "--start"]


def test_everything_that_was_chosen_stands_in_the_command() -> None:
    plan = restore_plan(
        host="db2", target=AtXid(7, inclusive=False), timeline=3, wal=WalNeed("a", "b", (), (), 0, (), partial="b.x"),
        allow_unread=True, action=TargetAction.PAUSE, tablespaces=(SALES, INSIDE), port=5433, sets_aside=True,
        if_holds="no-cluster", workers=4, bandwidth_limit=50 << 20, standby=True, start=False,
        expects=(RelationName("shop", "public", "orders"), RelationName("shop", "public", "Items")))
    assert plan.to_argv() == [
        *COMMAND, "--host", "db2", "--target-xid", "7", "--exclusive", "--target-timeline", "3", "--partial",
        "--allow-unread-wal", "--target-action", "pause", "--tablespace", "sales=/srv/sales", "--port", "5433",
        "--overwrite", "/new", "--if-holds", "no-cluster", "--jobs", "4", "--bwlimit", "50MB",
        "--expect", "shop.public.orders", "--expect", 'shop.public."Items"', "--standby", "--no-start"]


@pytest.mark.parametrize(("spaces", "called"), [
    ((SALES, replace(INSIDE, name="sales=/x")), "sales"), ((SALES, replace(INSIDE, name="sal")), "sales"),
    ((replace(SALES, name="a=/b"), replace(INSIDE, name="a")), "16400"),
    ((replace(SALES, is_gone=True), replace(INSIDE, name="sales")), "16400"),
    ((replace(SALES, is_gone=True), replace(INSIDE, name="sales", is_gone=True)), "sales"),
    ((replace(SALES, is_gone=True), INSIDE), "sales"), ((SALES, replace(INSIDE, name="sales", is_gone=True)), "sales")])
def test_a_tablespace_is_named_by_its_oid_where_its_name_would_mean_another(
        spaces: tuple[TablespacePlace, ...], called: str) -> None:
    assert f"{called}=/srv/sales" in restore_plan(tablespaces=spaces).to_argv()


def test_tablespaces_outside_and_inside_the_data_directory() -> None:
    assert SALES.at("/elsewhere") == replace(SALES, location="/elsewhere")
    assert (SALES.is_in_place, INSIDE.is_in_place) == (False, True)
    assert restore_plan(tablespaces=(SALES, INSIDE)).destination.placed == (SALES,)
    for spaces, inside in (((), False), ((SALES,), False), ((SALES, INSIDE), True)):
        assert restore_plan(tablespaces=spaces).destination.has_spaces_inside is inside


@pytest.mark.parametrize(("backup", "timeline", "histories", "standby", "followed"), [
    (1, 1, (), False, "1"), (1, 1, (), True, "latest"), (1, 3, ("00000002", "00000003"), True, "latest"),
    (1, 3, ("00000003",), True, "3"), (1, 3, ("00000002",), True, "3"), (2, 3, ("00000003",), True, "latest"),
    (1, 3, ("00000002", "00000003"), False, "3"), (1, 10, tuple(f"{n:08X}" for n in range(2, 11)), True, "latest")])
def test_a_standby_follows_the_latest_timeline_where_postgresql_gets_that_far(
        backup: int, timeline: int, histories: tuple[str, ...], standby: bool, followed: str) -> None:
    """It counts up from the backup's own timeline, and stops at the first number without a history."""
    wal = WalNeed("a", "b", (), tuple(f"{name}.history" for name in histories), 0, ())
    plan = restore_plan(backup=replace(SOURCE, timeline=backup), timeline=timeline, wal=wal, standby=standby)
    assert plan.point.recovery_timeline(plan.source) == followed


def test_whose_clock_a_stop_is_told_by() -> None:
    ended = datetime(2026, 11, 24, 12, 5, tzinfo=UTC)
    finished = replace(SOURCE, finished_at=ended)
    assert restore_plan(backup=finished, stop_time=ended).stop_clock == "vault"
    assert restore_plan(backup=finished, stop_time=ended.replace(second=1)).stop_clock == "server"


def test_what_keeps_a_plan_from_being_carried_out() -> None:
    found = tuple(Precondition(each.value, each) for each in Outcome)
    assert restore_plan(preconditions=found).failed == (Precondition("failed", Outcome.FAILED),)


def test_the_first_condition_that_fails_is_the_reason() -> None:
    assert holds("room") == Precondition("room", Outcome.OK)
    assert holds("room", "5 GiB").detail == "5 GiB"
    refused = refusal("remove /new", [fails("server", "It runs.", "Stop it."), fails("room", "None.", "Make some.")])
    assert str(refused) == 'cannot remove /new: condition "server" failed\ndetail: It runs.\nhint: Stop it.'
    assert fails("server", "It runs.", "Stop it.").outcome is Outcome.FAILED


@pytest.mark.parametrize(("free", "enough"), [(None, True), (99, False), (100, True), (101, True)])
def test_room(free: int | None, enough: bool) -> None:
    assert Room("/new", "/", 100, free).is_enough is enough


def test_an_unfinished_segment_counts_as_one() -> None:
    assert WalNeed("a", "b", ("a", "b"), (), 0, ()).count == 2
    assert WalNeed("a", "c", ("a", "b"), (), 0, (), partial="c.partial").count == 3


# The restored server


def test_the_copy_that_a_restore_makes() -> None:
    change = SettingChange("postgresql.conf", 7, "archive_command", "true", "switched off")
    listens = Listening(5433, ("localhost",), ("/tmp",))
    plan = restore_plan(
        host="db2", listens=listens, port=5433, tablespaces=(SALES, INSIDE), timeline=3, standby=True,
        settings_changed=(change,), expects=(RelationName("shop", "public", "a"), RelationName("hr", "public", "b"),
                                             RelationName("shop", "public", "c")))
    copy = copy_of(plan, "20261124T120000Z-01")
    assert copy == RestoredCopy(
        server="main", host="db2", directory="/new", major=18, listens=listens, port=5433, tablespaces=("/srv/sales",),
        databases=("shop", "hr"), timeline=3, standby=True, settings_changed=(change,), job="20261124T120000Z-01",
        backup=SOURCE.id, original="/data")
    assert copy.place == "db2:/new"
    assert copy.places == ("/new", "/srv/sales")
    assert copy.called == "the restored server of job 20261124T120000Z-01"
    assert copy_of(restore_plan()).place == "this machine:/new"
    assert copy_of(restore_plan()).job == ""


WORDS = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=6)
SPACES = st.builds(TablespacePlace, st.integers(16384, 20000), WORDS, WORDS.map("/mnt/{}".format),
                   st.just("") | WORDS.map("/srv/{}".format), st.integers(0, 9))
PLANS = st.builds(
    restore_plan, host=WORDS | st.just(""), directory=WORDS.map("/{}".format), timeline=st.integers(1, 99),
    port=st.none() | st.integers(1, 65535), standby=st.booleans(), tablespaces=st.lists(SPACES, max_size=3).map(tuple),
    listens=st.none() | st.builds(Listening, st.integers(1, 65535), st.lists(WORDS, max_size=2).map(tuple),
                                  st.none() | st.lists(WORDS, max_size=2).map(tuple)),
    settings_changed=st.lists(st.builds(SettingChange, WORDS, st.integers(0, 9), WORDS, WORDS, WORDS),
                              max_size=2).map(tuple),
    expects=st.lists(st.builds(RelationName, WORDS, WORDS, WORDS), max_size=3).map(tuple),
    backup=st.builds(replace, st.just(SOURCE), server_version=st.sampled_from(["13.23", "18.1", "19rc1"]),
                     data_directory=WORDS.map("/{}".format)), stop_lsn=st.none() | st.just(Lsn(5)))


@pytest.mark.slow
@given(PLANS)
def test_a_stored_plan_tells_of_the_same_copy(plan) -> None:
    with tempfile.TemporaryDirectory() as directory:
        write_plan(Path(directory), plan.stored())
        assert stored_copy(read_plan(Path(directory)), "job") == copy_of(plan, "job")


def test_a_stored_plan_has_the_fields_of_all_parts_side_by_side() -> None:
    """As version 0.1.0 stored it, whose jobs are still read."""
    assert sorted(restore_plan().stored()) == [
        "action", "allow_unread", "backup", "bandwidth_limit", "bytes_to_send", "bytes_to_write", "directory",
        "directory_state", "expects", "host", "if_holds", "kept_as", "limits", "listens", "overwrites", "port",
        "preconditions", "prepared", "room", "server", "sets_aside", "settings_changed", "settings_to_look_at",
        "source", "standby", "start", "stop_lsn", "stop_replayed", "stop_time", "tablespaces", "target", "timeline",
        "timeline_path", "wal", "workers"]


@pytest.mark.parametrize("stored", [{}, {"server": "main"}, {"source": None}])
def test_what_is_no_plan_of_a_restore_is_refused(stored: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"^not the plan of a restore: "):
        stored_copy(stored, "job")
