"""The axis below the timeline: dates and clock times at round instants, as many as fit without overlap."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from pgvault.console.timeline.frame import Frame

_SECOND, _MINUTE, _HOUR, _DAY = 1_000_000, 60_000_000, 3_600_000_000, 86_400_000_000
_STEPS = (*(factor * 10 ** power for power in range(6) for factor in (1, 2, 5)),
          *(_SECOND * each for each in (1, 2, 5, 10, 15, 30)), *(_MINUTE * each for each in (1, 2, 5, 10, 15, 30)),
          *(_HOUR * each for each in (1, 2, 3, 6, 12)), *(_DAY * each for each in (1, 2, 7)))
_MONTHS = (1, 2, 3, 6, 12, 24, 60, 120, 600, 1200)
_MONDAY = 4 * _DAY
"""A Monday, on which weeks begin: 1970 began on a Thursday."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_APART = 2
"""The columns between two labels."""


class Label(NamedTuple):
    column: int
    text: str


def moment(at: int) -> datetime:
    """Convert microseconds since 1970; a time outside the calendar becomes its end."""
    try:
        return _EPOCH + timedelta(microseconds=at)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC) if at > 0 else datetime.min.replace(tzinfo=UTC)


def microseconds(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(microseconds=1)


def fraction_digits(step: int) -> int:
    """Return how many digits of a second distinguish one column from the next."""
    return 0 if step >= _SECOND else 3 if step >= 1000 else 6


def clock(at: int, digits: int) -> str:
    """Return a clock time such as `20:05:12.123`."""
    time = moment(at)
    return f"{time:%H:%M:%S}" + (f".{time.microsecond:06d}"[:digits + 1] if digits else "")


def labels(frame: Frame) -> list[Label]:
    """Yield the labels from left to right, with room between them; every label is within the frame."""
    if fixed := next((step for step in _STEPS if _fits(frame, step)), None):
        return _placed(frame, ((at, _clock_label(at, fixed)) for at in _multiples(frame, fixed)), dated=fixed < _DAY)
    months = next((count for count in _MONTHS if _fits(frame, count * 30 * _DAY)), _MONTHS[-1])
    return _placed(frame, ((at, f"{moment(at):%Y-%m}") for at in _months(frame, months)), dated=False)


def _fits(frame: Frame, step: int) -> bool:
    return step * frame.width >= frame.span * (_columns(step, frame) + _APART + 1)


def _columns(step: int, frame: Frame) -> int:
    """Return the columns of a label; midnights show their date."""
    if step >= _MINUTE:
        return 10 if step >= _DAY or frame.span > _DAY else 5
    return 8 if step >= _SECOND else 12 if step >= 1000 else 15


def _clock_label(at: int, step: int) -> str:
    if step >= _DAY or (step >= _MINUTE and at % _DAY == 0):
        return f"{moment(at):%Y-%m-%d}"
    return clock(at, fraction_digits(step)) if step < _MINUTE else f"{moment(at):%H:%M}"


def _multiples(frame: Frame, step: int) -> Iterator[int]:
    shift = _MONDAY if step == 7 * _DAY else 0
    first = -((shift - frame.begin) // step) * step + shift
    yield from range(first, frame.until, step)


def _months(frame: Frame, count: int) -> Iterator[int]:
    begin = moment(frame.begin)
    month = (begin.year * 12 + begin.month - 1) // count * count
    while month < 9999 * 12:
        at = microseconds(datetime(max(month // 12, 1), month % 12 + 1, 1, tzinfo=UTC))
        if at >= frame.until:
            return
        if at >= frame.begin:
            yield at
        month += count


def _placed(frame: Frame, ticks: Iterator[tuple[int, str]], *, dated: bool) -> list[Label]:
    """Place the labels. With `dated` the first clock time, and the first one of each further day, has its date in
    front.
    """
    placed: list[Label] = []
    free, day = 0, ""
    for at, text in ticks:
        column, date = frame.column(at), f"{moment(at):%Y-%m-%d}"
        if dated and date not in (day, text):
            full = f"{date} {text}"
            if column >= free and column + len(full) + 1 <= frame.width:
                text = full
        if column < free or column + len(text) + 1 > frame.width:
            continue
        placed.append(Label(column, text))
        free = column + len(text) + 1 + _APART
        day = date if text.startswith(date) else day
    return placed
