"""Finds what people want to take back: drops, truncations and mass deletions, from the changes of a transaction.

The rules, derived from what real servers write (13 to 18):
* A commit names the files that it removed, and from 15 on the OIDs of what it dropped. Rewriting a table (VACUUM FULL,
  CLUSTER, ALTER, REFRESH) creates a transient table and drops it again, sometimes with the old TOAST table. So a drop
  is one of something that the transaction did not create itself, and that is more than such leftovers. Before 15 the
  deleted rows of pg_class show the same: those that the transaction did not insert itself.
* TRUNCATE, REINDEX and rewriting replace files by new ones. The first file that TRUNCATE creates stays without a page;
  the others write pages at once.
* Files that the transaction created itself, and those of system catalogs, are no loss.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from typing import NamedTuple

from pgvault.model.lsn import Lsn
from pgvault.wal.bodies import Relation
from pgvault.wal.facts import RestorePoint
from pgvault.wal.transaction_changes import Acts, Deletion, Ended
from pgvault.wal.transactions import Kind, Transaction
from pgvault.wal.versions import FORMATS

FIRST_USER_OID = 16384
"""Smaller OIDs belong to the system (`access/transam.h`, FirstNormalObjectId)."""
_PG_NAMESPACE = 2615
"""OID, and the number of the file until that is rewritten."""
_DATABASE_STATISTICS, _RELATION_STATISTICS = 1, 2
_NEAR = 1 << 20
"""The greatest distance in bytes of an unreadable mark before the deletion that it belongs to."""


class EventKind(Enum):
    DROP = "drop"
    TRUNCATE = "truncate"
    REWRITE = "rewrite"
    """VACUUM FULL, CLUSTER, REINDEX, ALTER TABLE ..., REFRESH: no accident, but it replaced the files."""
    DROP_DATABASE = "drop-database"
    DELETE = "delete"
    """Many rows were deleted or updated."""
    RESTORE_POINT = "restore-point"


class Rows(NamedTuple):
    """What a transaction did to the rows of one relation."""

    relation: Relation
    deleted: int
    updated: int

    @property
    def total(self) -> int:
        return self.deleted + self.updated


@dataclass(frozen=True, slots=True)
class Finding:
    """One event, identified by the numbers in the WAL."""

    kind: EventKind
    lsn: Lsn
    """Position of the record to stop before."""
    end_lsn: Lsn
    """End of the record that made it permanent. WAL up to here contains the event."""
    time: datetime
    xid: int
    database: int
    oids: tuple[int, ...] = ()
    """OIDs of the relations, the most significant first; if not `exact`, all that the transaction locked."""
    exact: bool = False
    first_locked: int = 0
    """OID of what it locked first: the table named in the statement."""
    files: tuple[Relation, ...] = ()
    """Files that were removed."""
    transient: int = 0
    """Number of relations that it made and dropped again: at least one for each table that it rewrote."""
    schemas: int = 0
    """Number of schemas that it dropped; the WAL does not show which."""
    rows: tuple[Rows, ...] = ()
    """Counts by relation, most rows first."""
    name: str = ""
    """Name of the restore point, or of the database if the WAL shows it."""
    prepared: str | None = None
    """The name if it was prepared and then committed by COMMIT PREPARED, empty if the WAL does not show the name; else
    None."""


Known = Callable[[int, int], str]
"""Returns the kind of a relation by database and OID, as in pg_class.relkind; empty if it is unknown."""


def nothing_known(database: int, oid: int) -> str:
    return ""


def restore_point(point: RestorePoint) -> Finding:
    return Finding(EventKind.RESTORE_POINT, point.lsn, point.end_lsn, point.time, 0, 0, name=point.name)


def find_accidents(ended: Ended, rows: int, known: Known = nothing_known) -> list[Finding]:
    """Return what a committed transaction did that someone may want to take back, and rewrites.

    A mass deletion changes at least `rows` rows of one relation. ValueError if the commit record cannot be decoded.
    """
    if ended.is_dull(rows):
        return []
    transaction, acts = ended.transaction, ended.changes.acts or Acts()
    found = [*_dropped_databases(transaction, acts)]
    if (removal := _removal(transaction, acts, ended, known)) is not None:
        found.append(removal)
    if (deletion := _deletion(transaction, acts, ended, rows)) is not None:
        found.append(deletion)
    if transaction.kind is Kind.COMMIT_PREPARED:
        found = [replace(each, prepared=transaction.gid) for each in found]
    return found


def _dropped_databases(transaction: Transaction, acts: Acts) -> list[Finding]:
    """Find the dropped databases. ALTER DATABASE SET TABLESPACE removes files too, but only a drop deletes the row."""
    dropped = {each.database for each in transaction.dropped if each.kind == _DATABASE_STATISTICS}
    found = []
    for oid, lsn in acts.removed.items():
        if not acts.databases and oid not in dropped:
            continue
        mark = next((each.mark for each in acts.databases.values() if _is_of(each, oid)), None)
        name = mark.database.name if mark and mark.database else ""
        found.append(Finding(EventKind.DROP_DATABASE, Lsn(mark.lsn if mark else lsn), transaction.end_lsn,
                             transaction.time, transaction.xid, oid, name=name))
    return found


def _is_of(deletion: Deletion, oid: int) -> bool:
    """Return whether the mark is where the removal of this database began. A checkpoint follows it before the
    deletion."""
    mark = deletion.mark
    return mark is not None and (mark.database.oid == oid if mark.database else deletion.lsn - mark.lsn < _NEAR)


def _removal(transaction: Transaction, acts: Acts, ended: Ended, known: Known) -> Finding | None:
    """Classify the removal of files by the commit."""
    files = tuple(each for each in transaction.relations if each not in acts.created and each.number >= FIRST_USER_OID)
    own = {each.number for each in acts.created}
    locked = [oid for _, oid in acts.locks if oid not in own]
    if not files or (locked and all(oid < FIRST_USER_OID for oid in locked)):
        return None
    database = transaction.database or files[0].database
    dropped = [each.object for each in transaction.dropped if each.kind == _RELATION_STATISTICS]
    names_dropped = FORMATS[ended.major].dropped_statistics is not None
    if names_dropped:
        transient = sum(oid in own for oid in dropped)
        lost = [oid for oid in dropped if oid not in own]
        surely = any(known(database, oid) not in ("", "t") for oid in lost)
        count = len(lost)
    else:
        count, transient = _rows_lost(acts, len(files))
        lost, surely = locked, False
    if surely or count > 2 * transient:  # a transient table may take an old TOAST table and its index with it
        kind, oids = EventKind.DROP, lost
    else:
        filled = next(iter(acts.created.values()), False)
        kinds = {known(database, oid) for oid in locked if oid >= FIRST_USER_OID}
        kind = EventKind.REWRITE if transient or filled or (kinds and kinds <= {"i", "I"}) else EventKind.TRUNCATE
        oids = locked
    order = {oid: place for place, oid in enumerate(locked)}
    return Finding(kind, transaction.lsn, transaction.end_lsn, transaction.time, transaction.xid, database,
                   oids=tuple(sorted((oid for oid in oids if oid >= FIRST_USER_OID),
                                     key=lambda oid: order.get(oid, len(order)))),
                   exact=kind is EventKind.DROP and names_dropped,
                   first_locked=locked[0] if locked else 0, files=files, transient=transient,
                   schemas=sum(deleted for relation, deleted, _ in ended.changes.counts()
                               if (relation.database, relation.number) == (database, _PG_NAMESPACE)))


def _rows_lost(acts: Acts, files: int) -> tuple[int, int]:
    """Return how many rows of pg_class it deleted that existed before, and how many of its own."""
    if not (acts.gone or acts.moved or acts.born):  # pg_class was rewritten, and no backup has its file number
        return max(files - len(acts.created), 0), 0
    own = 0
    for place in acts.gone:
        while place not in acts.born and place in acts.moved:
            place = acts.moved[place]
        own += place in acts.born
    return len(acts.gone) - own, own


def _deletion(transaction: Transaction, acts: Acts, ended: Ended, least: int) -> Finding | None:
    rows = [Rows(relation, deleted, updated) for relation, deleted, updated in ended.changes.counts()
            if deleted + updated >= least and relation.number >= FIRST_USER_OID and relation not in acts.created]
    if not rows:
        return None
    rows.sort(key=lambda each: -each.total)
    return Finding(EventKind.DELETE, transaction.lsn, transaction.end_lsn, transaction.time, transaction.xid,
                   transaction.database or rows[0].relation.database, rows=tuple(rows))
