"""Ways into a server that psycopg does not know by itself: an abstract socket, and another database of the server
where the configured one lets nobody in.

libpq takes a host that begins with "@" for an abstract Unix socket; psycopg, which looks up names before libpq does,
takes it for a name. Such a host goes past it dressed as a path that nobody has.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Self

import psycopg
from psycopg import conninfo as libpq
from psycopg.abc import PQGenConn

_ABSTRACT, _DRESSED = "@", "//@"
_DATABASES = ("postgres", "template1")
_ANSWERED = re.compile(r": *[^\s:]+:  (?=\S)")
"""What a server says itself, in any language, is behind its word for FATAL and two blanks."""


class AbstractSockets:
    """For a connection class: takes hosts that `dressed` has dressed."""

    @classmethod
    def _connect_gen(cls, conninfo: str = "") -> PQGenConn[Self]:
        parameters: dict[str, Any] = libpq.conninfo_to_dict(conninfo)
        if (host := str(parameters.get("host") or "")).startswith(_DRESSED):
            conninfo = libpq.make_conninfo(**{**parameters, "host": host.removeprefix("//")})
        return super()._connect_gen(conninfo)  # type: ignore[misc,no-any-return]


class AsyncConnection(AbstractSockets, psycopg.AsyncConnection[tuple[Any, ...]]):
    """psycopg's, also by an abstract socket."""


def dressed(parameters: dict[str, Any]) -> dict[str, Any]:
    """The same connection parameters, with abstract sockets as psycopg lets them pass."""
    hosts = [f"//{each}" if each.startswith(_ABSTRACT) else each for each in parameters.get("host", "").split(",")]
    return parameters | ({"host": ",".join(hosts)} if "host" in parameters else {})


def databases(first: str = "", then: Sequence[str] = ()) -> list[str]:
    """Where questions about the whole server can be asked; between those named are those that nearly each one has."""
    return [each for each in dict.fromkeys([first, *_DATABASES, *then]) if each]


def server_said(text: str) -> str:
    """The server's own words in what libpq says of a failed login, without details; empty when no server answered."""
    parts = _ANSWERED.split(text, maxsplit=1)
    return parts[1].splitlines()[0].strip() if len(parts) > 1 else ""


def refused_database(error: psycopg.Error) -> str:
    """What the server said when it was the database that let nobody in; empty when it is about something else.

    libpq gives no SQLSTATE of a login, and servers speak many languages: they all name the database then. One that
    has the role's name may be meant or not: another one is tried in vain at the worst.
    """
    name = error.pgconn.db.decode("utf-8", "replace") if error.pgconn else ""
    said = server_said(str(error))
    return said if name and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", said) else ""

