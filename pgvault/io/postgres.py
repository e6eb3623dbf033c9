"""SQL and replication connections to a server.

All connections to PostgreSQL are opened here, so that every session has the same name in `pg_stat_activity` and the
same settings, whatever the site's defaults are, and every failure the same messages. No message repeats a connection
string, which may hold a password.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import MappingProxyType
from typing import Any, TypeVar

import psycopg
from psycopg import conninfo as libpq
from psycopg import pq
from psycopg.abc import PQGen
from psycopg.waiting import Ready

from pgvault.config.schema import ServerConfig
from pgvault.io.login import AbstractSockets, AsyncConnection, databases, for_psycopg, refused_database
from pgvault.io.patience import POLL_SECONDS, IsCancelled, never, within
from pgvault.io.pooler import at_the_console, is_console
from pgvault.io.postgres_failure import translated, unreachable
from pgvault.model.errors import Cancelled, ConfigError, Unreachable
from pgvault.model.majors import facts_of

NO_SETTINGS: Mapping[str, str] = MappingProxyType({})
T = TypeVar("T")

CONNECT_TIMEOUT = 10
"""Seconds for one address, unless the connection string sets its own timeout."""
LOGIN_SECONDS = 60.0
"""Seconds for all hosts and addresses of a connection string together, including name lookups."""
ANSWER_SECONDS = 60.0
"""Seconds for a query that a working server answers at once."""

# A site's settings in postgresql.conf, or for its roles and databases, are meant for its applications.
_SESSION = {
    "statement_timeout": f"{ANSWER_SECONDS:.0f}s", "lock_timeout": "10s", "idle_in_transaction_session_timeout": "0",
    "role": "none", "search_path": "pg_catalog",
    "DateStyle": "ISO, MDY", "IntervalStyle": "postgres", "bytea_output": "hex", "extra_float_digits": "1",
    "standard_conforming_strings": "on", "quote_all_identifiers": "off", "jit": "off",
    "default_transaction_isolation": "read committed", "default_transaction_read_only": "off",
    "default_transaction_deferrable": "off",
    "row_security": "off",  # an error instead of silently omitted rows
}
_TIMED_OUT = ("57014", "57P05", "25P03", "25P04")
"""SQLSTATEs: statement_timeout, idle_session_timeout, idle_in_transaction_session_timeout, transaction_timeout."""

_KEEPALIVE = {"keepalives": "1", "keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "3",
              "tcp_user_timeout": "60000"}


class Connection(AbstractSockets, psycopg.Connection[tuple[Any, ...]]):
    """A connection on which no wait is endless. A wait raises Unreachable after `patience` seconds without a byte, or
    at the `deadline` of the whole session, and Cancelled as soon as `cancelled` says so.

    libpq alone never notices a network that drops all packets, and a hanging server keeps the connection alive.
    """

    server = ""
    cancelled: IsCancelled = staticmethod(never)
    patience = ANSWER_SECONDS
    deadline: float | None = None
    is_pooled = False
    """Whether a connection pooler is between here and the server."""
    refusal = ""
    """The server's message if it rejected the configured database, so that this session is in another one."""

    def wait(self, gen: PQGen[T], interval: float = POLL_SECONDS, timeout: float | None = None) -> T:
        """Override psycopg's waiting, to check the limits at each step."""
        try:
            wanted = next(gen)
            while True:
                wanted = gen.send(Ready(self._await(int(wanted))))
        except StopIteration as end:
            result: T = end.value
            return result

    def ask(self, command: str) -> pq.abc.PGresult | None:
        """Return the first result of a replication command. psycopg's own waiting would block all threads."""
        self.pgconn.send_query(command.encode())
        while self.pgconn.flush():
            self._await(Ready.W)
        return self.next_result()

    def next_result(self) -> pq.abc.PGresult | None:
        while self.pgconn.is_busy():
            self._await(Ready.R)
            self.pgconn.consume_input()
        return self.pgconn.get_result()

    def cancel_within(self, seconds: float) -> None:
        """Ask the server to cancel its current command, if the request arrives in time."""
        with suppress(psycopg.Error, TimeoutError):  # the server notices the closed connection anyway, only later
            within(seconds + 1, lambda: self.cancel_safe(timeout=seconds))

    def _await(self, wanted: int) -> int:
        poll = select.poll()
        poll.register(self.pgconn.socket, (wanted & Ready.R and select.POLLIN) | (wanted & Ready.W and select.POLLOUT))
        give_up = time.monotonic() + self.patience
        if self.deadline is not None:
            give_up = min(give_up, self.deadline)
        while not (came := poll.poll(POLL_SECONDS * 1000)):
            if self.cancelled():
                raise Cancelled(f"cancelled while waiting for {self.server}")
            if time.monotonic() >= give_up:
                raise Unreachable(f"{self.server} did not answer in time",
                                  detail="The connection is up, but nothing arrives.",
                                  hint="Check that the server is not stuck, and check the network.")
        [(_, events)] = came
        return wanted & ((Ready.R if events & ~select.POLLOUT else 0) | (Ready.W if events & ~select.POLLIN else 0))


def connect(server: ServerConfig, *, replication: bool = False, database: str | None = None,
            settings: Mapping[str, str] = NO_SETTINGS, seconds: float | None = None,
            cancelled: IsCancelled = never) -> Connection:
    """Open a connection in autocommit mode, which the caller closes. `settings` apply to this session.

    `seconds` limit the login, at however many addresses, and every answer. `database` is the one to connect to; without
    it, it is the connection string's, or another if that one rejects connections. With `replication` it is a physical
    walsender session, whose `pgconn` takes replication commands; such a session accepts settings only when it starts,
    and has none but `settings`. Raises Unreachable if the connection fails, ConfigError if the connection string itself
    is wrong.
    """
    text = server.streaming_conninfo if replication else server.conninfo
    parameters = connection_parameters(text, server.password_environment)
    if replication:
        parameters["replication"] = "true"
        asked = [parameters.get("options", ""), *(f"-c {name}={value}" for name, value in settings.items())]
        parameters["options"] = " ".join(asked).strip()
    elif database is not None:
        parameters["dbname"] = database
    deadline = None if seconds is None else time.monotonic() + seconds
    patience = LOGIN_SECONDS if seconds is None else seconds
    give_up = time.monotonic() + patience

    def log_in(parameters: dict[str, Any]) -> Connection:
        try:
            connection = _log_in_at(parameters, give_up - time.monotonic(), cancelled,
                                    elsewhere=not replication and database is None)
        except psycopg.OperationalError as error:
            raise unreachable(server.name, error, parameters.get("user")) from None
        except TimeoutError:
            raise Unreachable(
                f"could not connect to {server.name}", detail=f"No answer came in {patience:.0f} seconds.",
                hint="Check the network, firewalls and name servers between here and the server.") from None
        connection.server, connection.cancelled = server.name, cancelled
        connection.patience, connection.deadline = ANSWER_SECONDS, deadline
        return connection

    return log_in(parameters) if replication else _open_session(server.name, log_in, parameters, settings)


def _open_session(server: str, log_in: Callable[[dict[str, Any]], Connection], parameters: dict[str, Any],
                  settings: Mapping[str, str]) -> Connection:
    """Return a session with its settings: a second one if the site's timeouts ended the first before they were set."""
    connection = log_in(parameters)
    version = connection.info.server_version  # a lost connection has none
    try:
        return _begun(connection, settings)
    except psycopg.Error as error:
        if lasting := without_timeouts(parameters, version, error):
            with suppress(Unreachable, psycopg.Error):  # such as a pooler's refusal of options: the first error counts
                return _begun(log_in(lasting), settings)
        raise translated(server, error, "begin a session") from error


def _begun(connection: Connection, settings: Mapping[str, str]) -> Connection:
    try:
        _settle(connection, settings)
    except BaseException:
        connection.close()
        raise
    return connection


def _log_in_at(parameters: dict[str, Any], seconds: float, cancelled: IsCancelled, *, elsewhere: bool) -> Connection:
    """Log in to the database of the parameters, or `elsewhere`. Raises the first OperationalError, or TimeoutError."""
    deadline = time.monotonic() + seconds
    try:
        return _log_in(parameters, seconds, cancelled)
    except psycopg.OperationalError as error:
        if not elsewhere or not (refusal := refused_database(error)):
            raise
        refused = error
    for name in databases():
        with suppress(psycopg.OperationalError):
            connection = _log_in(parameters | {"dbname": name}, deadline - time.monotonic(), cancelled)
            connection.refusal = refusal
            return connection
    raise refused


def _log_in(parameters: dict[str, Any], seconds: float, cancelled: IsCancelled) -> Connection:
    addresses = max(parameters.get(key, "").count(",") + 1 for key in ("host", "hostaddr"))
    each = min(int(parameters["connect_timeout"]) or CONNECT_TIMEOUT, max(2, int(seconds / addresses)))
    given = for_psycopg(parameters) | {"connect_timeout": str(each)}
    return within(seconds, lambda: Connection.connect(autocommit=True, prepare_threshold=None, **given),
                  cancelled=cancelled, late=Connection.close)


def session_settings(version: int, settings: Mapping[str, str] = NO_SETTINGS, *, local: bool = False) -> str:
    """Return the statements that begin every SQL session, by the server's version as in 170004. `settings` are added,
    or replace the defaults. `local` limits them to one transaction.

    They are sent after the login and not in the connection's `options`: poolers refuse those, a server refuses unknown
    ones, and event triggers on login expect the site's own settings. See `without_timeouts` for the exception.
    """
    timeouts = dict.fromkeys(facts_of(version // 10000).session_timeouts, "0")
    return "; ".join(f"SET {'LOCAL ' if local else ''}{name} = '{value}'"
                     for name, value in (_SESSION | timeouts | dict(settings)).items())


def without_timeouts(parameters: Mapping[str, Any], version: int, error: psycopg.Error) -> dict[str, Any] | None:
    """Return the parameters for a second login if one of the site's timeouts may have ended the session before its own
    were set: with options that switch all of them off. None if the error is another one.
    """
    # A session that is ended while it is idle only looks lost: libpq passes on the server's reason as a notice.
    is_lost = isinstance(error, psycopg.OperationalError) and error.sqlstate is None
    if not is_lost and error.sqlstate not in _TIMED_OUT:
        return None
    return {**parameters, "options": f"{parameters.get('options', '')} {no_timeouts(version // 10000)}"}


def no_timeouts(major: int) -> str:
    """Return the `options` of a login to a server of this major that switch off all timeouts that can end a session."""
    names = ("statement_timeout", "idle_in_transaction_session_timeout", *facts_of(major).session_timeouts)
    return " ".join(f"-c {name}=0" for name in names)


def _settle(connection: Connection, settings: Mapping[str, str]) -> None:
    """Set up the session. A pooler may pass each transaction to another server session, and this session's settings to
    other clients, so there everything is one transaction that ends with the connection."""
    if is_console(connection.info.parameter_status("server_version") or ""):
        raise at_the_console(connection.server)
    row = connection.execute("SELECT pg_catalog.pg_backend_pid()").fetchone()
    connection.is_pooled = row is not None and row[0] != connection.info.backend_pid
    if connection.is_pooled:
        connection.autocommit = False
    connection.execute(session_settings(connection.info.server_version, settings, local=connection.is_pooled).encode())


def connection_parameters(text: str, password_environment: str | None = None) -> dict[str, Any]:
    """Return libpq's parameters: the connection string, the password's place, and pgvault's own settings."""
    try:
        parameters: dict[str, Any] = {key: value for key, value in libpq.conninfo_to_dict(text).items()
                                      if value is not None}
    except psycopg.Error:
        raise ConfigError("libpq cannot parse a connection string",
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
            settings: Mapping[str, str] = NO_SETTINGS, seconds: float | None = None,
            cancelled: IsCancelled = never) -> Iterator[Connection]:
    """Open a connection for one operation. It is closed at the end, and its errors become pgvault's."""
    connection = connect(server, settings=settings, seconds=seconds, cancelled=cancelled)
    try:
        yield connection
    except psycopg.Error as error:
        raise translated(server.name, error, doing) from error
    finally:
        connection.close()


async def begin(parameters: Mapping[str, Any], settings: Mapping[str, str], *, local: bool = False) -> AsyncConnection:
    """Open a session for asyncio, in autocommit mode; with `local` in a transaction, to which the settings are limited.

    The caller limits the time, and translates psycopg's errors.
    """
    connection = await _log_in_async(parameters, local)
    version = connection.info.server_version  # a lost connection has none
    try:
        return await _begun_async(connection, settings, local)
    except psycopg.Error as error:
        if lasting := without_timeouts(parameters, version, error):
            with suppress(psycopg.Error):
                return await _begun_async(await _log_in_async(lasting, local), settings, local)
        raise


async def _log_in_async(parameters: Mapping[str, Any], local: bool) -> AsyncConnection:
    return await AsyncConnection.connect(autocommit=not local, prepare_threshold=None, **for_psycopg(dict(parameters)))


async def _begun_async(connection: AsyncConnection, settings: Mapping[str, str], local: bool) -> AsyncConnection:
    try:
        await connection.execute(session_settings(connection.info.server_version, settings, local=local).encode())
    except BaseException:
        await connection.close()
        raise
    return connection
