"""Watches whether the servers answer, so that old findings are not shown as if they were current.

It does not log in: it only tests whether something listens where a server is configured. When that changes the server
is checked, which reports the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pgvault.config.conninfo import parse_conninfo
from pgvault.console.background import run_in_background

if TYPE_CHECKING:
    from pgvault.console.base import BaseConsole

_SECONDS = 10.0
_PATIENCE_SECONDS = 5.0
_PORT = "5432"


def watch(app: BaseConsole) -> None:
    """Begin to watch, until the console ends."""
    known: dict[str, bool | None] = {}

    def feel() -> None:
        if not app.paused:
            run_in_background(app, "pulse", _check_changed, app, known, exclusive=False)

    app.set_interval(_SECONDS, feel)
    feel()


async def _check_changed(app: BaseConsole, known: dict[str, bool | None]) -> None:
    """Check the servers that began or ceased to answer since the last time."""
    servers = app.queries.servers
    found = await asyncio.gather(*(answers(app.queries.config.server(each).conninfo) for each in servers))
    changed = [server for server, now in zip(servers, found, strict=True) if now is not known.get(server, now)]
    known.update(zip(servers, found, strict=True))
    for server in changed:
        app.check(server)


async def answers(conninfo: str) -> bool | None:
    """Return whether something listens at any of these addresses; None if none is named."""
    if not (places := list(_places(conninfo))):
        return None
    return any(await asyncio.gather(*(_listens(host, port) for host, port in places)))


def _places(conninfo: str) -> Iterator[tuple[str, str]]:
    """Return host, or the directory of the socket, and port of each address; one port serves several hosts as in libpq.
    """
    known = parse_conninfo(conninfo)
    hosts = [each for each in (known.get("hostaddr") or known.get("host") or "").split(",") if each]
    ports = (known.get("port") or _PORT).split(",")
    for number, host in enumerate(hosts):
        yield host, ports[number if len(ports) > 1 else 0] or _PORT


async def _listens(host: str, port: str) -> bool:
    socket = f"{host}/.s.PGSQL.{port}"
    if host.startswith("@"):  # libpq's mark of an abstract socket, whose name begins with a zero byte
        socket = f"\0{socket[1:]}"
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            _, writer = await (asyncio.open_unix_connection(socket) if host.startswith(("/", "@")) else
                               asyncio.open_connection(host, int(port)))
    except (OSError, ValueError):
        return False
    writer.transport.abort()
    return True
