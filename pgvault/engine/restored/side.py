"""A session with one of the two servers of bring-back. Its errors name the server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from pgvault.io.login import AsyncConnection
from pgvault.io.postgres_failure import first_line, sentence, translated
from pgvault.model.errors import Refused

_FACTS: Final = """SELECT (SELECT system_identifier::text FROM pg_control_system()),
  extract(epoch FROM pg_postmaster_start_time())::float8, pg_is_in_recovery(), current_setting('server_version')"""


@dataclass(frozen=True, slots=True)
class SideFacts:
    """Which server it is, and its state."""

    system_identifier: str
    started: float
    """Start time of its postmaster, in seconds since 1970: no two servers share it to the microsecond."""
    in_recovery: bool
    version: str


@dataclass(frozen=True, slots=True)
class Side:
    name: str
    sql: AsyncConnection
    doing: str
    """Completes "could not ..." if a statement fails."""
    when_locked: str = ""
    """The hint if another session holds a lock."""

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """Attribute PostgreSQL's errors to this server."""
        try:
            yield
        except psycopg.errors.LockNotAvailable as error:
            raise Refused(f"could not {self.doing}: it is locked there", detail=sentence(first_line(error)),
                          hint=self.when_locked) from error
        except psycopg.Error as error:
            raise translated(self.name, error, self.doing) from error

    async def rows(self, query: str, parameters: Mapping[str, Any] | Sequence[Any] | None = None) -> list[Any]:
        with self.blamed():
            return await (await self.sql.execute(query.encode(), parameters)).fetchall()

    async def run(self, statements: str | bytes, parameters: Sequence[Any] | None = None) -> None:
        with self.blamed():
            await self.sql.execute(statements.encode() if isinstance(statements, str) else statements, parameters)

    async def facts(self) -> SideFacts:
        [row] = await self.rows(_FACTS)
        return SideFacts(*row)
