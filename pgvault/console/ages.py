"""How long ago something was, in as few columns as tell it, by the minutes of the clock: all ages grow together with
the minute that the head shows, so that an idle screen rests in between."""

from __future__ import annotations

from datetime import datetime

UNKNOWN = "-"


def age(moment: datetime | None, now: datetime, *, minutes_below: int = 100) -> str:
    """`<1m`, `5m`, `90m`, `3h`, `47h`, `5d`; `-` for what has not been. A time yet to come is no age: `<1m`."""
    if moment is None:
        return UNKNOWN
    minutes = (int(now.timestamp()) // 60 * 60 - int(moment.timestamp())) // 60
    if minutes < 1:
        return "<1m"
    if minutes < minutes_below:
        return f"{minutes}m"
    return f"{minutes // 60}h" if minutes < 48 * 60 else f"{minutes // 1440}d"


def ago(moment: datetime | None, now: datetime) -> str:
    """`5m ago`; `-` for what has not been."""
    return UNKNOWN if moment is None else f"{age(moment, now)} ago"


def stamp(moment: datetime | None) -> str:
    """`2026-11-22 20:05:12Z`: the time itself, in UTC."""
    return UNKNOWN if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}Z"
