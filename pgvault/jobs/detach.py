"""Starting a command line as a job of its own: a new session, no terminal, nothing that a closing screen can end."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from pgvault.jobs.journal import read_edges
from pgvault.jobs.registry import create_job
from pgvault.model.errors import PgvaultError, of_code
from pgvault.vault.files import remove_tree

OUTPUT = "output"
"""What the job's process wrote besides its journal."""

_POLL_SECONDS = 0.02


def start_detached(home: Path, command: Sequence[str], *, config: Path | None = None) -> str:
    """Start `command` (its first word is `pgvault`) and return the job's id once it has begun.

    Blocks while the command makes its plan. When it ends before a job began, nothing was changed: its error is raised
    as it would have been told on a terminal, and the job's directory is removed.
    """
    directory = create_job(home)
    where = ["--config", str(config)] if config else []
    argv = [sys.executable, "-P", "-m", "pgvault", *where, "--format", "json", "--job-id", directory.name, *command[1:]]
    try:
        with open(directory / OUTPUT, "xb") as output:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                       start_new_session=True)
    except OSError:
        remove_tree(directory)
        raise
    # Whoever starts a job may live longer than it, and would keep its process as a zombie.
    threading.Thread(target=process.wait, name=f"reaper of {directory.name}", daemon=True).start()
    while True:
        over = process.returncode is not None
        if read_edges(directory)[0]:
            return directory.name
        if over:
            error = _error_of(directory, process.returncode, command)
            remove_tree(directory)
            raise error
        time.sleep(_POLL_SECONDS)


def _error_of(directory: Path, status: int, command: Sequence[str]) -> PgvaultError:
    text = (directory / OUTPUT).read_text("utf-8", "backslashreplace")
    for line in reversed(text.splitlines()):
        try:
            told = json.loads(line)["error"]
            return of_code(told["code"])(told["message"], detail=told["detail"], hint=told["hint"])
        except (ValueError, KeyError, TypeError):
            continue
    return PgvaultError(f"pgvault {command[1]} ended without beginning a job", detail=f"Exit status {status}.\n{text}",
                        hint="Run the same command in a terminal.")
