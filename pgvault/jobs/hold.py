"""What a job lives by: `flock(2)` on `alive` in its directory.

The lock is there before the directory has its name, and goes with the open file: from whoever makes the job to the
process that runs it, without an instant between in which nobody has it. The kernel frees it however the last of them
ends, also across pid namespaces, so a job without a final event whose lock is free is LOST, and a reused pid misleads
nobody. What the file says is for people.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgvault.model.errors import UsageError
from pgvault.store.files import naming, open_private

_ALIVE = "alive"


@dataclass(frozen=True, slots=True)
class Hold:
    """A job's directory and its lock, held until it is closed here and wherever it was handed on to."""

    directory: Path
    descriptor: int

    def __str__(self) -> str:
        """For the process that inherits the descriptor; see `inherited`."""
        return f"{self.descriptor}:{self.directory}"

    def say(self, **facts: object) -> None:
        """Add to what `read_facts` tells: a line more, which a reader has or has not."""
        with naming(self.directory / _ALIVE):
            os.write(self.descriptor, json.dumps(facts).encode() + b"\n")

    def close(self) -> None:
        os.close(self.descriptor)


def hold(directory: Path) -> Hold:
    """Take the lock of a new directory, which nobody else has yet."""
    held = Hold(directory, open_private(directory / _ALIVE, os.O_RDWR | os.O_EXCL | os.O_APPEND))
    fcntl.flock(held.descriptor, fcntl.LOCK_EX)
    return held


def inherited(told: str) -> Hold:
    """The hold that the starter of this process handed on, by its `str`; from now on this process has it alone."""
    number, _, directory = told.partition(":")
    try:
        held = Hold(Path(directory), int(number))
        if not os.path.samestat(os.fstat(held.descriptor), os.stat(held.directory / _ALIVE)):
            raise ValueError("not the job's lock")
    except (OSError, ValueError):
        raise UsageError("this process was not started as a job", hint="pgvault --help") from None
    os.set_inheritable(held.descriptor, False)
    held.say(**this_process())
    return held


def this_process() -> dict[str, object]:
    return {"pid": os.getpid(), "host": socket.gethostname()}


def is_alive(directory: Path) -> bool:
    """Whether somebody holds it; once nobody does, nobody ever will."""
    try:
        descriptor = os.open(directory / _ALIVE, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two readers do not take each other for the job
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)


def read_facts(directory: Path) -> dict[str, Any]:
    """What was said with the lock, the newest of each; empty where nothing can be read."""
    facts: dict[str, Any] = {}
    try:
        for line in (directory / _ALIVE).read_bytes().splitlines():
            facts |= json.loads(line)
    except (OSError, ValueError, TypeError):
        return facts
    return facts
