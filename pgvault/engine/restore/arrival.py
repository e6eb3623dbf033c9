"""Whether a restored server has reached its target: pure rules on what was observed of it.

Positions decide, not words: "paused" is an arrival only at the target, since PostgreSQL also pauses where a setting is
too small or where someone asks for it, and promotes where its WAL ends. What cannot be observed is never an arrival.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from pgvault.engine.restore.observation import Observation, position
from pgvault.model.lsn import Lsn
from pgvault.model.restore_plan import RestorePlan
from pgvault.model.target import EndOfWal, Immediate, TargetAction

PROMOTED, PAUSED, SHUT_DOWN, FOLLOWING = "promoted", "paused", "shut down", "following"

_PAGE, _PAGE_HEADER = 8192, 40
"""The sizes of a page and of its header: a record that ends at the end of a page is followed by one after the next
page's header, which is no further WAL.
"""
_LIMITS = MappingProxyType({
    "max_connections": "max_connections setting", "max_worker_processes": "max_worker_processes setting",
    "max_wal_senders": "max_wal_senders setting", "max_prepared_transactions": "max_prepared_xacts setting",
    "max_locks_per_transaction": "max_locks_per_xact setting"})
"""The settings that a hot standby needs at least as large as the WAL's, each with pg_controldata's name for the WAL's
value.
"""
_TOO_SMALL = re.compile(rf"({'|'.join(_LIMITS)})\b\D*(\d+)\D+(\d+)")
"""PostgreSQL's report of it in any language: the name, the value here, the value in the WAL."""
_STOPPED = re.compile(r"recovery stopping|pausing at the end of recovery")
_RESUME = "pg_wal_replay_resume()"
"""The function that resumes a paused server; the log names it when the server pauses, in any language."""
_QUOTED = re.compile(r"[\"'»«„“”‘’「]\s?([0-9A-F]{1,8}/[0-9A-F]{1,8})\b")
"""A target's position, which every language quotes in its own manner; other positions are not quoted."""


@dataclass(frozen=True, slots=True)
class Goal:
    """The place to which the plan sends the server."""

    action: TargetAction = TargetAction.PROMOTE
    standby: bool = False
    stop: Lsn | None = None
    """The position of the record at which replay stops, or the end of the last one; None if it is not known."""
    replayed: bool = False
    """True if that record is the last one that is replayed."""
    ends: bool = False
    """True if `stop` is the end of all WAL or of the backup, so that reaching it is enough."""
    is_immediate: bool = False

    @property
    def never_pauses(self) -> bool:
        """True if the server does not pause by itself, unless a setting is too small."""
        return self.standby or self.action is not TargetAction.PAUSE

    @classmethod
    def of(cls, plan: RestorePlan) -> Goal:
        point = plan.point
        return cls(point.action, point.standby, point.stop_lsn, point.stop_replayed,
                   isinstance(point.target, EndOfWal | Immediate), isinstance(point.target, Immediate))

    def is_reached_at(self, replayed_to: Lsn) -> bool:
        """Return whether the target is reached; `replayed_to` is the end of the last replayed record."""
        if self.stop is None:
            return True
        if self.replayed and not self.ends:
            return replayed_to > self.stop
        return _boundary(replayed_to) >= _boundary(self.stop)


def _boundary(lsn: Lsn) -> int:
    """Return the same number for a position at the end of a page and for the one after the next page's header."""
    return lsn - lsn % _PAGE if lsn % _PAGE <= _PAGE_HEADER else lsn


@dataclass(frozen=True, slots=True)
class Report:
    """The server's report about itself, by SQL."""

    in_recovery: bool
    lsn: Lsn | None = None
    """The end of the last replayed record."""
    last_commit: datetime | None = None
    paused: bool = False
    asked_to_pause: bool = False
    """True if it is to pause before the next record, which it has not reached."""
    timeline: int | None = None
    """The timeline that it writes; None in recovery."""
    lag_bytes: int | None = None
    """How many bytes that the original server has sent are not replayed yet; None while it sends nothing."""
    lag_seconds: float | None = None
    limits: Mapping[str, int] = field(default_factory=dict)
    """The settings of `_LIMITS`, with their values."""


@dataclass(frozen=True, slots=True)
class Arrived:
    state: str
    """One of promoted, paused, shut down, following."""
    lsn: Lsn | None = None
    timeline: int | None = None


@dataclass(frozen=True, slots=True)
class Astray:
    """The server stopped elsewhere than it was asked to."""

    state: str
    lsn: Lsn | None = None
    reason: str = ""
    """Why it paused, where that is known."""
    step: str = ""
    """The command that resumes it."""


def assess_arrival(goal: Goal, observation: Observation, report: Report | None, *,
                   refused: bool) -> Arrived | Astray | None:
    """Return the verdict; None while the server is on its way, or while nothing shows where it is. Without a report,
    files and the log decide: for a server that has ended, or (`refused`) for one that accepts no login.
    """
    if report is not None:
        return _by_report(goal, observation, report)
    if not observation.alive:
        return _after_its_end(goal, observation)
    return _by_observation(goal, observation) if refused else None


def _by_report(goal: Goal, observation: Observation, report: Report) -> Arrived | Astray | None:
    at_target = report.lsn is not None and goal.is_reached_at(report.lsn)
    if report.in_recovery and report.asked_to_pause and not at_target:
        return _paused_too_soon(goal, observation, report.lsn, report.limits)
    if report.in_recovery and report.paused:
        if goal.action is TargetAction.PAUSE and not goal.standby and at_target:
            return Arrived(PAUSED, report.lsn)
        return _paused_too_soon(goal, observation, report.lsn, report.limits)
    if not report.in_recovery:
        return _promoted(goal, report.lsn or (observation.branch[1] if observation.branch else None), report.timeline)
    # not every role may see the lag
    if goal.standby and (report.lag_bytes is not None or observation.streams_from is not None):
        return Arrived(FOLLOWING, report.lsn)
    return None


def _by_observation(goal: Goal, observation: Observation) -> Arrived | Astray | None:
    if observation.state == "in production":
        if observation.branch is None:
            return None
        return _promoted(goal, observation.branch[1], observation.branch[0])
    if observation.state != "in archive recovery":
        return None
    if goal.standby and observation.streams_from is not None:
        return Arrived(FOLLOWING, observation.streams_from)
    if goal.action is TargetAction.PAUSE and not goal.standby and _log_shows_stop(goal, observation):
        return Arrived(PAUSED, goal.stop)
    if too_small(observation, {}) or (goal.never_pauses and any(_RESUME in line for line in observation.log)):
        return _paused_too_soon(goal, observation, None, {})
    return None


def _after_its_end(goal: Goal, observation: Observation) -> Arrived | Astray | None:
    if goal.action is not TargetAction.SHUTDOWN or observation.state != "shut down in recovery":
        return None
    reached = observation.consistent_to
    if _log_shows_stop(goal, observation) or (reached is not None and goal.is_reached_at(reached)):
        return Arrived(SHUT_DOWN, goal.stop)
    return Astray(SHUT_DOWN, reached)


def _promoted(goal: Goal, lsn: Lsn | None, timeline: int | None) -> Arrived | Astray | None:
    if goal.standby or goal.action is not TargetAction.PROMOTE:
        return Astray(PROMOTED, lsn)
    if lsn is None:  # it was restarted since, or its files are not ours to read
        return None if goal.ends else Arrived(PROMOTED, None, timeline)
    return Arrived(PROMOTED, lsn, timeline) if goal.is_reached_at(lsn) else Astray(PROMOTED, lsn)


def _log_shows_stop(goal: Goal, observation: Observation) -> bool:
    """Return whether the log reports the stop in English, or has the target's position twice: when recovery begins, and
    once more. A target without a position is reached when the server accepts logins: before that nothing is consistent.
    """
    if any(map(_STOPPED.search, observation.log)):
        return True
    if goal.is_immediate:
        return observation.alive and observation.status == "ready"
    named = [line for line in observation.log if any(position(each) == goal.stop for each in _QUOTED.findall(line))]
    return goal.stop is not None and len(named) > 1


def _paused_too_soon(goal: Goal, observation: Observation, lsn: Lsn | None, limits: Mapping[str, int]) -> Astray:
    if wanted := too_small(observation, limits):
        reason = ", ".join(f"{name} must be {value}" for name, value in wanted.items())
        settings = ", ".join(f"{name} = {value}" for name, value in wanted.items())
        return Astray(PAUSED, lsn, reason, f"Set {settings} in {{directory}}/postgresql.auto.conf and restart the "
                                           "server: replay then goes on")
    return Astray(PAUSED, lsn, "pg_wal_replay_pause() was called" if goal.never_pauses else "",
                  f"See who paused it; SELECT {_RESUME} makes it go on")


def too_small(observation: Observation, limits: Mapping[str, int]) -> dict[str, int]:
    """Return the settings that are smaller than replay needs, with the values that it needs: by pg_control, which
    follows the WAL, if the server's own values are known; else by its log.
    """
    wanted = {}
    for name, key in _LIMITS.items():
        written = observation.control.get(key, "")
        if name in limits and written.isdecimal() and limits[name] < int(written):
            wanted[name] = int(written)
    if limits:
        return wanted
    found = (_TOO_SMALL.search(line) for line in observation.log)
    return {each[1]: int(each[3]) for each in found if each and int(each[2]) < int(each[3])}


def restarts_too_often(replayers: Sequence[int]) -> bool:
    """Return whether the server keeps crashing: `replayers` are the processes that replayed, one after the other, and
    PostgreSQL starts a new one after a crash.
    """
    return len(dict.fromkeys(replayers)) > 3
