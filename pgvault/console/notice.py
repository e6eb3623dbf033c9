"""The line on top of the overview: what its visitor came for, until that is done."""

from __future__ import annotations

from pgvault.console.jobbook import LOOKED_AT, JobBook
from pgvault.console.options import Options
from pgvault.model.job import Job, JobKind, JobState


def notice(options: Options, jobs: JobBook) -> str:
    """As it was given; once a restore has proven that what was lost is there, which one and where. Empty for none."""
    if not options.notice or not options.lost:
        return options.notice
    proven = (job for job in map(jobs.job, jobs.ids[:LOOKED_AT]) if _brought_back(job, options.lost))
    return next((_describe(job) for job in proven), options.notice)


def _brought_back(job: Job, lost: str) -> bool:
    return job.kind is JobKind.RESTORE and job.state is JobState.SUCCEEDED and f"{lost} is there" in job.verdict


def _describe(job: Job) -> str:
    """The verdict begins with the place: `restored to HOST:DIRECTORY; ...`."""
    host, _, _ = job.verdict.removeprefix("restored ").partition(":")
    when = f" at {job.finished_at:%H:%M:%S}Z" if job.finished_at else ""
    return f"recovered {host}{when} by job {job.id}"
