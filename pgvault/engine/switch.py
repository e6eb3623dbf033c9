"""Closes a server's current segment, so that it is archived now and not when it is full."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from pgvault.config.schema import ServerConfig
from pgvault.engine.incoming import archive_waiting
from pgvault.io.postgres import session
from pgvault.model.errors import Refused, WalMissing
from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment
from pgvault.vault.layout import ServerVault
from pgvault.vault.wal_archive import is_archived, level_for

POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Switched:
    segment: str
    """The segment that was closed. If `changed` is false, it was closed before, since nothing was written after it."""
    changed: bool


def switch_wal(server: ServerConfig) -> Switched:
    """Call `pg_switch_wal()`. Refused on a standby, since only its primary can."""
    with session(server, "close the current WAL segment") as sql:
        row = sql.execute("SELECT pg_is_in_recovery()").fetchone()
        if row and row[0]:
            raise Refused(f"{server.name} is a standby", detail="Only its primary can close a WAL segment.",
                          hint="Run this for the primary.")
        row = sql.execute(
            "WITH before AS MATERIALIZED (SELECT pg_current_wal_insert_lsn() AS lsn),"
            " switched AS MATERIALIZED (SELECT lsn, pg_switch_wal() AS at FROM before)"
            " SELECT pg_walfile_name(at), at::text, at > lsn,"
            " (SELECT setting::bigint FROM pg_settings WHERE name = 'wal_segment_size') FROM switched").fetchone()
    assert row
    name, at, changed, size = row
    # The server's own name is not used: at a boundary it is that of the previous segment up to 16, of the next from 17
    # on.
    return Switched(Segment.ending(int(name[:8], 16), Lsn.parse(at), size).name(size), changed)


def wait_archived(vault: ServerVault, server: ServerConfig, segment: str, timeout: float, *,
                  sleep: Callable[[float], None] = time.sleep) -> None:
    """Wait until the segment is archived, and archive files from incoming meanwhile; WalMissing after `timeout`
    seconds."""
    deadline = time.monotonic() + timeout
    while not is_archived(vault, segment):
        archive_waiting(vault, level=level_for(server.compression_level))
        if time.monotonic() >= deadline:
            raise WalMissing(f"{segment} did not arrive in the archive within {timeout:.0f} seconds",
                             hint=f"To see why: pgvault check {server.name}")
        sleep(POLL_SECONDS)
