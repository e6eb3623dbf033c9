"""A server's retention policy, in the syntax of Barman's `retention_policy`.

`REDUNDANCY n` keeps the newest n backups. `RECOVERY WINDOW OF n DAYS|WEEKS|MONTHS` keeps what it takes to restore any
instant of that time. `KEEP n DAILY n WEEKLY n MONTHLY n YEARLY`, of which some may be left out, keeps the newest backup
of each of the newest n days, weeks, months and years that have one. pgvault.model.retention decides which backups that
means; this module only parses and formats.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum

from pgvault.model.units import LONGEST, SECONDS_IN

_REDUNDANCY = re.compile(r"\s*redundancy\s+([0-9]{1,6})\s*", re.IGNORECASE)
_SLOTS = re.compile(r"\s*keep((?:\s+[0-9]{1,6}\s+(?:daily|weekly|monthly|yearly))+)\s*", re.IGNORECASE)
_WINDOW = re.compile(r"\s*recovery\s+window\s+of\s+([0-9]{1,6})\s+(day|week|month)s?\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Redundancy:
    """Keep the newest `copies` backups, and the WAL from the oldest of them on."""

    copies: int

    def __str__(self) -> str:
        return f"REDUNDANCY {self.copies}"


@dataclass(frozen=True, slots=True)
class RecoveryWindow:
    """Keep every instant of the last `length` restorable."""

    length: timedelta
    text: str = field(compare=False)
    """The policy as it was written, `RECOVERY WINDOW OF 1 MONTHS`: from the length alone it would read as 31 days."""

    def __str__(self) -> str:
        return self.text


class Period(Enum):
    """A stretch of the calendar, in UTC, of which one backup is kept. The value is the format of its name."""

    DAILY = "%Y-%m-%d"
    WEEKLY = "%G-W%V"
    """ISO weeks, which begin on Monday."""
    MONTHLY = "%Y-%m"
    YEARLY = "%Y"


@dataclass(frozen=True, slots=True)
class Slots:
    """Keep the newest backup of each of the newest periods that have one, so many of each kind."""

    counts: tuple[tuple[Period, int], ...]
    """In the order of `Period`, each at least 1."""

    def __str__(self) -> str:
        return " ".join(["KEEP", *(f"{count} {period.name}" for period, count in self.counts)])


RetentionPolicy = Redundancy | RecoveryWindow | Slots


def parse_retention_policy(text: str) -> RetentionPolicy:
    """Parse a policy in any case. ValueError for any other text and for a policy that keeps nothing."""
    if match := _REDUNDANCY.fullmatch(text):
        copies = int(match[1])
        if copies < 1:
            raise ValueError("a redundancy of 0 would keep no backup at all")
        return Redundancy(copies)
    if match := _WINDOW.fullmatch(text):
        number, unit = int(match[1]), match[2].lower()
        length = number * timedelta(seconds=SECONDS_IN[unit])
        if number < 1:
            raise ValueError("a recovery window of 0 would keep no backup at all")
        if length > LONGEST:
            raise ValueError("the recovery window is longer than a century")
        return RecoveryWindow(length, f"RECOVERY WINDOW OF {number} {unit.upper()}S")
    if match := _SLOTS.fullmatch(text):
        return _parse_slots(match[1].upper().split())
    raise ValueError(f"not a retention policy: {text[:60]!r}; write REDUNDANCY n, RECOVERY WINDOW OF n DAYS, WEEKS or "
                     "MONTHS, or KEEP n DAILY n WEEKLY n MONTHLY n YEARLY")


def _parse_slots(words: list[str]) -> Slots:
    counts = [(Period[name], int(count)) for count, name in zip(words[::2], words[1::2], strict=True)]
    if len(dict(counts)) < len(counts):
        raise ValueError("the policy names one of DAILY, WEEKLY, MONTHLY and YEARLY twice")
    if empty := next((period for period, count in counts if count < 1), None):
        raise ValueError(f"0 {empty.name} would keep no backup; leave it out")
    given = dict(counts)
    return Slots(tuple((period, given[period]) for period in Period if period in given))
