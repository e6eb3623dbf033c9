"""Backups of a real server expire: what stays is what it was, byte for byte, and the space comes back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from station import Station, fill
from support.postgres import Server

from pgvault.vault.collection import GRACE, collect

pytestmark = pytest.mark.server


def packed(here: Station) -> int:
    return sum(path.stat().st_size for path in (here.vault.home / "packs").iterdir())


def test_nights_expire_and_their_space_comes_back(small: Server, station: Callable[..., Station]) -> None:
    """Each night a table is made anew and another one changes a little, so backups share most and deltas are made."""
    here = station(small, retention_policy="REDUNDANCY 2")
    small.sql("drop table if exists steady, nightly")
    fill(small, "steady", 6)
    digests = {}
    for night in range(5):
        small.sql("drop table if exists nightly")
        fill(small, "nightly", 4)
        small.sql("update steady set n = -n where (ctid::text::point)[0]::bigint %% 50 = %s", (night,))
        small.sql("checkpoint")
        backup = here.take()
        digests[backup.id] = here.contents(backup).digest()
    before = packed(here)
    done = here.run("expire", "main").text
    stay = sorted(digests)[-2:]
    assert [each.id for each in here.backups()] == stay
    assert f"deleted {', '.join(sorted(digests)[:3])}" in done
    segments = {path.name[:24] for path in (here.vault.home / "wal").rglob("*.zst")}
    first = here.backups()[0].begin_segment
    assert first
    assert min(segments) == first.name(1 << 20), "the WAL begins with the oldest backup"
    collect(here.vault, datetime.now(UTC) + GRACE)
    assert packed(here) < before * 0.75, "three nightly tables of seven"
    for each in here.backups():
        assert here.contents(each).digest() == digests[each.id]
    again = here.take()
    assert again.stored_bytes < 1 << 20, "what stayed is found again"
    here.run("rebuild-index", "main")
    for each in here.backups()[:2]:
        assert here.contents(each).digest() == digests[each.id]
