"""Times that people type, parsed without guessing.

A recovery target needs an instant. So a time without a zone, a zone abbreviation, and a local time that a clock change
made ambiguous or nonexistent are refused, and the error lists the possible readings.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

_FORM = re.compile(
    r"(?P<date>\d{4}-\d{2}-\d{2})(?:[ T](?P<time>\d{2}:\d{2}(?::\d{2}(?:[.,]\d{1,6})?)?))?\s*(?P<zone>\S.*)?", re.ASCII)
_OFFSET = re.compile(r"([+-])(\d{2})(?::?(\d{2}))?(?::?(\d{2}))?", re.ASCII)


def utc(moment: datetime) -> str:
    """Format as `2026-11-22 20:05:12.123456+00`, which PostgreSQL reads the same whatever its own zone is."""
    return exact(moment).removesuffix("Z") + "+00"


def exact(moment: datetime) -> str:
    """Format as `2026-11-22 20:05:12.123456Z`, for times that may be typed back as a target or that are compared with
    others: dropping the fraction would change the instant."""
    text = moment.astimezone(UTC).isoformat(" ").removesuffix("+00:00")
    return f"{text.rstrip('0') if moment.microsecond else text}Z"


def rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"


def of_epoch(seconds: float) -> datetime | None:
    """Return a file's time in UTC; None if it is outside the calendar, as on a damaged file system."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def parse_time(text: str, default_zone: str | None = None) -> datetime:
    """Return the instant that `text` names, in UTC. ValueError says why it names none, or more than one.

    `default_zone` is the zone (IANA name) of a time without one.
    """
    try:
        return _parsed(text, default_zone)
    except OverflowError:
        raise ValueError(f"not a time: {text!r}: in UTC it is outside the calendar") from None


def _parsed(text: str, default_zone: str | None) -> datetime:
    match = _FORM.fullmatch(text.strip())
    if not match:
        raise ValueError(f"not a time: {text!r}; "
                         "write it as 2026-11-22 20:05:12.5+00 or 2026-11-22 20:05 Europe/Paris")
    clock = (match["time"] or "00:00").replace(",", ".")
    try:
        local = datetime.fromisoformat(f"{match['date']}T{clock}")
    except ValueError as error:
        raise ValueError(f"not a time: {text!r}: {error}") from None
    zone = match["zone"] or default_zone
    if zone is None:
        raise ValueError(f"{text!r} names no time zone; add one, as in '{match['date']} {clock}+00' or "
                         f"'{match['date']} {clock} Europe/Paris', or set timezone in the configuration")
    if zone in ("Z", "z", "UTC"):
        return local.replace(tzinfo=UTC)
    if offset := _OFFSET.fullmatch(zone):
        hours, minutes, seconds = (int(offset[i] or 0) for i in (2, 3, 4))
        if hours > 15 or minutes > 59 or seconds > 59:
            raise ValueError(f"not an offset from UTC: {zone!r}")
        shift = timedelta(hours=hours, minutes=minutes, seconds=seconds)
        return local.replace(tzinfo=timezone(-shift if offset[1] == "-" else shift)).astimezone(UTC)
    return _in_zone(local, zone, text)


def _in_zone(local: datetime, zone: str, text: str) -> datetime:
    from zoneinfo import ZoneInfo, available_timezones  # takes some milliseconds, which only a named zone costs

    if "/" not in zone or zone not in available_timezones():
        raise ValueError(f"{zone!r} is not an unambiguous time zone; "
                         "use an offset such as +02 or a name such as Europe/Paris")
    area = ZoneInfo(zone)
    first, second = (local.replace(tzinfo=area, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first == second:
        return first
    readings = f"{utc(min(first, second))} or {utc(max(first, second))}"
    if first.astimezone(area).replace(tzinfo=None) != local:
        raise ValueError(f"{text!r} does not exist: the clocks in {zone} skipped it; "
                         f"the readings nearest to it are {readings}")
    raise ValueError(f"{text!r} is ambiguous: the clocks in {zone} were put back; write {readings}")


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
