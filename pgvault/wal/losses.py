"""What the commits of a segment may have taken away, at most: enough to pass over the many that took nothing.

A search for accidents reads each record of a segment, which takes seconds for some; this is found on the way while its
facts are read, from commits and from the headers of other records. Rows are counted under the xid that their records
carry, and handed from segment to segment until their transaction ends.
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
"""The commit was flushed whatever synchronous_commit says, as that of DROP DATABASE is (XACT_COMPLETION_FORCE_SYNC)."""
_TELLING = SUBXACTS | RELATIONS | PREPARED | _FORCED
_has = Struct("<8xI").unpack_from


class Losses:
    """The sums over one segment."""

    def __init__(self, running: Mapping[int, int] | None = None) -> None:
        self.rows = dict(running or {})
        """How many rows transactions that have not ended have deleted or updated, by xid: a `Reading` counts here.
        `running` are those of the segment before."""
        self.removals = 0
        """Commits that removed files, or perhaps a database."""
        self.most_rows = 0
        """That one commit deleted and updated, in all relations together."""

    def end(self, record: Record, major: int) -> None:
        """A transaction commits or aborts."""
        commits = record.info & OPERATION in (COMMIT, COMMIT_PREPARED)
        if record.info & HAS_XINFO:
            rows = sum(self.rows.pop(xid, 0) for xid in self._xids(record, major, commits))
        else:
            rows = self.rows.pop(record.xid, 0)
        if commits and rows > self.most_rows:
            self.most_rows = rows

    def forget(self, oldest: int) -> None:
        """Of the transactions older than this one nobody runs any more; a crash ends one without a record."""
        for xid in [xid for xid in self.rows if is_older(xid, oldest)]:
            del self.rows[xid]

    def _xids(self, record: Record, major: int, commits: bool) -> tuple[int, ...]:
        """Its own and its subtransactions'. What else the record tells is read only where it matters."""
        try:
            (has,) = _has(main_data(record.data))
            if has & _TELLING:
                transaction = read_transaction(record, major)
                assert transaction
                self.removals += commits and bool(transaction.relations or has & _FORCED)
                return transaction.xid, *transaction.subxids
        except (ValueError, error):  # whoever searches is to meet it, and to tell it
            self.removals += 1
        return (record.xid,)
