"""The SQLite files of a vault: private from their first byte, read without writing, and with errors in pgvault's words.

In WAL mode SQLite writes files next to a database that it reads. Where it cannot, because the file system is read-only
or completely full, the database is read as it is; or as a copy elsewhere, if its log has what the database lacks. A
full file system never makes an index look damaged, since a damaged index is thrown away and made again.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from pgvault.model.errors import Corrupt, Locked, PgvaultError, from_os_error
from pgvault.store.files import is_full, open_private

DatabaseError = sqlite3.Error
"""SQLite's error, for the layers above the vault, which do not know its database."""
BUSY_SECONDS = 30
FULL = (errno.ENOSPC, errno.EDQUOT)
_MEMORY = "/dev/shm"
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, 0)
"""SQLite's codes for damage, and for an index of another format: a missing table or column. 0 is raised by pgvault."""


def make_private(path: Path) -> None:
    """Create the file before SQLite does, which uses the umask; its -wal and -shm get its mode."""
    with suppress(FileExistsError):
        os.close(open_private(path))


def reading_uri(path: Path, scratch: ExitStack, *, mode: str = "ro") -> str:
    """Return the URI by which to open the database for reading; a copy that has to be made lasts as long as `scratch`.
    """
    if os.access(path.parent, os.W_OK) and os.access(path, os.W_OK) and not is_full(path.parent):
        return f"{path.absolute().as_uri()}?mode={mode}"
    log = path.with_name(f"{path.name}-wal")
    if not log.exists() or not log.stat().st_size:
        return f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    return _copied(path, log, scratch).as_uri()


def _copied(path: Path, log: Path, scratch: ExitStack) -> Path:
    import shutil
    import tempfile

    directories = (None, *([_MEMORY] if os.access(_MEMORY, os.W_OK) else []))
    for place in directories:
        try:
            directory = Path(scratch.enter_context(tempfile.TemporaryDirectory(prefix="pgvault-", dir=place)))
            for each in (path, log):
                shutil.copyfile(each, directory / each.name)
        except OSError as error:
            if error.errno not in FULL or place == directories[-1]:
                raise
        else:
            break
    return directory / path.name


@contextmanager
def raising_no_space(path: Path) -> Iterator[None]:
    """Turn SQLite's errors of a full file system into NoSpace; its other errors pass."""
    try:
        yield
    except sqlite3.Error as error:
        code = _code(error)
        if code == sqlite3.SQLITE_FULL or (code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
                                           and is_full(path.parent, sure=True)):
            full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            raise from_os_error(full, f"use the index {path}") from error
        raise


@contextmanager
def in_words(path: Path, remedy: str) -> Iterator[None]:
    """Turn SQLite's errors on an index into pgvault's; only one that `remedy` would correct is Corrupt."""
    try:
        with raising_no_space(path):
            yield
    except sqlite3.Error as error:
        code = _code(error)
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise Locked(f"the index {path} is in use", detail=f"It was not free for {BUSY_SECONDS} seconds.",
                         hint="Run this again.") from error
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            denied = PermissionError(errno.EACCES, str(error), str(path))
            raise from_os_error(denied, f"use the index {path}") from error
        if code in _DAMAGED:
            raise Corrupt(f"the index {path} cannot be used", detail=f"SQLite says: {error}.",
                          hint=f"It is a cache; make it again: {remedy}") from error
        raise PgvaultError(f"could not use the index {path}", detail=f"SQLite says: {error}.",
                           hint="Look at the file system that it lies on, then run this again.") from error


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def is_out_of_space(error: sqlite3.Error) -> bool:
    return _code(error) == sqlite3.SQLITE_FULL


def is_duplicate(error: sqlite3.Error) -> bool:
    """Return whether the error is about a row that may exist only once."""
    return _code(error) == sqlite3.SQLITE_CONSTRAINT
