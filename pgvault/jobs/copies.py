"""The servers that restores made and started: each is known by its job."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from pgvault.config.load import Config
from pgvault.jobs.journal import read_events
from pgvault.jobs.plan import read_plan
from pgvault.jobs.registry import find_job, jobs_directory, list_jobs, read_job
from pgvault.model.errors import NotFound, NotRight, Refused
from pgvault.model.event import Event, Noted, PhaseStarted
from pgvault.model.job import Job, JobKind, JobState
from pgvault.model.restored import RestoredCopy, stored_copy

LATEST = "latest"


def find_copy(config: Config, wanted: str, *, astray: bool = False) -> RestoredCopy:
    """Of a restore by its job's id, a unique beginning of it, or `latest`: the newest one that made a server.

    NotFound when there is none; Refused when the job made no server that is at its target, or when another restore has
    written to one of its directories since: what is there is at another point, or is half of something.

    With `astray`, of any restore that has ended and left a directory, whatever became of its server: to be removed.
    """
    copy = _find(config.vault.home, wanted, astray=astray)
    if later := _later_writer(config, copy):
        raise Refused(f"job {later} restored to the same place since job {copy.job}, or into a part of it",
                      detail=f"What is in {copy.place} is not what job {copy.job} made.",
                      hint=f"See what became of it (pgvault job show {later}). If it made a server, name that one.")
    return copy


def _find(home: Path, wanted: str, *, astray: bool) -> RestoredCopy:
    fits: Callable[[Job], bool] = partial(left_files, home) if astray else made_a_server
    if wanted == LATEST:
        made = next((job for job in reversed(list_jobs(home)) if fits(job)), None)
        if made is None:
            raise NotFound("no restore has made a server", hint="See what ran: pgvault job list")
        return _of(home, made)
    job = read_job(find_job(home, wanted))
    if job.kind is not JobKind.RESTORE:
        raise Refused(f"job {job.id} is no restore: it is a {job.kind.value}", hint="pgvault job list")
    if not fits(job):
        left = "left no files" if astray and job.state.final else "made no server"
        raise Refused(f"job {job.id} has {left}: it is {job.state.value}", detail=job.verdict,
                      hint=f"pgvault job show {job.id}")
    return _of(home, job)


def _later_writer(config: Config, copy: RestoredCopy) -> str:
    """The newest restore after this one that wrote to one of its directories and did not undo it; empty without."""
    jobs = jobs_directory(config.vault.home)
    later = (job for job in reversed(list_jobs(config.vault.home)) if job.kind is JobKind.RESTORE and job.id > copy.job)
    return next((job.id for job in later if _overlaps(read_plan(jobs / job.id), copy, config)
                 and _wrote(read_events(jobs / job.id))), "")


def _wrote(events: Sequence[Event]) -> bool:
    return _reached("copy", events) and \
        not any(isinstance(each, Noted) and each.code == "undone" for each in events)


def _reached(phase: str, events: Sequence[Event]) -> bool:
    return any(isinstance(each, PhaseStarted) and each.phase == phase for each in events)


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


def left_files(home: Path, job: Job) -> bool:
    """A restore that has ended and began to write, and did not undo that: its server may be at its target, astray or
    not started, and its files may be incomplete."""
    return made_a_server(job) or (job.kind is JobKind.RESTORE and job.state.final and _wrote(_events(home, job)))


def _events(home: Path, job: Job) -> list[Event]:
    return read_events(jobs_directory(home) / job.id)


def made_a_server(job: Job) -> bool:
    """One that lacks an expected table runs all the same."""
    return job.kind is JobKind.RESTORE and (job.state is JobState.SUCCEEDED or job.exit_code == NotRight.exit_code)


def _of(home: Path, job: Job) -> RestoredCopy:
    try:
        copy = stored_copy(read_plan(jobs_directory(home) / job.id), job.id)
        return replace(copy, is_whole=made_a_server(job) or _reached("flush", _events(home, job)))
    except ValueError as error:
        raise Refused(f"the plan of job {job.id} does not say where its server is", detail=str(error),
                      hint=f"pgvault job show {job.id}") from None
