"""The servers that restores made and started: each is known by its job."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pgvault.config.load import Config
from pgvault.jobs.plan import read_plan
from pgvault.jobs.registry import find_job, jobs_directory, list_jobs, read_job
from pgvault.model.errors import NotFound, NotRight, Refused
from pgvault.model.job import Job, JobKind, JobState
from pgvault.model.restored import RestoredCopy, stored_copy

LATEST = "latest"


def find_copy(home: Path, wanted: str) -> RestoredCopy:
    """Of a restore by its job's id, a unique beginning of it, or `latest`: the newest one that made a server.

    NotFound when there is none, Refused when the job made no server that is at its target.
    """
    if wanted == LATEST:
        made = [job for job in list_jobs(home) if _made_a_server(job)]
        if not made:
            raise NotFound("no restore has made a server", hint="See what ran: pgvault job list")
        return _of(home, made[-1])
    job = read_job(find_job(home, wanted))
    if job.kind is not JobKind.RESTORE:
        raise Refused(f"job {job.id} is no restore: it is a {job.kind.value}", hint="pgvault job list")
    if not _made_a_server(job):
        raise Refused(f"job {job.id} has made no server: it is {job.state.value}", detail=job.verdict,
                      hint=f"pgvault job show {job.id}")
    return _of(home, job)


def later_restore(config: Config, copy: RestoredCopy) -> str:
    """The newest restore after this one that had to do with one of its directories, whatever became of it; empty when
    there is none."""
    home = config.vault.home
    later = [job for job in list_jobs(home) if job.kind is JobKind.RESTORE and job.id > copy.job]
    return max((job.id for job in later if _overlaps(read_plan(jobs_directory(home) / job.id), copy, config)),
               default="")


def _overlaps(plan: Mapping[str, Any], copy: RestoredCopy, config: Config) -> bool:
    """One host may be configured under several names."""
    if not plan or _machine(plan.get("host", ""), config) != _machine(copy.host, config):
        return False
    places = [plan.get("directory"), *(each.get("location") for each in plan.get("tablespaces", ()))]
    return any(posixpath.commonpath([one, other]) in (one, other)
               for one in places if one for other in copy.places)


def _machine(name: str, config: Config) -> str:
    host = config.hosts.get(name)
    return f"{host.ssh.host}:{host.ssh.port}" if host is not None and host.ssh else "" if host is not None else name


def _made_a_server(job: Job) -> bool:
    """One that lacks an expected table runs all the same."""
    return job.kind is JobKind.RESTORE and (job.state is JobState.SUCCEEDED or job.exit_code == NotRight.exit_code)


def _of(home: Path, job: Job) -> RestoredCopy:
    try:
        return stored_copy(read_plan(jobs_directory(home) / job.id), job.id)
    except ValueError as error:
        raise Refused(f"the plan of job {job.id} does not say where its server is", detail=str(error),
                      hint=f"pgvault job show {job.id}") from None
