"""What comes after the proof, as commands to be copied: how a table goes back, and how a paused server is gone on with.

Pure. Every name is quoted for whoever reads it: the pattern of `pg_dump -t`, SQL, libpq's connection string and, at the
end, the shell. No password is in any of them: libpq asks for one, or finds it in the person's own ~/.pgpass.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pgvault.config.conninfo import parse_conninfo
from pgvault.config.schema import HostConfig, ServerConfig
from pgvault.console.wizard.draft import Draft, Then, What
from pgvault.model.identifier import sql_identifier
from pgvault.model.relation import RelationName, parse_relation
from pgvault.model.text import visible

_HERE = ("localhost", "127.0.0.1", "::1", "")
_URIS = ("postgresql://", "postgres://")
BRING_BACK, _THROW_AWAY = "bring back", "throw away"
RESUME = "SELECT pg_wal_replay_resume()"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens and as whom it is asked; empty and None for what libpq takes by itself."""

    host: str = ""
    """A name, an address, or the directory of its socket."""
    port: int | None = None
    user: str = ""

    def words(self, database: str) -> list[str]:
        """The options of psql and of pg_dump."""
        words = ["-h", self.host] if self.host else []
        words += ["-p", str(self.port)] if self.port else []
        words += ["-U", self.user] if self.user else []
        return [*words, "-d", _database(database)]


def _database(name: str) -> str:
    """What -d takes for this very database: a name that looks like a connection string would be read as one."""
    if "=" not in name and not name.startswith(_URIS):
        return name
    return "dbname='" + name.replace("\\", "\\\\").replace("'", "\\'") + "'"


def original(server: ServerConfig) -> Address:
    """As the configuration names it."""
    known = parse_conninfo(server.conninfo)
    return Address(known.get("host", ""), _port(known.get("port")), known.get("user", ""))


def restored(plan: Mapping[str, Any], server: ServerConfig, host: HostConfig | None) -> Address:
    """Where the restored server listens: by the host's own conninfo, by what the plan says, or by the host's usual."""
    known = parse_conninfo(host.conninfo) if host and host.conninfo else {}
    listens = plan.get("listens") or {}
    sockets = listens.get("socket_directories") or ([host.socket_directory] if host and host.socket_directory else [])
    user = known.get("user") or parse_conninfo(server.conninfo).get("user", "postgres")
    port = plan.get("port") or _port(known.get("port")) or listens.get("port") or (host.port if host else None)
    return Address(known.get("host") or next(iter(sockets), ""), port, user)


def _port(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() else None


def psql(server: Address, database: str, *commands: str) -> str:
    """A session, or these statements."""
    chosen = [word for command in commands for word in ("-c", command)]
    return shlex.join(["psql", *server.words(database), *chosen])


def dump_to(source: Address, aim: Address, tables: Sequence[RelationName]) -> str:
    """Tables of one database, from one server into the same database of another; all of them or nothing."""
    chosen = [word for table in tables for word in ("-t", pattern(table))]
    database = tables[0].database
    dump = shlex.join(["pg_dump", *source.words(database), *chosen])
    return f"{dump} | {shlex.join(['psql', *aim.words(database), '-v', 'ON_ERROR_STOP=1', '-1', '-f', '-'])}"


def copy_beside(source: Address, aim: Address, table: RelationName) -> str:
    """The rows of one table into a new one beside the table of the other server, which has others by now."""
    name, beside = pattern(table), pattern(RelationName(table.database, table.schema, f"{table.name[:54]}_restored"))
    out = shlex.join(["psql", *source.words(table.database), "-c", f"COPY {name} TO STDOUT"])
    into = ["psql", *aim.words(table.database), "-v", "ON_ERROR_STOP=1", "-c", f"CREATE TABLE {beside} (LIKE {name})",
            "-c", f"COPY {beside} FROM STDIN"]
    return f"{out} | {shlex.join(into)}"


def pattern(table: RelationName) -> str:
    """Its schema and name in double quotes where they need them: so SQL reads them, and so does `pg_dump -t`, which
    folds to lower case and takes * and ? for wild cards where there are none."""
    return f"{sql_identifier(table.schema)}.{sql_identifier(table.name)}"


def stop_and_remove(draft: Draft, host: HostConfig | None) -> str:
    """What throws the restored server away."""
    own = host.stop_command if host else None
    program = f"{host.bin_directory.rstrip('/')}/pg_ctl" if host and host.bin_directory else "pg_ctl"
    stop = own or shlex.join([program, "stop", "-D", draft.directory, "-m", "fast"])
    places = [draft.directory, *(place for _, place in draft.tablespaces)]
    return f"{stop} && {shlex.join(['rm', '-r', *places])}"


@dataclass(frozen=True, slots=True)
class Next:
    """One thing that can be done now."""

    name: str
    says: str
    """What for, in words."""
    command: str = ""
    note: str = ""
    """What to mind."""


def afterwards(draft: Draft, plan: Mapping[str, Any], server: ServerConfig, host: HostConfig | None,
               took: str) -> Iterator[Next]:
    """What can be done once the restored server runs and was asked; `took` is how long the restore was."""
    here, aim = restored(plan, server, host), original(server)
    tables = [parse_relation(name) for name in draft.expect]
    database = tables[0].database if tables else parse_conninfo(server.conninfo).get("dbname", "postgres")
    yield Next("look", "at the restored server", psql(here, database))
    if tables:
        yield from _back(draft, here, aim, tables)
    if draft.then is Then.PAUSE:
        yield Next("open it", "for use: replay ends here, on a timeline of its own", psql(here, database, RESUME))
        yield Next("other point", f"t goes back to choose one, with all you said; it is a restore again, and this one "
                                  f"took {took}. Throw this one away first, or choose another directory.")
    yield Next(_THROW_AWAY, "stop the restored server and remove its files", stop_and_remove(draft, host))


def _back(draft: Draft, here: Address, aim: Address, tables: Sequence[RelationName]) -> Iterator[Next]:
    """Into the original server."""
    note = ""
    if aim.host in _HERE or aim.host.startswith("/"):
        note = f"The original is configured as {aim.host or 'this machine'}: from another machine, name it with -h."
    if draft.what in (What.ROWS, What.DEPLOY):
        for table in tables:
            yield Next(BRING_BACK, f"the rows as they were, beside {pattern(table)} of {draft.server}",
                       copy_beside(here, aim, table), note)
        return
    stays = " ".join(filter(None, ("If the table is still there, this stops and changes nothing; of one that was "
                                   "truncated, pg_dump -a brings the rows alone.", note)))
    for same in _by_database(tables):
        yield Next(BRING_BACK, f"{', '.join(map(pattern, same))} to {draft.server}", dump_to(here, aim, same), stays)


def _by_database(tables: Iterable[RelationName]) -> Iterator[list[RelationName]]:
    every = list(tables)
    for database in dict.fromkeys(table.database for table in every):
        yield [table for table in every if table.database == database]


def copied(steps: Iterable[Next]) -> str:
    """The commands as they may be pasted all at once: only those that bring tables back run. Others are comments, which
    no name can end, and which harm nothing in a shell that takes them for commands; what removes files is not there."""
    return "".join(f"# {each.name}\n{each.command if each.name == BRING_BACK else f'# {visible(each.command)}'}\n"
                   for each in steps if each.command and each.name != _THROW_AWAY)
