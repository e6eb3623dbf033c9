"""Formatting of sizes, durations, ages and times for people, and escaping of text from outside.

Nothing else formats them. humanize is not used: its sizes below 1 KiB ("1023 Bytes") and its durations ("3 minutes and
20 seconds") do not fit into columns, it has no short ages, and all of it depends on a locale.

All output passes `visible`, on a terminal and in the console, so that a server's message cannot move the cursor.
put-wal and get-wal import this module, so it imports little.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime, timedelta

UNKNOWN = "-"
# Control characters, line separators, bidirectional overrides that could reverse a name, and lone surrogates.
_HIDDEN = "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"


class Painted(NamedTuple):
    """A text with a style: good, warn, bad, dim, bold or accent."""

    text: str
    style: str

    def __str__(self) -> str:
        return self.text


Part = str | Painted


def visible(text: str) -> str:
    """Return the text with every character escaped that a terminal would act upon: ESC becomes `\\x1b`."""
    return text if text.isprintable() else re.sub(_HIDDEN, _spelled, text)


def _spelled(match: re.Match[str]) -> str:
    code = ord(match[0])
    return {9: "\\t", 10: "\\n", 13: "\\r"}.get(code) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


def width(text: str) -> int:
    """Return the number of columns that the text takes on a terminal."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def size(octets: int | None) -> str:
    """Format as `1.2 GiB`; `-` for None."""
    if octets is None:
        return UNKNOWN
    amount = float(octets)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(amount) < 1024 or unit == "TiB":
            break
        amount /= 1024
    return f"{octets} B" if unit == "B" else f"{amount:.1f} {unit}"


def when(moment: datetime | None, *, exact: bool = False) -> str:
    """Format as `2026-11-22 20:05:12+00`; `-` for None. `exact` adds the fraction, for times that may be typed back."""
    from pgvault.model.times import utc

    return UNKNOWN if moment is None else utc(moment if exact else moment.replace(microsecond=0))


def span(seconds: float | None) -> str:
    """Format as `12 s`, `3 min 20 s`, `2 h 05 min` or `3 d 4 h`; `-` for None."""
    if seconds is None:
        return UNKNOWN
    if seconds < 10 and isinstance(seconds, float):
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def elapsed(since: datetime, now: datetime) -> str:
    """Format the time since a moment as `span` does, in whole seconds; `0 s` for a moment yet to come."""
    return span(max(0, round((now - since).total_seconds())))


def in_words(duration: timedelta) -> str:
    """Format as `2 days, 3 hours, 1 minute`, or `less than a minute`."""
    minutes = int(duration.total_seconds()) // 60
    parts = [(minutes // 1440, "day"), (minutes // 60 % 24, "hour"), (minutes % 60, "minute")]
    words = [f"{number} {unit}{'s' * (number != 1)}" for number, unit in parts if number]
    return ", ".join(words) or "less than a minute"


def age(moment: datetime | None, now: datetime, *, minutes_below: int = 100) -> str:
    """Format in as few columns as possible: `<1m`, `5m`, `90m`, `3h`, `47h`, `5d`; `-` for None.

    It counts the minutes of the clock: all ages on a screen grow together with the minute that the head shows, so that
    an idle screen rests in between. A time yet to come is `<1m`, too.
    """
    if moment is None:
        return UNKNOWN
    minutes = (int(now.timestamp()) // 60 * 60 - int(moment.timestamp())) // 60
    if minutes < 1:
        return "<1m"
    if minutes < minutes_below:
        return f"{minutes}m"
    return f"{minutes // 60}h" if minutes < 48 * 60 else f"{minutes // 1440}d"


def ago(moment: datetime | None, now: datetime) -> str:
    """Format as `5m ago`; `-` for None."""
    return UNKNOWN if moment is None else f"{age(moment, now)} ago"


def stamp(moment: datetime | None) -> str:
    """Format as `2026-11-22 20:05:12Z`; `-` for None. The moment is in UTC."""
    return UNKNOWN if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}Z"
