"""Backs up a site's files behind links in the data directory, such as its configuration.

PostgreSQL skips links in a base backup. Their targets are read by SQL, if the role may, and stored as files of the
backup under the links' own names, so that a restored server finds them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import psycopg

from pgvault.config.schema import ServerConfig
from pgvault.io.patience import IsCancelled
from pgvault.io.postgres import Connection, session
from pgvault.model.errors import Cancelled, PgvaultError

_MOST_BYTES = 1 << 20
_MOST_FILES = 200
_DEEPEST = 3
_SECONDS = 30.0
_SOCKET = ".s.PGSQL."


@dataclass(frozen=True, slots=True)
class Linked:
    """A file's content, or None for a directory."""

    path: str
    content: bytes | None


@dataclass(frozen=True, slots=True)
class Taken:
    found: tuple[Linked, ...]
    left: tuple[str, ...]
    """What could not be read, each with the reason."""


def read_linked(server: ServerConfig, paths: Iterable[str], cancelled: IsCancelled) -> Taken:
    """Read the targets of links. `paths` are relative to the data directory; the server's own sockets are skipped."""
    wanted = [path for path in paths if not path.startswith(_SOCKET)]
    if not wanted:
        return Taken((), ())
    found: list[Linked] = []
    left: list[str] = []
    try:
        with session(server, "read the targets of links", seconds=_SECONDS, cancelled=cancelled) as sql:
            logs = sql.execute("SELECT setting FROM pg_settings WHERE name = 'log_directory'").fetchone()
            for path in wanted:
                if logs is None or path != logs[0]:
                    _read(sql, path, found, left, _DEEPEST)
    except Cancelled:
        raise
    except PgvaultError as error:
        left += [f"{path} ({error.message})" for path in wanted if all(path != each.path for each in found)]
    return Taken(tuple(found), tuple(left))


def _read(sql: Connection, path: str, found: list[Linked], left: list[str], deep: int) -> None:
    try:
        [(size, is_directory)] = sql.execute("SELECT size, isdir FROM pg_stat_file(%s)", (path,)).fetchall()
        if is_directory and deep and len(found) < _MOST_FILES:
            found.append(Linked(path, None))
            for (name,) in sql.execute("SELECT pg_ls_dir(%s) ORDER BY 1", (path,)).fetchall():
                _read(sql, f"{path}/{name}", found, left, deep - 1)
        elif is_directory or size > _MOST_BYTES or len(found) >= _MOST_FILES:
            left.append(f"{path} (too large for configuration)")
        elif size:  # opening a pipe or a device, whose size is 0, could hang the server's process
            [(content,)] = sql.execute("SELECT pg_read_binary_file(%s)", (path,)).fetchall()
            found.append(Linked(path, content))
    except psycopg.Error as error:
        if sql.broken:
            raise
        left.append(f"{path} ({error.diag.message_primary or error})")
