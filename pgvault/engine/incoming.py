"""Archives files that were put into `incoming/` (by rsync or cp), or left complete in `streaming/`.

Each file is independent: one that cannot be accepted goes to quarantine with its reason, and does not delay those
behind it. A source is removed only when the archive has it durably.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from pgvault.model.errors import Locked, NoSpace, PgvaultError, Refused, Rejected, from_os_error
from pgvault.model.event import Emit, Level, Noted, discard
from pgvault.model.segment import PartialFile, SegmentFile, parse_wal_name
from pgvault.store.leases import Concern
from pgvault.vault.identity import read_identity
from pgvault.vault.layout import ServerVault, user_name
from pgvault.vault.quarantine import set_aside
from pgvault.vault.wal_archive import accept
from pgvault.wal.pages import LONG_HEADER, read_header

ARRIVING_SECONDS = 60
"""A file that is too short and was written to within this time is considered to be still arriving."""


@dataclass(frozen=True, slots=True)
class Taken:
    """The results for the files that were found."""

    archived: tuple[str, ...] = ()
    rejected: tuple[str, ...] = ()
    arriving: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()

    def __add__(self, other: Taken) -> Taken:
        return Taken(self.archived + other.archived, self.rejected + other.rejected, self.arriving + other.arriving,
                     self.failed + other.failed)

    def __str__(self) -> str:
        parts = [f"{len(names)} {what}" for names, what in (
            (self.archived, "archived"), (self.rejected, "moved to quarantine"), (self.arriving, "still arriving"),
            (self.failed, "failed")) if names]
        return ", ".join(parts) or "nothing to archive"


def archive_waiting(server: ServerVault, *, level: int = 1, emit: Emit = discard,
                    clock: Callable[[], float] = time.time) -> Taken:
    """Archive all files in `incoming/`, and in `streaming/` unless a receiver runs.

    A full disk ends it with NoSpace. Any other failure of one file is reported and leaves that file in place.
    """
    server.prepare()
    waiting = list(_candidates(server.spool.incoming))
    _check_access(server.spool.incoming, waiting, emit)
    taken = _take_all(server, waiting, level, emit, clock)
    if not _complete(server.spool.streaming):
        return taken
    try:
        with server.leases.hold(Concern.RECEIVE):
            return taken + _take_all(server, _complete(server.spool.streaming), level, emit, clock)
    except Locked:
        return taken


def _check_access(directory: Path, waiting: list[Path], emit: Emit) -> None:
    """Check an `incoming` that a person created: Refused if files cannot be removed from it. A mode that lets anybody
    add WAL is reported."""
    facts = os.stat(directory)
    if waiting and not os.access(directory, os.W_OK | os.X_OK):
        raise Refused(f"could not take files out of {directory}",
                      detail=f"{user_name(facts.st_uid)} owns it, with mode {stat.S_IMODE(facts.st_mode):04o}.",
                      hint=f"Let this user write there: chown {user_name(os.geteuid())} {quote(str(directory))}")
    if facts.st_mode & stat.S_IWOTH:
        emit(Noted(f"every user of this machine may write to {directory}: chmod o-w {quote(str(directory))}",
                   Level.WARNING, "incoming"))


def take(server: ServerVault, path: Path, *, level: int = 1, emit: Emit = discard) -> Rejected | None:
    """Archive one file and remove it. Return why it was not accepted and is in quarantine, else None."""
    try:
        before = os.lstat(path)
        if not stat.S_ISREG(before.st_mode):
            raise Rejected(f"{path.name} is not a regular file")
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as source:
            accept(server, path.name, source, level=level, keep_rejected=False)
    except Rejected as rejection:
        kept = set_aside(server, path, f"{rejection.message}. {rejection.detail}")
        emit(Noted(f"{rejection.message}; it is now {kept}", Level.ERROR, "rejected"))
        return rejection
    after = os.lstat(path)
    if (after.st_ino, after.st_size, after.st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns):
        path.unlink()
    return None


def _take_all(server: ServerVault, paths: list[Path], level: int, emit: Emit, clock: Callable[[], float]) -> Taken:
    archived, rejected, arriving, failed = [], [], [], []
    for path in sorted(paths, key=lambda path: (not path.name.endswith(".history"), path.name)):
        try:
            if _is_arriving(server, path, clock()):
                emit(Noted(f"{path.name} is still arriving", code="arriving"))
                arriving.append(path.name)
            elif take(server, path, level=level, emit=emit):
                rejected.append(path.name)
            else:
                archived.append(path.name)
        except FileNotFoundError:
            continue  # another process took it
        except (PgvaultError, OSError) as error:
            failure = from_os_error(error, f"archive {path.name}") if isinstance(error, OSError) else error
            emit(Noted(" ".join(str(failure).split()), Level.ERROR, failure.code))
            if isinstance(failure, NoSpace):
                raise failure from None
            failed.append(path.name)
    return Taken(tuple(archived), tuple(rejected), tuple(arriving), tuple(failed))


def _candidates(directory: Path) -> Iterator[Path]:
    """Yield all files but temporary ones of tools: dot files (rsync) and `*.tmp`; and no directories."""
    for entry in os.scandir(directory):
        if not entry.name.startswith(".") and not entry.name.endswith(".tmp") and not entry.is_dir():
            yield Path(entry.path)


def _complete(directory: Path) -> list[Path]:
    """Return the files that are no longer being streamed."""
    return [path for path in _candidates(directory) if not path.name.endswith(".partial")]


def _is_arriving(server: ServerVault, path: Path, now: float) -> bool:
    """Return whether it is too short and was written to a moment ago."""
    facts = os.lstat(path)
    if abs(now - facts.st_mtime) >= ARRIVING_SECONDS or not stat.S_ISREG(facts.st_mode):
        return False
    try:
        file = parse_wal_name(path.name)
    except ValueError:
        return False
    whole = _whole_size(server, path) if isinstance(file, SegmentFile | PartialFile) else 1
    return facts.st_size < whole


def _whole_size(server: ServerVault, path: Path) -> int:
    """Return the segment size of this cluster, which at first contact only the file itself has."""
    if identity := read_identity(server):
        return identity.segment_size
    try:
        with path.open("rb") as file:
            return read_header(file.read(LONG_HEADER.size)).segment_size
    except ValueError:
        return LONG_HEADER.size
