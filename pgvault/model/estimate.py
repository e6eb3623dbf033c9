"""Estimates how long a restore will take, from the measured rates of earlier ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pgvault.model.lsn import Lsn
from pgvault.model.restore_plan import RestorePlan
from pgvault.model.text import size, span

UNKNOWN = "no restore has been measured yet"
SIGNIFICANT = 16 << 20
"""The least amount of WAL in bytes. Replaying less takes mostly the time to start the server, so it does not show the
rate.
"""
_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Measured:
    """What an earlier restore took. Sizes are in bytes; a rate is None if there was nothing to measure."""

    job: str
    host: str
    """The configured name; empty for the vault's own machine."""
    copied: float | None
    """The rate of writing to the destination, in bytes per second."""
    replayed: float | None
    """Seconds for each byte of WAL; None also for less WAL than `SIGNIFICANT`."""


@dataclass(frozen=True, slots=True)
class Estimate:
    seconds: float | None
    """The duration in seconds; None if no usable measurement exists."""
    basis: str
    """What the estimate is based on, in words."""


def estimate(plan: RestorePlan, earlier: Iterable[Measured]) -> Estimate:
    """Estimate by the newest restore to the same host, or else to any host. `earlier` has the newest first."""
    there = sorted(earlier, key=lambda each: each.host != plan.destination.host)
    copy = next((each for each in there if each.copied), None)
    if copy is None or copy.copied is None:
        return Estimate(None, UNKNOWN)
    seconds = plan.cost.bytes_to_write / copy.copied
    if plan.cost.bandwidth_limit:
        seconds = max(seconds, plan.cost.bytes_to_send / plan.cost.bandwidth_limit)
    basis = f"measured by {_named(copy)}: {size(round(copy.copied))}/s copy"
    if not plan.destination.start:
        return Estimate(seconds, basis)
    replay = next((each for each in there if each.replayed is not None), None)
    if replay is None or replay.replayed is None:
        if (wal := replayed_bytes(plan)) < SIGNIFICANT:
            return Estimate(seconds, f"{basis}; the time to replay the little WAL is not included")
        return Estimate(None, f"no replay of {size(SIGNIFICANT)} or more has been measured, and {size(wal)} must be "
                              f"replayed; the copy takes about {span(round(seconds))}, {basis}")
    by = "" if replay.job == copy.job else f" by {_named(replay)}"
    basis += f", {span(replay.replayed * _GIB)} replay a GiB{by}"
    return Estimate(seconds + replay.replayed * replayed_bytes(plan), basis)


def replayed_bytes(plan: RestorePlan) -> int:
    """Return the bytes of WAL between the backup's start and the place where recovery stops."""
    begin, stop = plan.source.backup.begin_lsn or Lsn(0), plan.point.stop_lsn
    return max(stop - begin, 0) if stop is not None else 0


def _named(each: Measured) -> str:
    return f"job {each.job} on {each.host or 'this machine'}"
