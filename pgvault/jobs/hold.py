"""The lock that proves that a job runs: `flock(2)` on the file `alive` in its directory.

The lock is taken before the directory gets its name, and belongs to the open file. It passes without interruption from
the process that creates the job to the one that runs it. The kernel releases it when the last of them ends, also across
pid namespaces. So a job without a final event whose lock is free is LOST, and a reused pid does not mislead. The
content of the file is for people.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgvault.model.errors import UsageError
from pgvault.store.files import naming, open_private

_ALIVE = "alive"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a job's processes wrote about it with the lock."""

    kind: str = ""
    server: str = ""
    command: str = ""
    pid: int | None = None
    host: str = ""


@dataclass(frozen=True, slots=True)
class Hold:
    """A job's directory and its lock, held until it is closed here and in every process that inherited it."""

    directory: Path
    descriptor: int

    def __str__(self) -> str:
        """Return the value for the process that inherits the descriptor; see `inherited`."""
        return f"{self.descriptor}:{self.directory}"

    def say(self, **facts: object) -> None:
        """Append facts for `read_facts`, as one line that is written completely or not at all."""
        with naming(self.directory / _ALIVE):
            os.write(self.descriptor, json.dumps(facts).encode() + b"\n")

    def close(self) -> None:
        os.close(self.descriptor)


def hold(directory: Path) -> Hold:
    """Take the lock of a new directory, which no other process uses yet."""
    held = Hold(directory, open_private(directory / _ALIVE, os.O_RDWR | os.O_EXCL | os.O_APPEND))
    fcntl.flock(held.descriptor, fcntl.LOCK_EX)
    return held


def inherited(inheritance: str) -> Hold:
    """Take over the hold that the starter of this process passed on as its `str`. This process then holds it alone."""
    number, _, directory = inheritance.partition(":")
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
    """Return whether a process holds the lock. Once released, it is never taken again."""
    try:
        descriptor = os.open(directory / _ALIVE, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: readers do not mistake each other for the job
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)


def read_facts(directory: Path) -> Facts:
    """Return the facts that were written with the lock, the newest of each; empty ones if they cannot be read."""
    facts: dict[str, Any] = {}
    with suppress(OSError, ValueError, TypeError):
        for line in (directory / _ALIVE).read_bytes().splitlines():
            facts |= json.loads(line)
    import msgspec  # starting and holding a job needs none

    try:
        return msgspec.convert(facts, Facts)
    except msgspec.ValidationError:
        return Facts()
