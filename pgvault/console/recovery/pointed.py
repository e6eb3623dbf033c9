"""A point as lines: where recovery stops, from which backup, and how far the point is from both ends."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from pgvault.console.fields import Field
from pgvault.console.recovery.answer import Answer, Near, Reach
from pgvault.console.recovery.draft import Draft, Point
from pgvault.console.recovery.typed import readings
from pgvault.model.target import AtTime
from pgvault.model.text import elapsed, size, span, when
from pgvault.model.times import exact, utc

_STAMP = "%Y%m%dT%H%M%SZ"
_PARTIAL_HERE = 'Here that is the line "with" above: the unfinished last segment, too.'
_TENTH = 0.1
"""The shortest span that is shown, in seconds."""


def point_fields(draft: Draft, answer: Answer, zone: str | None) -> Iterator[Field]:
    """Yield the facts of a point that was looked up, the reason first if it cannot be reached. The nearest points
    are a list of their own.
    """
    of_point = asked(draft.point, zone) if draft.point else ()
    if answer.stop is None:
        yield Field("not possible", answer.reason, "bad")
        if "--partial" in answer.reason:
            yield Field("", _PARTIAL_HERE, "bold")
        yield from of_point
        for reach in answer.reaches:
            yield Field("possible", _span(reach))
        return
    yield from of_point
    stop = answer.stop
    yield Field("stops", f"{'after' if stop.replayed else 'before'} {stop.lsn} on timeline {stop.timeline}", "good")
    time = stop.time or (draft.point.time if draft.point else None)
    if time:
        yield Field("", ", ".join(readings(time, zone)))
    yield Field("backup", _backup(draft, answer, time))
    if answer.reach:
        yield Field("WAL reaches", _to_the_end(time, answer.reach))


def asked(point: Point, zone: str | None) -> Iterator[Field]:
    """Return the point that was asked for, a time on every clock."""
    yield Field("point", point.label, "bold")
    if isinstance(point.target, AtTime):
        yield Field("", "that is " + ", ".join(readings(point.target.time, zone)))


def _backup(draft: Draft, answer: Answer, stop: datetime | None) -> str:
    parts = [f"{answer.backup}, {'proposed' if draft.backup == 'auto' else 'chosen by you'}"]
    if stop and (began := _begin(answer.backup)) and stop >= began:
        parts.append(f"begun {elapsed(began, stop)} before the point")
    if (fit := answer.proposed) and fit.segments is not None:
        segments = f"{fit.segments} segment{'s' * (fit.segments != 1)}"
        parts.append(f"{segments} of WAL to replay, {size(fit.wal_bytes)} stored")
    return ", ".join(parts)


def _to_the_end(stop: datetime | None, reach: Reach) -> str:
    if reach.latest is None:
        return f"to {reach.latest_lsn}; nothing was committed behind the backup"
    distance = f", {_distance((reach.latest - stop).total_seconds())}" if stop else ""
    return f"to its last commit, of {utc(reach.latest)}{distance}"


def _distance(seconds: float) -> str:
    """Return the distance from the point."""
    if seconds == 0:
        return "which is the point"
    side = "after the point" if seconds > 0 else "before the point"
    return f"{span(abs(seconds))} {side}" if abs(seconds) >= _TENTH else f"right {side}"


def _span(reach: Reach) -> str:
    latest = when(reach.latest, exact=True) if reach.latest else reach.latest_lsn
    return f"{when(reach.earliest, exact=True)} to {latest} on timeline {reach.timeline}"


def nearest(near: Near) -> str:
    """Return a point that can be taken instead, as one line."""
    time = f"{exact(near.time)}  " if near.time else ""
    backup = f" (backup {near.backup})" if near.backup != "auto" else ""
    return f"{near.when:<7}  {time}{near.reason}{backup}"


def _begin(backup: str) -> datetime | None:
    """Return when a backup began, by its id."""
    try:
        return datetime.strptime(backup, _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None
