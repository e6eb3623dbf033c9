"""WAL across a promotion: the new timeline's first segment opens with pages of the old one."""

from __future__ import annotations

import re

import pytest
from support.account import account
from support.fleet import Fleet, Shape
from support.installation import installation

from pgvault.model.segment import Segment
from pgvault.wal.facts import skim
from pgvault.wal.pages import check_segment, read_header
from pgvault.wal.records import Cause
from pgvault.wal.transactions import transactions

SIZE = 1 << 20


@pytest.mark.server
def test_the_path_over_a_promotion_is_read_as_one() -> None:
    fleet = Fleet()
    try:
        server = fleet.make(installation(), Shape(wal_segsize=1), {"wal_keep_size": "1GB"}).start()
        server.sql("create table t (id int); insert into t select generate_series(1, 30000)")
        system = server.system_identifier()
        server.stop()
        (server.data / "standby.signal").touch()
        account().own(server.data / "standby.signal")
        server.start()
        server.sql("select pg_promote()")
        xid = server.scalar("with w as (insert into t values (0) returning 1) select txid_current()::text::int from w")
        server.switch_wal()
        server.stop()

        history = (server.wal / "00000002.history").read_text()
        numbers = {}
        for path in server.wal.iterdir():
            if re.fullmatch("[0-9A-F]{24}", path.name):
                segment = Segment.parse(path.name, SIZE)
                if segment.timeline > numbers.get(segment.number, (0,))[0]:
                    numbers[segment.number] = (segment.timeline, path.read_bytes())
        carry, timelines, found = None, [], []
        for number, (timeline, data) in sorted(numbers.items()):
            segment = Segment(timeline, number)
            if data[8:16] != segment.start(SIZE).to_bytes(8, "little"):
                break  # recycled for later
            header = read_header(data)
            check_segment(header, len(data), segment, SIZE, system)
            found += [t.xid for t in transactions(data, segment.start(SIZE), carry)]
            facts = skim(data, segment.start(SIZE), carry)
            timelines.append((timeline, header.timeline, facts.timeline))
            carry = facts.carry
            if carry is None:
                break
        assert facts.end.cause is Cause.UNWRITTEN
        # Pages keep their timeline: the copied ones are still the parent's when the segment is the child's.
        assert any(named == 2 and first_page == 1 for named, first_page, _ in timelines)
        assert timelines[0] == (1, 1, 1)
        assert timelines[-1] == (2, 2, 2)
        assert timelines == sorted(timelines)
        assert found.count(xid) == 1
        assert history.startswith("1\t")
    finally:
        fleet.close()
