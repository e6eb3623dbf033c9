"""Plans of restores made up for tests that look at no host."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, TypeVar

from pgvault.model.backup import Backup, BackupStatus
from pgvault.model.lsn import Lsn
from pgvault.model.restore_plan import (
    Configuration,
    Cost,
    Point,
    Replaced,
    RestoreDestination,
    RestorePlan,
    Source,
    WalNeed,
)
from pgvault.model.target import EndOfWal

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
MIB, GIB = 1 << 20, 1 << 30
SOURCE = Backup("20261124T110000Z", "main", BackupStatus.DONE, "full", NOON, "1", "18.1", 16 * MIB, 1, "/data",
                begin_lsn=Lsn(GIB), end_lsn=Lsn(GIB + 100))
T = TypeVar("T")


def restore_plan(**facts: Any) -> RestorePlan:
    """A restore to the end of the WAL into /new on this machine: 10 GiB to write, 5 GiB to send, 2 GiB of WAL to
    replay. `facts` are what is otherwise, in any part of the plan."""
    return made_plan({
        "server": "main", "backup": SOURCE, "host": "", "directory": "/new", "target": EndOfWal(), "timeline": 1,
        "timeline_path": (1,), "stop_lsn": Lsn(3 * GIB), "stop_time": None,
        "wal": WalNeed("a", "b", ("a", "b"), (), 0, ()), "bytes_to_send": 5 * GIB, "bytes_to_write": 10 * GIB,
        "workers": 1, "start": True} | facts)


def made_plan(facts: dict[str, Any]) -> RestorePlan:
    """The plan with these fields of its parts."""
    left = dict(facts)

    def part(kind: type[T]) -> T:
        return kind(**{each.name: left.pop(each.name) for each in fields(kind) if each.name in left})  # type: ignore[arg-type]

    parts = [part(kind) for kind in (Source, Point, RestoreDestination, Configuration, Replaced, Cost)]
    return RestorePlan(left.pop("server"), *parts, **left)
