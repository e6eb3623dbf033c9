"""Sizes, rates and durations that people type and read: `50MB`, `50MB/s`, `1 DAYS`, `30s`, `2 weeks`.

As in postgresql.conf, each unit of size is 1024 times the one before it, and units of size are case-sensitive
(documentation, 19.1.1), because `Mb` is a megabit to a network engineer. What is only shown is formatted by
pgvault.model.text.
"""

from __future__ import annotations

import re
from datetime import timedelta

_SIZE = r"\s*([0-9]{1,19})(?:\.([0-9]{1,6}))?\s*([A-Za-z]+)\s*"
_FACTORS = {"B": 1, "kB": 2**10, "MB": 2**20, "GB": 2**30, "TB": 2**40}
_SPELLINGS = {"KB": "kB", "KiB": "kB", "MiB": "MB", "GiB": "GB", "TiB": "TB"}
LARGEST = 2**63 - 1


def parse_size(text: str) -> int:
    """Return the bytes that a number and a unit name. ValueError lists the accepted units. A bare number is refused."""
    match = re.fullmatch(_SIZE, text)
    factor = _FACTORS.get(_SPELLINGS.get(match[3], match[3])) if match else None
    if match is None or factor is None:
        raise ValueError(f"not a size: {text[:40]!r}; write a number and one of B, kB, MB, GB, TB "
                         "(each unit is 1024 times the one before it; units are case-sensitive)")
    digits = match[2] or ""
    size: int = int(match[1] + digits) * factor // 10 ** len(digits)
    if size > LARGEST:
        raise ValueError(f"{text.strip()!r} is more than 8 million TB")
    return size


def format_size(size: int) -> str:
    """Return `50MB`, exact, in the largest unit that divides it, as `parse_size` reads."""
    for unit, factor in reversed(_FACTORS.items()):
        if size >= factor and size % factor == 0:
            return f"{size // factor}{unit}"
    return f"{size}B"


def parse_rate(text: str) -> int:
    """Return the bytes per second, at least 1, of `50MB/s` (or `50MB`, as in PostgreSQL's own --max-rate)."""
    amount = text.strip().removesuffix("/s")
    try:
        rate = parse_size(amount)
    except ValueError as error:
        raise ValueError(str(error).replace("not a size", "not a rate", 1)) from None
    if rate < 1:
        raise ValueError(f"{text.strip()!r} would never send anything")
    return rate


def format_rate(rate: int) -> str:
    return f"{format_size(rate)}/s"


# Durations


_DURATION = r"\s*([0-9]{1,10})\s*([A-Za-z]+)\s*"
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
    match = re.fullmatch(_DURATION, text)
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
