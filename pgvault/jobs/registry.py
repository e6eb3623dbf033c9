"""The jobs of a vault: where each is, whether it lives, how to find one and how to ask it to stop.

`HOME/jobs/<job id>/` holds `plan.toml`, `events.jsonl`, `alive` and, on request, `cancel`. A running job holds
`flock(2)` on `alive`; the kernel frees it however the process ends, also across pid namespaces, so a job without a
final event whose lock is free is LOST and a reused pid misleads nobody. The pid in `alive` is for people.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pgvault.jobs.journal import read_edges
from pgvault.model.errors import NotFound, Refused
from pgvault.model.event import JobFinished, JobStarted, now
from pgvault.model.job import Job, JobKind, JobState
from pgvault.vault.files import fsync_directory, make_directory, naming, temporary_name
from pgvault.vault.layout import refuse_other_owner

_ID = re.compile(r"(\d{8}T\d{6}Z)-(\d{2})")
_STAMP = "%Y%m%dT%H%M%SZ"


def jobs_directory(home: Path) -> Path:
    return home / "jobs"


def is_job_id(text: str) -> bool:
    return bool(_ID.fullmatch(text))


def next_id(newest: str | None, at: datetime) -> str:
    """The id of a job that starts at `at`: later than `newest`, also when the clock went back."""
    stamp, number = at.astimezone(UTC).strftime(_STAMP), 1
    if newest is not None and newest >= f"{stamp}-01":
        stamp, last = newest.split("-")
        number = int(last) + 1
        if number > 99:
            following = datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC) + timedelta(seconds=1)
            stamp, number = following.strftime(_STAMP), 1
    return f"{stamp}-{number:02}"


def create_job(home: Path) -> Path:
    """A new job's directory, which no other process has; the job is PLANNED. Refused in another user's vault."""
    refuse_other_owner(home)
    jobs = jobs_directory(home)
    make_directory(jobs)
    while True:
        directory = jobs / next_id(max(job_ids(home), default=None), now())
        try:
            directory.mkdir(mode=0o700)
        except FileExistsError:
            continue
        fsync_directory(jobs)
        return directory


@contextmanager
def alive(directory: Path) -> Iterator[None]:
    """Hold the proof that the job's process lives; Refused when the job has been started before."""
    final = directory / "alive"
    if final.exists():
        raise Refused(f"job {directory.name} has already been started", hint=f"pgvault job show {directory.name}")
    temporary = temporary_name(final)  # locked before it has its name: nobody sees it free
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with naming(final):
            os.write(descriptor, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())
        os.rename(temporary, final)
        yield
    finally:
        os.close(descriptor)


def is_alive(directory: Path) -> bool:
    try:
        descriptor = os.open(directory / "alive", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two readers do not take each other for the job
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)


def has_ended(directory: Path) -> bool:
    """Whether no further event will come: it was started, and its process is gone."""
    return (directory / "alive").exists() and not is_alive(directory)


def request_cancel(directory: Path) -> None:
    """Ask the job to stop and to undo what it began; Refused when it has ended."""
    job = read_job(directory)
    if job.state.final:
        raise Refused(f"job {job.id} has already ended: {job.state.value}", detail=job.verdict,
                      hint=f"pgvault job show {job.id}")
    (directory / "cancel").touch(mode=0o600)


def is_cancel_requested(directory: Path) -> bool:
    return (directory / "cancel").exists()


def read_job(directory: Path) -> Job:
    """The job as it stands."""
    state, started, finished = _state(directory)
    process = _process(directory)
    verdict = "its process ended without saying how" if state is JobState.LOST else ""
    exit_code = None
    if finished:
        verdict = finished.error.message if finished.error else finished.verdict
        exit_code = finished.error.exit_code if finished.error else 0
    return Job(
        id=directory.name, kind=_kind(started), server=started.server if started else "", state=state,
        command=started.command if started else "", pid=process.get("pid"), host=process.get("host", ""),
        started_at=started.at if started else _time_of(directory.name),
        finished_at=finished.at if finished else None, verdict=verdict, exit_code=exit_code)


def list_jobs(home: Path) -> list[Job]:
    """Every job, oldest first."""
    return [read_job(jobs_directory(home) / job_id) for job_id in sorted(job_ids(home))]


def find_job(home: Path, wanted: str) -> Path:
    """The directory of a job by its id, a unique beginning of it, or `latest`; NotFound otherwise."""
    known = sorted(job_ids(home))
    if wanted in known:
        return jobs_directory(home) / wanted
    found = known[-1:] if wanted == "latest" else [i for i in known if wanted and i.startswith(wanted)]
    if not found:
        raise NotFound(f"there is no job {wanted!r}", hint="pgvault job list")
    if len(found) > 1:
        raise NotFound(f"{wanted!r} is the beginning of {len(found)} job ids",
                       detail=", ".join(found[-10:]) + ".", hint="pgvault job list")
    return jobs_directory(home) / found[0]


def job_ids(home: Path) -> Iterator[str]:
    """Of every job, in no order."""
    try:
        yield from filter(is_job_id, os.listdir(jobs_directory(home)))
    except FileNotFoundError:
        return


def _state(directory: Path) -> tuple[JobState, JobStarted | None, JobFinished | None]:
    living = is_alive(directory)  # asked first: what ended before it was asked has written its last event
    started, finished = read_edges(directory)
    if finished:
        return finished.state, started, finished
    if living:
        if is_cancel_requested(directory):
            return JobState.CANCELLING, started, None
        return JobState.RUNNING if started else JobState.STARTING, started, None
    if has_ended(directory):
        started, finished = read_edges(directory)
        return finished.state if finished else JobState.LOST, started, finished
    return JobState.PLANNED, started, None


def _process(directory: Path) -> dict[str, Any]:
    try:
        facts = json.loads((directory / "alive").read_bytes())
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _kind(started: JobStarted | None) -> JobKind:
    try:
        return JobKind(started.kind) if started else JobKind.MAINTENANCE
    except ValueError:  # a newer version's
        return JobKind.MAINTENANCE


def _time_of(job_id: str) -> datetime:
    return datetime.strptime(job_id.split("-")[0], _STAMP).replace(tzinfo=UTC)
