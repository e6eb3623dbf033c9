"""Checks that a base backup contains everything that it must contain.

PostgreSQL sends the files that it finds. Files behind a link, files that somebody moved away, and a missing directory
of a tablespace or database are no error to it: its base backup succeeds without them. So what arrived is compared with
the catalogues: the cluster's before the start and after the end, and the relations' as read by `names`. What was
created or dropped in between is in the WAL.

No catalogue has the number of a relation's segments. PostgreSQL takes a missing one for the relation's end, and so does
its size function. It is noticed only if later segments arrived, or if the relation ends with a complete segment though
its statistics count more pages. A truncated relation keeps an empty segment there, and one that grew during the backup
has more on the server by now.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, islice
from typing import Any, TypeVar

import psycopg

from pgvault.config.schema import ServerConfig
from pgvault.io.patience import IsCancelled
from pgvault.io.postgres import connect, session
from pgvault.io.postgres_failure import translated
from pgvault.model.errors import Cancelled, Incomplete, PgvaultError
from pgvault.vault.arrived import PORTION, WholeSegments, ends_of_whole_segments, relations_without_file
from pgvault.vault.manifest import ManifestWriter
from pgvault.vault.names import RelationName

_DEFAULT_TABLESPACE, _SHARED_TABLESPACE = 1663, 1664
_MOST_NAMED = 5
T = TypeVar("T")
_DATA = re.compile(r"PG_VERSION|backup_label|tablespace_map|"
                   r"(base|global|pg_xact|pg_multixact|pg_commit_ts|pg_twophase|pg_logical|pg_tblspc)(/.*)?")

_FILE = re.compile(r"(?<![\w/])(?:base/\d+|global|pg_tblspc/\d+/PG_\d+_\d+/\d+)/\d+(?:\.\d+)?(?![\w.])")
"""A relation's file in an error of the server, in any language."""
_XIDS = 1 << 32
_XACT_PAGES, _XACT_PER_BYTE = 32, 4

_CLUSTER = """
SELECT (SELECT catalog_version_no FROM pg_control_system()), pg_snapshot_xmin(pg_current_snapshot())::text,
       pg_size_bytes(current_setting('segment_size')), clock_timestamp()"""
_SHARED = """
SELECT 'global/' || pg_relation_filenode(oid), ' of ' || relname FROM pg_class
WHERE relisshared AND pg_relation_filenode(oid) IS NOT NULL"""
# pg_control's own oldest xid is made up after a pg_resetwal, and after a pg_upgrade to an older version.
_XACTS = """
SELECT split_part(next_xid, ':', 2)::bigint, datfrozenxid::text::bigint, current_setting('block_size')::int
FROM pg_control_checkpoint(), pg_database WHERE datconnlimit <> -2 ORDER BY age(datfrozenxid) DESC LIMIT 1"""
_DATABASES = "SELECT oid::bigint, datname, dattablespace::bigint FROM pg_database WHERE datconnlimit <> -2"
_TABLESPACES = "SELECT oid::bigint, spcname FROM pg_tablespace"
# The file is initdb's, or the row has named it since before the backup: the row has not been changed since.
_STILL = """
SELECT c.oid::bigint FROM pg_class c
WHERE (c.oid, pg_relation_filenode(c.oid)) IN (SELECT * FROM unnest(%s::oid[], %s::oid[]))
  AND (pg_relation_filenode(c.oid) < 16384
       OR c.relfilenode <> 0 AND age(c.xmin) > age((%s::numeric %% 4294967296)::text::xid))"""

# The server has no more of it either, in the file that it uses now.
_CUT = """
SELECT e.path, coalesce(n.nspname, ''), c.relname
FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::bigint[], %s::bool[]) e (tablespace, number, path, size, others)
JOIN pg_class c ON c.oid = pg_filenode_relation(e.tablespace::oid, e.number::oid)
LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE pg_relation_size(c.oid) = e.size AND (e.others OR c.relpages > e.size / current_setting('block_size')::bigint)"""


@dataclass(frozen=True, slots=True)
class Database:
    oid: int
    name: str
    tablespace: int


@dataclass(frozen=True, slots=True)
class Cluster:
    """The content of the shared catalogues at one time."""

    version_directory: str
    """Name of this PostgreSQL's directory in each tablespace: PG_18_202506291."""
    databases: Mapping[int, Database]
    tablespaces: Mapping[int, str]
    oldest_xid: str
    """All transactions before this 64-bit xid had ended."""
    segment_bytes: int
    """Maximum size of one file of a relation."""
    at: datetime
    """The server's time."""
    lasting: frozenset[tuple[str, str]] = frozenset()
    """Files of the whole cluster, each with words that follow it: what is there before and after a backup was there
    all the time."""


def read_cluster(server: ServerConfig, cancelled: IsCancelled) -> Cluster:
    with session(server, "list the databases", cancelled=cancelled) as sql:
        [(catalogue, oldest_xid, segment_bytes, at)] = sql.execute(_CLUSTER).fetchall()
        xacts = chain.from_iterable(transaction_files(*each) for each in sql.execute(_XACTS).fetchall())
        return Cluster(f"PG_{sql.info.server_version // 10000}_{catalogue}",
                       {each[0]: Database(*each) for each in sql.execute(_DATABASES).fetchall()},
                       dict(sql.execute(_TABLESPACES).fetchall()), oldest_xid, segment_bytes, at,
                       frozenset(sql.execute(_SHARED).fetchall()) | {(path, "") for path in xacts})


def transaction_files(next_xid: int, oldest_xid: int, block_size: int) -> Iterator[str]:
    """Yield the files that hold the states of the transactions from the oldest to the one before the next."""
    held = _XACT_PAGES * _XACT_PER_BYTE * block_size
    last = next_xid + _XIDS - 1
    for number in range((last + 1 - (next_xid - oldest_xid) % _XIDS) // held, last // held + 1):
        yield f"pg_xact/{number % (_XIDS // held):04X}"


def is_data(path: str) -> bool:
    """Return whether a path is part of the data, and not a site's own file."""
    return _DATA.fullmatch(path) is not None


def fail_skipped(server: str, paths: Iterable[str]) -> None:
    """Raise Incomplete if PostgreSQL reported that it skipped data."""
    if left_out := _some(path for path in paths if is_data(path)):
        raise Incomplete(
            f"the backup of {server} would lack {left_out}",
            detail="It is a symbolic link or another special file. PostgreSQL skips those in a base backup, except the "
                   "links of tablespaces and of pg_wal.",
            hint="Stop PostgreSQL, move the link's target back into the data directory, or make it a "
                 "tablespace; then run the backup again.")


class Comparison:
    """Compares what arrived with what must have arrived."""

    def __init__(self, server: ServerConfig, before: Cluster, after: Cluster, manifest: ManifestWriter,
                 initial: Mapping[int, Collection[tuple[int, int]]], errors: Iterable[str] = ()) -> None:
        """Begin a comparison; `initial` has, by database, the OIDs and files of the relations in initdb's files,
        `errors` are the server's at the questions for names."""
        self._server, self._before, self._manifest, self._initial = server, before, manifest, initial
        self._databases = [each for oid, each in before.databases.items() if after.databases.get(oid) == each]
        self._tablespaces = {oid: name for oid, name in before.tablespaces.items() if oid in after.tablespaces
                             and oid not in (_DEFAULT_TABLESPACE, _SHARED_TABLESPACE)}
        self._lasting, self._errors = dict(sorted(before.lasting & after.lasting)), errors
        self.not_compared: list[str] = []
        """What could not be compared, in words."""

    def fail_lacking(self, cancelled: IsCancelled) -> None:
        """Raise Incomplete, naming what did not arrive."""
        if lacking := _some(chain(self._clusters(), self._unopened(*self._errors),
                                   self._relations(cancelled))):
            raise Incomplete(
                f"the backup of {self._server.name} lacks {lacking}",
                detail="PostgreSQL did not send it: the file or directory is missing on the server.",
                hint="Search for it there, and check the server's log. Older backups may still have it: "
                     f"pgvault list-backups {self._server.name}")

    def _clusters(self) -> Iterator[str]:
        own = ((path, "") for path in ("PG_VERSION", "global/pg_control", "global/pg_filenode.map"))
        for path, what in chain(own, self._lasting.items()):
            if not self._manifest.has(path):
                yield f"{path}{what}"
        for oid, name in self._tablespaces.items():
            if not self._manifest.has(path := f"pg_tblspc/{oid}/{self._before.version_directory}"):
                yield f"{path} of tablespace {name}"
        for database in self._databases:
            for path in (f"{self._place(database)}/{file}" for file in ("PG_VERSION", "pg_filenode.map")):
                if not self._manifest.has(path):
                    yield f"{path} of database {database.name}"

    def _unopened(self, *errors: str) -> Iterator[str]:
        """Yield files that the server did not find either: without one of a catalogue it cannot be asked."""
        return (path for path in dict.fromkeys(chain.from_iterable(map(_FILE.findall, errors)))
                if path not in self._lasting and not self._manifest.has(path))

    def _place(self, database: Database) -> str:
        if database.tablespace == _DEFAULT_TABLESPACE:
            return f"base/{database.oid}"
        return f"pg_tblspc/{database.tablespace}/{self._before.version_directory}/{database.oid}"

    def _relations(self, cancelled: IsCancelled) -> Iterator[str]:
        """Yield missing files of relations that did not change during the backup; changes are in the WAL."""
        places = [f"pg_tblspc/{oid}/{self._before.version_directory}" for oid in self._tablespaces]
        cut: dict[int, list[WholeSegments]] = {}
        for end in ends_of_whole_segments(self._manifest, self._before.segment_bytes):
            cut.setdefault(end.database, []).append(end)
        for database in self._databases:
            lost = chain(self._initial_lost(database), relations_without_file(self._manifest, database.oid, places))
            try:
                for some in _portions(lost):
                    yield from self._still_lost(database, some, cancelled)
                for ends in _portions(cut.get(database.oid, ())):
                    yield from self._still_cut(database, ends, cancelled)
            except Cancelled:
                raise
            except PgvaultError as error:
                yield from self._unopened(error.message)
                self.not_compared.append(f"the relations of database {database.name}: {error.message}")

    def _initial_lost(self, database: Database) -> Iterator[RelationName]:
        place = self._place(database)
        for oid, number in self._initial.get(database.oid, ()):
            if not self._manifest.has(f"{place}/{number}") and not self._manifest.has(f"{place}/{number}_init"):
                yield RelationName(database.oid, oid, number, "pg_catalog", str(oid), "r")

    def _still_lost(self, database: Database, lost: list[RelationName], cancelled: IsCancelled) -> Iterator[str]:
        still = {oid for (oid,) in self._ask(database, cancelled, _STILL, (
            [each.oid for each in lost], [each.number for each in lost], self._before.oldest_xid))}
        return (f"the file {each.number} of {each.schema}.{each.name} in database {database.name}"
                for each in lost if each.oid in still)

    def _still_cut(self, database: Database, ends: list[WholeSegments], cancelled: IsCancelled) -> Iterator[str]:
        rows = self._ask(database, cancelled, _CUT, tuple(
            [getattr(each, column) for each in ends] for column in ("tablespace", "number", "path", "size", "others")))
        return (f"{path} of {schema}.{name} in database {database.name}" for path, schema, name in rows)

    def _ask(self, database: Database, cancelled: IsCancelled, query: str,
             values: Sequence[object]) -> list[tuple[Any, ...]]:
        connection = connect(self._server, database=database.name, cancelled=cancelled)
        try:
            return connection.execute(query.encode(), values).fetchall()
        except psycopg.Error as error:
            raise translated(self._server.name, error, "examine its relations again") from error
        finally:
            connection.close()


def _portions(things: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(things)
    while portion := list(islice(iterator, PORTION)):
        yield portion


def _some(things: Iterable[str]) -> str:
    """Name the first few, and how many more there are; empty if there is none."""
    iterator = iter(things)
    named = ", ".join(islice(iterator, _MOST_NAMED))
    more = sum(1 for _ in iterator)
    return f"{named} and {more} more" if more else named
