"""One history of WAL for each PostgreSQL at hand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.fleet import Fleet, Shape
from support.installation import MAJORS, installation
from wal_history import History, record_history


@pytest.fixture(scope="session", params=[
    pytest.param(major, marks=[pytest.mark.xdist_group(f"wal-{major}"), pytest.mark.server], id=f"pg{major}")
    for major in MAJORS])
def history(request: pytest.FixtureRequest) -> Iterator[History]:
    chosen = installation(request.param)
    chosen.program("pg_waldump")
    fleet = Fleet()
    try:
        server = fleet.make(chosen, Shape(wal_segsize=1), {
            "max_prepared_transactions": 5, "wal_level": "logical", "wal_keep_size": "1GB", "full_page_writes": "on",
            "track_commit_timestamp": "off", "max_locks_per_transaction": 2000, "min_wal_size": "2MB"})
        yield record_history(server)
    finally:
        fleet.close()
