"""What replay does behind a plan's back: effects of WAL that reach beyond the data files it changes.

Recovery follows the WAL, not the plan. It makes the directories of tablespaces that were created after the backup
began, refuses or pauses when the server's limits are smaller than those that the WAL names, and keeps the locks of
prepared transactions that nobody has ended. A plan is therefore made from the backup *and* from the effects of the WAL
up to its target.
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
    """The settings that a standby, and a paused recovery, needs at least as large as the original server had them."""

    max_connections: int
    max_worker_processes: int
    max_wal_senders: int
    max_prepared_transactions: int
    max_locks_per_transaction: int

    @classmethod
    def largest(cls, *each: Limits | None) -> Limits | None:
        """The largest of each setting; None without any."""
        known = [astuple(limits) for limits in each if limits]
        return cls(*starmap(max, zip(*known, strict=True))) if len(known) > 1 else next((e for e in each if e), None)


@dataclass(frozen=True, slots=True)
class TablespaceCreated:
    """A record that makes a tablespace's directory: its main data is the OID (u32) and the path with a NUL behind."""

    oid: int
    path: str
    """Empty for a tablespace inside the data directory (allow_in_place_tablespaces)."""
    lsn: Lsn
    timeline: int
    """That of the archived segment in which the record ends, where it was read from the archive."""
    segment: int
    """The number of the segment in which the record begins; it may end in the next one."""
    end_lsn: Lsn
    name: str | None = None
    """None when the WAL does not show it."""


@dataclass(frozen=True, slots=True)
class TablespaceDropped:
    oid: int
    lsn: Lsn


@dataclass(frozen=True, slots=True)
class ParameterChange:
    """The server started with other settings than it had before."""

    lsn: Lsn
    limits: Limits
    wal_level: int


@dataclass(frozen=True, slots=True)
class PreparedTransaction:
    """A transaction that PREPARE TRANSACTION left for someone to commit or to roll back."""

    xid: int
    gid: str
    database: int
    owner: int
    """OID of the role."""
    prepared_at: datetime
    lsn: Lsn
    """0 for one that was read from its file."""
    locks: tuple[tuple[int, int, int], ...] = ()
    """(database, relation, mode) of each relation that it keeps locked; modes as in `storage/lockdefs.h`, 1 to 8."""


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
    """The largest that the WAL names; None when it names none, and those in pg_control count alone."""
    created: tuple[TablespaceCreated, ...]
    """Tablespaces whose directories replay makes, in that order, also of those that it drops again."""
    dropped: tuple[TablespaceDropped, ...]
    pending: tuple[PreparedTransaction, ...]
    """Prepared transactions that nobody has ended at the stop."""
    unread: tuple[str, ...] = ()
    """Segments on the way that could not be read: what replay does there is not known."""


def replay_from(effects: Iterable[Effect], begin: Lsn, *, held: Iterable[PreparedTransaction] = (),
                names: Mapping[int, str] | None = None, unread: Iterable[str] = ()) -> Replay:
    """The sum of what replay from `begin` on does; `effects` are in the order of their positions, up to the stop.

    Transactions that were prepared before `begin` are pending too: recovery finds their files in the backup. `held` are
    those that were read from there. `names` are those of tablespaces by OID, for where the WAL shows none.
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
