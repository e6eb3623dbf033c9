"""Plans of restores made up for tests that look at no host."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pgvault.model.backup import Backup, BackupStatus
from pgvault.model.lsn import Lsn
from pgvault.model.restore_plan import RestorePlan, WalNeed
from pgvault.model.target import EndOfWal, TargetAction

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
MIB, GIB = 1 << 20, 1 << 30
SOURCE = Backup("20261124T110000Z", "main", BackupStatus.DONE, "full", NOON, "1", "18.1", 16 * MIB, 1, "/data",
                begin_lsn=Lsn(GIB), end_lsn=Lsn(GIB + 100))


def restore_plan(**facts: Any) -> RestorePlan:
    """A restore to the end of the WAL into /new on this machine: 10 GiB to write, 5 GiB to send, 2 GiB of WAL to
    replay. `facts` are what is otherwise."""
    return RestorePlan(**({
        "server": "main", "backup": SOURCE.id, "host": "", "directory": "/new", "target": EndOfWal(), "timeline": 1,
        "timeline_path": (1,), "stop_lsn": Lsn(3 * GIB), "stop_time": None, "action": TargetAction.PROMOTE,
        "standby": False, "tablespaces": (), "wal": WalNeed("a", "b", ("a", "b"), (), 0, ()), "bytes_to_send": 5 * GIB,
        "bytes_to_write": 10 * GIB, "workers": 1, "bandwidth_limit": None, "start": True, "overwrites": "",
        "sets_aside": False, "settings_changed": (), "settings_to_look_at": (), "preconditions": (),
        "source": SOURCE} | facts))
