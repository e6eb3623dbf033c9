"""How large some settings have to be for recovery: pure rules.

A hot standby, and so a recovery that pauses, needs five settings at least as large as those of the server that wrote
the WAL, wherever they were set there: in files that are not in the backup, on its command line. Otherwise PostgreSQL 14
and later pauses for ever, and 13 ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Final, NamedTuple

from pgvault.model.majors import Major, facts_of

_ORIGIN_BYTES: Final = 16
_WHOLE: Final = re.compile(r"(?P<octal>0[0-7]*)|0[xX][0-9a-fA-F]+|[1-9][0-9]*")
_REAL: Final = re.compile(r"[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?")
"""A whole number as PostgreSQL accepts it (`parse_int` in guc.c)."""


class Raised(NamedTuple):
    """A setting that has to be larger than configured."""

    name: str
    value: str
    was: str
    """The configured value; empty if no file of the backup sets it."""
    why: str


def raised(limits: Mapping[str, int], origins: int, values: Mapping[str, str], major: int) -> Iterator[Raised]:
    """Yield the settings to raise. `limits` are the original's, `origins` is the number of its replication origins,
    `values` are the configured ones.
    """
    facts = facts_of(major)
    for name, needed in limits.items():
        if (_number(values, name, facts) or 0) < needed:
            yield Raised(name, str(needed), values.get(name, ""), "as the original had it: recovery needs as many")
            if name == "max_wal_senders" and values.get("wal_level", "").lower() == "minimal":
                yield Raised("wal_level", "replica", "minimal", "which max_wal_senders needs")
    slots = facts.origins_setting
    if origins > (_number(values, slots, facts) or 0):
        yield Raised(slots, str(origins), values.get(slots, ""), "as many origins of replication are in the backup")


def replication_origins(checkpoint: bytes) -> int:
    """Return the number of replication origins in `pg_logical/replorigin_checkpoint`: a magic number, one entry each, a
    checksum (origin.c).
    """
    return max(len(checkpoint) - 8, 0) // _ORIGIN_BYTES


def _number(values: Mapping[str, str], name: str, facts: Major) -> int | None:
    """Return the number; None if PostgreSQL would not accept the text."""
    if name not in values:
        return facts.default_settings[name]
    text = values[name].strip()
    if found := _WHOLE.fullmatch(text):
        return int(text, 8 if found["octal"] else 0)
    with suppress(OverflowError):
        return round(float(text)) if _REAL.fullmatch(text) else None
    return None
