"""Which backup, along which timeline: chosen from the target, or refused with what is possible instead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pgvault.engine.restore.stop import Because, NoStop, Stop, find_stop, points_on, transaction_with
from pgvault.model.backup import Backup, BackupStatus
from pgvault.model.errors import Refused, WalMissing
from pgvault.model.lsn import Lsn
from pgvault.model.target import AtName, AtXid, EndOfWal, Target, describe
from pgvault.model.timeline import History
from pgvault.model.times import utc
from pgvault.vault.wal_search import WalSearch


@dataclass(frozen=True, slots=True)
class Choice:
    backup: Backup
    history: History
    """The timeline that recovery follows, with its ancestors."""
    stop: Stop


def choose(search: WalSearch, backups: Sequence[Backup], target: Target, timeline: int | None) -> Choice:
    """The newest usable backup that ends before the target, on an ancestor of the target's timeline.

    `backups` are those to choose from, oldest first. Refused when the target lies on several branches and none is
    named, or is several places on one; WalMissing when it cannot be reached.
    """
    whole = [b for b in backups if b.status is BackupStatus.DONE]
    if not whole:
        raise _none_usable(backups)
    known = sorted({*search.timelines(), *(b.timeline for b in whole)})
    if timeline is not None and timeline not in known:
        raise Refused(f"timeline {timeline} is not in the archive", detail=f"Known: {', '.join(map(str, known))}.")
    choices: list[Choice] = []
    refusals: list[NoStop] = []
    for candidate in known if timeline is None else [timeline]:
        found = _on_path(search, search.tree.history(candidate), whole, target)
        if isinstance(found, Choice):
            choices.append(found)
        else:
            refusals += found
    choices = _distinct(choices, target)
    if not choices:
        raise _unreachable(search, target, refusals, whole)
    if len(choices) > 1:
        raise _ambiguous(target, choices)
    if isinstance(target, AtName):
        _check_single(search, choices[0].history, whole, target)
    if timeline is None:
        _check_branches(search, choices[0], whole)
    return choices[0]


def _on_path(search: WalSearch, history: History, backups: Sequence[Backup], target: Target) -> Choice | list[NoStop]:
    """What to do on this path, or why nothing can be done, beginning with the newest backup's reason."""
    refusals: list[NoStop] = []
    # A backup that the server reported corrupt pages for is the last resort, whatever its age.
    for good in (True, False):
        for backup in sorted(backups, key=lambda b: (b.end_lsn or 0, b.id), reverse=True):
            if bool(backup.corrupt_pages) is good or backup.end_lsn is None:
                continue
            if not history.holds(backup.timeline, backup.end_lsn):
                continue
            stop = find_stop(search, history, backup, target)
            if isinstance(stop, Stop):
                return Choice(backup, history, stop)
            refusals.append(stop)
            if stop.because is Because.TOO_LATE:
                break
    return refusals or [NoStop(Because.UNKNOWN, f"no backup lies on the way to timeline {history.timeline}")]


def _distinct(choices: list[Choice], target: Target) -> list[Choice]:
    """One for each place: a stop before a branch is the same place on both sides of it."""
    places: dict[tuple[int, int], Choice] = {}
    for choice in choices:
        key = (choice.stop.timeline, choice.stop.lsn)
        if key not in places or choice.history.timeline == choice.stop.timeline:
            places[key] = choice
    if isinstance(target, EndOfWal):
        return [c for c in places.values() if not any(_continues(c, other) for other in places.values())]
    return list(places.values())


def _continues(one: Choice, other: Choice) -> bool:
    """Whether `other` goes on where `one` ends: then `one` is no branch of its own."""
    return any(a.timeline == one.history.timeline and one.stop.until <= a.switch for a in other.history.ancestors)


def _check_branches(search: WalSearch, choice: Choice, backups: Sequence[Backup]) -> None:
    """WAL of a timeline whose history file is missing may go on from here: to pass over it could lose what it holds."""
    next_segment = (choice.stop.until // search.size + 1) * search.size
    rooted = {1, *(b.timeline for b in backups), *(h.timeline for h in search.tree.histories)}
    for timeline, begin in search.beginnings().items():
        if timeline not in rooted and begin <= next_segment:
            raise Refused(
                f"where timeline {timeline} comes from is not known",
                detail=f"Its WAL is archived from {begin} on, its history file {timeline:08X}.history is not.",
                hint="Archive that file (pgvault put-wal), or name the timeline that is meant, as in "
                     f"--target-timeline {choice.history.timeline}")


def _none_usable(backups: Sequence[Backup]) -> Refused:
    waiting = [b.id for b in backups if b.status is BackupStatus.WAITING_FOR_WALS]
    return Refused("there is no usable backup to restore",
                   detail=f"Waiting for WAL: {', '.join(waiting)}." if waiting else "None has been completed.",
                   hint="Take one: pgvault backup SERVER")


def _unreachable(search: WalSearch, target: Target, refusals: Sequence[NoStop],
                 backups: Sequence[Backup]) -> WalMissing | Refused:
    """With what is nearest on both sides: where the WAL before it ends, and the next backup behind it."""
    message = f"the target cannot be reached: {describe(target)}"
    by = {because: list(dict.fromkeys(r.reason for r in refusals if r.because is because)) for because in Because}
    early, late = by[Because.TOO_EARLY], by[Because.TOO_LATE]
    if late or by[Because.BROKEN]:
        reasons = [*late, *by[Because.BROKEN], *early[-1:]] if late or not early else [*early, *by[Because.BROKEN]]
        return WalMissing(message, detail=_sentence("; ".join(reasons)), hint=_LATER)
    if early:
        oldest = "no older backup can be used" if len(backups) > 1 else "there is no older one"
        return Refused(message, detail=_sentence(f"{early[-1]}, and {oldest}"),
                       hint="Choose a later one; see what can be restored: pgvault wal SERVER")
    reasons = [*_elsewhere(search, target, backups), *by[Because.UNKNOWN]]
    return Refused(message, detail=_sentence("; ".join(reasons)), hint="See what can be restored: pgvault wal SERVER")


_LATER = ("Choose an earlier one, or restore to the end of the archived WAL with --target-end. "
          "If the server still runs, pgvault switch-wal brings its newest WAL.")


def _elsewhere(search: WalSearch, target: Target, backups: Sequence[Backup]) -> list[str]:
    """What the archive knows of a name or a transaction that recovery does not stop at."""
    if isinstance(target, AtName):
        if points := search.restore_points(target.name):
            return [f"there is one at {point.lsn} on timeline {point.timeline}" for point in points[-3:]]
        names = [repr(name) for name in search.restore_point_names()]
        return [f"the newest names in the archive are {', '.join(names[-10:])}" if names
                else "the archive has no restore points"]
    if isinstance(target, AtXid):
        oldest = backups[0]
        for timeline in search.timelines():
            history = search.tree.history(timeline)
            if xid := transaction_with(search, history, oldest.begin_lsn or Lsn(0), target.xid):
                return [f"{target.xid} is a subtransaction of transaction {xid}, which is the one to name"]
    return []


def _check_single(search: WalSearch, history: History, backups: Sequence[Backup], target: AtName) -> None:
    """One name may have been given to several restore points: which is meant is not for us to say."""
    end = min(b.end_lsn or Lsn(0) for b in backups if history.holds(b.timeline, b.end_lsn or Lsn(0)))
    points = [point for _, point in points_on(search, history, end, target.name)]
    if len(points) > 1:
        places = "; ".join(f"{point.lsn} of {utc(point.time)}" for point in points)
        raise Refused(f"there are {len(points)} restore points named {target.name!r}", detail=_sentence(places),
                      hint=f"Name one by its position, as in --target-lsn {points[-1].lsn}")


def _ambiguous(target: Target, choices: Sequence[Choice]) -> Refused:
    readings = "; ".join(
        f"on timeline {c.history.timeline} it is {c.stop.lsn}" + (f" of {utc(c.stop.time)}" if c.stop.time else "")
        for c in choices)
    return Refused(f"the target is on more than one timeline: {describe(target)}", detail=_sentence(readings),
                   hint="Name one: --target-timeline " + " or ".join(str(c.history.timeline) for c in choices))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."
