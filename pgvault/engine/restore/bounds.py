"""The bounds of what can be restored: the ends of each recovery window, for a person to choose between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from pgvault.engine.restore.recovery_path import Archive, RecoveryPath, RecoveryPaths
from pgvault.model.backup import Backup
from pgvault.model.lsn import Lsn
from pgvault.model.window import Window, instant, windows_of
from pgvault.vault.wal_parted import latest_between


@dataclass(frozen=True, slots=True)
class Bound:
    time: datetime | None
    lsn: Lsn
    timeline: int
    """The timeline on which it lies: at the beginning of a window it may be an ancestor."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """A span in which every instant can be restored on `timeline`."""

    timeline: int
    earliest: Bound
    """The end of the window's oldest backup."""
    latest: Bound
    """The end of the WAL that follows without a gap, with the time of the last commit; None if nothing was committed.
    """
    backups: tuple[str, ...]
    """The backups' ids, oldest first."""


def bounds(paths: RecoveryPaths, archive: Archive, backups: Sequence[Backup]) -> Iterator[Bounds]:
    """Yield the bounds of every window that these backups open, including the unfinished segment after it if that is
    used.
    """
    begins = {backup.id: backup.begin_lsn or Lsn(0) for backup in backups}
    search = paths.search
    for window in windows_of(search.runs, search.beginnings(), search.tree, backups, search.size,
                             latest_between(archive.server)):
        path = paths.to(window.timeline)
        earliest = Bound(window.from_time, window.from_lsn, path.timeline_at(window.from_lsn))
        yield Bounds(window.timeline, earliest, _latest(path, window, begins[window.backups[0]]), window.backups)


def _latest(path: RecoveryPath, window: Window, begin: Lsn) -> Bound:
    wal = path.wal_from(begin)
    last = wal.last if wal else None
    if last is None or not last.unfinished:
        return Bound(window.until_time, window.until_lsn, path.timeline_at(window.until_lsn))
    times = [time for time in (window.from_time, instant(last.latest), window.until_time) if time]
    latest = max(times, default=None)
    return Bound(None if latest == window.from_time else latest, last.reach, path.timeline_at(last.end))
