"""Sessions with a restored server, by whichever login succeeds.

pgvault's own role is tried first, by the host's configured conninfo or through the connection to the host; then the
host's psql as the operating system's user, which `peer` accepts where pgvault's role is refused, and which needs no
forwarding. Each is tried in several databases and at every address where the server listens.

All questions are queries whose answer is JSON, so that they read the same by libpq and by psql, and mean the same
whatever DateStyle the site has.
"""

from __future__ import annotations

import asyncio
import json
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, replace
from typing import Any

import psycopg

from pgvault.config.conninfo import parse_conninfo
from pgvault.config.schema import HostConfig, ServerConfig
from pgvault.engine.restore.observation import NOTHING_SEEN, Observation
from pgvault.io.host import Host
from pgvault.io.login import AsyncConnection, databases, server_message
from pgvault.io.postgres import begin, connection_parameters, no_timeouts, session_settings
from pgvault.model.errors import PgvaultError
from pgvault.model.restored import RestoredCopy

ANSWER_SECONDS = 10.0
"""The default timeout of a query, in seconds."""
LOCK_SECONDS = 3.0
"""How long a query may wait for a lock, in seconds."""
_CONNECT_SECONDS = 5
_ALL_WAYS_SECONDS = 30.0
"""The timeout of all attempts at one query together, in seconds."""
_AFTER = 5.0
"""The seconds within which a server should have stopped a query after the request."""

_STARTING_SECONDS = 5.0
"""The greatest difference, in seconds, between the server's own start time and the slightly earlier one in its
postmaster.pid, which has whole seconds.
"""
_IDENTITY = """SELECT (SELECT setting FROM pg_settings WHERE name = 'data_directory') AS directory,
  extract(epoch FROM pg_postmaster_start_time())::float8 AS started"""

_PSQL = """# ask the restored server with psql
program=$1
[ -x "$program" ] || program=psql
unset PGOPTIONS PGSERVICE PGSSLMODE
exec "$program" -X -A -t -q -w -v ON_ERROR_STOP=1 -v VERBOSITY=verbose -d "$2"
"""
_PSQL_ERROR = re.compile(r"^[^\s:]+:  ([0-9A-Z]{5}): (.*)", re.MULTILINE)
_AROUND = re.compile(r"connection (is bad|failed): |^psql: (error: )?|^Is the server running.*$|"
                     r"^Multiple connection attempts failed.*$|^- host: .*?: (?=connection)", re.MULTILINE)


class NotAnswered(Exception):
    """A query failed. `sqlstate` gives the reason; it is empty if the session was lost or could not be opened. `hint`
    is the next step, if it is known.
    """

    def __init__(self, text: str, sqlstate: str = "", hint: str = "", *, silent: bool = False) -> None:
        """`silent`: nothing answered in time, so nobody refused."""
        super().__init__(text)
        self.text, self.sqlstate, self.hint, self.silent = text, sqlstate, hint, silent


class Session(ABC):
    """A session in autocommit mode with pgvault's own settings."""

    @abstractmethod
    async def document(self, sql: str, *, seconds: float = ANSWER_SECONDS) -> Any:
        """Return the one JSON value that the statement returns; NotAnswered if it fails."""

    async def rows(self, sql: str, *, seconds: float = ANSWER_SECONDS) -> list[dict[str, Any]]:
        """Return the rows of a query whose columns JSON can represent; NotAnswered if it fails."""
        found = await self.document(f"SELECT coalesce(json_agg(row_to_json(q)), '[]') FROM (\n{sql}\n) q",
                                    seconds=seconds)
        return list(found)


@dataclass(frozen=True, slots=True)
class LoginPath:
    """A way to open a session."""

    by_psql: bool
    place: tuple[str, int] | None
    """Where the server listens on its host; None for the configured conninfo."""
    user: str = ""
    """The role; empty for libpq's default."""


class RestoredServer:
    """Opens sessions with the restored server. Where it listens is not known before `seen` is called."""

    def __init__(self, host: Host, config: HostConfig | None, server: ServerConfig, copy: RestoredCopy,
                 programs: str = "") -> None:
        """Make it without a session; `programs` is the directory of PostgreSQL's programs on the host, if it is known.
        """
        self._host, self._config, self._server, self._copy, self._programs = host, config, server, copy, programs
        self.places: list[tuple[str, int]] = []
        self._last: tuple[LoginPath, str] | None = None
        """The login path that last succeeded, and its database."""
        self._observation = NOTHING_SEEN
        self._is_known = False

    @property
    def conninfo(self) -> str:
        """Return the host's configured conninfo; empty if there is none."""
        return (self._config and self._config.conninfo) or ""

    def seen(self, observation: Observation) -> None:
        """Note where the server listens, by its postmaster.pid and by its plan."""
        self._observation = observation
        if observation.port is None:
            return
        sockets = (self._copy.listens and self._copy.listens.socket_directories) or ()
        places = [each for each in (*observation.places, *sockets) if each[0] in "/@"]
        addresses = [each for each in observation.places if each[0] not in "/@"]
        self.places = [(each, observation.port) for each in dict.fromkeys([*places, *addresses])]

    async def ask(self, sql: str) -> list[dict[str, Any]]:
        """Return the rows of a query about the whole server, from the first session that answers. Raises NotAnswered if
        none does.
        """
        try:
            async with asyncio.timeout(_ALL_WAYS_SECONDS):
                return await self._ask(sql)
        except TimeoutError:
            raise NotAnswered(f"no answer came in {_ALL_WAYS_SECONDS:.0f} seconds", silent=True) from None

    async def _ask(self, sql: str) -> list[dict[str, Any]]:
        failures: list[str] = []
        for login, name in self._tries():
            async with AsyncExitStack() as scope:
                try:
                    rows = await (await self._open(scope, login, name)).rows(sql)
                except NotAnswered as failure:
                    failures.append(failure.text)
                    continue
            self._last = login, name
            return rows
        raise NotAnswered(_most_useful(failures) or "where it listens is not known")

    async def sessions(self, database: str) -> AsyncGenerator[Session, None]:
        """Yield all sessions that can be opened in this database, one after the other: another role may have more
        privileges. Raises NotAnswered if there is none.
        """
        failures, found = [], False
        for login in dict.fromkeys([*([self._last[0]] if self._last else []), *self._login_paths()]):
            async with AsyncExitStack() as scope:
                try:
                    session = await self._open(scope, login, database)
                except NotAnswered as failure:
                    failures.append(failure.text)
                    continue
                found = True
                yield session
        if not found:
            raise NotAnswered(_most_useful(failures) or "where it listens is not known")

    async def connection(self, scope: AsyncExitStack, database: str) -> tuple[AsyncConnection, LoginPath]:
        """Open a connection that is not limited to queries, and that the scope closes; return it with its login path.
        Raises NotAnswered if there is none.
        """
        failures: dict[str, str] = {}
        for login in self._connecting():
            async with AsyncExitStack() as trying:
                try:
                    connection = await self._connect(trying, login, database)
                except NotAnswered as failure:
                    failures.setdefault(" ".join(failure.text.split()), failure.hint)
                    continue
                await scope.enter_async_context(trying.pop_all())
                return connection, login
        reason = _most_useful(list(failures))
        raise NotAnswered(reason or "where it listens is not known", hint=failures.get(reason, ""))

    async def why_closed(self, database: str) -> str:
        """Return the error of the sessions in this database if none can be opened; empty if one can."""
        try:
            async with aclosing(self.sessions(database)) as sessions:
                async for _ in sessions:
                    break
        except NotAnswered as failure:
            return failure.text
        return ""

    def _tries(self) -> Iterator[tuple[LoginPath, str]]:
        """Yield the login paths, the one that last succeeded first."""
        every = [(login, name) for login in self._login_paths() for name in self._databases(login)]
        yield from dict.fromkeys([*([self._last] if self._last else []), *every])

    def _login_paths(self) -> list[LoginPath]:
        ours = parse_conninfo(self._server.conninfo).get("user", "postgres")
        reachable = [place for place in self.places if not (place[0].startswith("@") and self._is_remote)]
        people = dict.fromkeys(("", "postgres", ours))
        return [*([LoginPath(False, None)] if self.conninfo else []),
                *(LoginPath(False, place, ours) for place in reachable),
                *(LoginPath(True, place, user) for user in people for place in self.places)]

    def _connecting(self) -> Iterator[LoginPath]:
        """Yield connections by libpq, also of other roles: the one that may read everything is used."""
        logins = [login for login in self._login_paths() if not login.by_psql]
        people = dict.fromkeys(login.user for login in self._login_paths() if login.user)
        others = (replace(login, user=user) for login in logins if login.place for user in people)
        yield from dict.fromkeys([*logins, *others])

    @property
    def _is_remote(self) -> bool:
        return self._config is not None and self._config.ssh is not None

    def _databases(self, login: LoginPath) -> Sequence[str]:
        """Return the databases that may exist: pg_database can be read in any of them, but not before."""
        named = parse_conninfo(self.conninfo if login.place is None else self._server.conninfo).get("dbname", "")
        return databases(named if login.place is None else "", then=(named, *self._copy.databases[:1]))

    async def _open(self, scope: AsyncExitStack, login: LoginPath, database: str) -> Session:
        if login.by_psql:
            session: Session = _ByPsql(self._host, self._programs, _target(login, database), self._copy.major)
            await session.document("SELECT 'true'::json")
            return session
        return _ByLibpq(await self._connect(scope, login, database))

    async def _connect(self, scope: AsyncExitStack, login: LoginPath, database: str) -> AsyncConnection:
        try:
            async with asyncio.timeout(_CONNECT_SECONDS + _AFTER), AsyncExitStack() as begun:
                parameters = await self._parameters(begun, login)
                connection = await begun.enter_async_context(
                    await begin(parameters | {"dbname": database}, _settings(ANSWER_SECONDS)))
                await scope.enter_async_context(begun.pop_all())
        except TimeoutError:
            raise NotAnswered("it takes connections and does not answer") from None
        except (psycopg.Error, PgvaultError) as error:
            raise _not_answered(error) from error
        if login.place is None and not self._is_known:
            await self._recognise(_ByLibpq(connection))
        return connection

    async def _recognise(self, session: Session) -> None:
        """Check the server's identity. A configured conninfo may lead elsewhere, for example to the old server, whose
        answers prove nothing.
        """
        identity, observation = (await session.rows(_IDENTITY))[0], self._observation
        directory, started = identity["directory"], identity["started"]
        self._is_known = directory in (self._copy.directory, observation.directory) if directory else (
            observation.alive and observation.started is not None
            and 0 <= started - observation.started <= _STARTING_SECONDS)
        if self._is_known:
            return
        if not observation.alive:
            raise NotAnswered("the restored server does not run")
        raise PgvaultError(
            f"the conninfo of host {self._config and self._config.name} does not lead to the restored server",
            detail=f"What answers there has its data in {directory or 'a directory that it does not show'}.",
            hint="The restored server runs; connect to it by hand. Correct that conninfo, or leave it out: pgvault "
                 "then asks through its own connection to the host.")

    async def _parameters(self, scope: AsyncExitStack, login: LoginPath) -> dict[str, Any]:
        if login.place is None:
            given = connection_parameters(self.conninfo, (self._config and self._config.password_environment) or "")
            return given if self._copy.port is None else {**given, "port": str(self._copy.port)}
        there = await scope.enter_async_context(self._host.forward_socket(*login.place))
        given = connection_parameters(f"user={_quoted(login.user)}", self._server.password_environment or "")
        return {**given, "host": there.host, "port": str(there.port), "connect_timeout": str(_CONNECT_SECONDS)}


class _ByLibpq(Session):
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection, self._seconds = connection, ANSWER_SECONDS

    async def document(self, sql: str, *, seconds: float = ANSWER_SECONDS) -> Any:
        try:
            async with asyncio.timeout(seconds + _AFTER):
                if seconds != self._seconds:
                    await self._connection.execute(f"SET statement_timeout = {_milliseconds(seconds)}".encode())
                    self._seconds = seconds
                row = await (await self._connection.execute(sql.encode())).fetchone()
        except TimeoutError:
            raise NotAnswered(f"no answer came in {seconds + _AFTER:.0f} seconds") from None
        except psycopg.Error as error:
            raise _not_answered(error) from error
        return None if row is None else row[0]


class _ByPsql(Session):
    def __init__(self, host: Host, programs: str, target: str, major: int) -> None:
        self._host, self._program, self._major = host, f"{programs}/psql", major
        # There is no pooler between psql and the restored server that would refuse the options.
        self._target = f"{target} options={_quoted(no_timeouts(major))}"

    async def document(self, sql: str, *, seconds: float = ANSWER_SECONDS) -> Any:
        settings = session_settings(self._major * 10000, _settings(seconds))
        text = f"SET client_encoding = 'UTF8'; {settings};\n{sql};\n"
        try:
            done = await self._host.run_script(_PSQL, self._program, self._target, input=text.encode(),
                                               timeout=seconds + _CONNECT_SECONDS + _AFTER)
        except PgvaultError as error:
            raise NotAnswered(error.message) from error
        if done.status:
            found = _PSQL_ERROR.search(done.stderr)
            raise NotAnswered(" ".join(found[2].split()), found[1]) if found and done.status == 3 else \
                NotAnswered(_one_line(done.stderr) or f"psql ended with status {done.status}")
        try:
            return json.loads(done.stdout)
        except ValueError:
            raise NotAnswered("psql's answer cannot be read") from None


def _settings(seconds: float) -> dict[str, str]:
    """Return the settings of a session; no query may change the restored server."""
    return {"statement_timeout": _milliseconds(seconds), "lock_timeout": _milliseconds(LOCK_SECONDS),
            "default_transaction_read_only": "on"}


def _milliseconds(seconds: float) -> str:
    return f"{max(seconds * 1000, 1):.0f}"


def _target(login: LoginPath, database: str) -> str:
    assert login.place is not None
    parts = {"host": login.place[0], "port": str(login.place[1]), "dbname": database, "user": login.user,
             "application_name": "pgvault", "connect_timeout": str(_CONNECT_SECONDS)}
    return " ".join(f"{key}={_quoted(value)}" for key, value in parts.items() if value)


def _not_answered(error: psycopg.Error | PgvaultError) -> NotAnswered:
    if isinstance(error, PgvaultError):
        return NotAnswered(error.message, hint=error.hint)
    message = error.diag.message_primary if error.diag else None
    return NotAnswered(" ".join(message.split()) if message else _one_line(str(error)) or type(error).__name__,
                       error.sqlstate or "")


def _one_line(text: str) -> str:
    return "; ".join(dict.fromkeys(filter(None, (_AROUND.sub("", line).strip() for line in text.splitlines()))))


def _most_useful(failures: Sequence[str]) -> str:
    """Return the server's own error, in preference to one in reaching it."""
    reason = next((each for each in failures if server_message(each)), failures[0] if failures else "")
    return " ".join(reason.split())


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
