"""Which backup, along which timeline: chosen from the target, or refused with what is possible instead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pgvault.engine.restore.stop import NoStop, Stop, find_stop
from pgvault.model.backup import Backup, BackupStatus
from pgvault.model.errors import Refused, WalMissing
from pgvault.model.target import EndOfWal, Target, describe
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
    named; WalMissing when it cannot be reached.
    """
    whole = [b for b in backups if b.status is BackupStatus.DONE]
    if not whole:
        raise _none_usable(backups)
    known = sorted({*search.timelines(), *(b.timeline for b in whole)})
    if timeline is not None and timeline not in known:
        raise Refused(f"timeline {timeline} is not in the archive", detail=f"Known: {', '.join(map(str, known))}.")
    choices, refusals = [], []
    for candidate in known if timeline is None else [timeline]:
        found = _on_path(search, search.tree.history(candidate), whole, target)
        if isinstance(found, Choice):
            choices.append(found)
        else:
            refusals.append(found)
    choices = _distinct(choices, target)
    if not choices:
        raise _unreachable(target, refusals, whole)
    if len(choices) > 1:
        raise _ambiguous(target, choices)
    return choices[0]


def _on_path(search: WalSearch, history: History, backups: Sequence[Backup], target: Target) -> Choice | NoStop:
    refusal = NoStop(f"no backup lies on the way to timeline {history.timeline}")
    # A backup that the server reported corrupt pages for is the last resort, whatever its age.
    for backup in sorted(backups, key=lambda b: (not b.corrupt_pages, b.end_lsn or 0, b.id), reverse=True):
        if backup.end_lsn is None or not history.holds(backup.timeline, backup.end_lsn):
            continue
        stop = find_stop(search, history, backup, target)
        if isinstance(stop, Stop):
            return Choice(backup, history, stop)
        refusal = stop
        if not stop.too_early:
            break
    return refusal


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


def _none_usable(backups: Sequence[Backup]) -> Refused:
    waiting = [b.id for b in backups if b.status is BackupStatus.WAITING_FOR_WALS]
    return Refused("there is no usable backup to restore",
                   detail=f"Waiting for WAL: {', '.join(waiting)}." if waiting else "None has been completed.",
                   hint="Take one: pgvault backup SERVER")


def _unreachable(target: Target, refusals: Sequence[NoStop], backups: Sequence[Backup]) -> WalMissing | Refused:
    reasons = "; ".join(dict.fromkeys(r.reason for r in refusals))
    first = next((b for b in backups if b.finished_at), None)
    if all(r.too_early for r in refusals):
        earliest = f" The earliest instant is {utc(first.finished_at)}." if first and first.finished_at else ""
        return Refused(f"the target cannot be reached: {describe(target)}", detail=f"{_sentence(reasons)}{earliest}",
                       hint="See what can be restored: pgvault wal SERVER")
    return WalMissing(f"the target cannot be reached: {describe(target)}", detail=_sentence(reasons),
                      hint="Choose an earlier one, or restore to the end of the archived WAL with --target-end. "
                           "If the server still runs, pgvault switch-wal brings its newest WAL.")


def _ambiguous(target: Target, choices: Sequence[Choice]) -> Refused:
    readings = "; ".join(
        f"on timeline {c.history.timeline} it is {c.stop.lsn}" + (f" of {utc(c.stop.time)}" if c.stop.time else "")
        for c in choices)
    return Refused(f"the target is on more than one timeline: {describe(target)}", detail=_sentence(readings),
                   hint="Name one: --target-timeline " + " or ".join(str(c.history.timeline) for c in choices))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."
