"""A job's stored plan in words, whatever is in it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pgvault.console.plan_facts import destination, plan_fields
from pgvault.jobs.plan import read_plan, write_plan
from pgvault.model.backup_plan import BackupPlan
from pgvault.model.job import JobKind

RESTORE = {
    "server": "main", "backup": "20261122T120000Z", "host": "standby-db-server", "directory": "/srv/data",
    "source": {"server_version": "18.1", "size_bytes": 3 << 30}, "timeline": 2, "timeline_path": [1, 2],
    "stop_lsn": "0/3000060", "stop_time": datetime(2026, 11, 23, 11, tzinfo=UTC), "stop_replayed": False,
    "action": "promote", "standby": False, "tablespaces": [{"name": "fast", "location": "/ssd/fast"}],
    "wal": {"first": "A", "last": "C", "segments": ["A", "B", "C"]}, "bytes_to_send": 1 << 30,
    "bytes_to_write": 3 << 30, "workers": 2, "overwrites": "",
    "preconditions": [{"name": "directory", "outcome": "ok", "detail": "empty"},
                      {"name": "disk", "outcome": "warning"}],
    "settings_changed": [{"name": "archive_mode", "file": "postgresql.conf", "line": 3, "was": "on",
                          "action": "set to off"}],
}


def lines(kind: JobKind, plan: object) -> list[str]:
    return [f"{field.name}: {field.text}" if field.name else field.text for field in plan_fields(kind, plan)]


def test_the_plan_of_a_backup(tmp_path: Path) -> None:
    write_plan(tmp_path, BackupPlan("main", name="before upgrade", workers=2, bandwidth_limit=8 << 20, retry_times=3,
                                    retry_seconds=30.0))
    assert lines(JobKind.BACKUP, read_plan(tmp_path)) == [
        "name: before upgrade", "compares: with the newest backup",
        "checkpoint: spread by the server over some minutes", "work: 2 at a time, compression level 3",
        "at most: 8MB/s", "tries again: up to 3 times, 30 s apart"]


def test_the_plan_of_a_restore(tmp_path: Path) -> None:
    write_plan(tmp_path, RESTORE)
    plan = read_plan(tmp_path)
    assert destination(plan) == "standby-db-server:/srv/data"
    assert lines(JobKind.RESTORE, plan) == [
        "backup: 20261122T120000Z, PostgreSQL 18.1, 3.0 GiB", "to: standby-db-server:/srv/data",
        "tablespace fast to /ssd/fast", "stops: before 0/3000060, 2026-11-23 11:00:00Z, on timeline 1 -> 2",
        "then: promote", "WAL: A to C, 3 segments", "amount: sends 1.0 GiB, writes 3.0 GiB", "overwrites: nothing",
        "work: 2 at a time", "conditions: ok: directory (empty)", "warning: disk",
        "made safe: archive_mode in postgresql.conf: set to off"]


def test_a_plan_that_cannot_be_read_says_so() -> None:
    assert lines(JobKind.BACKUP, {"unreadable": "Expected '=' (at line 1)"}) == ["unreadable: Expected '=' (at line 1)"]


VALUES = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.datetimes(timezones=st.just(UTC)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=6)


@given(st.sampled_from(JobKind), st.dictionaries(st.sampled_from([*RESTORE, *BackupPlan.__slots__, "else"]), VALUES))
def test_no_plan_breaks_the_screen(kind: JobKind, plan: dict[str, object]) -> None:
    """Of an older pgvault, or written by somebody else."""
    assert all(isinstance(line, str) for line in lines(kind, plan))
