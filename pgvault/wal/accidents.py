"""What people want to take back: drops, truncations, mass deletions, told from the evidence of a transaction.

The rules, with what real servers write (13 to 18):

* A commit names the files that it removed, and from 15 on the OIDs of what it dropped. Rewriting a table (VACUUM FULL,
  CLUSTER, ALTER, REFRESH) makes a transient table and drops it again, sometimes with the TOAST table of old; so a drop
  is one of something that the transaction had not made itself, and that is more than such left-overs. Before 15 the
  rows of pg_class that it deleted tell the same: those that it had not inserted itself.
* TRUNCATE, REINDEX and rewriting leave new files for old ones. The first file that TRUNCATE makes stays without a page;
  the others write pages at once.
* Files that the transaction made itself, and those of the system's catalogs, are nobody's loss.
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
"""OIDs below are the system's (`access/transam.h`, FirstNormalObjectId)."""
_DATABASE_STATISTICS, _RELATION_STATISTICS = 1, 2
_NEAR = 1 << 20
"""Bytes: a mark that cannot be read has to be as near as that before the deletion it belongs to."""


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
    """One thing that happened, in the numbers that WAL speaks of."""

    kind: EventKind
    lsn: Lsn
    """Of the record to stop before."""
    end_lsn: Lsn
    """The end of the record with which it became real: WAL up to here has it."""
    time: datetime
    xid: int
    database: int
    oids: tuple[int, ...] = ()
    """Of the relations, the most telling first; where they are not `exact`, all that the transaction locked."""
    exact: bool = False
    aim: int = 0
    """OID of what it locked first: the table that a statement names."""
    files: tuple[Relation, ...] = ()
    """That were removed."""
    rows: tuple[Rows, ...] = ()
    """By relation, most rows first."""
    name: str = ""
    """Of the restore point, or of the database where WAL says it."""
    prepared: str | None = None
    """It was prepared earlier and committed by COMMIT PREPARED: the name, empty where WAL does not say it."""


Known = Callable[[int, int], str]
"""The kind of a relation by database and OID, a letter as in pg_class.relkind; empty when it is not known."""


def nothing_known(database: int, oid: int) -> str:
    return ""


def restore_point(point: RestorePoint) -> Finding:
    return Finding(EventKind.RESTORE_POINT, point.lsn, point.end_lsn, point.time, 0, 0, name=point.name)


def find_accidents(ended: Ended, rows: int, known: Known = nothing_known) -> list[Finding]:
    """What a committed transaction did that someone may want to take back, and rewrites.

    `rows` is how many rows of one relation make a mass deletion. ValueError when its record cannot be understood.
    """
    if ended.is_dull(rows):
        return []
    transaction, acts = ended.transaction, ended.changes.acts or Acts()
    found = [*_dropped_databases(transaction, acts)]
    if (removal := _removal(transaction, acts, ended.major, known)) is not None:
        found.append(removal)
    if (deletion := _deletion(transaction, acts, ended, rows)) is not None:
        found.append(deletion)
    if transaction.kind is Kind.COMMIT_PREPARED:
        found = [replace(each, prepared=transaction.gid) for each in found]
    return found


def _dropped_databases(transaction: Transaction, acts: Acts) -> list[Finding]:
    """ALTER DATABASE SET TABLESPACE removes files too; only a drop deletes the row."""
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
    """Whether the mark is where the removal of this database began; a checkpoint lies behind the deletion."""
    mark = deletion.mark
    return mark is not None and (mark.database.oid == oid if mark.database else deletion.lsn - mark.lsn < _NEAR)


def _removal(transaction: Transaction, acts: Acts, major: int, known: Known) -> Finding | None:
    """The commit removed files: what for?"""
    files = tuple(each for each in transaction.relations if each not in acts.created and each.number >= FIRST_USER_OID)
    own = {each.number for each in acts.created}
    locked = [oid for _, oid in acts.locks if oid not in own]
    if not files or (locked and all(oid < FIRST_USER_OID for oid in locked)):
        return None
    database = transaction.database or files[0].database
    dropped = [each.object for each in transaction.dropped if each.kind == _RELATION_STATISTICS]
    names_dropped = FORMATS[major].dropped_statistics is not None
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
                   aim=locked[0] if locked else 0, files=files)


def _rows_lost(acts: Acts, files: int) -> tuple[int, int]:
    """How many rows of pg_class it deleted that were there before it, and how many that it had made."""
    if not (acts.gone or acts.moved or acts.born):  # pg_class was rewritten, and no backup knows its file
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
