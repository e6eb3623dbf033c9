"""What can be reached in place of a target that cannot, before it and after it.

Every target that is offered was itself looked up, so that choosing it leads to a plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from pgvault.engine.restore.choose import NoChoice, Reading, find_choice
from pgvault.engine.restore.recovery_path import RecoveryPaths
from pgvault.engine.restore.stop import NoStop, NoStopCause, Stop
from pgvault.model.backup import Backup
from pgvault.model.lsn import Lsn
from pgvault.model.target import AtLsn, AtTime, Immediate, Target, describe


class When(Enum):
    """Whether a nearest target is before or after the one that was asked for."""

    AT = "at"
    """The same target, made unambiguous and reachable."""
    EARLIER = "earlier"
    LATER = "later"


@dataclass(frozen=True, slots=True)
class Nearest:
    """A target that can be reached in place of one that cannot."""

    when: When
    reading: Reading
    stop: Stop

    @property
    def text(self) -> str:
        is_end = isinstance(self.reading.target, Immediate) and self.reading.backup
        return f"the end of backup {self.reading.backup}" if is_end else describe(self.reading.target)


def nearest(found: NoChoice, asked: Reading, candidates: Sequence[Backup], whole: Sequence[Backup],
            paths: Callable[[bool], RecoveryPaths]) -> list[Nearest]:
    """Return the target itself, then what is earlier and what is later, the nearest first.

    `candidates` are the backups that were asked for, `whole` all usable ones, oldest first; `paths` returns the paths
    with or without the unfinished segments.
    """
    places: dict[tuple[When, int, Lsn], Nearest] = {}  # of a place on several paths, the first one found
    for when, readings in _offers(found, asked, whole):
        looked_up = (_looked_up(when, reading, candidates, whole, paths(asked.partial or reading.partial))
                     for reading in readings)
        if place := next((each for each in looked_up if each and _is_on_its_side(each, asked.target)), None):
            places.setdefault((when, place.stop.timeline, place.stop.lsn), place)
    return _in_order(list(places.values()))


def _offers(found: NoChoice, asked: Reading, whole: Sequence[Backup]) -> Iterator[tuple[When, Sequence[Reading]]]:
    """Yield offers by preference: the first of each kind that can be reached counts."""
    for reading in found.readings:
        yield When.AT, [reading]
    if isinstance(asked.target, Immediate):
        yield When.EARLIER, [Reading(asked.target, asked.timeline, backup.id, reason="the newest one to be restored")
                             for backup in reversed(whole)]
    elif asked.backup != "auto":
        yield When.AT, [Reading(asked.target, asked.timeline, "auto", reason="from another backup")]
    if not asked.partial:
        yield When.AT, [Reading(asked.target, asked.timeline, partial=True,
                                reason="with the unfinished last segment, which is used only when asked for")]
    refused: dict[tuple[NoStopCause, int], list[NoStop]] = {}
    for each in found.refusals:
        refused.setdefault((each.cause, each.timeline), []).append(each)
    for (cause, timeline), refusals in refused.items():
        if cause is NoStopCause.TOO_LATE:
            yield When.EARLIER, list(_before(refusals[0], timeline))
        elif cause is NoStopCause.TOO_EARLY:
            oldest = min((no.backup for no in refusals if no.backup), key=lambda b: b.end_lsn or Lsn(0))
            yield When.LATER, [Reading(Immediate(), timeline, oldest.id, reason="the first backup's end behind it")]


def _before(refusal: NoStop, timeline: int) -> Iterator[Reading]:
    """Return the last commit that can be replayed or, if none followed the backup, the backup's end."""
    if refusal.last:
        yield Reading(AtTime(refusal.last), timeline,
                      reason=f"the last commit that can be reached on timeline {timeline}")
    if refusal.backup:
        yield Reading(Immediate(), timeline, refusal.backup.id,
                      reason="the backup's end: nothing was committed behind it")


def _looked_up(when: When, reading: Reading, candidates: Sequence[Backup], whole: Sequence[Backup],
               paths: RecoveryPaths) -> Nearest | None:
    backups = [b for b in whole if reading.backup in ("auto", b.id)] if reading.backup else candidates
    found = find_choice(paths, backups, reading.target, reading.timeline)
    if isinstance(found, NoChoice):
        return None
    backup = found.backup.id if reading.backup == "auto" else reading.backup
    return Nearest(when, Reading(reading.target, found.history.timeline, backup, reading.partial, reading.reason),
                   found.stop)


def _is_on_its_side(place: Nearest, asked: Target) -> bool:
    """Return whether the place is on that side. Times alone do not show it if the clock was put back."""
    is_earlier = place.when is When.EARLIER
    if place.when is When.AT:
        return True
    if isinstance(asked, AtLsn):
        return (place.stop.lsn <= asked.lsn) is is_earlier
    return not isinstance(asked, AtTime) or place.stop.time is None or (place.stop.time <= asked.time) is is_earlier


def _in_order(places: Sequence[Nearest]) -> list[Nearest]:
    def nearness(each: Nearest) -> float:
        return each.stop.time.timestamp() if each.stop.time else 0.0

    return [*(p for p in places if p.when is When.AT),
            *sorted((p for p in places if p.when is When.EARLIER), key=nearness, reverse=True),
            *sorted((p for p in places if p.when is When.LATER), key=nearness)]
