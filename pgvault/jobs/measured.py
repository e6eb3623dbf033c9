"""The measured rates of a vault's earlier restores, from their journals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from pathlib import Path

from pgvault.jobs.journal import read_edges, read_events
from pgvault.jobs.plan import read_plan
from pgvault.jobs.registry import job_ids, jobs_directory
from pgvault.model.errors import PgvaultError
from pgvault.model.estimate import SIGNIFICANT, Measured
from pgvault.model.event import Event, JobFinished, PhaseStarted
from pgvault.model.job import JobKind, JobState

_JOBS = 500
"""Number of the newest jobs that are considered."""
_RESTORES = 10
"""The number of restores among them whose journals are read."""
_COPY = frozenset({"copy", "flush"})
_REPLAY = frozenset({"recover"})


def measured_restores(home: Path) -> list[Measured]:
    """Return what was measured of the restores that have ended, newest first. One that failed in the end has copied as
    much as any other."""
    return list(islice(_measured(home), _RESTORES))


def _measured(home: Path) -> Iterator[Measured]:
    for job in sorted(job_ids(home), reverse=True)[:_JOBS]:
        directory = jobs_directory(home) / job
        started, finished = read_edges(directory)
        if started is None or finished is None or started.kind != JobKind.RESTORE.value:
            continue
        try:
            host = str(read_plan(directory).get("host", ""))
        except (PgvaultError, OSError):
            continue
        events = read_events(directory)
        copied, copying = _took(events, _COPY)
        replayed, replaying = _took(events, _REPLAY)
        if copied and copying:
            yield Measured(job, host, copied / copying, replaying / replayed if replayed >= SIGNIFICANT else None)


def _took(events: Sequence[Event], phases: frozenset[str]) -> tuple[int, float]:
    """Return the bytes of these phases, and their duration in seconds; nothing when one was not carried through."""
    size, seconds = 0, 0.0
    edges = [event for event in events if isinstance(event, PhaseStarted | JobFinished)]
    for event, following in pairwise(edges):
        if isinstance(event, PhaseStarted) and event.phase in phases:
            if isinstance(following, JobFinished) and following.state is not JobState.SUCCEEDED:
                return 0, 0.0
            size += event.total_bytes or 0
            seconds += max((following.at - event.at).total_seconds(), 0.0)
    return size, seconds
