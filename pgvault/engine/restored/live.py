"""The live server as the target of bring-back: one session, one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import psycopg

from pgvault.config.schema import ServerConfig
from pgvault.engine.restored.side import Side
from pgvault.io.login import refused_database
from pgvault.io.postgres import LOGIN_SECONDS, begin, connection_parameters
from pgvault.io.postgres_failure import first_line, translated, unreachable
from pgvault.model.errors import NotFound, PgvaultError, Unreachable

LONGEST: Final = 6 * 3600.0
"""Timeout of one statement in seconds: the index of a large table takes long, but no server is waited for longer."""
_SETTINGS: Final = {
    "statement_timeout": f"{LONGEST:.0f}s", "check_function_bodies": "off", "client_min_messages": "warning",
    "xmloption": "content"}
"""pg_dump's settings, besides pgvault's own. Lock timeouts are as short as everywhere."""
_LOST: Final = ("57P0", "08")
"""SQLSTATEs of a server that is being terminated, and of a broken connection."""
_STATUS_LOOKS: Final = 5


@asynccontextmanager
async def open_live(server: ServerConfig, database: str, user: str = "") -> AsyncIterator[Side]:
    """Open a session whose first statement begins its transaction. Without a commit, nothing of it stays.

    NotFound if the database does not exist, Unreachable if the login fails.
    """
    parameters: dict[str, Any] = connection_parameters(server.conninfo, server.password_environment)
    parameters |= {"dbname": database} | ({"user": user} if user else {})
    try:
        async with asyncio.timeout(LOGIN_SECONDS):
            connection = await begin(parameters, _SETTINGS, local=True)
    except psycopg.OperationalError as error:
        if message := refused_database(error):
            raise NotFound(
                f"database {database} of {server.name} cannot be opened: {message}",
                hint="Tables and schemas go into an existing database. For a whole one, pipe pg_dump -C of "
                     "the restored server into psql; or create an empty one and bring its schemas back.") from None
        raise unreachable(server.name, error, parameters.get("user"), chosen=bool(user)) from None
    except psycopg.Error as error:
        raise translated(server.name, error, "begin a session") from error
    except TimeoutError:
        raise Unreachable(f"could not connect to {server.name}", detail="No answer came in time.",
                          hint="Check the network, firewalls and name servers between here and the server.") from None
    side = Side(server.name, connection, f"bring it back into {server.name}",
                f"See pg_locks and pg_stat_activity in {server.name} for who holds the lock, then run this again.")
    try:
        yield side
    finally:
        with suppress(psycopg.Error):
            await connection.close()


async def commit(live: Side, server: ServerConfig, user: str = "") -> None:
    """Commit completely, even if the connection is lost. The server is then asked about the transaction's outcome.

    PgvaultError if it was not committed, and, stated as such, if the outcome is unknown.
    """
    [(xid,)] = await live.rows("SELECT pg_current_xact_id()::text")
    try:
        await live.sql.commit()
    except psycopg.Error as error:
        if error.sqlstate is not None and not error.sqlstate.startswith(_LOST):
            raise translated(server.name, error, live.doing) from error
        became = await _became(server, live.sql.info.dbname, user, xid)
        if became != "committed":
            raise Unreachable(
                f"the connection to {server.name} was lost during the commit: {first_line(error)}",
                detail="Nothing was brought back: the server reports that the transaction was aborted."
                if became == "aborted" else
                f"Whether transaction {xid} was committed is not known: the server cannot be reached.",
                hint="Check there whether the data is back before you run this again.") from error


async def _became(server: ServerConfig, database: str, user: str, xid: str) -> str:
    """Return committed, aborted, or empty if the outcome is unknown."""
    for _ in range(_STATUS_LOOKS):
        with suppress(PgvaultError):
            async with open_live(server, database, user) as side:
                [(status,)] = await side.rows("SELECT pg_xact_status(%s::xid8)", (xid,))
                if status != "in progress":
                    return str(status)
        await asyncio.sleep(1)
    return ""
