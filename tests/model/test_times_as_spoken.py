"""Times as people say them, and what they are taken for."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgvault.model.times import parse_time, whole_time

pytestmark = pytest.mark.usefixtures("far_from_utc")

LATE = datetime(2026, 11, 30, 23, 30, tzinfo=UTC)


@pytest.mark.parametrize(("text", "zone", "whole"), [
    ("14:05", "UTC", "2026-11-30 14:05 UTC"),
    ("01:17", "Europe/Paris", "2026-12-01 01:17 Europe/Paris"),  # there it is the next day already
    ("yesterday 9pm", "Europe/Paris", "2026-11-30 21:00 Europe/Paris"),
    ("9:30 PM +02", None, "2026-12-01 21:30 +02"),
    ("14:05Z", None, "2026-11-30 14:05 Z"),
    ("today 1:05:09.5 Asia/Tokyo", "UTC", "2026-12-01 01:05:09.5 Asia/Tokyo"),
    ("12am", "UTC", "2026-11-30 00:00 UTC"), ("12:30pm", "UTC", "2026-11-30 12:30 UTC"),
    ("2026-11-30 14:05", None, "2026-11-30 14:05"), ("14", "UTC", "14"), ("9 America/New_York", None,
                                                                         "9 America/New_York")])
def test_a_time_of_the_day_is_made_whole(text: str, zone: str | None, whole: str) -> None:
    assert whole_time(text, zone, LATE) == whole


@pytest.mark.parametrize(("text", "why"), [
    ("14:05", "names no time zone; add one, as in '14:05 Z'"), ("13pm", "an hour from 1 to 12"),
    ("14:05 CET", "not an unambiguous time zone")])
def test_what_is_not_one_instant_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        whole_time(text, None, LATE)


@pytest.mark.slow
@given(st.text(max_size=30) | st.from_regex(r"(today |yesterday )?[0-9]{1,2}:[0-9]{2}( ?[ap]m)?", fullmatch=True))
def test_what_was_made_whole_is_read_or_refused(text: str) -> None:
    try:
        instant = parse_time(whole_time(text, "Europe/Paris", LATE), "Europe/Paris")
    except ValueError:
        return
    assert instant.tzinfo is UTC
