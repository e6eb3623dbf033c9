"""Times as people say them, `14:05` or `yesterday 9pm`, made whole: with their date and zone, before they count."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from pgvault.model.times import parse_time

_SPOKEN = re.compile(
    r"(?:(?P<day>today|yesterday)\s+)?(?P<hour>\d{1,2})(?::(?P<rest>\d{2}(?::\d{2}(?:[.,]\d{1,6})?)?))?\s*"
    r"(?P<half>[ap]m\b)?\s*(?P<zone>[A-Za-z+-].*)?", re.ASCII | re.IGNORECASE)


def whole_time(text: str, zone: str | None, now: datetime) -> str:
    """The text with the date and the zone that it left out, as `parse_time` reads it; any other text as it is.

    `zone` is what a time without one is taken in, and today is the day there. ValueError where there is none.
    """
    match = _SPOKEN.fullmatch(text.strip())
    if not match or not (match["rest"] or match["half"]):
        return text
    hour, half = int(match["hour"]), (match["half"] or "").lower()
    if half and not 1 <= hour <= 12:
        raise ValueError(f"not a time: {text!r}: before am and pm stands an hour from 1 to 12")
    if half:
        hour = hour % 12 + 12 * (half == "pm")
    area = match["zone"] or zone
    if area is None:
        raise ValueError(f"{text!r} names no time zone; add one, as in '{text.strip()} Z' or "
                         f"'{text.strip()} Europe/Paris', or set timezone in the configuration")
    day = _today(area, now) - timedelta(days=(match["day"] or "").lower() == "yesterday")
    return f"{day:%Y-%m-%d} {hour:02d}:{match['rest'] or '00'} {area}"


def _today(zone: str, now: datetime) -> datetime:
    """A moment of the day that it is now in a zone; ValueError when there is no such zone."""
    noon = now.replace(hour=12, minute=0, second=0, microsecond=0)
    ahead = noon - parse_time(f"{noon:%Y-%m-%d} 12:00 {zone}")
    return now + ahead
