"""Effects of WAL replay beyond the data files.

Replay creates the directories of tablespaces that were created after the backup began, stops or pauses if the server's
limits are smaller than those in the WAL, and keeps the locks of prepared transactions that were never ended. A plan is
therefore made from the backup *and* from the effects of the WAL up to its target.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, replace
from datetime import datetime
from itertools import starmap

from pgvault.model.lsn import Lsn

MINIMAL = 0
"""wal_level in WAL: minimal 0, replica 1, logical 2. Recovery from an archive cannot pass WAL of level minimal."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The settings of which a standby, and a paused recovery, needs at least the original server's values."""

    max_connections: int
    max_worker_processes: int
    max_wal_senders: int
    max_prepared_transactions: int
    max_locks_per_transaction: int

    @classmethod
    def largest(cls, *each: Limits | None) -> Limits | None:
        """Return the largest value of each setting; None if no limits are given."""
        known = [astuple(limits) for limits in each if limits]
        return cls(*starmap(max, zip(*known, strict=True))) if len(known) > 1 else next((e for e in each if e), None)


@dataclass(frozen=True, slots=True)
class TablespaceCreated:
    """A record that creates a tablespace's directory. Its main data is the OID (u32) and the NUL-terminated path."""

    oid: int
    path: str
    """The directory's path; empty for a tablespace inside the data directory (allow_in_place_tablespaces)."""
    lsn: Lsn
    timeline: int
    """The timeline of the archived segment in which the record ends, if it was read from the archive."""
    segment: int
    """Number of the segment in which the record begins. The record may end in the next one."""
    end_lsn: Lsn
    name: str | None = None
    """The tablespace's name; None if the WAL does not show it."""


@dataclass(frozen=True, slots=True)
class TablespaceDropped:
    oid: int
    lsn: Lsn


@dataclass(frozen=True, slots=True)
class ParameterChange:
    """The server was started with other settings than before."""

    lsn: Lsn
    limits: Limits
    wal_level: int


@dataclass(frozen=True, slots=True)
class PreparedTransaction:
    """A transaction that PREPARE TRANSACTION left to be committed or rolled back."""

    xid: int
    gid: str
    database: int
    owner: int
    """OID of the role."""
    prepared_at: datetime
    lsn: Lsn
    """0 if the transaction was read from its file."""
    locks: tuple[tuple[int, int, int], ...] = ()
    """(database, relation, mode) of each locked relation; modes as in `storage/lockdefs.h`, 1 to 8."""


@dataclass(frozen=True, slots=True)
class PreparedEnded:
    """COMMIT PREPARED or ROLLBACK PREPARED."""

    xid: int
    lsn: Lsn


Effect = TablespaceCreated | TablespaceDropped | ParameterChange | PreparedTransaction | PreparedEnded


@dataclass(frozen=True, slots=True)
class Replay:
    """What recovery will have done when it stops."""

    limits: Limits | None
    """The largest limits in the WAL; None if it has none, so that those in pg_control count alone."""
    created: tuple[TablespaceCreated, ...]
    """Tablespaces whose directories replay creates, in that order, including those that it drops again."""
    dropped: tuple[TablespaceDropped, ...]
    pending: tuple[PreparedTransaction, ...]
    """Prepared transactions that have not ended where recovery stops."""
    unread: tuple[str, ...] = ()
    """Required segments that could not be read, so that their effects are unknown."""


def replay_from(effects: Iterable[Effect], begin: Lsn, *, held: Iterable[PreparedTransaction] = (),
                names: Mapping[int, str] | None = None, unread: Iterable[str] = ()) -> Replay:
    """Sum up what replay from `begin` on does. `effects` are in the order of their positions, up to the stop.

    Transactions that were prepared before `begin` are pending too: recovery finds their files in the backup, from which
    `held` was read. `names` are the tablespaces' names by OID, for records that lack them.
    """
    created, dropped, limits = [], [], []
    pending = {each.xid: each for each in held}
    for effect in effects:
        match effect:
            case PreparedTransaction():
                pending[effect.xid] = effect
            case PreparedEnded():
                pending.pop(effect.xid, None)
            case _ if effect.lsn < begin:
                continue
            case TablespaceCreated():
                created.append(effect)
            case TablespaceDropped():
                dropped.append(effect)
            case ParameterChange():
                limits.append(effect.limits)
    return Replay(Limits.largest(*limits), tuple(_named(each, names or {}) for each in created), tuple(dropped),
                  tuple(pending.values()), tuple(unread))


def _named(each: TablespaceCreated, names: Mapping[int, str]) -> TablespaceCreated:
    return each if each.name else replace(each, name=names.get(each.oid))
