"""SQL and replication connections to a server, with failures a person can act on.

Everything that talks to PostgreSQL connects here, so that every session carries the same name in `pg_stat_activity`,
the same settings whatever the site's defaults are, and every failure the same words. No message made here repeats a
connection string: it may hold a password.
"""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import MappingProxyType
from typing import Any

import psycopg
from psycopg import conninfo as libpq
from psycopg import pq

from pgvault.config.schema import ServerConfig
from pgvault.model.errors import ConfigError, PgvaultError, Refused, Unreachable
from pgvault.model.identifier import sql_identifier

NO_SETTINGS: Mapping[str, str] = MappingProxyType({})
Connection = psycopg.Connection[tuple[Any, ...]]

CONNECT_TIMEOUT = 10
"""Seconds for one address, where the connection string does not say otherwise."""
ANSWER_SECONDS = 60.0
"""For a question that a server answers at once when it answers at all."""

# What a site sets in postgresql.conf, or for its roles and databases, is for its applications.
_SESSION = {
    "statement_timeout": f"{ANSWER_SECONDS:.0f}s", "lock_timeout": "10s", "idle_in_transaction_session_timeout": "0",
    "role": "none", "search_path": "pg_catalog",
    "DateStyle": "ISO, MDY", "IntervalStyle": "postgres", "bytea_output": "hex", "extra_float_digits": "1",
    "standard_conforming_strings": "on", "quote_all_identifiers": "off", "jit": "off",
    "default_transaction_isolation": "read committed", "default_transaction_read_only": "off",
    "default_transaction_deferrable": "off",
    "row_security": "off",  # an error where rows would be left out unnoticed
}
_SESSION_SINCE = {"idle_session_timeout": ("0", 140000), "transaction_timeout": ("0", 170000)}

_KEEPALIVE = {"keepalives": "1", "keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "3"}

# What libpq and the server say, what it means, and what to do. The first that fits is taken.
_CAUSES = (
    ("connection refused", "Nothing listens there.", "Check that the server runs, and its host and port."),
    ("no such file or directory", "There is no such socket.", "Check that the server runs, and its socket directory."),
    ("timeout expired", "No answer came in time.", "Check the network and firewalls between here and the server."),
    ("could not translate host name", "The host's name is not known here.", "Check the name, or use an address."),
    ("no route to host", "The network does not lead there.", "Check the address and the firewalls."),
    ("network is unreachable", "The network does not lead there.", "Check the address and the routes."),
    ("no pg_hba.conf entry", "The server's pg_hba.conf does not let this user in from here.",
     "Add a line for it to pg_hba.conf, then as a superuser: SELECT pg_reload_conf();"),
    ("pg_hba.conf rejects", "A line of the server's pg_hba.conf turns this user away from here.",
     "Put a line that lets it in before that one, then as a superuser: SELECT pg_reload_conf();"),
    ("password authentication failed", "The password is wrong.",
     "Check the password in .pgpass or password_environment."),
    ("no password supplied", "The server wants a password and none is configured.",
     "Put it in .pgpass, or name an environment variable in password_environment."),
    ("permission denied to start wal sender", "The role may not replicate.",
     "As a superuser: ALTER ROLE … REPLICATION"),
    ("must be superuser or replication role", "The role may not replicate.",
     "As a superuser: ALTER ROLE … REPLICATION"),
    ("too many", "All of the server's connection slots are in use.", "Raise max_connections or max_wal_senders."),
    ("remaining connection slots", "All of the server's connection slots are in use.", "Raise max_connections."),
    ("number of requested standby connections", "All WAL senders are in use.", "Raise max_wal_senders."),
    ('role "', "", "Check the user, or create the role."),
    ('database "', "", "Check dbname in the connection string."),
    ("starting up", "", "Wait until the server has finished its recovery."),
    ("shutting down", "", "Wait until the server is back."),
)
_NO_ENTRY = re.compile(r'no pg_hba\.conf entry for (?P<replication>replication connection from )?'
                       r'host "(?P<host>[^"]+)", user "(?P<user>[^"]+)"')
_NO_ROLE = re.compile(r'role "(?P<user>[^"]+)" (?P<lack>does not exist|is not permitted to log in)')
_AROUND = re.compile(r"^(- host: .*?: )?connection (is bad|failed): "
                     r"|^Multiple connection attempts failed\. All failures were:$")
_NO_REPLICATION = re.compile(r"permission denied to start wal sender|must be superuser or replication role", re.I)


def connect(server: ServerConfig, *, replication: bool = False, database: str | None = None,
            settings: Mapping[str, str] = NO_SETTINGS) -> Connection:
    """An open connection in autocommit mode, to be closed by the caller; `settings` hold for this session.

    `database` is another one than the connection string's. With `replication` it is a physical walsender session,
    whose `pgconn` takes replication commands; such a session takes its settings only while it begins, and has none
    but `settings`. Raises Unreachable when it cannot be had, ConfigError when the connection string itself is wrong.
    """
    text = server.streaming_conninfo if replication else server.conninfo
    parameters = connection_parameters(text, server.password_environment)
    if replication:
        parameters["replication"] = "true"
        asked = [parameters.get("options", ""), *(f"-c {name}={value}" for name, value in settings.items())]
        parameters["options"] = " ".join(asked).strip()
    elif database is not None:
        parameters["dbname"] = database
    try:
        connection = psycopg.connect(autocommit=True, prepare_threshold=None, **parameters)
    except psycopg.OperationalError as error:
        raise _unreachable(server.name, error, parameters.get("user")) from None
    if not replication:
        try:
            _settle(connection, settings)
        except psycopg.Error as error:
            connection.close()
            raise translated(server.name, error, "begin a session") from error
    return connection


def session_settings(version: int, settings: Mapping[str, str] = NO_SETTINGS, *, local: bool = False) -> str:
    """The statements with which every SQL session begins, by the server's version as in 170004; `settings` beside
    them or instead of them. `local` is for one transaction.

    They come after the login, and not in the connection's `options`: poolers refuse those, a server refuses the ones
    that it does not know, and what a site runs at each login (event triggers) counts on its own settings.
    """
    known = {name: value for name, (value, since) in _SESSION_SINCE.items() if version >= since}
    return "; ".join(f"SET {'LOCAL ' if local else ''}{name} = '{value}'"
                     for name, value in (_SESSION | known | dict(settings)).items())


def _settle(connection: Connection, settings: Mapping[str, str]) -> None:
    """Behind a pooler, which may hand each transaction to another server session and this session's settings to
    other clients, everything is one transaction that ends with the connection."""
    row = connection.execute("SELECT pg_catalog.pg_backend_pid()").fetchone()
    is_pooled = row is not None and row[0] != connection.info.backend_pid
    if is_pooled:
        connection.autocommit = False
    connection.execute(session_settings(connection.info.server_version, settings, local=is_pooled).encode())


def connection_parameters(text: str, password_environment: str | None = None) -> dict[str, Any]:
    """What libpq is given: the connection string, the password's place, and pgvault's own settings."""
    try:
        parameters: dict[str, Any] = {key: value for key, value in libpq.conninfo_to_dict(text).items()
                                      if value is not None}
    except psycopg.Error:
        raise ConfigError("a connection string is not one that libpq understands",
                          hint='Write it as "host=db1 port=5432 user=pgvault dbname=postgres".') from None
    if password_environment:
        password = os.environ.get(password_environment)
        if password is None:
            raise ConfigError(f"the environment variable {password_environment} is not set",
                              detail="The configuration names it in password_environment.")
        parameters["password"] = password
    parameters.setdefault("connect_timeout", str(CONNECT_TIMEOUT))
    for key, value in _KEEPALIVE.items():
        parameters.setdefault(key, value)
    return parameters | {"application_name": "pgvault", "client_encoding": "UTF8"}


@contextmanager
def session(server: ServerConfig, doing: str = "ask the server",
            settings: Mapping[str, str] = NO_SETTINGS) -> Iterator[Connection]:
    """A connection for one piece of work: closed at its end, its errors in pgvault's words."""
    connection = connect(server, settings=settings)
    try:
        yield connection
    except psycopg.Error as error:
        raise translated(server.name, error, doing) from error
    finally:
        connection.close()


@contextmanager
def answer_expected(server: str, connection: pq.abc.PGconn) -> Iterator[None]:
    """Unreachable when what is asked within is not answered in ANSWER_SECONDS: the connection is then cut from here.
    Also at once, when it is known to be lost.

    A network that swallows everything is never noticed by whoever waits in libpq, and a server that hangs keeps the
    connection alive. On purpose with a thread: so it is the same for a statement and a replication command.
    """
    try:
        link = socket.socket(fileno=os.dup(connection.socket))
    except psycopg.OperationalError as error:  # libpq noticed the end before, and has no socket any more
        raise Unreachable(f"the connection to {server} was lost", detail=_sentence(_first_line(error))) from error
    is_cut = threading.Event()

    def cut() -> None:
        is_cut.set()
        with suppress(OSError):
            link.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(ANSWER_SECONDS, cut)
    timer.start()
    try:
        yield
    except (PgvaultError, psycopg.Error) as error:
        if is_cut.is_set():
            raise Unreachable(f"{server} gave no answer for {ANSWER_SECONDS:.0f} seconds") from error
        raise
    finally:
        timer.cancel()
        timer.join()
        link.close()


def translated(server: str, error: psycopg.Error, doing: str) -> PgvaultError:
    """The error for a statement that failed; `doing` reads after "could not"."""
    text = _first_line(error)
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return Refused(f"could not {doing}: {text}", detail=f"The role may not do this on {server}.",
                       hint=f"See which right is missing, and its GRANT: pgvault check {server}")
    if isinstance(error, psycopg.OperationalError) and error.sqlstate is None:
        return Unreachable(f"could not {doing}: the connection to {server} was lost", detail=_sentence(text),
                           hint="Check that the server is running, then run this again.")
    return PgvaultError(f"could not {doing}: {text}", detail=(error.diag.message_detail or "") if error.diag else "",
                        hint=(error.diag.message_hint or "") if error.diag else "")


def _unreachable(server: str, error: psycopg.Error, user: str | None) -> Unreachable:
    said = _said(error)
    for sign, cause, hint in _CAUSES:
        if sign in said.lower():
            return Unreachable(f"could not connect to {server}", detail=f"{cause} {_sentence(said)}".strip(),
                               hint=_exact_hint(said, user) or hint)
    return Unreachable(f"could not connect to {server}", detail=_sentence(said),
                       hint="Check conninfo in the configuration.")


def _said(error: psycopg.Error) -> str:
    """Each failure once, in one line, without libpq's questions and psycopg's words around them."""
    lines = (_AROUND.sub("", " ".join(line.split())) for line in str(error).splitlines())
    said = "; ".join(dict.fromkeys(line for line in lines if line and not line.startswith("Is the server running")))
    return said[:1].upper() + said[1:]


def _exact_hint(said: str, user: str | None) -> str | None:
    """The very line or statement that is missing, where what was said tells enough to write it."""
    if match := _NO_ENTRY.search(said):
        database = "replication" if match["replication"] else "all"
        host = match["host"]
        where = f"local  {database}" if host == "[local]" else f"host  {database}"
        address = "" if host == "[local]" else f"  {host}/{128 if ':' in host else 32}"
        return f"Add this line to pg_hba.conf, then as a superuser: SELECT pg_reload_conf();\n" \
               f"{where}  {sql_identifier(match['user'])}{address}  scram-sha-256"
    if match := _NO_ROLE.search(said):
        role = sql_identifier(match["user"])
        verb = "CREATE" if match["lack"] == "does not exist" else "ALTER"
        return f"Check the user, or as a superuser:\n{verb} ROLE {role} LOGIN REPLICATION;\n" \
               f"GRANT pg_read_all_settings TO {role};\n" \
               f"GRANT EXECUTE ON FUNCTION pg_catalog.pg_switch_wal() TO {role};"
    if user and _NO_REPLICATION.search(said):
        return f"As a superuser: ALTER ROLE {sql_identifier(user)} REPLICATION;"
    return None


def _first_line(error: psycopg.Error) -> str:
    text = (error.diag.message_primary if error.diag else None) or str(error)
    return text.strip().splitlines()[0] if text.strip() else type(error).__name__


def _sentence(text: str) -> str:
    text = text.strip()
    return text if not text or text.endswith((".", "?", "!")) else text + "."
