"""Transactions that were prepared for a two-phase commit and never ended. They keep their locks until a person ends
them, even in a restored server."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pgvault.model.identifier import sql_identifier, sql_literal

LOCK_MODES = ("", "AccessShareLock", "RowShareLock", "RowExclusiveLock", "ShareUpdateExclusiveLock", "ShareLock",
              "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock")
"""Lock modes by their numbers in storage/lockdefs.h, named as in pg_locks."""
_MOST = 5


@dataclass(frozen=True, slots=True)
class Prepared:
    """One prepared transaction, from the WAL and the backup or from the server itself."""

    gid: str
    owner: str
    """The role; "OID 16385" if no backup knows its name."""
    database: str
    prepared_at: datetime | None = None
    locks: tuple[str, ...] = ()
    """Locks such as "AccessExclusiveLock on public.orders"."""

    @property
    def holds(self) -> str:
        more = len(self.locks) - _MOST
        return ", ".join(self.locks[:_MOST]) + (f" and {more} more lock{'s' * (more > 1)}" if more > 0 else "")

    def __str__(self) -> str:
        locks = f", holds {self.holds}" if self.locks else ""
        return f"transaction {self.gid!r} of {self.owner} in {self.database} is prepared and has not ended{locks}"

    @property
    def step(self) -> str:
        gid = sql_literal(self.gid)
        database = self.database if self.database.startswith("OID ") else sql_identifier(self.database)
        return (f"In {database}, as {self.owner} or a superuser: COMMIT PREPARED {gid} or ROLLBACK PREPARED {gid}.")
