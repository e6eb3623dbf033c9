"""The jobs of a vault: their directories, whether they run, finding them and asking them to stop.

`HOME/jobs/<job id>/` contains `alive`, which is locked while the job runs and describes it from the first instant (see
`hold`), then `plan.toml` and `events.jsonl`, on request `cancel`, and `output` if the job was started detached.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pgvault.jobs.failures import failure_of
from pgvault.jobs.hold import Facts, Hold, hold, is_alive, read_facts, this_process
from pgvault.jobs.journal import read_edges
from pgvault.model.errors import NotFound, Refused
from pgvault.model.event import now
from pgvault.model.job import Job, JobKind, JobState
from pgvault.model.secrets import masked
from pgvault.store.files import fsync_directory, make_directory, open_private, remove_tree, sweep_dead, temporary_name
from pgvault.vault.layout import Vault, refuse_other_owner
from pgvault.vault.mount_guard import refuse_missing

_ID = re.compile(r"(\d{8}T\d{6}Z)-(\d{2})")
_STAMP = "%Y%m%dT%H%M%SZ"


def jobs_directory(home: Path) -> Path:
    return home / "jobs"


def is_job_id(text: str) -> bool:
    return bool(_ID.fullmatch(text))


def next_id(newest: str | None, at: datetime) -> str:
    """Return the id of a job that starts at `at`. It is later than `newest` even if the clock went back."""
    stamp, number = at.astimezone(UTC).strftime(_STAMP), 1
    if newest is not None and newest >= f"{stamp}-01":
        stamp, last = newest.split("-")
        number = int(last) + 1
        if number > 99:
            following = datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC) + timedelta(seconds=1)
            stamp, number = following.strftime(_STAMP), 1
    return f"{stamp}-{number:02}"


def create_job(home: Path, kind: JobKind, server: str, command: str) -> Hold:
    """Create a job, which is STARTING and lives as long as it is held. Refused in another user's vault, and if the
    vault has disappeared."""
    refuse_other_owner(home)
    if not Vault(home).is_there:
        refuse_missing(home)
    jobs = jobs_directory(home)
    make_directory(jobs)
    sweep_dead(jobs, is_in_use=is_alive)
    unnamed = temporary_name(jobs / "new")
    with ExitStack() as undo:
        make_directory(unnamed)
        undo.callback(remove_tree, unnamed)
        held = hold(unnamed)
        undo.callback(held.close)
        held.say(kind=kind.value, server=server, command=masked(command), **this_process())
        directory = _name(unnamed, home)
        undo.pop_all()
    return Hold(directory, held.descriptor)


def _name(unnamed: Path, home: Path) -> Path:
    """Rename it to the directory of the next job. It is held already, so nobody sees a job without its lock."""
    while True:
        directory = jobs_directory(home) / next_id(max(job_ids(home), default=None), now())
        try:
            os.rename(unnamed, directory)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            continue  # another process took this id
        fsync_directory(directory.parent)
        return directory


def request_cancel(directory: Path) -> None:
    """Ask the job to stop and to undo what it began; Refused if it has ended."""
    job = read_job(directory)
    if job.state.final:
        raise Refused(f"job {job.id} has already ended: {job.state.value}", detail=job.verdict,
                      hint=f"pgvault job show {job.id}")
    os.close(open_private(directory / "cancel", os.O_WRONLY))


def is_cancel_requested(directory: Path) -> bool:
    return (directory / "cancel").exists()


def read_job(directory: Path) -> Job:
    """Return the state of the job; NotFound if it does not exist, like one that ended before it began."""
    living = is_alive(directory)  # checked first: a job that has ended by then has written its last event
    started, finished = read_edges(directory)
    facts = read_facts(directory)
    if facts == Facts() and not directory.exists():
        raise _no_job(directory.name)
    state = finished.state if finished else _state(directory, living=living, began=started is not None)
    failure = failure_of(state, finished)
    exit_code = None
    if finished:
        exit_code = finished.error.exit_code if finished.error else 0
    return Job(
        id=directory.name, kind=_kind(started.kind if started else facts.kind),
        server=started.server if started else facts.server, state=state,
        command=started.command if started else facts.command,
        pid=facts.pid, host=facts.host,
        started_at=started.at if started else _time_of(directory.name),
        finished_at=finished.at if finished else None,
        verdict=failure.message if failure else finished.verdict if finished else "", exit_code=exit_code)


def list_jobs(home: Path) -> list[Job]:
    """Return every job, oldest first."""
    jobs = []
    for job_id in sorted(job_ids(home)):
        with suppress(NotFound):
            jobs.append(read_job(jobs_directory(home) / job_id))
    return jobs


def find_job(home: Path, wanted: str) -> Path:
    """Return the directory of a job by its id, a unique beginning of it, or `latest`; else NotFound."""
    known = sorted(job_ids(home))
    if wanted in known:
        return jobs_directory(home) / wanted
    found = known[-1:] if wanted == "latest" else [i for i in known if wanted and i.startswith(wanted)]
    if not found:
        raise _no_job(wanted)
    if len(found) > 1:
        raise NotFound(f"{wanted!r} is the beginning of {len(found)} job ids",
                       detail=", ".join(found[-10:]) + ".", hint="pgvault job list")
    return jobs_directory(home) / found[0]


def job_ids(home: Path) -> Iterator[str]:
    """Yield the ids of all jobs, in no order."""
    try:
        yield from filter(is_job_id, os.listdir(jobs_directory(home)))
    except FileNotFoundError:
        return


def _no_job(wanted: str) -> NotFound:
    return NotFound(f"there is no job {wanted!r}", hint="pgvault job list")


def _state(directory: Path, *, living: bool, began: bool) -> JobState:
    """Return the state of a job without a final event."""
    if not living:
        return JobState.LOST
    if is_cancel_requested(directory):
        return JobState.CANCELLING
    return JobState.RUNNING if began else JobState.STARTING


def _kind(value: object) -> JobKind:
    try:
        return JobKind(value)
    except ValueError:  # from a newer version, or never written
        return JobKind.MAINTENANCE


def _time_of(job_id: str) -> datetime:
    return datetime.strptime(job_id.split("-")[0], _STAMP).replace(tzinfo=UTC)
