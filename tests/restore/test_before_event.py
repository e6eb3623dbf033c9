"""What `pgvault events` says is what a restore is given: the database, or the table, is back and usable."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.fleet import Fleet
from support.ssh import SshHost
from target_world import end_world, make_world

from pgvault.engine.events import find_events
from pgvault.wal.accidents import EventKind


@pytest.mark.parametrize("major", [13, 18])
def test_the_moment_before_a_dropped_database_and_a_dropped_table(
        fleet: Fleet, ssh_hosts: Callable[[str], SshHost], major: int) -> None:
    """The database was made after the backup, so that its name is only in the WAL; the page that marks it is imaged."""
    world = make_world(fleet, ssh_hosts("openssh"), major, megabytes=1)
    try:
        server = world.server
        server.sql("CREATE TABLE kept AS SELECT generate_series(1, 10) AS i")
        world.backup()
        server.sql("CREATE DATABASE doomed")
        server.sql("CREATE TABLE precious AS SELECT generate_series(1, 1001) AS i", dbname="doomed")
        server.sql("CHECKPOINT")
        server.sql("DROP DATABASE doomed")
        server.sql("DROP TABLE kept")
        world.take_wal()
        table, database = find_events(world.vault, newest_first=True, limit=2)
        assert (database.kind, database.database.name) == (EventKind.DROP_DATABASE, "doomed")
        assert (table.kind, table.objects[0].title) == (EventKind.DROP, "table public.kept")
        with world.restored(database.before, timeline=database.timeline) as restored:
            assert restored.sql("SELECT count(*), sum(i) FROM precious", dbname="doomed") == [(1001, 1001 * 501)]
            assert restored.column("SELECT datconnlimit FROM pg_database WHERE datname = 'doomed'") == [-1]
        with world.restored(table.before, timeline=table.timeline) as restored:
            assert restored.column("SELECT count(*) FROM kept") == [10]
            assert restored.column("SELECT datname FROM pg_database WHERE datname = 'doomed'") == []
    finally:
        end_world(fleet, world)
