"""Pictures of WAL without a vault, for what draws them."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from shelf import SIZE, made_backup

from pgvault.model.backup import Backup
from pgvault.model.lsn import Lsn
from pgvault.model.timeline import Ancestor, History, TimelineTree
from pgvault.model.wal_picture import NOT_KNOWN, Lane, RestorePoint, WalPicture
from pgvault.model.window import Archived, survey

SECOND = 1_000_000
EPOCH = 1_793_534_400 * SECOND
"""1 November 2026, 12:00 UTC, from which the seconds of these pictures count."""


class Part(NamedTuple):
    """A segment: commits between two seconds, or none, or not read."""

    number: int
    commits: int = NOT_KNOWN
    earliest: float | None = None
    latest: float | None = None
    accepted: float = 0.0


def us(seconds: float) -> int:
    return EPOCH + round(seconds * SECOND)


def backup(seconds: float, segment: int, *, timeline: int = 1, **facts: object) -> Backup:
    return made_backup(datetime.fromtimestamp(EPOCH / SECOND + seconds - 60, UTC), segment=segment, timeline=timeline,
                       **facts)


def point(name: str, seconds: float, segment: int, *, timeline: int = 1) -> RestorePoint:
    lsn = segment * SIZE + 1000
    return RestorePoint(name, timeline, segment, Lsn(lsn), Lsn(lsn + 100), us(seconds))


def branch(timeline: int, parent: int, segment: int) -> History:
    """It left its parent in the middle of a segment."""
    return History(timeline, (Ancestor(parent, Lsn(segment * SIZE + SIZE // 2), "no recovery target specified"),))


def picture(lanes: Mapping[int, Iterable[Part]], backups: Sequence[Backup] = (), *,
            points: Sequence[RestorePoint] = (), histories: Sequence[History] = (), read_at: float = 0) -> WalPicture:
    made = {timeline: list(parts) for timeline, parts in sorted(lanes.items())}
    tree = TimelineTree(tuple(histories))
    archived = [Archived(timeline, each.number, _known(each.earliest), _known(each.latest))
                for timeline, parts in made.items() for each in parts]
    return WalPicture(
        "main", SIZE, survey(archived, tree, backups, SIZE), tree,
        tuple(_lane(timeline, parts) for timeline, parts in made.items()), tuple(points), tuple(backups),
        sum(each.commits == NOT_KNOWN for parts in made.values() for each in parts),
        datetime.fromtimestamp(EPOCH / SECOND + read_at, UTC))


def steady(first: int, last: int, *, seconds: float = 60, begin: float = 0, commits: int = 10) -> list[Part]:
    """Segments without a gap, one every so many seconds."""
    return [Part(number, commits, begin + (number - first) * seconds + 1, begin + (number - first + 1) * seconds - 1,
                 begin + (number - first + 1) * seconds) for number in range(first, last + 1)]


def _known(seconds: float | None) -> int | None:
    return None if seconds is None else us(seconds)


def _lane(timeline: int, parts: list[Part]) -> Lane:
    def values(each: Iterable[int]) -> array[int]:
        return array("q", each)

    def time(seconds: float | None) -> int:
        return NOT_KNOWN if seconds is None else us(seconds)

    return Lane(timeline, values(p.number for p in parts), values(time(p.earliest) for p in parts),
                values(time(p.latest) for p in parts), values(us(p.accepted) if p.accepted else 0 for p in parts),
                values(p.commits for p in parts))
