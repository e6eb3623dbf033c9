"""Which of a backup's relations arrived and which did not, queried from its manifest in portions, however many there
are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pgvault.vault.manifest import ManifestWriter
from pgvault.vault.names import RelationName, from_sql

PORTION = 1000
_DEFAULT_TABLESPACE = 1663
_SEGMENT = re.compile(r"(?P<first>(?:base|pg_tblspc/(?P<tablespace>\d+)/[^/]+)/(?P<database>\d+)/(?P<number>\d+))"
                      r"(?:\.(?P<segment>\d+))?")


class WholeSegments(NamedTuple):
    """A relation of which only complete segments arrived: either it ends there, or the next segment is missing."""

    database: int
    tablespace: int
    number: int
    path: str
    """The path of the segment that did not arrive."""
    size: int
    """The bytes of the segments before it."""
    others: bool
    """True if later segments arrived."""


def relations_without_file(manifest: ManifestWriter, database: int, places: Iterable[str]) -> Iterator[RelationName]:
    """Return the relations of a database that have a file in the catalogue and none in the backup: neither in `base`
    nor in another of these directories of databases.
    """
    where, values = ["r.number > 0"], []
    for place in ("base", *places):
        for fork in ("", "_init"):  # the only fork of an unlogged relation that is backed up
            where.append("NOT EXISTS (SELECT 1 FROM file WHERE path = ? || r.database || '/' || r.number || ?)")
            values += [f"{place}/", fork]
    where.append("NOT EXISTS (SELECT 1 FROM file WHERE path = 'global/' || r.number)")
    query = (f"SELECT r.* FROM relation r WHERE database = ? AND oid > ? AND {' AND '.join(where)}"
             f" ORDER BY oid LIMIT {PORTION}")
    last = 0
    while rows := manifest.rows(query, [database, last, *values]):
        for _, oid, number, schema, name, kind in rows:
            yield RelationName(database, oid, number, from_sql(schema), from_sql(name), kind)
        last = rows[-1][1]


def ends_of_whole_segments(manifest: ManifestWriter, segment_bytes: int) -> Iterator[WholeSegments]:
    """Return the last segments of all relations of which a segment has the maximum size and the next one is missing."""
    last = 0
    while rows := manifest.rows("SELECT id, path FROM file WHERE id > ? AND size = ? AND kind = 'file'"
                                f" ORDER BY id LIMIT {PORTION}", [last, segment_bytes]):
        for _, path in rows:
            if isinstance(path, str) and (found := _SEGMENT.fullmatch(path)):
                following = int(found["segment"] or 0) + 1
                if not manifest.has(missing := f"{found['first']}.{following}"):
                    yield WholeSegments(
                        int(found["database"]), int(found["tablespace"] or _DEFAULT_TABLESPACE), int(found["number"]),
                        missing, following * segment_bytes, _has_later(manifest, found["first"], following))
        last = rows[-1][0]


def _has_later(manifest: ManifestWriter, first: str, number: int) -> bool:
    return bool(manifest.rows("SELECT 1 FROM file WHERE path > ? AND path < ? AND CAST(substr(path, ?) AS INTEGER) > ?"
                              " LIMIT 1", [f"{first}.", f"{first}/", len(first) + 2, number]))
