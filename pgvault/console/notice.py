"""The line on top of the overview, which reminds visitors of the demonstration what they came for until that is done.
"""

from __future__ import annotations

from pgvault.console.jobbook import LOOKED_AT, JobBook
from pgvault.console.options import Options
from pgvault.model.job import Job, JobKind, JobState


def notice(options: Options, jobs: JobBook) -> str:
    """Return the notice as it was given or, once a restore has proven that what was lost is there, which one and where.
    Empty for none.
    """
    if not options.notice or not options.lost:
        return options.notice
    ended = [job for job in map(jobs.job, jobs.ids[:LOOKED_AT]) if job.state is JobState.SUCCEEDED]
    gone = {word for job in ended if job.kind is JobKind.THROW_AWAY for word in job.command.split()}
    return next((_describe(job, options.lost) for job in ended
                 if job.id not in gone and _has_recovered(job, options.lost)), options.notice)


def _has_recovered(job: Job, lost: str) -> bool:
    """Return whether the job proved that it is in a restored server, or brought it back into the live server."""
    return (job.kind is JobKind.RESTORE and f"{lost} is there" in job.verdict) or \
        (job.kind is JobKind.BRING_BACK and any(f".{word}".endswith(f".{lost}") for word in job.command.split()))


def _describe(job: Job, lost: str) -> str:
    """Describe a recovery. The verdict of a restore begins with the place: `restored to HOST:DIRECTORY; ...`."""
    if job.kind is JobKind.BRING_BACK:
        return f"{lost} was brought back into {job.server} by job {job.id}"
    host, _, _ = job.verdict.removeprefix("restored ").partition(":")
    when = f" at {job.finished_at:%H:%M:%S}Z" if job.finished_at else ""
    return f"recovered {host}{when} by job {job.id}"
