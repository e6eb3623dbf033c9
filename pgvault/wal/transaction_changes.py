"""The changes of transactions, collected from their records until they end. Accidents are found from them.

A `Ledger` passes once over the records of a stretch of WAL. Everything is kept under the xid in the record, which may
be a subtransaction's, and joined when the commit names its subtransactions. Changes of transactions that do not end in
the stretch stay `open`, so that stretches can be read in any order: the commit in a later stretch absorbs what an
earlier one left open (`Ended.absorb`).

Formats: `access/heapam_xlog.h`, `storage/standbydefs.h`, `catalog/storage_xlog.h`, `commands/dbcommands_xlog.h`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct, error
from typing import TYPE_CHECKING, NamedTuple

from pgvault.model.lsn import Lsn
from pgvault.wal.bodies import Relation, main_data, parse_body
from pgvault.wal.facts import RestorePoint, read_restore_point
from pgvault.wal.record import HEAP, OPERATION, TRANSACTION, XLOG
from pgvault.wal.rows import INPLACE_SIZE, InvalidDatabase, invalid_database, relation_at
from pgvault.wal.transactions import (
    ABORT,
    ABORT_PREPARED,
    COMMIT,
    COMMIT_PREPARED,
    HAS_XINFO,
    is_older,
    read_transaction,
)
from pgvault.wal.transactions import OPERATION as XACT_OPERATION
from pgvault.wal.versions import FORMATS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pgvault.wal.record import Record
    from pgvault.wal.records import Reading
    from pgvault.wal.transactions import Transaction

STORAGE, DATABASE, STANDBY = 2, 4, 8
RMGRS = (XLOG, TRANSACTION, STORAGE, DATABASE, STANDBY, HEAP)
"""The resource managers whose records a ledger reads."""

PG_CLASS, PG_DATABASE = 1259, 1262
"""OIDs, and the file numbers until these catalogs are rewritten."""

_INSERT, _DELETE, _UPDATE, _HOT_UPDATE, _INPLACE, _HEAP_OPERATION = 0x00, 0x10, 0x20, 0x40, 0x70, 0x70
_CHECKPOINT_SHUTDOWN, _CHECKPOINT_ONLINE, _RESTORE_POINT, _PAGE_IMAGE = 0x00, 0x10, 0x70, 0xB0
_CREATE_FILE = 0x10
_LOCKS, _RUNNING = 0x00, 0x10
_ROUND = 1 << 32
_CROWD = 2000
"""More commits than transactions can run at once: in a stretch with this many, some of their xids were assigned in
it."""

_RELATION, _U16, _U32 = Struct("<III"), Struct("<H"), Struct("<I")
_LOCK = Struct("<III")
_PAIR = Struct("<II")
_CATALOG_NUMBERS = frozenset(_U32.pack(number) for number in (PG_CLASS, PG_DATABASE))


class Place(NamedTuple):
    """The place of a row: the file, its block, the line pointer."""

    relation: Relation
    block: int
    offset: int


class Mark(NamedTuple):
    """An in-place update of a row of pg_database that may be the start of DROP DATABASE."""

    lsn: int
    database: InvalidDatabase | None
    """The row's content; None if the record does not show it, because its page image is compressed."""


class Deletion(NamedTuple):
    """The deletion of a row of pg_database."""

    lsn: int
    mark: Mark | None
    """The mark that preceded it."""


@dataclass(slots=True)
class Acts:
    """What a transaction did to relations and databases as such."""

    locks: dict[tuple[int, int], None] = field(default_factory=dict)
    """(database, OID) of what it locked exclusively, in that order. Commits name no OIDs before PostgreSQL 15."""
    created: dict[Relation, bool] = field(default_factory=dict)
    """Files that it created, in that order, and whether it wrote whole pages into them."""
    born: set[Place] = field(default_factory=set)
    moved: dict[Place, Place] = field(default_factory=dict)
    """New and old place of the rows of pg_class that it updated."""
    gone: list[Place] = field(default_factory=list)
    databases: dict[Place, Deletion] = field(default_factory=dict)
    """Rows of pg_database that it deleted."""
    removed: dict[int, int] = field(default_factory=dict)
    """OIDs of the databases whose files it removed, and the record's position."""

    def add(self, other: Acts) -> None:
        self.locks.update(other.locks)
        for relation, filled in other.created.items():
            self.created[relation] = filled or self.created.get(relation, False)
        self.born |= other.born
        self.moved.update(other.moved)
        self.gone += other.gone
        self.removed.update(other.removed)
        self.databases.update(other.databases)

    def preceded_by(self, other: Acts) -> Acts:
        """Return the same, with earlier acts of the transaction put before it."""
        acts = Acts()
        acts.add(other)
        acts.add(self)
        return acts


class TransactionChanges:
    """The changes made under one xid."""

    __slots__ = ("acts", "rows")

    def __init__(self) -> None:
        self.rows: dict[bytes, list[int]] = {}
        """Deleted and updated rows, by the 12 bytes that name the relation's file in WAL."""
        self.acts: Acts | None = None

    def doing(self) -> Acts:
        if self.acts is None:
            self.acts = Acts()
        return self.acts

    def absorb(self, other: TransactionChanges) -> None:
        """Add changes made before this, or under another xid of the same transaction."""
        for relation, counts in other.rows.items():
            mine = self.rows.setdefault(relation, [0, 0])
            mine[0] += counts[0]
            mine[1] += counts[1]
        if other.acts:
            self.acts = self.acts.preceded_by(other.acts) if self.acts else other.acts

    @property
    def most_rows(self) -> int:
        """The highest number of rows deleted or updated in one relation."""
        return max(map(sum, self.rows.values()), default=0)

    def counts(self) -> Iterator[tuple[Relation, int, int]]:
        """Yield each relation with its deleted and updated rows."""
        for relation, (deleted, updated) in self.rows.items():
            yield Relation(*_RELATION.unpack(relation)), deleted, updated


class Ended:
    """A committed transaction with its changes. Its record is decoded on first use."""

    __slots__ = ("_transaction", "changes", "lsn", "major", "record", "xids")

    def __init__(self, record: Record, major: int, transaction: Transaction | None,
                 changes: TransactionChanges) -> None:
        self.record, self.major, self.changes, self.lsn = record, major, changes, record.lsn
        self._transaction = transaction
        self.xids = (transaction.xid, *transaction.subxids) if transaction else (record.xid,)

    @property
    def transaction(self) -> Transaction:
        if self._transaction is None:
            self._transaction = read_transaction(self.record, self.major)
        assert self._transaction
        return self._transaction

    def is_dull(self, rows: int) -> bool:
        """Return whether this can be no accident: it removed nothing and changed fewer rows of any relation."""
        return self._transaction is None and self.changes.acts is None and self.changes.most_rows < rows

    def absorb(self, earlier: Ledger) -> None:
        """Absorb what an earlier stretch of WAL left open of this transaction, and marks of databases."""
        for xid in self.xids:
            if (found := earlier.open.get(xid)) is not None:
                self.changes.absorb(found)
        if self.changes.acts:
            for place, deletion in self.changes.acts.databases.items():
                if deletion.mark is None:
                    self.changes.acts.databases[place] = deletion._replace(mark=earlier.marks.get(place))

    def begins_within(self, ledger: Ledger) -> bool:
        """Return whether none of its changes can precede the stretch that this ledger read.

        That the stretch mentions only older transactions proves nothing: this one may have been idle meanwhile.
        """
        following, newest = ledger.following, ledger.newest_xid
        if following is not None and not any(is_older(xid, following) for xid in self.xids):
            return True
        return ledger.commits >= _CROWD and newest is not None and all(is_older(newest, xid) for xid in self.xids)

    def lacks_mark(self) -> bool:
        """Whether it dropped a database and the start of that drop was not found yet."""
        acts = self.changes.acts
        return bool(acts and acts.removed and any(each.mark is None for each in acts.databases.values()))


class Ledger:
    """The changes of one stretch of WAL. `rewritten` has the (database, number) of catalogs whose files are not those
    of initdb; database 0 means pg_database."""

    def __init__(self, rewritten: Iterable[tuple[int, int]] = ()) -> None:
        self.open: dict[int, TransactionChanges] = {}
        self.marks: dict[Place, Mark] = {}
        """The last possible mark of each row of pg_database."""
        self.newest_xid: int | None = None
        """The newest xid that left a trace."""
        self.following: int | None = None
        """The next xid to be assigned, at the first place that records it. This or a newer xid cannot occur before that
        place."""
        self.oldest: int | None = None
        """The oldest xid that was running at the last place that records it, or the next xid if none was running."""
        self.commits = 0
        self._rewritten = frozenset(_PAIR.pack(*each) for each in rewritten)

    def read(self, reading: Reading) -> Iterator[Ended | RestorePoint]:
        """Read the records of `RMGRS`. Yields commits and restore points in the order of their positions.

        ValueError if a record cannot be decoded.
        """
        try:
            yield from self._read(reading)
        except (IndexError, error) as problem:
            raise ValueError(f"a record behind {Lsn(reading.header.address)} cannot be decoded: {problem}") from None

    def _read(self, reading: Reading) -> Iterator[Ended | RestorePoint]:
        major = reading.major
        drop_database = FORMATS[major].drop_database
        for record in reading:
            rmid = record.rmid
            if rmid == HEAP:
                self._heap(record, major)
            elif rmid == TRANSACTION:
                if ended := self._transaction(record, major):
                    yield ended
            elif rmid == STANDBY:
                self._standby(record)
            elif rmid == XLOG:
                if record.info & OPERATION == _RESTORE_POINT:
                    yield read_restore_point(record)
                else:
                    self._xlog(record, major)
            elif rmid == STORAGE:
                if record.info & OPERATION == _CREATE_FILE and record.xid:
                    relation = Relation(*_RELATION.unpack_from(main_data(record.data)))
                    self._of(record.xid).doing().created.setdefault(relation, False)
            elif record.info & OPERATION == drop_database and record.xid:
                (database,) = _U32.unpack_from(main_data(record.data))
                self._of(record.xid).doing().removed[database] = record.lsn

    def _of(self, xid: int) -> TransactionChanges:
        changes = self.open.get(xid)
        if changes is None:
            changes = self.open[xid] = TransactionChanges()
            self._see(xid)
        return changes

    def _see(self, xid: int) -> None:
        if self.newest_xid is None or is_older(self.newest_xid, xid):
            self.newest_xid = xid

    def _next_is(self, following: int) -> None:
        self._see((following - 1) % _ROUND)
        if self.following is None:
            self.following = following

    # Rows

    def _heap(self, record: Record, major: int) -> None:
        data, operation = record.data, record.info & _HEAP_OPERATION
        at = relation_at(data, major)
        relation = data[at:at + 12]
        if operation in (_DELETE, _UPDATE, _HOT_UPDATE):
            rows = self._of(record.xid).rows
            counts = rows.get(relation)
            if counts is None:
                if len(relation) < _RELATION.size:
                    raise ValueError(f"the record at {Lsn(record.lsn)} names no relation")
                counts = rows[relation] = [0, 0]
            counts[operation != _DELETE] += 1
        elif operation not in (_INSERT, _INPLACE):
            return
        if relation[8:] in _CATALOG_NUMBERS or relation[4:] in self._rewritten:
            self._catalog(record, operation, major)

    def _catalog(self, record: Record, operation: int, major: int) -> None:
        """Read a change of a row of pg_class or pg_database."""
        body = parse_body(record, major)
        block, main = body.blocks[0], body.main
        if block.relation.database == 0:
            if operation == _INPLACE:
                self._mark(record, Place(block.relation, block.block, _U16.unpack_from(main)[0]), major)
            elif operation == _DELETE:
                place = Place(block.relation, block.block, _U16.unpack_from(main, 4)[0])
                self._of(record.xid).doing().databases[place] = Deletion(record.lsn, self.marks.get(place))
            return
        if not record.xid or operation == _INPLACE:
            return
        acts = self._of(record.xid).doing()
        if operation == _INSERT:
            acts.born.add(Place(block.relation, block.block, _U16.unpack_from(main)[0]))
        elif operation == _DELETE:
            acts.gone.append(Place(block.relation, block.block, _U16.unpack_from(main, 4)[0]))
        else:
            old = body.blocks[-1].block if operation == _UPDATE else block.block
            acts.moved[Place(block.relation, block.block, _U16.unpack_from(main, 12)[0])] = \
                Place(block.relation, old, _U16.unpack_from(main, 4)[0])

    def _mark(self, record: Record, place: Place, major: int) -> None:
        if len(record.data) < INPLACE_SIZE:
            return
        shown, database = invalid_database(record, place.offset, major)
        if not shown or database is not None:
            self.marks[place] = Mark(record.lsn, database)
        else:  # another in-place update, such as VACUUM's
            self.marks.pop(place, None)

    # Transactions and what they hold

    def _transaction(self, record: Record, major: int) -> Ended | None:
        operation = record.info & XACT_OPERATION
        if operation not in (COMMIT, ABORT, COMMIT_PREPARED, ABORT_PREPARED):
            return None
        transaction = read_transaction(record, major) if record.info & HAS_XINFO else None
        changes = TransactionChanges()
        for xid in (transaction.xid, *transaction.subxids) if transaction else (record.xid,):
            self._see(xid)
            if (found := self.open.pop(xid, None)) is not None:
                if found.acts is None and changes.acts is None and not changes.rows:
                    changes = found
                else:
                    found.absorb(changes)
                    changes = found
        if operation not in (COMMIT, COMMIT_PREPARED):
            return None
        self.commits += 1
        return Ended(record, major, transaction, changes)

    def _standby(self, record: Record) -> None:
        operation = record.info & OPERATION
        if operation == _LOCKS:
            main = main_data(record.data)
            for xid, database, oid in _LOCK.iter_unpack(main[4:4 + _U32.unpack_from(main)[0] * _LOCK.size]):
                self._of(xid).doing().locks.setdefault((database, oid))
        elif operation == _RUNNING:
            following, oldest = _PAIR.unpack_from(main_data(record.data), 12)
            self._next_is(following)
            self.oldest = oldest
            for xid in [xid for xid in self.open if is_older(xid, oldest)]:
                del self.open[xid]  # it ended in a crash, without a record

    def _xlog(self, record: Record, major: int) -> None:
        operation = record.info & OPERATION
        if operation == _PAGE_IMAGE and record.xid and (changes := self.open.get(record.xid)) and changes.acts:
            at = relation_at(record.data, major)
            relation = Relation(*_RELATION.unpack_from(record.data, at))
            if relation in changes.acts.created:
                changes.acts.created[relation] = True
        elif operation in (_CHECKPOINT_SHUTDOWN, _CHECKPOINT_ONLINE):
            (following,) = _U32.unpack_from(main_data(record.data), FORMATS[major].next_xid)
            if operation == _CHECKPOINT_SHUTDOWN:
                self._next_is(following)
            else:  # it was the next one when the checkpoint began
                self._see((following - 1) % _ROUND)
