"""Where recovery stops: one class per kind (documentation: "Recovery Target", `xlogrecovery.c`)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from pgvault.model.lsn import Lsn
from pgvault.model.times import utc


@dataclass(frozen=True, slots=True)
class AtTime:
    """Stop at the first commit after `time` (or, exclusive, at or after it)."""

    time: datetime
    inclusive: bool = True
    typed: str = ""
    """The time as the person typed it."""


@dataclass(frozen=True, slots=True)
class AtLsn:
    """Stop after the first record that starts at or after `lsn` (or, exclusive, before it)."""

    lsn: Lsn
    inclusive: bool = True


@dataclass(frozen=True, slots=True)
class AtXid:
    """Stop after the commit or abort of this transaction (or, exclusive, before it)."""

    xid: int
    inclusive: bool = True


@dataclass(frozen=True, slots=True)
class AtName:
    """Stop at the first restore point with this name (`pg_create_restore_point`)."""

    name: str


@dataclass(frozen=True, slots=True)
class Immediate:
    """Stop as soon as the backup is consistent."""


@dataclass(frozen=True, slots=True)
class EndOfWal:
    """Replay everything that is archived."""


Target = AtTime | AtLsn | AtXid | AtName | Immediate | EndOfWal


class TargetAction(Enum):
    """What the server does when it has reached the target."""

    PROMOTE = "promote"
    PAUSE = "pause"
    SHUTDOWN = "shutdown"


def describe(target: Target) -> str:
    """Describe the target for plans and journals."""
    match target:
        case AtTime(time, inclusive, typed):
            stated = f" (typed {typed})" if typed else ""
            what = "after the last commit at or before" if inclusive else "before the first commit at or after"
            return f"just {what} {utc(time)}{stated}"
        case AtLsn(lsn, inclusive):
            return f"WAL position {lsn}, {'inclusive' if inclusive else 'exclusive'}"
        case AtXid(xid, inclusive):
            return f"just {'after' if inclusive else 'before'} the end of transaction {xid}"
        case AtName(name):
            return f"restore point {name}"
        case Immediate():
            return "the end of the backup, as soon as it is consistent"
        case EndOfWal():
            return "the end of the archived WAL"


def target_settings(target: Target, stop: Lsn | None, replayed: bool) -> dict[str, str]:
    """Return the `recovery_target*` parameters that make PostgreSQL stop there, unquoted.

    A target that was found in the WAL is passed as the position `stop` of its record, inclusive if it is `replayed`,
    because a position is unambiguous. PostgreSQL would search a time or a name again, and commit times are not ordered
    by position. The end of the WAL becomes a position to stop before if WAL follows that recovery cannot pass.
    """
    if isinstance(target, EndOfWal) and replayed:
        return {}
    if isinstance(target, Immediate):
        return {"recovery_target": "immediate"}
    if stop is None:
        raise ValueError(f"no position was found for {describe(target)}")
    return {"recovery_target_lsn": str(stop), "recovery_target_inclusive": "on" if replayed else "off"}


def target_options(target: Target) -> list[str]:
    """Return the command-line options of `pgvault restore` that name this target."""
    match target:
        case AtTime(time, inclusive):
            return ["--target-time", utc(time), *_exclusive(inclusive)]
        case AtLsn(lsn, inclusive):
            return ["--target-lsn", str(lsn), *_exclusive(inclusive)]
        case AtXid(xid, inclusive):
            return ["--target-xid", str(xid), *_exclusive(inclusive)]
        case AtName(name):
            return [f"--target-name={name}"] if name.startswith("-") else ["--target-name", name]
        case Immediate():
            return ["--target-immediate"]
        case EndOfWal():
            return ["--target-end"]


def option(name: str, value: str) -> list[str]:
    """Return an option with its value, as one word if the value could be mistaken for an option."""
    return [f"{name}={value}"] if value.startswith("-") else [name, value]


def _exclusive(inclusive: bool) -> list[str]:
    return [] if inclusive else ["--exclusive"]
