"""Durations that people type and read: `1 DAYS`, `30s`, `2 weeks`."""

from __future__ import annotations

import re
from datetime import timedelta

_FORM = r"\s*([0-9]{1,10})\s*([A-Za-z]+)\s*"
_UNITS = {
    "second": ("s", "sec", "secs", "seconds"),
    "minute": ("min", "mins", "minutes"),
    "hour": ("h", "hours"),
    "day": ("d", "days"),
    "week": ("w", "weeks"),
    "month": ("months",),
}
SECONDS_IN = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 7 * 86400, "month": 31 * 86400}
"""A month counts as 31 days, so that what is kept for a month outlives any month."""
_NAMES = {spelling: unit for unit, others in _UNITS.items() for spelling in (unit, *others)}
LONGEST = timedelta(days=36525)
"""A century. Longer durations are typing errors, and would exceed the range of dates."""


def parse_duration(text: str) -> timedelta:
    """Return the duration of a whole number and one unit in any case. ValueError names the accepted units.

    A bare number and `m` (minutes or months?) are refused rather than guessed.
    """
    match = re.fullmatch(_FORM, text)
    unit = _NAMES.get(match[2].lower()) if match else None
    if match is None or unit is None:
        raise ValueError(f"not a span of time: {text[:40]!r}; write a number and one of "
                         "seconds (s), minutes (min), hours (h), days (d), weeks (w), months")
    span = int(match[1]) * SECONDS_IN[unit]
    if span > LONGEST.total_seconds():
        raise ValueError(f"{text.strip()!r} is longer than a century")
    return timedelta(seconds=span)


def format_duration(span: timedelta) -> str:
    """Return `7 days`, `36 hours` or `90 seconds`: exact, in the largest unit that divides it, as `parse_duration`
    reads."""
    seconds = int(span.total_seconds())
    if timedelta(seconds=seconds) != span or seconds < 0:
        raise ValueError(f"not a span of whole seconds: {span}")
    for unit in ("day", "hour", "minute"):
        if seconds and seconds % SECONDS_IN[unit] == 0:
            return _counted(seconds // SECONDS_IN[unit], unit)
    return _counted(seconds, "second")


def _counted(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"
