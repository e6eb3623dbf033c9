"""A running restored server for the operations on it: its host, its programs, sessions with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

from pgvault.config.conninfo import parse_conninfo
from pgvault.config.load import Config
from pgvault.engine.restore.ask import LoginPath, NotAnswered, RestoredServer
from pgvault.engine.restore.observation import Observation, observe_server
from pgvault.engine.restore.start import programs_for
from pgvault.engine.restored.side import Side
from pgvault.io.host import Host
from pgvault.io.hosts import connect_host
from pgvault.io.probe import probe_destination
from pgvault.io.quoting import join
from pgvault.model.errors import NotFound, PgvaultError, Refused, Unreachable
from pgvault.model.event import Emit
from pgvault.model.restored import RestoredCopy

_DATABASES = "SELECT datname::text AS name FROM pg_database"


@dataclass(frozen=True, slots=True)
class RunningCopy:
    copy: RestoredCopy
    config: Config
    host: Host
    programs: str
    """The directory of PostgreSQL's programs of its major version, on its host."""
    observation: Observation
    server: RestoredServer

    async def connect(self, scope: AsyncExitStack, database: str) -> tuple[Side, LoginPath]:
        """Open a session that the scope closes, and return it with its login path. Unreachable with the reason if every
        login fails."""
        try:
            connection, login = await self.server.connection(scope, database)
        except NotAnswered as failure:
            raise await self._refusal(database, failure) from None
        name = f"the restored {self.copy.server}"
        return Side(name, connection, f"read {name}", when_locked(self.copy.job)), login

    async def _refusal(self, database: str, failure: NotAnswered) -> PgvaultError:
        with suppress(NotAnswered):
            if not any(row["name"] == database for row in await self.server.ask(_DATABASES)):
                return NotFound(f"{self.copy.called} has no database {database}",
                                hint=f"List its databases: pgvault look {self.copy.job}")
        return Unreachable(f"could not log in to {self.copy.called}, in {self.copy.place}", detail=f"{failure.text}.",
                           hint=failure.hint or "Allow pgvault's role in its pg_hba.conf, or set conninfo of the "
                                                "host in the configuration.")

    def words(self, login: LoginPath, database: str) -> list[str]:
        """Return the options with which a client program on its host connects to this database."""
        place = login.place or next(iter(self.server.places), None)
        user = login.user or parse_conninfo(self.server.conninfo).get("user", "")
        return [*(["-h", place[0], "-p", str(place[1])] if place else []), *(["-U", user] if user else []),
                "-d", database_word(database)]


def database_word(name: str) -> str:
    """Return the argument of -d for this database. A name that looks like a connection string would be parsed as
    one."""
    if "=" not in name and not name.startswith(("postgresql://", "postgres://")):
        return name
    return "dbname='" + name.replace("\\", "\\\\").replace("'", "\\'") + "'"


def when_locked(job: str) -> str:
    """Return the hint for a locked table of that copy: replay holds the locks of transactions that had not ended at the
    target."""
    return ("If it is paused at its target, a transaction that had not ended there, such as the drop itself, holds the "
            f"lock: pgvault open {job} ends the recovery, rolls that transaction back and frees the lock. Else see "
            "pg_locks there for who holds it.")


@asynccontextmanager
async def reach_copy(copy: RestoredCopy, config: Config, emit: Emit) -> AsyncIterator[tuple[Host, str, Observation]]:
    """Open the copy's host, find the programs of its major version there, and observe its state, running or not."""
    host_config = config.host(copy.host) if copy.host else None
    async with await connect_host(copy.host, host_config, emit) as host:
        there = await probe_destination(host, copy.directory, (), (host_config and host_config.bin_directory) or "")
        programs = programs_for(there, copy.major).directory
        yield host, programs, await observe_server(host, copy.directory, programs)


@asynccontextmanager
async def open_copy(copy: RestoredCopy, config: Config, emit: Emit) -> AsyncIterator[RunningCopy]:
    """Open the copy; Refused if it does not run."""
    host_config = config.host(copy.host) if copy.host else None
    async with reach_copy(copy, config, emit) as (host, programs, observation):
        if not observation.alive:
            if (await probe_destination(host, copy.directory, ())).incomplete_restore == copy.job:
                raise Refused(f"{copy.called} is partly removed: {copy.place}", detail="It cannot be started again.",
                              hint="Remove the rest: " + join(["pgvault", "throw-away", copy.job, "--remove",
                                                               copy.directory]))
            start = (host_config and host_config.start_command_for(copy.directory)) or \
                join([f"{programs}/pg_ctl", "start", "-D", copy.directory])
            where = "no longer exists" if not observation.directory else "does not run"
            raise Refused(f"{copy.called} {where}: {copy.place}",
                          hint=f"Start it on {host.description}: {start}" if observation.directory else
                          f"Restore again: pgvault restore {copy.server} --choices shows what can be reached.")
        server = RestoredServer(host, host_config, config.server(copy.server), copy, programs)
        server.seen(observation)
        yield RunningCopy(copy, config, host, programs, observation, server)


async def program(running: RunningCopy, name: str) -> str:
    """Return the full path of a client program of its major version on its host; Refused if it is missing."""
    path = f"{running.programs}/{name}"
    try:
        done = await running.host.run([path, "--version"])
    except PgvaultError as error:
        raise Refused(f"{name} cannot be run on {running.host.description}", detail=error.message) from error
    if done.status:
        raise Refused(f"{running.host.description} has no {name} of PostgreSQL {running.copy.major}",
                      detail=f"Tried {path}: {done.stderr or 'no message'}.",
                      hint="Install PostgreSQL's client programs there, or correct bin_directory of this host.")
    return path
