"""The servers that restores created and started. Each is identified by its job."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from pgvault.config.load import Config
from pgvault.jobs.journal import read_events
from pgvault.jobs.plan import read_plan
from pgvault.jobs.registry import find_job, jobs_directory, list_jobs, read_job
from pgvault.model.backup import major_of
from pgvault.model.errors import NotFound, NotRight, Refused
from pgvault.model.event import Event, Noted, PhaseStarted
from pgvault.model.job import Job, JobKind, JobState
from pgvault.model.restore_plan import Listening, SettingChange
from pgvault.model.restored import RestoredCopy

LATEST = "latest"


class _Source(msgspec.Struct):
    server_version: str
    data_directory: str


class _Space(msgspec.Struct):
    location: str


class _Expected(msgspec.Struct):
    database: str


class _StoredPlan(msgspec.Struct):
    """The part of a restore's stored plan that is read."""

    server: str
    host: str
    directory: str
    source: _Source
    tablespaces: tuple[_Space, ...]
    expects: tuple[_Expected, ...]
    timeline: int
    standby: bool
    settings_changed: tuple[SettingChange, ...]
    backup: str
    listens: Listening | None = None
    port: int | None = None


def find_copy(config: Config, wanted: str, *, astray: bool = False) -> RestoredCopy:
    """Find a restored copy by its job's id, a unique beginning of it, or `latest` for the newest one.

    NotFound if there is none. Refused if the job created no server that reached its target, or if a later restore wrote
    to one of its directories, since their content is then another or incomplete one.

    With `astray`, find any restore that has ended and left a directory, whatever became of its server, to be removed.
    """
    copy = _find(config.vault.home, wanted, astray=astray)
    if later := _later_writer(config, copy):
        raise Refused(f"job {later} restored to the same place since job {copy.job}, or to a part of it",
                      detail=f"{copy.place} no longer holds what job {copy.job} restored.",
                      hint=f"See its result: pgvault job show {later}. If it created a server, name that job.")
    return copy


def _find(home: Path, wanted: str, *, astray: bool) -> RestoredCopy:
    fits: Callable[[Job], bool] = partial(left_files, home) if astray else made_a_server
    if wanted == LATEST:
        made = next((job for job in reversed(list_jobs(home)) if fits(job)), None)
        if made is None:
            raise NotFound("no restore has created a server", hint="List the jobs: pgvault job list")
        return _of(home, made)
    job = read_job(find_job(home, wanted))
    if job.kind is not JobKind.RESTORE:
        raise Refused(f"job {job.id} is not a restore but a {job.kind.value}", hint="pgvault job list")
    if not fits(job):
        left = "left no files" if astray and job.state.final else "created no server"
        raise Refused(f"job {job.id} has {left}: it is {job.state.value}", detail=job.verdict,
                      hint=f"pgvault job show {job.id}")
    return _of(home, job)


def _later_writer(config: Config, copy: RestoredCopy) -> str:
    """Return the newest later restore that wrote to one of its directories and did not undo it; empty if there is
    none."""
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
    """Return whether the places overlap. Machines are compared too, since one host may be configured under several
    names.
    """
    if not plan or _machine(plan.get("host", ""), config) != _machine(copy.host, config):
        return False
    places = [plan.get("directory"), *(each.get("location") for each in plan.get("tablespaces", ()))]
    return any(posixpath.commonpath([one, other]) in (one, other)
               for one in places if one for other in copy.places)


def _machine(name: str, config: Config) -> str:
    host = config.hosts.get(name)
    return f"{host.ssh.host}:{host.ssh.port}" if host is not None and host.ssh else "" if host is not None else name


def left_files(home: Path, job: Job) -> bool:
    """Return whether an ended restore wrote files and did not undo that. Its server may be at its target, astray or not
    started, and its files may be incomplete."""
    return made_a_server(job) or (job.kind is JobKind.RESTORE and job.state.final and _wrote(_events(home, job)))


def _events(home: Path, job: Job) -> list[Event]:
    return read_events(jobs_directory(home) / job.id)


def made_a_server(job: Job) -> bool:
    """Return whether the job's server runs; a server that lacks an expected table runs all the same."""
    return job.kind is JobKind.RESTORE and (job.state is JobState.SUCCEEDED or job.exit_code == NotRight.exit_code)


def _of(home: Path, job: Job) -> RestoredCopy:
    try:
        copy = stored_copy(read_plan(jobs_directory(home) / job.id), job.id)
        return replace(copy, is_whole=made_a_server(job) or _reached("flush", _events(home, job)))
    except ValueError as error:
        raise Refused(f"the plan of job {job.id} does not name the location of its server", detail=str(error),
                      hint=f"pgvault job show {job.id}") from None


def stored_copy(plan: Mapping[str, Any], job: str) -> RestoredCopy:
    """Read a plan as its job stores it; ValueError if a required field is missing."""
    try:
        stored = msgspec.convert(plan, _StoredPlan)
    except msgspec.ValidationError as error:
        raise ValueError(f"not the plan of a restore: {error}") from None
    return RestoredCopy(
        stored.server, stored.host, stored.directory, major_of(stored.source.server_version), stored.listens,
        stored.port, tuple(each.location for each in stored.tablespaces if each.location),
        tuple(dict.fromkeys(each.database for each in stored.expects)), stored.timeline, stored.standby,
        stored.settings_changed, job, stored.backup, stored.source.data_directory)
