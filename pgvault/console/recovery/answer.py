"""The answer of `pgvault restore --choices`: where recovery stops, from which backup, what else fits, and the nearest
points.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pgvault.console.recovery.draft import Point, point_of
from pgvault.model.target import AtTime


@dataclass(frozen=True, slots=True)
class Fit:
    """Whether a backup fits; the reason continues a sentence that begins with the backup's name."""

    backup: str
    fits: bool
    proposed: bool
    reason: str
    segments: int | None
    wal_bytes: int | None


@dataclass(frozen=True, slots=True)
class Near:
    """A point that can be reached in place of the one that was asked for."""

    when: str
    """One of at, earlier or later."""
    time: datetime | None
    reason: str
    point: Point
    backup: str
    """The backup's id, or `auto` where any will do."""


@dataclass(frozen=True, slots=True)
class Reach:
    """A span of this timeline in which every instant can be restored."""

    timeline: int
    earliest: datetime | None
    latest: datetime | None
    """The time of the last commit; None when nothing was committed after the first backup."""
    latest_lsn: str


@dataclass(frozen=True, slots=True)
class Stop:
    lsn: str
    replayed: bool
    """Whether the record at the stop is still replayed."""
    time: datetime | None
    timeline: int


@dataclass(frozen=True, slots=True)
class Space:
    """A tablespace that needs a place at the destination."""

    name: str
    original: str
    is_new: bool
    """True if it was created after the backup began."""


@dataclass(frozen=True, slots=True)
class Answer:
    stop: Stop | None
    """Where recovery stops; None if the point cannot be reached: see `reason` and `nearest`."""
    reason: str
    backup: str
    """The id of the proposed backup."""
    timeline: int | None
    nearest: tuple[Near, ...]
    fits: tuple[Fit, ...]
    """All backups, newest first."""
    reaches: tuple[Reach, ...]
    spaces: tuple[Space, ...] = ()
    unread: tuple[str, ...] = ()
    """The number of WAL segments on the recovery path that could not be read."""

    @property
    def reachable(self) -> bool:
        return self.stop is not None

    @property
    def proposed(self) -> Fit | None:
        return next((fit for fit in self.fits if fit.backup == self.backup), None)

    @property
    def reach(self) -> Reach | None:
        """Return the bounds of the timeline that recovery follows."""
        return next((each for each in self.reaches if each.timeline == self.timeline), None)


def answer_of(document: Mapping[str, Any]) -> Answer:
    """Parse the answer from its JSON document."""
    stop = document["stop"]
    return Answer(
        stop=Stop(stop["lsn"], stop["replayed"], moment(stop["time"]), stop["timeline"]) if stop else None,
        reason=document["reason"] or "", backup=document["backup"] or "", timeline=document["timeline"],
        nearest=tuple(_near(each) for each in document["nearest"]),
        fits=tuple(Fit(each["id"], each["fits"], each["proposed"], each["reason"], each["segments"],
                       each["wal_bytes"]) for each in document["backups"]),
        reaches=tuple(Reach(each["timeline"], moment(each["earliest"]["time"]), moment(each["latest"]["time"]),
                            each["latest"]["lsn"]) for each in document["windows"]),
        spaces=tuple(Space(each["name"], each["original"], each["created_after_backup_began"])
                     for each in document["tablespaces"]),
        unread=tuple(document["unread_wal"]))


def _near(each: Mapping[str, Any]) -> Near:
    return Near(each["when"], moment(each["time"]), each["reason"], point_of(each["options"], each["text"]),
                each["backup"] or "auto")


def moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def place_of(point: Point | None, answer: Answer) -> tuple[int, datetime | None]:
    """Return the point's place on the timeline strip, or where it would be: in a gap, or after the archive's end."""
    if answer.stop:
        return answer.stop.timeline, answer.stop.time or (point.time if point else None)
    timeline = answer.reaches[-1].timeline if answer.reaches else 1
    return timeline, point.target.time if point and isinstance(point.target, AtTime) else None
