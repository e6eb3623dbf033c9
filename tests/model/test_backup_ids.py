"""Rule 33: ids sort by time, and a clock that is put back makes neither the same one nor an earlier one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgvault.model.backup import is_backup_id, next_backup_id

pytestmark = pytest.mark.usefixtures("far_from_utc")

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
clocks = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.sampled_from(  # noqa: DTZ001
    [UTC, timezone(timedelta(hours=5, minutes=30)), timezone(-timedelta(hours=11))]))


def test_an_id_is_the_time_in_utc() -> None:
    assert next_backup_id(NOON, None) == "20261122T120000Z"
    assert next_backup_id(NOON.astimezone(timezone(timedelta(hours=2))), None) == "20261122T120000Z"


def test_two_in_one_second_and_a_clock_put_back_get_the_next_second() -> None:
    assert next_backup_id(NOON, "20261122T120000Z") == "20261122T120001Z"
    assert next_backup_id(NOON - timedelta(days=400), "20261231T235959Z") == "20270101T000000Z"


@given(st.lists(clocks, min_size=1, max_size=20))
def test_ids_only_grow_whatever_the_clock_does(readings: list[datetime]) -> None:
    ids: list[str] = []
    for reading in readings:
        ids.append(next_backup_id(reading, ids[-1] if ids else None))
    assert ids == sorted(set(ids))
    assert all(map(is_backup_id, ids))


def test_only_ids_are_ids() -> None:
    for text in ("", "20261122T120000", "20261122T120000Z\n", " 20261122T120000Z", "٢٠٢٦1122T120000Z", "../20261122",
                 "20261122t120000z"):
        assert not is_backup_id(text), text
