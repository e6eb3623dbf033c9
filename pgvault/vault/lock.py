"""One writer per server and concern, many readers; who holds it is told to whoever is refused.

A lock is `flock(2)` on `locks/<concern>.lock`: the kernel frees it when its holder dies, however it dies, so a dead
holder never blocks. The file's text says who holds it, for people.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path

from pgvault.model.errors import Locked
from pgvault.store.files import make_directory, open_private


class Concern(Enum):
    """What a lock guards."""

    BACKUP = "backup"
    """Taking a backup: one at a time per server."""
    RECEIVE = "receive"
    """Streaming WAL from the server."""
    ARCHIVE = "archive"
    """Accepting one WAL file; held for milliseconds."""
    RESTORE = "restore"
    """Writing to one destination."""
    DRAFT = "draft"
    """Saying what to recover, in a console."""
    PACKS = "packs"
    """Shared by whoever reads frames, exclusive for whoever removes or moves them."""


_FULL = (errno.ENOSPC, errno.EDQUOT)
_NOT_WRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM, *_FULL)


@contextmanager
def locked(directory: Path, concern: Concern, *, about: str = "", job: str = "", shared: bool = False,
           wait: bool = False) -> Iterator[None]:
    """Hold the lock; `Locked`, with the holder, when another has it and `wait` is not asked for.

    `about` tells apart locks of one concern, as the destinations of restores.
    """
    path = directory / f"{concern.value}{'-' * bool(about)}{about}.lock"
    try:
        make_directory(directory)
        descriptor = open_private(path, os.O_RDWR)
    except OSError as error:
        if error.errno in _NOT_WRITABLE and (shared or concern is Concern.RESTORE):
            yield  # from a vault that cannot be written to, nothing is removed either
            return
        raise
    try:
        how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                raise Locked(f"another job holds the {concern.value} lock", detail=_holder(descriptor),
                             hint="Wait for it (--wait-lock), or look at it: pgvault job list") from None
            fcntl.flock(descriptor, how)
        if shared:
            yield
            return
        _sign(descriptor, job)
        try:
            yield
        finally:
            os.ftruncate(descriptor, 0)  # so that nobody takes a later reader's lock for this one
    finally:
        os.close(descriptor)


def sign_of_life(directory: Path, concern: Concern) -> None:
    """By the holder: from now on the lock's time is this moment's. Nothing is flushed, and failing does no harm."""
    with suppress(OSError):
        os.utime(directory / f"{concern.value}.lock", (now := time.time(), now))


def _sign(descriptor: int, job: str) -> None:
    """Only people read it, so a full disk does not matter."""
    # Nothing in it needs escaping, and put-wal would import `json` for this alone.
    text = (f'{{"job": "{job}", "pid": {os.getpid()}, "host": "{os.uname().nodename}", '
            f'"since": "{datetime.now(UTC).isoformat(timespec="seconds")}"}}')
    os.ftruncate(descriptor, 0)
    try:
        os.pwrite(descriptor, text.encode(errors="backslashreplace"), 0)
    except OSError as error:
        if error.errno not in _FULL:
            raise


def _holder(descriptor: int) -> str:
    """Who signed it; the holder may be between taking and signing, so a moment is given."""
    import json

    for _ in range(5):
        try:
            holder = json.loads(os.pread(descriptor, 4096, 0))
            if holder["host"] == os.uname().nodename and not _is_alive(holder["pid"]):
                raise ValueError("signed by one that died, and held by another since")
            job = f"job {holder['job']}, " if holder["job"] else ""
            return f"Held by {job}process {holder['pid']} on {holder['host']} since {holder['since']}."
        except (ValueError, KeyError, TypeError):
            time.sleep(0.01)
    return "Held by a reader, such as a restore, or by one that has not signed yet."


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
