"""A restore's plan, its backup and its destination as values: for tests of rules, which look nowhere."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pgvault.config.schema import HostConfig
from pgvault.io.probe import Contents, Destination, Installation, Place
from pgvault.model.backup import Backup, BackupStatus, Tablespace
from pgvault.model.lsn import Lsn
from pgvault.model.restore_plan import RestorePlan, TablespacePlace, WalNeed
from pgvault.model.target import EndOfWal
from support.plans import made_plan

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
SYSTEM = "7300000000000000001"
MIB = 1 << 20
NO_WAL = WalNeed("", "", (), (), 0, ())
SPACE = TablespacePlace(16400, "fast", "/mnt/fast", "/srv/fast", 300 * MIB)


def backup(**facts: Any) -> Backup:
    spaces = (Tablespace(SPACE.oid, SPACE.name, SPACE.original),)
    return Backup(**({"id": "20261101T120000Z", "server": "main", "status": BackupStatus.DONE, "method": "stream",
                      "started_at": NOON, "system_identifier": SYSTEM, "server_version": "17.2",
                      "segment_size": 16 * MIB, "timeline": 1, "data_directory": "/old/data", "finished_at": NOON,
                      "begin_lsn": Lsn(0x2000028), "end_lsn": Lsn(0x2000100), "tablespaces": spaces} | facts))


def plan(**facts: Any) -> RestorePlan:
    """To /srv/data of a host, nothing there, the server started."""
    return made_plan({
        "server": "main", "backup": backup(), "host": "box", "directory": "/srv/data", "target": EndOfWal(),
        "timeline": 1, "timeline_path": (1,), "stop_lsn": Lsn(0x3000000), "stop_time": None, "wal": NO_WAL,
        "bytes_to_send": 0, "bytes_to_write": 1000 * MIB, "workers": 2, "start": True} | facts)


def place(path: str = "/srv/data", contents: Contents = Contents.EMPTY, *entries: str, **facts: Any) -> Place:
    """A directory of postgres's, with 100 GiB free, on the file system /srv."""
    return Place(**({"path": path, "contents": contents, "entries": entries, "real_path": path, "nearest": path,
                     "writable": True, "owner_uid": 999, "owner": "postgres", "file_system": "8:1",
                     "mounted_on": "/srv", "free_bytes": 100 << 30, "left_bytes": 0} | facts))


def destination(directory: Place | None = None, *tablespaces: Place, **facts: Any) -> Destination:
    """Empty, and fit for everything; we are postgres there."""
    return Destination(**({
        "host": "box", "system": "Linux", "processors": 2, "uid": 999, "user": "postgres",
        "directory": directory or place(), "tablespaces": tablespaces, "pg_version": None, "has_cluster": False,
        "system_identifier": None, "checkpoint_at": None, "held_bytes": None, "postmaster": None,
        "incomplete_restore": None, "tar": "tar (GNU tar) 1.34", "zstd": "1.5.4",
        "installations": (Installation("/pg17/bin", "17.2", True, ("/run/pg",)),), "sockets": (),
        "listeners": ()} | facts))


def box(**settings: Any) -> HostConfig:
    """Of the configuration, this machine."""
    return HostConfig(name="box", local=True, **settings)
