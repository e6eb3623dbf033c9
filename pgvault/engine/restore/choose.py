"""Chooses backup and timeline for a target, or refuses with what is possible instead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pgvault.engine.restore.recovery_path import RecoveryPath, RecoveryPaths
from pgvault.engine.restore.stop import NoStop, NoStopCause, Stop, find_stop
from pgvault.engine.restore.stretch import Part
from pgvault.model.backup import Backup, BackupStatus
from pgvault.model.errors import Refused, WalMissing
from pgvault.model.lsn import Lsn
from pgvault.model.target import AtLsn, AtName, AtTime, AtXid, EndOfWal, Target, describe
from pgvault.model.timeline import History
from pgvault.model.times import utc
from pgvault.vault import catalog
from pgvault.vault.layout import ServerVault
from pgvault.vault.wal_facts import microseconds
from pgvault.vault.wal_search import WalSearch


@dataclass(frozen=True, slots=True)
class Choice:
    backup: Backup
    path: RecoveryPath
    stop: Stop

    @property
    def history(self) -> History:
        """Return the timeline that recovery follows, with its ancestors."""
        return self.path.history


@dataclass(frozen=True, slots=True)
class Reading:
    """A target made unambiguous."""

    target: Target
    timeline: int | None = None
    backup: str = ""
    """A backup's id, if no other one will do."""
    partial: bool = False
    """True if the unfinished last segment is needed."""
    reason: str = ""
    """Why it is offered in place of another one."""


@dataclass(frozen=True, slots=True)
class NoChoice:
    """Why no backup is chosen."""

    error: Refused | WalMissing
    reason: str
    """The reason, in one sentence."""
    readings: tuple[Reading, ...] = ()
    """What may be meant, if the target names several places."""
    refusals: tuple[NoStop, ...] = ()


def choose(search: WalSearch, backups: Sequence[Backup], target: Target, timeline: int | None) -> Choice:
    """Return the newest usable backup that ends before the target, on an ancestor of the target's timeline.

    `backups` are the candidates, oldest first. Raises Refused if the target is on several branches and none is named,
    or has several positions on one; WalMissing if it cannot be reached.
    """
    found = find_choice(RecoveryPaths(search), backups, target, timeline)
    if isinstance(found, NoChoice):
        raise found.error
    return found


def find_choice(paths: RecoveryPaths, backups: Sequence[Backup], target: Target,
                timeline: int | None) -> Choice | NoChoice:
    """Do the same as `choose`, but return the refusal."""
    whole = usable(backups)
    if not whole:
        return _none_usable(backups)
    known = timelines(paths, whole)
    if timeline is not None and timeline not in known:
        return _refused(f"timeline {timeline} is not in the archive",
                        detail=f"Known: {', '.join(map(str, known))}.")
    try:
        found = [_on(paths.to(each), whole, target) for each in (known if timeline is None else [timeline])]
    except WalMissing as error:
        return NoChoice(error, sentence(f"{error.message}: {error.detail}".rstrip(".")))
    choices = _distinct([each for each in found if isinstance(each, Choice)], target)
    if not choices:
        return _unreachable(paths, target, [no for each in found if not isinstance(each, Choice) for no in each], whole)
    if len(choices) > 1:
        return _ambiguous(target, choices)
    return _several_points(choices[0], whole, target) or (
        _unknown_branch(paths.search, choices[0], whole, target) if timeline is None else None) or choices[0]


def candidates(server: ServerVault, found: catalog.Found, wanted: str) -> Sequence[Backup]:
    """Return the backups to choose from: all that were found, or the named one. Raises NotFound, or Refused if none is
    usable.
    """
    if wanted == "auto":
        if found.unreadable and not usable(found.backups):
            raise Refused("there is no usable backup to restore", detail=catalog.listed(found.unreadable),
                          hint=found.unreadable[-1].fix)
        return found.backups
    named = catalog.find(server, wanted)
    if named.status is not BackupStatus.DONE:
        raise Refused(f"backup {named.id} is {named.status.value}, it cannot be restored",
                      detail=named.error, hint=f"See the others: pgvault list-backups {server.name}")
    return [named]


def needed(path: RecoveryPath, backup: Backup, stop: Stop) -> Part:
    """Return the WAL from the backup's start to the end of the record at which recovery stops."""
    wal = path.wal_from(backup.begin_lsn or Lsn(0))
    assert wal is not None, "there is a stop"
    return wal.up_to(stop.until, path.size)


def usable(backups: Sequence[Backup]) -> list[Backup]:
    return [b for b in backups if b.status is BackupStatus.DONE]


def timelines(paths: RecoveryPaths, backups: Sequence[Backup]) -> list[int]:
    """Return the timelines that recovery could follow."""
    return sorted({*paths.search.timelines(), *(b.timeline for b in backups)})


def _on(path: RecoveryPath, backups: Sequence[Backup], target: Target) -> Choice | list[NoStop]:
    """Return the choice on this path, or why there is none, the newest backup's reason first."""
    refusals: list[NoStop] = []
    is_late = False
    on_way = [b for b in sorted(backups, key=lambda b: (b.end_lsn or 0, b.id), reverse=True)
              if b.end_lsn is not None and path.history.holds(b.timeline, b.end_lsn)]
    # A backup with reported corrupt pages is the last resort, whatever its age.
    for group in ([b for b in on_way if not b.corrupt_pages], [b for b in on_way if b.corrupt_pages]):
        last: int | None = None  # not known before one is too late
        for place, backup in enumerate(group):
            stop = find_stop(path, backup, target)
            if isinstance(stop, Stop):
                return Choice(backup, path, stop)
            if not is_late:
                refusals.append(stop)
            if stop.cause is NoStopCause.TOO_LATE:
                is_late = True
                last = _last_later_before(path, group, target) if last is None else last
                if place > last:
                    break
    timeline = path.history.timeline
    return refusals or [NoStop(NoStopCause.UNKNOWN, f"no backup lies on the path to timeline {timeline}",
                               timeline=timeline)]


def _last_later_before(path: RecoveryPath, backups: Sequence[Backup], target: Target) -> int:
    """Return the index of the last backup that follows, in the WAL, a backup's end or a commit at the target's time or
    later: a clock was put back. -1 if there is none.
    """
    if not isinstance(target, AtTime):
        return -1
    moment = microseconds(target.time)
    for place in reversed(range(len(backups) - 1)):
        newer, older = backups[place:place + 2]
        wal = path.wal_from(older.begin_lsn or Lsn(0))
        met = next(wal.late(moment), None) if wal else None
        ended_later = older.end_time is not None and older.end_time >= target.time
        if ended_later or (wal and met is not None and met <= wal.place((newer.begin_lsn or Lsn(0)) // path.size)):
            return place
    return -1


def _distinct(choices: list[Choice], target: Target) -> list[Choice]:
    """Return one choice for each position: a stop before a branch point is the same position on both branches."""
    places: dict[tuple[int, int], Choice] = {}
    for choice in choices:
        key = (choice.stop.timeline, choice.stop.lsn)
        if key not in places or choice.history.timeline == choice.stop.timeline:
            places[key] = choice
    if isinstance(target, EndOfWal):
        return [c for c in places.values() if not any(_continues(c, other) for other in places.values())]
    return list(places.values())


def _continues(one: Choice, other: Choice) -> bool:
    """Return whether `other` continues where `one` ends, so that `one` is no branch of its own."""
    return any(a.timeline == one.history.timeline and one.stop.until <= a.switch for a in other.history.ancestors)


def _unknown_branch(search: WalSearch, choice: Choice, backups: Sequence[Backup], target: Target) -> NoChoice | None:
    """Refuse if WAL of a timeline without a history file may continue from here: ignoring it could lose data."""
    next_segment = (choice.stop.until // search.size + 1) * search.size
    rooted = {1, *(b.timeline for b in backups), *(h.timeline for h in search.tree.histories)}
    for timeline, begin in search.beginnings().items():
        if timeline not in rooted and begin <= next_segment:
            meant = choice.history.timeline
            return _refused(
                f"where timeline {timeline} comes from is not known",
                Reading(target, meant, reason=f"leaves out what timeline {timeline} holds"),
                detail=f"Its WAL is archived from {begin} on, its history file {timeline:08X}.history is not.",
                hint="Archive that file (pgvault put-wal), or name the timeline that is meant, as in "
                     f"--target-timeline {meant}")
    return None


def _none_usable(backups: Sequence[Backup]) -> NoChoice:
    waiting = [b.id for b in backups if b.status is BackupStatus.WAITING_FOR_WALS]
    return _refused("there is no usable backup to restore",
                    detail=f"Waiting for WAL: {', '.join(waiting)}." if waiting else "None has been completed.",
                    hint="Take one: pgvault backup SERVER")


def _unreachable(paths: RecoveryPaths, target: Target, refusals: Sequence[NoStop],
                 backups: Sequence[Backup]) -> NoChoice:
    """Return the refusal with the nearest places on both sides: where the WAL before the target ends, and the next
    backup after it.
    """
    readings: list[Reading] = []
    by = {cause: list(dict.fromkeys(r.reason for r in _of_ends(refusals) if r.cause is cause)) for cause in NoStopCause}
    early, late = by[NoStopCause.TOO_EARLY], by[NoStopCause.TOO_LATE]
    hint = "See what can be restored: pgvault wal SERVER"
    if late or by[NoStopCause.BROKEN]:
        broken = by[NoStopCause.BROKEN]
        reasons = [*late, *broken, *early[-1:]] if late or not early else [*early, *broken]
        hint = _LATER
    elif early:
        oldest = "no older backup can be used" if len(backups) > 1 else "there is no older one"
        reasons, hint = [f"{early[-1]}, and {oldest}"], f"Choose a later one; {hint[0].lower()}{hint[1:]}"
    else:
        reasons, readings = _elsewhere(paths, target, backups)
        reasons += by[NoStopCause.UNKNOWN]
    reason = sentence("; ".join(reasons))
    return NoChoice(WalMissing(f"the target cannot be reached: {describe(target)}", detail=reason, hint=hint), reason,
                    tuple(readings), tuple(refusals))


def _of_ends(refusals: Sequence[NoStop]) -> Iterator[NoStop]:
    """Yield, for each timeline and cause with more than a few backups, only the newest and the oldest: there may be ten
    thousand.
    """
    by: dict[tuple[int, NoStopCause], list[NoStop]] = {}
    for each in refusals:
        by.setdefault((each.timeline, each.cause), []).append(each)
    return (each for same in by.values() for each in (same if len(same) <= _FEW else (same[0], same[-1])))


_FEW = 3
_LATER = ("Choose an earlier one, or restore to the end of the archived WAL with --target-end. "
          "If the server still runs, pgvault switch-wal brings its newest WAL.")


def _elsewhere(paths: RecoveryPaths, target: Target, backups: Sequence[Backup]) -> tuple[list[str], list[Reading]]:
    """Return what the archive has of a name or a transaction at which recovery does not stop."""
    search = paths.search
    if isinstance(target, AtName):
        if points := search.restore_points(target.name)[-3:]:
            return ([f"there is one at {point.lsn} on timeline {point.timeline}" for point in points],
                    [Reading(target, point.timeline, reason=f"on timeline {point.timeline}") for point in points])
        names = [repr(name) for name in search.restore_point_names()]
        return [f"the newest names in the archive are {', '.join(names[-10:])}" if names
                else "no restore point is known"], []
    if isinstance(target, AtXid):
        begin = backups[0].begin_lsn or Lsn(0)
        for timeline in search.timelines():
            if xid := paths.to(timeline).transaction_with(begin, target.xid):
                return ([f"{target.xid} is a subtransaction of transaction {xid}, which is the one to name"],
                        [Reading(AtXid(xid, target.inclusive), timeline,
                                 reason="the transaction that it is a part of")])
    return [], []


def _several_points(choice: Choice, backups: Sequence[Backup], target: Target) -> NoChoice | None:
    """Refuse a name that several restore points have, since the intended one cannot be guessed."""
    if not isinstance(target, AtName):
        return None
    path = choice.path
    ends = [end for b in backups if (end := b.end_lsn) is not None and path.history.holds(b.timeline, end)]
    first = {wal.run: end for end in sorted(ends, reverse=True) if (wal := path.wal_from(end))}
    points = sorted({point for end in first.values() for point in path.points(end, target.name)},
                    key=lambda point: point.lsn)
    if len(points) < 2:
        return None
    return _refused(f"there are {len(points)} restore points named {target.name!r}",
                    *(Reading(AtLsn(point.lsn), path.history.timeline, reason=f"the one of {utc(point.time)}")
                      for point in points),
                    detail=sentence("; ".join(f"{point.lsn} of {utc(point.time)}" for point in points)),
                    hint=f"Name one by its position, as in --target-lsn {points[-1].lsn}")


def _ambiguous(target: Target, choices: Sequence[Choice]) -> NoChoice:
    readings = "; ".join(
        f"on timeline {c.history.timeline} it is {c.stop.lsn}" + (f" of {utc(c.stop.time)}" if c.stop.time else "")
        for c in choices)
    return _refused(f"the target is on more than one timeline: {describe(target)}",
                    *(Reading(target, c.history.timeline, reason=f"on timeline {c.history.timeline}") for c in choices),
                    detail=sentence(readings),
                    hint="Name one: --target-timeline " + " or ".join(str(c.history.timeline) for c in choices))


def _refused(message: str, *readings: Reading, detail: str, hint: str = "") -> NoChoice:
    return NoChoice(Refused(message, detail=detail, hint=hint), sentence(message), readings)


def sentence(text: str) -> str:
    """Return the text as a sentence."""
    return text[:1].upper() + text[1:] + "."
