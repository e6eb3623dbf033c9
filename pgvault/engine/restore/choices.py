"""What a target means before anything is planned: where recovery would stop, from which backup, and the alternatives.

The recovery wizard and `restore --choices` ask it, of the vault alone: no host is contacted. It is the choice that a
plan makes (`choose`), with a remark on every other backup and, where there is no choice, with the `nearest` targets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pgvault.config.load import Config
from pgvault.engine.progress import reading_progress
from pgvault.engine.restore.bounds import Bounds, bounds
from pgvault.engine.restore.choose import (
    Choice,
    NoChoice,
    Reading,
    candidates,
    find_choice,
    needed,
    sentence,
    timelines,
    usable,
)
from pgvault.engine.restore.nearest import Nearest, nearest
from pgvault.engine.restore.recovery_path import Archive, RecoveryPath, RecoveryPaths, archive_of
from pgvault.engine.restore.replay import replay_of, space_names
from pgvault.engine.restore.spaces import spaces_of, to_place
from pgvault.engine.restore.stop import NoStop, Stop, find_stop
from pgvault.engine.restore.stretch import Part
from pgvault.model.backup import Backup, BackupStatus
from pgvault.model.errors import Refused, WalMissing
from pgvault.model.event import Emit, discard
from pgvault.model.lsn import Lsn
from pgvault.model.restore_plan import TablespacePlace
from pgvault.model.restore_request import RestoreRequest
from pgvault.model.target import Target
from pgvault.model.times import utc
from pgvault.vault import catalog
from pgvault.vault.layout import Vault


@dataclass(frozen=True, slots=True)
class Fit:
    """Whether a backup fits the target. The reason continues a sentence that begins with the backup's name."""

    backup: str
    fits: bool
    proposed: bool
    reason: str
    segments: int | None = None
    """The number of WAL segments that recovery would read; 0 if the backup does not fit."""
    wal_bytes: int | None = None
    """Their stored size in bytes."""


@dataclass(frozen=True, slots=True)
class Choices:
    """The answer: the choice, or `reason` and the nearest targets."""

    server: str
    target: Target
    timeline: int | None
    """The timeline that was asked for."""
    backup: str | None
    """The id of the proposed backup."""
    stop: Stop | None
    followed: int | None
    """The timeline whose end the recovery path leads to, which `--target-timeline` names."""
    reason: str
    nearest: tuple[Nearest, ...]
    fits: tuple[Fit, ...]
    """Every backup of the server, newest first."""
    windows: tuple[Bounds, ...]
    spaces: tuple[TablespacePlace, ...] = ()
    """The tablespaces that need a place at the destination."""
    unread: tuple[str, ...] = ()
    """The number of segments on the recovery path that could not be read: whether they create a tablespace is not
    known.
    """


def list_choices(request: RestoreRequest, config: Config, *, emit: Emit = discard) -> Choices:
    """Return the answer. Raises NotFound if there is no such server or backup, or the vault has nothing of it yet."""
    config.server(request.server)
    server = Vault.open(config.vault.home).server(request.server)
    with archive_of(server, reading_progress(emit)) as archive:
        return Question(archive, request).answer()


class Question:
    """One request to one archive."""

    def __init__(self, archive: Archive, request: RestoreRequest) -> None:
        self._archive, self._request = archive, request
        self._paths = RecoveryPaths(archive.search(partial=request.partial))
        self._catalogue = catalog.read_all(archive.server)
        self._backups = self._catalogue.backups
        self._whole = usable(self._backups)
        self._candidates: Sequence[Backup] = []

    def answer(self) -> Choices:
        request, found = self._request, self._find()
        windows = tuple(bounds(self._paths, self._archive, self._whole))
        if isinstance(found, NoChoice):
            asked = Reading(request.target, request.timeline, request.backup, request.partial)
            offered = nearest(found, asked, self._candidates, self._whole, self._paths_with)
            return Choices(request.server, request.target, request.timeline, None, None, None, found.reason,
                           tuple(offered), tuple(self._fits(None)), windows)
        replay = replay_of(found, names=space_names(self._catalogue.backups))
        return Choices(request.server, request.target, request.timeline, found.backup.id, found.stop,
                       found.history.timeline, "", (), tuple(self._fits(found)), windows,
                       to_place(spaces_of(found.backup, replay, {})), replay.unread)

    def _find(self) -> Choice | NoChoice:
        try:
            self._candidates = candidates(self._archive.server, self._catalogue, self._request.backup)
        except Refused as error:
            return NoChoice(error, sentence(f"{error.message}: {error.detail}".rstrip(":. ")))
        return find_choice(self._paths, self._candidates, self._request.target, self._request.timeline)

    def _paths_with(self, partial: bool) -> RecoveryPaths:
        search = self._paths.search.with_unfinished() if partial else self._paths.search
        return self._paths if search is self._paths.search else RecoveryPaths(search)

    # The remark on each backup

    def _fits(self, choice: Choice | None) -> Iterator[Fit]:
        asked = [self._request.timeline] if self._request.timeline is not None else timelines(self._paths, self._whole)
        paths = [choice.path] if choice else [self._paths.to(timeline) for timeline in asked]
        chosen = needed(choice.path, choice.backup, choice.stop) if choice else None
        found = {backup.id: self._fit(backup, paths, choice, chosen) for backup in self._backups}
        unreadable = {each.id: Fit(each.id, False, False, f"cannot be read: {each.reason}")
                      for each in self._catalogue.unreadable}
        yield from (fit for _, fit in sorted((found | unreadable).items(), reverse=True))

    def _fit(self, backup: Backup, paths: Sequence[RecoveryPath], choice: Choice | None, chosen: Part | None) -> Fit:
        if backup.status is not BackupStatus.DONE:
            return _unfit(backup, _unfinished(backup))
        end = backup.end_lsn or Lsn(0)
        on = [path for path in paths if path.history.holds(backup.timeline, end)]
        if not on:
            return _unfit(backup, f"lies on another branch, timeline {backup.timeline}")
        try:
            stops = [(path, find_stop(path, backup, self._request.target)) for path in on]
        except WalMissing as error:
            return _unfit(backup, f"cannot be judged: {error.message}")
        reached = [(path, stop) for path, stop in stops if isinstance(stop, Stop)]
        if not reached:
            return _unfit(backup, "; ".join(dict.fromkeys(no.of_backup for _, no in stops if isinstance(no, NoStop))))
        if choice is None or chosen is None:
            where = " and ".join(str(path.history.timeline) for path, _ in reached)
            return Fit(backup.id, True, False, f"reaches the target on timeline {where}")
        return _fitting(backup, reached[0][1], choice, chosen)


def _fitting(backup: Backup, stop: Stop, choice: Choice, chosen: Part) -> Fit:
    need = needed(choice.path, backup, stop)
    more = need.segments - chosen.segments
    if backup.id == choice.backup.id:
        reason = f"is proposed, replays {_segments(need.segments)}"
        if backup.corrupt_pages:
            reason += f"; {_corrupt(backup)}, but no whole one fits"
    elif backup.corrupt_pages:
        reason = f"would fit too, but {_corrupt(backup)}"
    elif stop.lsn != choice.stop.lsn:
        reason = f"would stop at another place, {stop.lsn}" + (f" of {utc(stop.time)}" if stop.time else "")
    else:
        count = f", replays {_segments(abs(more))} {'more' if more > 0 else 'less'}"
        reason = f"would fit too{count if more else ''}"
    return Fit(backup.id, True, backup.id == choice.backup.id, reason, need.segments, need.stored)


def _segments(count: int) -> str:
    return f"{count} segment{'s' * (count != 1)}"


def _unfit(backup: Backup, reason: str) -> Fit:
    return Fit(backup.id, False, False, reason)


def _unfinished(backup: Backup) -> str:
    """Return the reason why a backup that is not DONE cannot be restored."""
    match backup.status:
        case BackupStatus.WAITING_FOR_WALS:
            return "waits for WAL that is not archived yet"
        case BackupStatus.STARTED:
            return "was begun and never completed"
    return "failed" + (f": {backup.error}" if backup.error else "")


def _corrupt(backup: Backup) -> str:
    count = len(backup.corrupt_pages)
    return f"the server reported corrupt pages in {count} of its files" if count > 1 else \
        f"the server reported corrupt pages in {backup.corrupt_pages[0]}"
