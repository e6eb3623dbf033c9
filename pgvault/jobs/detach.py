"""Starts a command line as a detached job: in a new session, without a terminal, so that closing a screen cannot end
it.

The job and its lock exist before its process, which inherits them. While the process plans, nothing has begun. If
planning fails, the waiting caller gets the error and the job is removed. If nobody waits any more, the job stays: as
failed, with the error that `fail_before_begin` wrote, or as lost.
"""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

from pgvault.jobs.encoding import guarded
from pgvault.jobs.failures import finished
from pgvault.jobs.hold import Hold
from pgvault.jobs.journal import Journal, read_edges
from pgvault.jobs.registry import create_job
from pgvault.model.errors import Cancelled, PgvaultError, of_code
from pgvault.model.event import Failure
from pgvault.model.job import JobKind
from pgvault.store.files import open_private, remove_tree

AS_JOB = "--as-job"
"""The first word of a command line that runs as a job; the second is the `str` of its hold."""
OUTPUT = "output"
"""File with what the job's process wrote besides its journal."""

_POLL_SECONDS = 0.02


def start_detached(home: Path, command: Sequence[str], *, kind: JobKind, server: str,
                   config: Path | None = None) -> str:
    """Start `command` (its first word is `pgvault`) and return the job's id once it has begun.

    Blocks while the command plans. If it ends before a job begins, nothing was changed: its error is raised as a
    terminal would have shown it, and the job's directory is removed.
    """
    words = [*(["--config", str(config)] if config else []), *command[1:]]
    held = create_job(home, kind, server, shlex.join([command[0], *words]))
    try:
        with closing(held):
            process = _start(held, words)
    except OSError:
        remove_tree(held.directory)
        raise
    # The starter may outlive the job, and would keep its process as a zombie.
    threading.Thread(target=process.wait, name=f"reaper of {held.directory.name}", daemon=True).start()
    try:
        return _wait_until_begun(process, held.directory, command)
    except KeyboardInterrupt:
        job = held.directory.name
        raise Cancelled(f"no longer waiting for job {job} to begin", detail="The job continues by itself.",
                        hint=f"pgvault job watch {job}; to stop it: pgvault job cancel {job}") from None


def fail_before_begin(held: Hold, error: PgvaultError, code: str) -> None:
    """Write the error that ends the job's process to the journal, unless the job had begun and wrote its end itself."""
    if not any(read_edges(held.directory)):
        with suppress(OSError), closing(Journal(held.directory)) as journal:
            journal.emit(guarded(finished(error, code)))


def _start(held: Hold, words: Sequence[str]) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-P", "-m", "pgvault", AS_JOB, str(held), *words]
    with open(open_private(held.directory / OUTPUT), "wb") as output:
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
                                pass_fds=[held.descriptor])


def _wait_until_begun(process: subprocess.Popen[bytes], directory: Path, command: Sequence[str]) -> str:
    while True:
        over = process.returncode is not None
        began, ended = read_edges(directory)
        if began:
            return directory.name
        if over:
            error = _raised(ended.error) if ended and ended.error else _crash(process.returncode, directory, command)
            remove_tree(directory)
            raise error
        time.sleep(_POLL_SECONDS)


def _raised(failure: Failure) -> PgvaultError:
    return of_code(failure.code)(failure.message, detail=failure.detail, hint=failure.hint)


def _crash(status: int, directory: Path, command: Sequence[str]) -> PgvaultError:
    how = f"Exit status {status}." if status >= 0 else f"Killed by {signal.Signals(-status).name}."
    text = (directory / OUTPUT).read_text("utf-8", "backslashreplace")
    return PgvaultError(f"pgvault {command[1]} ended before it began a job", detail=f"{how}\n{text}".rstrip(),
                        hint="Run the same command in a terminal.")
