"""Every error of pgvault, and its exit code.

PgvaultError                 1    could not do it
├── UnknownWal               1    WAL of a PostgreSQL version whose records are not known
├── WalRemoved               1    the server does not have the WAL any more
├── ServerBehind             1    the server has not written the WAL yet
├── Incomplete               1    the server did not send everything that a backup needs
├── UsageError               2    wrong arguments
├── ConfigError              2    wrong configuration
├── NotRight                 3    check or restore --expect found a problem
├── NotFound                 4    no such server, backup, job or host
├── Refused                  5    a precondition does not hold; nothing was changed
│   ├── Rejected             5    a WAL file cannot be accepted; its sender must keep it
│   └── Conflict             5    an object exists already, or another process changed it
├── Locked                   6    another job holds the lock
├── Unreachable              7    a server, a host or the vault's storage cannot be reached
├── Corrupt                  8    stored data does not match its hash
├── WalMissing               9    WAL is missing, or the target cannot be reached
├── NoSpace                 10    no space left
├── CorruptPages            11    done, but the source reported corrupt pages
├── Cancelled              130    stopped on request
└── InDoubt                200    get-wal cannot tell; PostgreSQL must stop and not promote

The texts follow PostgreSQL's style guide: `message` is lower case, without a full stop; `detail` and `hint` are
sentences. `code` is a stable word for scripts and for the documentation.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import ClassVar

OTHER_USER = "Run pgvault as the user that owns it, or change the owner or mode."


class PgvaultError(Exception):
    """Something could not be done: what, why (`detail`), and what to do next (`hint`)."""

    exit_code: ClassVar[int] = 1
    code: ClassVar[str] = "failed"

    def __init__(self, message: str, *, detail: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message, self.detail, self.hint = message, detail, hint

    def __str__(self) -> str:
        parts = [self.message]
        if self.detail:
            parts.append(f"detail: {self.detail}")
        if self.hint:
            parts.append(f"hint: {self.hint}")
        return "\n".join(parts)


def one_line(error: PgvaultError) -> str:
    """Return the whole error on one line, for a list or a table."""
    return " ".join(f"{error.message}{'.' * bool(error.detail or error.hint)} {error.detail} {error.hint}".split())


class UnknownWal(PgvaultError):
    """The WAL was written by a PostgreSQL version with unknown records. It is not read, rather than guessed at."""

    code = "unknown-wal"


class WalRemoved(PgvaultError):
    """The server no longer has the WAL at the requested start of streaming."""

    code = "wal-removed"


class ServerBehind(PgvaultError):
    """The server has not yet written the WAL at the requested start of streaming."""

    code = "server-behind"


class Incomplete(PgvaultError):
    """What arrived of a backup lacks something that the server has or should have."""

    code = "incomplete"


class UsageError(PgvaultError):
    exit_code, code = 2, "usage"


class ConfigError(PgvaultError):
    exit_code, code = 2, "config"


class NotRight(PgvaultError):
    exit_code, code = 3, "not-right"


class NotFound(PgvaultError):
    exit_code, code = 4, "not-found"


class Refused(PgvaultError):
    exit_code, code = 5, "refused"


class Rejected(Refused):
    """A WAL file cannot be accepted. Its sender must keep it."""

    code = "rejected"


class Conflict(Refused):
    """An object of the vault exists already, or another process has changed it since it was read."""

    code = "conflict"


class Locked(PgvaultError):
    exit_code, code = 6, "locked"


class Unreachable(PgvaultError):
    exit_code, code = 7, "unreachable"


class Corrupt(PgvaultError):
    exit_code, code = 8, "corrupt"


class WalMissing(PgvaultError):
    exit_code, code = 9, "wal-missing"


class NoSpace(PgvaultError):
    exit_code, code = 10, "no-space"


class CorruptPages(PgvaultError):
    exit_code, code = 11, "corrupt-pages"


class Cancelled(PgvaultError):
    exit_code, code = 130, "cancelled"


class InDoubt(PgvaultError):
    exit_code, code = 200, "in-doubt"


def kinds(kind: type[PgvaultError] = PgvaultError) -> Iterator[type[PgvaultError]]:
    """Yield the class and all its subclasses."""
    yield kind
    for inner in kind.__subclasses__():
        yield from kinds(inner)


def of_code(code: str) -> type[PgvaultError]:
    """Return the class whose errors carry this code; the root class for any other code, such as `internal`."""
    return next((kind for kind in kinds() if kind.code == code), PgvaultError)


def from_os_error(error: OSError, doing: str) -> PgvaultError:
    """Return the error for a failed system call. `doing` completes the sentence "could not ..."."""
    path = error.filename or ""
    where = f" {path!s}" if path else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(
            f"could not {doing}: no space left", detail=f"The file system of{where or ' the destination'} is full.",
            hint="Free space there, or move the directory to a larger file system, and run this again.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Refused(f"could not {doing}: {error.strerror}", detail=f"This user may not access{where or ' it'}.",
                       hint=OTHER_USER)
    return PgvaultError(f"could not {doing}: {error.strerror or error}", detail=f"Path:{where}." if where else "")
