"""Leases of one machine: `flock(2)` on `<directory>/<concern>.lock`.

The kernel frees the lock when its holder dies, however it dies, so a dead holder never blocks. The file's text names
the holder, for people.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from pgvault.model.errors import Locked
from pgvault.store.files import make_directory, open_private
from pgvault.store.leases import Concern, Held, Holder

_FULL = (errno.ENOSPC, errno.EDQUOT)
_NOT_WRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM, *_FULL)


class LocalLeases:
    """`Leases` in a directory, which is made when the first is held."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @contextmanager
    def hold(self, concern: Concern, *, about: str = "", job: str = "", shared: bool = False,
             wait: bool = False) -> Iterator[None]:
        try:
            make_directory(self._directory)
            descriptor = open_private(self._path(concern, about), os.O_RDWR)
        except OSError as error:
            if error.errno in _NOT_WRITABLE and (shared or concern is Concern.RESTORE):
                yield  # from a vault that cannot be written to, nothing is removed either
                return
            raise
        try:
            _lock(descriptor, concern, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, wait)
            if shared:
                yield
                return
            _sign(descriptor, job)
            try:
                yield
            finally:
                os.ftruncate(descriptor, 0)  # so that a later reader's lock is not mistaken for this one
        finally:
            os.close(descriptor)

    def held(self, concern: Concern) -> Held | None:
        try:
            descriptor = os.open(self._path(concern), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
        except BlockingIOError:
            return Held(_signature(descriptor), datetime.fromtimestamp(os.fstat(descriptor).st_mtime, UTC))
        finally:
            os.close(descriptor)

    def renew(self, concern: Concern) -> None:
        """Renew the lease. Nothing is flushed: only the file's time changes."""
        with suppress(OSError):
            os.utime(self._path(concern), (now := time.time(), now))

    def _path(self, concern: Concern, about: str = "") -> Path:
        return self._directory / f"{concern.value}{'-' * bool(about)}{about}.lock"


def _lock(descriptor: int, concern: Concern, how: int, wait: bool) -> None:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        if not wait:
            raise Locked(f"another job holds the {concern.value} lock", detail=_refusal(descriptor),
                         hint="Wait for it (--wait-lock), or look at it: pgvault job list") from None
        fcntl.flock(descriptor, how)


def _sign(descriptor: int, job: str) -> None:
    """Write who holds it. Only people read this, so a full disk does not matter."""
    # Nothing in it needs escaping, and put-wal would import `json` only for this.
    text = (f'{{"job": "{job}", "pid": {os.getpid()}, "host": "{os.uname().nodename}", '
            f'"since": "{datetime.now(UTC).isoformat(timespec="seconds")}"}}')
    os.ftruncate(descriptor, 0)
    try:
        os.pwrite(descriptor, text.encode(errors="backslashreplace"), 0)
    except OSError as error:
        if error.errno not in _FULL:
            raise


def _refusal(descriptor: int) -> str:
    """Return the error with the holder, who may be between taking and signing, so it waits a moment."""
    for _ in range(5):
        if holder := _signature(descriptor):
            return f"Held by {f'job {holder.job}, ' if holder.job else ''}{holder}."
        time.sleep(0.01)
    return "Held by a reader, such as a restore, or by one that has not signed yet."


def _signature(descriptor: int) -> Holder | None:
    """Return the signature; None if nobody has signed, or only a holder that died: another one has the lease since."""
    import json

    try:
        signed = json.loads(os.pread(descriptor, 4096, 0))
        holder = Holder(str(signed["job"]), int(signed["pid"]), str(signed["host"]),
                        datetime.fromisoformat(signed["since"]).astimezone(UTC))
    except (ValueError, KeyError, TypeError):
        return None
    return None if holder.host == os.uname().nodename and not _is_alive(holder.process) else holder


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
