"""Rule 23: a time names one instant, or is refused with the readings that are possible."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgvault.model.times import parse_time, rfc3339, utc

pytestmark = pytest.mark.usefixtures("far_from_utc")


@pytest.mark.parametrize(("text", "instant"), [
    ("2026-11-22 20:05:12+00", "2026-11-22T20:05:12Z"), ("2026-11-22T20:05:12Z", "2026-11-22T20:05:12Z"),
    ("2026-11-22 20:05:12.123456+02", "2026-11-22T18:05:12.123456Z"), ("2026-11-22 20:05:12 +0530",
    "2026-11-22T14:35:12Z"), ("2026-11-22 20:05-03:30", "2026-11-22T23:35:00Z"), ("2026-11-22 UTC",
    "2026-11-22T00:00:00Z"), ("2026-11-22 20:05:12,5Z", "2026-11-22T20:05:12.500000Z"),
    ("2026-07-01 12:00 Europe/Paris", "2026-07-01T10:00:00Z"), ("2026-12-01 12:00 Europe/Paris",
    "2026-12-01T11:00:00Z"), ("  2026-11-22 20:05:12+00 ", "2026-11-22T20:05:12Z")])
def test_a_time_with_a_zone_is_an_instant(text: str, instant: str) -> None:
    assert rfc3339(parse_time(text)) == instant


def test_a_naive_time_needs_a_zone_from_somewhere() -> None:
    with pytest.raises(ValueError, match="names no time zone"):
        parse_time("2026-11-22 20:05:12")
    assert rfc3339(parse_time("2026-11-22 20:05:12", "Europe/Paris")) == "2026-11-22T19:05:12Z"
    assert rfc3339(parse_time("2026-11-22 20:05:12Z", "Europe/Paris")) == "2026-11-22T20:05:12Z", "its own zone wins"


def test_a_local_time_that_was_twice_is_refused_with_both_readings() -> None:
    with pytest.raises(ValueError, match="is ambiguous") as caught:
        parse_time("2026-10-25 02:30 Europe/Paris")
    assert "2026-10-25 00:30:00+00 or 2026-10-25 01:30:00+00" in str(caught.value)
    for reading in ("2026-10-25 00:30:00+00", "2026-10-25 01:30:00+00", "2026-10-25 02:30+02"):
        parse_time(reading)
    assert parse_time("2026-10-25 01:59:59 Europe/Paris") < parse_time("2026-10-25 03:00 Europe/Paris")


def test_a_local_time_that_never_was_is_refused_with_both_readings() -> None:
    with pytest.raises(ValueError, match="does not exist") as caught:
        parse_time("2026-03-29 02:30", "Europe/Paris")
    assert "2026-03-29 00:30:00+00 or 2026-03-29 01:30:00+00" in str(caught.value)


@pytest.mark.parametrize("text", [
    "2026-11-22 20:05 EST", "2026-11-22 20:05 CET", "2026-11-22 20:05 Europe/Pariss", "2026-11-22 20:05 GMT+2",
    "2026-13-01 00:00Z", "2026-02-30 00:00Z", "2026-11-22 25:00Z", "2026-11-22 20:60Z", "yesterday", "", "now",
    "22/11/2026 20:05Z", "2026-11-22 20:05+16", "2026-11-22 20:05+02:61", "2026-11-22 20:05 ../../etc/localtime",
    "2026-11-22 20:05 posix/../UTC", "٢٠٢٦-11-22 20:05Z", "2026-11-22 20:05+٠2"])
def test_what_has_no_one_meaning_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        parse_time(text)


@given(st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)),  # noqa: DTZ001
       st.integers(-15 * 60, 15 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))))
def test_what_is_shown_is_read_back_as_the_same_instant(moment: datetime, zone: timezone) -> None:
    moment = moment.replace(tzinfo=zone)
    assert parse_time(utc(moment)) == moment
    assert parse_time(rfc3339(moment)) == moment
    assert parse_time(moment.isoformat()) == moment
    assert parse_time(utc(moment)).tzinfo is UTC


def test_the_ends_of_the_calendar_are_errors_and_no_crash() -> None:
    for text in ("0001-01-01 00:00+14", "9999-12-31 23:59:59-12", "9999-12-31 23:59 Pacific/Pago_Pago",
                 "0001-01-01 00:00 Asia/Tokyo"):
        with pytest.raises(ValueError, match="not a time"):
            parse_time(text)
