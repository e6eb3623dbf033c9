"""What can go wrong while a backup is taken, told as errors that a person can act on."""

from __future__ import annotations

import errno

import psycopg

from pgvault.io.base_backup import NEXT_STEP
from pgvault.io.postgres_failure import translated
from pgvault.model.errors import PgvaultError, from_os_error
from pgvault.vault.index_files import DatabaseError, is_duplicate, is_out_of_space
from pgvault.vault.layout import ServerVault

FAILURES = (PgvaultError, psycopg.Error, OSError, DatabaseError)
"""What `told` has words for; anything else is a mistake of the program."""


def backup_error(error: BaseException, server: ServerVault) -> PgvaultError:
    """The error for one of `FAILURES`."""
    if isinstance(error, psycopg.Error):
        return translated(server.name, error, "copy the cluster")
    if isinstance(error, DatabaseError):
        return _of_sqlite(error, server)
    if isinstance(error, OSError):
        if error.filename is None:  # a write does not say where it was going
            error.filename = str(server.home)
        return from_os_error(error, "store the backup")
    assert isinstance(error, PgvaultError)
    return error


def _of_sqlite(error: DatabaseError, server: ServerVault) -> PgvaultError:
    if is_out_of_space(error):
        return from_os_error(OSError(errno.ENOSPC, "no space left", str(server.home)), "store the backup")
    if is_duplicate(error):
        return PgvaultError("the server sent a base backup that cannot be right",
                            detail="It holds two files of one name.", hint=NEXT_STEP)
    return PgvaultError("could not store the backup: a database of the vault cannot be written",
                        detail=f"SQLite says, of one in {server.home}: {error}.",
                        hint="Look at the disk and at the system's log, then run the backup again.")
