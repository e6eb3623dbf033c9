"""Connections to a restored server, wherever it listens: by its configured conninfo, or through the host's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import psycopg

from pgvault.config.conninfo import parse_conninfo
from pgvault.config.schema import HostConfig, ServerConfig
from pgvault.io.host import Host
from pgvault.io.postgres import connection_parameters

Connection = psycopg.AsyncConnection[tuple[Any, ...]]
_REFUSALS = ("password", "pg_hba.conf", "authentication", "role")
"""What libpq's message has when the server answers and lets nobody in: asking again is of no use."""


class RestoredServer:
    """Where the restored server is asked."""

    def __init__(self, host: Host, config: HostConfig | None, server: ServerConfig,
                 port: int | None = None) -> None:
        """`port` is the one that it was given for this restore, whatever the host's conninfo says."""
        self._host, self._config, self._server, self._port = host, config, server, port
        self.address: tuple[str, int] | None = None
        """Its socket directory or host, and its port, as soon as its files tell them."""
        self.refusal = ""
        """What it said when it took no login."""

    @property
    def conninfo(self) -> str:
        """That the host's configuration names; empty for none."""
        return (self._config and self._config.conninfo) or ""

    @asynccontextmanager
    async def connected(self, database: str | None = None) -> AsyncIterator[Connection]:
        """A session in autocommit mode, in the usual database or in this one; psycopg.Error when there is none."""
        parameters = self._parameters()
        async with AsyncExitStack() as scope:
            if not self.conninfo:
                if self.address is None:
                    raise psycopg.OperationalError("where it listens is not known yet")
                there = await scope.enter_async_context(self._host.forward_socket(*self.address))
                parameters |= {"host": there.host, "port": str(there.port)}
            if database is not None:
                parameters["dbname"] = database
            yield await scope.enter_async_context(
                await psycopg.AsyncConnection.connect(autocommit=True, **parameters))

    async def query(self, sql: str) -> list[tuple[Any, ...]] | None:
        """None when it cannot be asked (yet)."""
        try:
            async with self.connected() as connection:
                return await (await connection.execute(sql.encode())).fetchall()
        except psycopg.OperationalError as error:
            text = " ".join(str(error).split())
            if any(sign in text for sign in _REFUSALS):
                self.refusal = text
            return None
        except psycopg.Error:
            return None

    def _parameters(self) -> dict[str, Any]:
        if self._config is not None and self._config.conninfo:
            given = connection_parameters(self._config.conninfo, self._config.password_environment or "")
            return given if self._port is None else {**given, "port": str(self._port)}
        user = parse_conninfo(self._server.conninfo).get("user", "postgres")
        parameters = connection_parameters(f"user={_quoted(user)} dbname=postgres",
                                           self._server.password_environment or "")
        return {**parameters, "connect_timeout": "5"}


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
