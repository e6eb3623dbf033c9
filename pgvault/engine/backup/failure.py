"""Turns failures of a backup into errors that a person can act on."""

from __future__ import annotations

import errno

import psycopg

from pgvault.io.base_backup import NEXT_STEP
from pgvault.io.postgres_failure import translated
from pgvault.model.errors import PgvaultError, from_os_error
from pgvault.vault.index_files import DatabaseError, is_duplicate, is_out_of_space
from pgvault.vault.layout import ServerVault

FAILURES = (PgvaultError, psycopg.Error, OSError, DatabaseError)
"""What `backup_error` can describe. Anything else is a bug."""


def backup_error(error: BaseException, server: ServerVault) -> PgvaultError:
    """Return the error for one of `FAILURES`."""
    if isinstance(error, psycopg.Error):
        return translated(server.name, error, "copy the cluster")
    if isinstance(error, DatabaseError):
        return _of_sqlite(error, server)
    if isinstance(error, OSError):
        if error.filename is None:  # a failed write does not name its file
            error.filename = str(server.home)
        return from_os_error(error, "store the backup")
    assert isinstance(error, PgvaultError)
    return error


def _of_sqlite(error: DatabaseError, server: ServerVault) -> PgvaultError:
    if is_out_of_space(error):
        return from_os_error(OSError(errno.ENOSPC, "no space left", str(server.home)), "store the backup")
    if is_duplicate(error):
        return PgvaultError("the server sent an invalid base backup",
                            detail="It contains two files of the same name.", hint=NEXT_STEP)
    return PgvaultError("could not store the backup: a database of the vault is not writable",
                        detail=f"SQLite reports for a database in {server.home}: {error}.",
                        hint="Check the disk and the system's log, then run the backup again.")
