"""Completes times such as `14:05` or `yesterday 9pm` with their date and zone."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from pgvault.model.times import parse_time

_SPOKEN = re.compile(
    r"(?:(?P<day>today|yesterday)\s+)?(?P<hour>\d{1,2})(?::(?P<rest>\d{2}(?::\d{2}(?:[.,]\d{1,6})?)?))?\s*"
    r"(?P<half>[ap]m\b)?\s*(?P<zone>[A-Za-z+-].*)?", re.ASCII | re.IGNORECASE)


def whole_time(text: str, zone: str | None, now: datetime) -> str:
    """Add the missing date and zone, so that `parse_time` can read the text. Any other text is returned as it is.

    A time without a zone is taken in `zone`, and today is the current day there. ValueError if a zone is needed and
    none is given.
    """
    match = _SPOKEN.fullmatch(text.strip())
    if not match or not (match["rest"] or match["half"]):
        return text
    hour, half = int(match["hour"]), (match["half"] or "").lower()
    if half and not 1 <= hour <= 12:
        raise ValueError(f"not a time: {text!r}: am and pm need an hour from 1 to 12")
    if half:
        hour = hour % 12 + 12 * (half == "pm")
    area = match["zone"] or zone
    if area is None:
        raise ValueError(f"{text!r} names no time zone; add one, as in '{text.strip()} Z' or "
                         f"'{text.strip()} Europe/Paris', or set timezone in the configuration")
    day = _today(area, now) - timedelta(days=(match["day"] or "").lower() == "yesterday")
    return f"{day:%Y-%m-%d} {hour:02d}:{match['rest'] or '00'} {area}"


def _today(zone: str, now: datetime) -> datetime:
    """Return a moment of the current day in a zone; ValueError if no such zone exists."""
    noon = now.replace(hour=12, minute=0, second=0, microsecond=0)
    ahead = noon - parse_time(f"{noon:%Y-%m-%d} 12:00 {zone}")
    return now + ahead
