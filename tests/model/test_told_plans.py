"""What plans say before they are carried out, and the command that makes each."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgvault.model.backup import Backup, BackupStatus
from pgvault.model.backup_plan import BackupPlan, describe_backup_plan
from pgvault.model.bring_back import BringBackPlan, Relation, beside_name, counted, describe_bring_back
from pgvault.model.check import Outcome
from pgvault.model.relation import RelationName, SchemaName
from pgvault.model.restore_plan import Precondition
from pgvault.model.throwing_away import ThrowAwayPlan

BEGAN = datetime(2026, 11, 22, 20, 5, 12, tzinfo=UTC)
LAST = Backup("20261122T200512Z", "main", BackupStatus.DONE, "postgres", BEGAN, "1", "18.1", 16 << 20, 1, "/data",
              finished_at=BEGAN + timedelta(seconds=200), size_bytes=3 << 30, stored_bytes=5 << 20)
HOLDS, FAILS = Precondition("room", Outcome.OK), Precondition("server", Outcome.FAILED, "it runs")


def test_a_backup_is_told_by_what_the_last_one_took() -> None:
    plan = BackupPlan("main", bandwidth_limit=50 << 20)
    assert list(describe_backup_plan(plan, LAST, "/vault")) == [
        ("reads", "all of main, about 3.0 GiB as in the last backup"),
        ("writes", "/vault: what the vault does not hold yet, 5.0 MiB in the last backup"),
        ("changes", "nothing on the server and no other backup"),
        ("takes", "about 3 min 20 s, like the last backup"),
        ("begins", "after a checkpoint, which the server spreads over some minutes"),
        ("WAL", "archiving continues; the backup ends when all WAL that it needs is archived, or reports which WAL "
                "is missing"),
        ("at most", "50MB/s")]


def test_of_the_first_backup_nothing_is_known_beforehand() -> None:
    lines = dict(describe_backup_plan(BackupPlan("main", immediate_checkpoint=True), None, "/vault"))
    assert lines["reads"] == "all of main"
    assert lines["writes"] == "/vault: what the vault does not hold yet, all of it in a first backup"
    assert lines["takes"] == "the time is not known before the first backup"
    assert lines["begins"] == "at once, with a checkpoint at full speed"
    assert "at most" not in lines


def test_what_a_backup_took_is_not_known_when_its_end_is_not() -> None:
    lines = dict(describe_backup_plan(BackupPlan("main"), replace(LAST, finished_at=None), "/vault"))
    assert lines["takes"] == "the time is not known before the first backup"


# Throwing a restored server away


COPY = ThrowAwayPlan("main", "20261123T080000Z-01", "", "/restored", (), False, 5 << 20, (HOLDS, FAILS))


@pytest.mark.parametrize(("plan", "act", "places"), [
    (COPY, "remove this machine:/restored", ("/restored",)),
    (replace(COPY, host="db2", runs=True), "stop the server and remove db2:/restored", ("/restored",)),
    (replace(COPY, tablespaces=("/ts/a", "/ts/b")), "remove this machine:/restored and 2 tablespaces",
     ("/restored", "/ts/a", "/ts/b"))])
def test_what_is_thrown_away(plan: ThrowAwayPlan, act: str, places: tuple[str, ...]) -> None:
    assert plan.act == act
    assert plan.places == places
    assert plan.failed == (FAILS,)
    assert plan.to_argv() == ["pgvault", "throw-away", "20261123T080000Z-01", "--remove", "/restored"]


# Bringing things back


ORDERS = Relation(1, "public", "Orders", "r", bytes=2048)
IDS = Relation(2, "public", "orders_id_seq", "S", bytes=8192)
BACK = BringBackPlan(
    "main", "20261123T080000Z-01", "this machine:/restored", "shop", (SchemaName("shop", "old sales"),),
    (RelationName("shop", "public", "Orders"),), "", "", (ORDERS, IDS), "", True, True, (FAILS, HOLDS), ())


@pytest.mark.parametrize(("relation", "word", "holds_rows"), [
    (Relation(1, "s", "t", "r"), "table", True), (Relation(1, "s", "t", "p"), "partitioned table", False),
    (Relation(1, "s", "t", "v"), "view", False), (Relation(1, "s", "t", "m"), "materialized view", False),
    (Relation(1, "s", "t", "f"), "foreign table", False), (Relation(1, "s", "t", "S"), "sequence", False),
    (Relation(1, "s", "t", "i"), "relation", False), (Relation(1, "s", "t", "r", is_partition=True), "partition", True),
    (Relation(1, "s", "t", "p", is_partition=True), "partitioned table", False)])
def test_kinds_of_relations_in_words(relation: Relation, word: str, holds_rows: bool) -> None:
    assert (relation.word, relation.holds_rows) == (word, holds_rows)


def test_relations_are_shown_as_sql_names_them() -> None:
    assert Relation(1, "public", "Order Items", "r").shown == 'public."Order Items"'
    assert Relation(1, 'a"b', "t", "r").shown == '"a""b".t'


def relations(*kinds: str) -> list[Relation]:
    return [Relation(number, "s", f"t{number}", kind[0], is_partition=kind == "r of p")
            for number, kind in enumerate(kinds)]


@pytest.mark.parametrize(("kinds", "told_as"), [
    ((), "nothing"), (("r",), "1 table"), (("v", "r", "v"), "1 table, 2 views"), (("r", "S", "S"), "1 table"),
    (("S", "S"), "2 sequences"), (("r of p", "r of p", "p"), "1 partitioned table, 2 partitions"),
    (("m", "f"), "1 materialized view, 1 foreign table")])
def test_relations_are_counted_by_kind_and_sequences_belong_to_their_tables(
        kinds: tuple[str, ...], told_as: str) -> None:
    assert counted(relations(*kinds)) == told_as


def test_what_comes_back_as_it_was() -> None:
    assert BACK.what == 'schema "old sales", public."Orders"'
    assert BACK.act == 'bring schema "old sales", public."Orders" into its place in shop'
    assert BACK.names == ('shop."old sales"', 'shop.public."Orders"')
    assert BACK.bytes == 10240
    assert BACK.failed == (FAILS,)
    assert BACK.to_argv() == ["pgvault", "bring-back", "20261123T080000Z-01", 'shop."old sales"',
                              'shop.public."Orders"', "--as-it-was"]
    assert list(describe_bring_back(BACK)) == [
        ("From", "this machine:/restored, the server of restore 20261123T080000Z-01"),
        ("Into", "database shop of main, in its original place"),
        ("What", 'schema "old sales", public."Orders"'),
        ("Holds", "1 table; 10.0 KiB there, with indexes"),
        ("Safe", "one transaction; rows are counted on both sides before it commits; nothing is overwritten")]


def test_what_comes_beside_what_is_there() -> None:
    plan = replace(BACK, database="Shop", beside="-odd", why="public.orders is there", user="admin", owners=False,
                   privileges=False, left=("Triggers stay.", "Rules stay."))
    assert plan.act == 'bring schema "old sales", public."Orders" into schema "-odd" in "Shop"'
    assert plan.to_argv()[5:] == ["--beside=-odd", "--user", "admin", "--no-owner", "--no-privileges"]
    lines = list(describe_bring_back(plan))
    assert lines[1] == ("Into", 'database Shop of main, schema "-odd", beside what is there')
    assert ("Why", "public.orders is there.") in lines
    assert lines[-2:] == [("Left out", "Triggers stay."), ("", "Rules stay.")]


@pytest.mark.parametrize(("schemas", "taken", "name"), [
    (["public"], [], "public_restored"), (["public", "public"], ["x"], "public_restored"),
    (["public"], ["public_restored"], "public_restored_2"),
    (["public"], ["public_restored", "public_restored_2"], "public_restored_3"),
    (["a", "b"], [], "restored"), (["a", "b"], ["restored"], "restored_2"),
    (["x" * 63], [], "x" * 54 + "_restored"), (["é" * 31], [], "é" * 27 + "_restored"),
    (["x" * 63], ["x" * 54 + "_restored"], "x" * 52 + "_restored_2")])
def test_a_schema_of_its_own(schemas: list[str], taken: list[str], name: str) -> None:
    assert beside_name(schemas, taken) == name


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=40), min_size=1, max_size=3),
       st.integers(0, 12))
def test_a_schema_of_its_own_is_free_and_fits(schemas: list[str], before: int) -> None:
    """As often as it is asked for, it is a new one that PostgreSQL does not cut."""
    taken: list[str] = []
    for _ in range(before + 1):
        name = beside_name(schemas, taken)
        assert name not in taken
        assert len(name.encode()) <= 63
        taken.append(name)
