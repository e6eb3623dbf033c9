"""Rule 18: what counts as protection, and whether it is new and enough, is judged by one rule each."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pgvault.model.backup import Backup, BackupStatus
from pgvault.model.protection import are_too_few, flaw_of, is_too_old
from pgvault.model.retention import Retention, assess_retention

AT = datetime(2026, 11, 22, 20, 5, 12, tzinfo=UTC)
GOOD = Backup("20261122T200512Z", "main", BackupStatus.DONE, "stream", AT, "7", "18.1", 1 << 24, 1, "/srv/pg",
              finished_at=AT)


@pytest.mark.parametrize(("backup", "unusable", "flaw"), [
    (GOOD, "", ""), (GOOD, "a segment is missing", "a segment is missing"),
    (replace(GOOD, corrupt_pages=("base/1/2",)), "", "holds pages that failed their checksum on the server"),
    (replace(GOOD, corrupt_pages=("base/1/2",)), "gone", "gone"),
    (replace(GOOD, status=BackupStatus.FAILED), "gone", "failed"),
    (replace(GOOD, status=BackupStatus.STARTED), "", "not complete yet"),
    (replace(GOOD, status=BackupStatus.WAITING_FOR_WALS), "", "its WAL has not arrived")])
def test_what_counts_for_check_counts_for_retention(backup: Backup, unusable: str, flaw: str) -> None:
    assert flaw_of(backup, unusable) == flaw
    verdict = assess_retention([backup], None, 0, AT, unusable={backup.id: unusable} if unusable else {})[backup.id]
    assert (verdict.state is Retention.NOT_COUNTED) is bool(flaw)
    assert verdict.reason.startswith(flaw)


@pytest.mark.parametrize(("newest", "limit", "hours", "is_late"), [
    (GOOD, None, 1000, False), (None, None, 0, False), (None, 24, 0, True), (GOOD, 24, 24, False), (GOOD, 24, 25, True),
    (GOOD, 24, -1000, False)])
def test_the_limit_itself_is_young_enough(newest: Backup | None, limit: int | None, hours: int, is_late: bool) -> None:
    assert is_too_old(newest, None if limit is None else timedelta(hours=limit), AT + timedelta(hours=hours)) is is_late


def test_as_many_as_required_are_enough() -> None:
    assert [are_too_few(counted, 2) for counted in (0, 1, 2, 3)] == [True, True, False, False]
    assert not are_too_few(0, 0)
