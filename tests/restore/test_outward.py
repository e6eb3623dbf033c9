"""Rule 38: by which settings a copy would act on the world outside its data directory."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from pgvault.engine.restore.outward import (
    WHY,
    is_outside,
    libraries_of,
    lifted_by_reset,
    logs_elsewhere,
    switched_off,
    without_workers,
)
from pgvault.model.restore_plan import SettingChange


@pytest.mark.parametrize(("name", "value", "outside"), [
    ("log_directory", "log", False), ("log_directory", "a/./b//c", False), ("log_directory", "./log", False),
    ("log_directory", "a..b", False), ("log_directory", "/var/log", True), ("log_directory", "../log", True),
    ("log_directory", "a/../../b", True), ("log_directory", "", False), ("log_directory", "...", False),
    ("log_filename", "pg.log", False), ("log_filename", "..", False), ("log_filename", "a/b", True),
    ("log_filename", "../a", True), ("stats_temp_directory", "/run/stats", True),
])  # fmt: skip
def test_what_leads_out_of_the_data_directory(name: str, value: str, outside: bool) -> None:
    assert is_outside(name, value) is outside


@pytest.mark.parametrize(("value", "elsewhere"), [
    ("stderr", False), ("csvlog, jsonlog", False), ("syslog", True), ("stderr, SYSLOG", True), ('"eventlog"', True),
    ('stderr,"syslog" ', True), ("syslogs", False), ("", False), ("Xsyslog", False)])
def test_a_log_that_is_the_hosts_own(value: str, elsewhere: bool) -> None:
    assert logs_elsewhere(value) is elsewhere


@pytest.mark.parametrize(("libraries", "kept", "taken"), [
    ("", "", ()),
    ("pg_stat_statements", "pg_stat_statements", ()),
    ("pg_cron", "", ("pg_cron runs jobs",)),
    ("pg_stat_statements, $libdir/pg_cron.so ,auto_explain", "pg_stat_statements, auto_explain",
     ("pg_cron runs jobs",)),
    ('"pg_net", "/usr/lib/pglogical.so", timescaledb', "timescaledb",
     ("pg_net sends requests", "pglogical replicates")),
    ("pg_cron_more, my.so, Xpg_cron", "pg_cron_more, my.so, Xpg_cron", ()),
])  # fmt: skip
def test_libraries_that_act_by_themselves_are_not_loaded(libraries: str, kept: str, taken: tuple[str, ...]) -> None:
    assert without_workers(libraries) == (kept, taken)


@pytest.mark.parametrize(("value", "names"), [
    ("", []), (" a ,b", ["a", "b"]), ('"a,b", c', ['"a,b"', "c"]), ("a,,b,", ["a", "b"]),
    ('"x""y"', ['"x""y"'])])
def test_a_list_of_libraries_is_read_as_postgresql_reads_it(value: str, names: list[str]) -> None:
    assert libraries_of(value) == names


@pytest.mark.parametrize(("values", "expected"), [
    ({}, []),
    ({"shared_preload_libraries": "pg_stat_statements"}, []),
    ({"shared_preload_libraries": "$libdir/timescaledb.so, x"}, [("timescaledb.max_background_workers", "0")]),
    ({"shared_preload_libraries": "citus"}, [("citus.recover_2pc_interval", "-1"),
                                             ("citus.distributed_deadlock_detection_factor", "-1"),
                                             ("citus.defer_shard_delete_interval", "-1")]),
])  # fmt: skip
def test_workers_of_what_the_data_needs_are_switched_off(values: Mapping[str, str],
                                                         expected: list[tuple[str, str]]) -> None:
    assert list(switched_off(values)) == expected


def test_what_a_person_lifts_by_a_reset_is_what_was_added_for_this_alone() -> None:
    added = SettingChange("postgresql.auto.conf", 0, "a", "", f"a = 1 is added, {WHY}; more")
    needed = SettingChange("postgresql.auto.conf", 0, "b", "", "b = 1 is added, as the original had it")
    rewritten = SettingChange("postgresql.conf", 7, "c", "", f"now x, {WHY}")
    assert lifted_by_reset([added, needed, rewritten]) == ("a",)
