"""An upper bound of what the commits of a segment may have destroyed, to skip the many that destroyed nothing.

A search for accidents reads each record of a segment, which can take seconds. This is computed while the segment's
facts are read, from commits and the headers of other records. Rows are counted under the xid in their records, and
passed on from segment to segment until their transaction ends.
"""

from __future__ import annotations

from struct import Struct, error
from typing import TYPE_CHECKING

from pgvault.wal.bodies import main_data
from pgvault.wal.transactions import (
    COMMIT,
    COMMIT_PREPARED,
    HAS_XINFO,
    OPERATION,
    PREPARED,
    RELATIONS,
    SUBXACTS,
    is_older,
    read_transaction,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgvault.wal.record import Record

_FORCED = 1 << 31
"""The commit was flushed regardless of synchronous_commit, as DROP DATABASE does (XACT_COMPLETION_FORCE_SYNC)."""
_TELLING = SUBXACTS | RELATIONS | PREPARED | _FORCED
_has = Struct("<8xI").unpack_from


class Losses:
    """The totals of one segment."""

    def __init__(self, running: Mapping[int, int] | None = None) -> None:
        self.rows = dict(running or {})
        """Rows that unfinished transactions have deleted or updated, by xid. A `Reading` counts here. `running` has
        those of the previous segment."""
        self.removals = 0
        """Commits that removed files, or perhaps a database."""
        self.most_rows = 0
        """The most rows that one commit deleted and updated, in all relations together."""

    def end(self, record: Record, major: int) -> None:
        """Record that a transaction commits or aborts."""
        commits = record.info & OPERATION in (COMMIT, COMMIT_PREPARED)
        if record.info & HAS_XINFO:
            rows = sum(self.rows.pop(xid, 0) for xid in self._xids(record, major, commits))
        else:
            rows = self.rows.pop(record.xid, 0)
        if commits and rows > self.most_rows:
            self.most_rows = rows

    def forget(self, oldest: int) -> None:
        """Forget transactions older than this one. None of them runs any more; after a crash they end without a
        record."""
        for xid in [xid for xid in self.rows if is_older(xid, oldest)]:
            del self.rows[xid]

    def _xids(self, record: Record, major: int, commits: bool) -> tuple[int, ...]:
        """Return the xids of the transaction and its subtransactions. The rest of the record is decoded only if it
        matters."""
        try:
            (has,) = _has(main_data(record.data))
            if has & _TELLING:
                transaction = read_transaction(record, major)
                assert transaction
                self.removals += commits and bool(transaction.relations or has & _FORCED)
                return transaction.xid, *transaction.subxids
        except (ValueError, error):  # the search gets the same error and reports it
            self.removals += 1
        return (record.xid,)
