"""Logins that psycopg does not support: over an abstract socket, and to another database if the configured one rejects
connections.

libpq takes a host that begins with "@" for an abstract Unix socket. psycopg looks up names before libpq does, and takes
it for a name. Such a host is therefore disguised as a path that does not exist elsewhere.
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
"""The server's own text, in any language, follows its word for FATAL and two blanks."""


class AbstractSockets(psycopg.BaseConnection[tuple[Any, ...]]):
    """Mixin for a connection class: accepts hosts that `for_psycopg` has changed."""

    @classmethod
    def _connect_gen(cls, conninfo: str = "") -> PQGenConn[Self]:
        parameters: dict[str, Any] = libpq.conninfo_to_dict(conninfo)
        if (host := str(parameters.get("host") or "")).startswith(_DRESSED):
            conninfo = libpq.make_conninfo(**{**parameters, "host": host.removeprefix("//")})
        return super()._connect_gen(conninfo)


class AsyncConnection(AbstractSockets, psycopg.AsyncConnection[tuple[Any, ...]]):
    """psycopg's connection, with support for abstract sockets."""


def for_psycopg(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the connection parameters with abstract sockets in the form that psycopg passes on."""
    hosts = [f"//{each}" if each.startswith(_ABSTRACT) else each for each in parameters.get("host", "").split(",")]
    return parameters | ({"host": ",".join(hosts)} if "host" in parameters else {})


def databases(first: str = "", then: Sequence[str] = ()) -> list[str]:
    """Return databases for queries about the whole server: the given ones, and in between those that nearly all servers
    have."""
    return [each for each in dict.fromkeys([first, *_DATABASES, *then]) if each]


def server_message(text: str) -> str:
    """Return the server's own text in libpq's message about a failed login, without details; empty if no server
    answered."""
    parts = _ANSWERED.split(text, maxsplit=1)
    return parts[1].splitlines()[0].strip() if len(parts) > 1 else ""


def refused_database(error: psycopg.Error) -> str:
    """Return the server's text if it rejected the database; empty for any other failure.

    libpq reports no SQLSTATE for a login, and servers use many languages, but they all name the database then. If the
    role has the same name, this may be wrong; the worst result is one more attempt in vain.
    """
    name = error.pgconn.db.decode("utf-8", "replace") if error.pgconn else ""
    message = server_message(str(error))
    return message if name and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", message) else ""

