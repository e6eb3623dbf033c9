"""Rule 36: which settings are raised for recovery, and to what."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgvault.engine.restore.limits import Raised, raised, replication_origins

DEFAULTS = {"max_connections": 100, "max_worker_processes": 8, "max_wal_senders": 10, "max_prepared_transactions": 0,
            "max_locks_per_transaction": 64}  # fmt: skip
WHY = "as the original had it: recovery needs as many"


@given(needed=st.dictionaries(st.sampled_from(sorted(DEFAULTS)), st.integers(0, 200)),
       values=st.dictionaries(st.sampled_from(sorted(DEFAULTS)), st.integers(0, 200).map(str)))
def test_what_the_original_had_larger_is_raised_to_it_and_nothing_else(needed: dict[str, int],
                                                                       values: dict[str, str]) -> None:
    assert list(raised(needed, 0, values, 17)) == [
        Raised(name, str(number), values.get(name, ""), WHY) for name, number in needed.items()
        if number > int(values.get(name, DEFAULTS[name]))]


@pytest.mark.parametrize(("written", "is_enough"), [
    ("100", True), (" 100 ", True), ("0x64", True), ("100.0", True), ("99.6", True), ("99.4", False), ("99", False),
    ("1e2", True), ("1E+2", True), ("9.9e1", False), ("0144", True), ("0143", False), ("00", False), ("1_000", False),
    ("0b1100100", False), ("many", False), ("-200", False), ("9" * 400 + ".5", False), ("1e999", False), ("", False),
    ("1.2.3", False)])
def test_a_value_is_read_as_postgresql_reads_it(written: str, is_enough: bool) -> None:
    """What it would not take is raised, too: the server is to start."""
    assert (list(raised({"max_connections": 100}, 0, {"max_connections": written}, 17)) == []) is is_enough


def test_what_cannot_be_read_is_less_than_anything() -> None:
    assert [each.value for each in raised({"max_connections": 1}, 0, {"max_connections": "x"}, 17)] == ["1"]


@pytest.mark.parametrize(("major", "needed", "is_enough"), [
    (18, 64, True), (18, 65, False), (18, 128, False), (19, 128, True), (19, 129, False)])
def test_19_has_more_locks_by_default(major: int, needed: int, is_enough: bool) -> None:
    assert (list(raised({"max_locks_per_transaction": needed}, 0, {}, major)) == []) is is_enough


@pytest.mark.parametrize(("values", "expected"), [
    ({"wal_level": "Minimal", "max_wal_senders": "0"},
     [Raised("max_wal_senders", "12", "0", WHY), Raised("wal_level", "replica", "minimal",
                                                        "which max_wal_senders needs")]),
    ({"wal_level": "logical"}, [Raised("max_wal_senders", "12", "", WHY)]),
    ({}, [Raised("max_wal_senders", "12", "", WHY)]),
    ({"wal_level": "minimal", "max_wal_senders": "12"}, []),
])  # fmt: skip
def test_senders_need_more_than_the_least_wal(values: Mapping[str, str], expected: list[Raised]) -> None:
    assert list(raised({"max_wal_senders": 12}, 0, values, 17)) == expected


def test_only_senders_need_it() -> None:
    assert [each.name for each in raised({"max_connections": 101}, 0, {"wal_level": "minimal"}, 17)] == [
        "max_connections"]


@pytest.mark.parametrize(("major", "origins", "values", "expected"), [
    (17, 10, {}, []),
    (17, 11, {}, [("max_replication_slots", "11", "")]),
    (17, 3, {"max_replication_slots": "2"}, [("max_replication_slots", "3", "2")]),
    (17, 3, {"max_replication_slots": "3"}, []),
    (18, 10, {}, []),
    (18, 11, {"max_replication_slots": "99"}, [("max_active_replication_origins", "11", "")]),
    (18, 11, {"max_active_replication_origins": "4"}, [("max_active_replication_origins", "11", "4")]),
    (18, 1, {"max_active_replication_origins": "x"}, [("max_active_replication_origins", "1", "x")]),
    (18, 0, {"max_active_replication_origins": "x"}, []),
])  # fmt: skip
def test_origins_of_replication_find_room_in_the_setting_of_their_major(
        major: int, origins: int, values: Mapping[str, str], expected: list[tuple[str, str, str]]) -> None:
    assert list(raised({}, origins, values, major)) == [
        Raised(*each, "as many origins of replication are in the backup") for each in expected]


@pytest.mark.parametrize(("size", "count"), [(0, 0), (7, 0), (8, 0), (23, 0), (24, 1), (40, 2), (8 + 160, 10)])
def test_how_many_origins_a_checkpoint_holds(size: int, count: int) -> None:
    assert replication_origins(bytes(size)) == count
