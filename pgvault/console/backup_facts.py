"""Backups in the words and cells of the console: pure, from the catalogue.

A backup that cannot be restored never looks like one that can: its state has a word of its own, and its details give
the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from pgvault.console.fields import Field
from pgvault.console.widgets.rows import Column
from pgvault.model.backup import Backup, BackupStatus, Unreadable
from pgvault.model.catalogue import Catalogue, Catalogued
from pgvault.model.retention import Retention
from pgvault.model.text import UNKNOWN, Painted, Part, age, size, span, stamp
from pgvault.model.times import exact

INDENT = 12
COLUMNS = (Column("backup", 16), Column("age", 4, right=True), Column("size", 9, right=True),
           Column("stored", 9, right=True, wide=True), Column("state", 10), Column("retention", 11),
           Column("name", 5, flexible=True), Column("took", 10, right=True, wide=True),
           Column("WAL since", 9, right=True, wide=True))

"""The columns of a list of backups; `cells` fills them."""
_STATES = {BackupStatus.DONE: ("DONE", "good"), BackupStatus.STARTED: ("STARTED", "accent"),
           BackupStatus.WAITING_FOR_WALS: ("WAITING", "warn"), BackupStatus.FAILED: ("FAILED", "bad")}
_UNREADABLE = Painted("UNREADABLE", "bad")
_VERDICTS = {Retention.VALID: "good", Retention.NEEDED: "good", Retention.KEPT: "good", Retention.NOT_COUNTED: "warn",
             Retention.OBSOLETE: "dim"}


class Row(NamedTuple):
    """A backup in a list; an unreadable one has only its id and the reason."""

    found: Catalogued | Unreadable

    @property
    def id(self) -> str:
        return self.found.backup.id if isinstance(self.found, Catalogued) else self.found.id

    @property
    def backup(self) -> Backup | None:
        return self.found.backup if isinstance(self.found, Catalogued) else None


def rows(catalogue: Catalogue) -> list[Row]:
    """Return the backups, newest first, including those that cannot be read."""
    found = [*map(Row, catalogue.backups), *map(Row, catalogue.unreadable)]
    return sorted(found, key=lambda row: row.id, reverse=True)


def cells(row: Row, now: datetime) -> Sequence[Part]:
    """Return id, age, size, stored, state, retention, name, took, WAL since."""
    if not isinstance(row.found, Catalogued):
        return row.id, "-", "-", "-", _UNREADABLE, Painted("not counted", "warn"), "", "-", "-"
    backup, entry = row.found.backup, row.found
    return (backup.id, age(backup.finished_at or backup.started_at, now), _size(backup, backup.size_bytes),
            _size(backup, backup.stored_bytes), state(entry),
            Painted(verdict(entry), _VERDICTS[entry.retention.state]),
            backup.name, _took(backup), size(entry.wal.stored) if entry.wal else "-")


def state(entry: Catalogued) -> Painted:
    """Return the state as a word and its style; only a backup that can be restored is DONE."""
    if flaw(entry) and entry.backup.status is BackupStatus.DONE:
        return Painted("BROKEN", "bad")
    return Painted(*_STATES[entry.backup.status])


def verdict(entry: Catalogued) -> str:
    """Return the retention policy's verdict as a word."""
    return entry.retention.state.value.lower().replace("_", " ")


def flaw(entry: Catalogued) -> str:
    """Return why a complete backup cannot be restored, or not without harm; empty if it can."""
    backup = entry.backup
    if backup.status is not BackupStatus.DONE:
        return ""
    if backup.corrupt_pages:
        return f"pages of {len(backup.corrupt_pages):,} files failed their checksum on the server"
    return entry.flaw


def restorable(row: Row) -> str:
    """Return why the backup cannot be restored; empty if it can."""
    if not isinstance(row.found, Catalogued):
        return f"the facts of backup {row.id} cannot be read"
    status = row.found.backup.status
    if status is BackupStatus.DONE:
        return ""
    return {BackupStatus.FAILED: f"backup {row.id} failed: it is not complete",
            BackupStatus.STARTED: f"backup {row.id} is not complete yet",
            BackupStatus.WAITING_FOR_WALS: f"backup {row.id} waits for WAL that it needs"}[status]


def backup_fields(row: Row, wal_problem: str = "") -> Iterator[Field]:
    """Yield all that is known of the backup, what is wrong first."""
    if not isinstance(row.found, Catalogued):
        yield _field("UNREADABLE", f"backup {row.id}: {row.found.reason}", "bad")
        yield _field("next step", "Bring its backup.toml back from a copy; until then it protects nothing.")
        return
    entry, backup = row.found, row.found.backup
    yield from _what_is_wrong(entry, wal_problem)
    yield _field("restorable", _reach(entry))
    yield _field("retention", f"{verdict(entry)}: {entry.retention.reason}")
    yield _field("size", _amounts(backup))
    took = f", took {_took(backup)}" if backup.finished_at else ""
    yield _field("begun", f"{stamp(backup.started_at)}{took}{f', named {backup.name}' * bool(backup.name)}")
    yield _field("LSN", f"{backup.begin_lsn or '-'} to {backup.end_lsn or '-'}, timeline {backup.timeline}")
    yield _field("WAL", _segments(backup))
    if entry.wal:
        yield _field("WAL since", f"{entry.wal.files:,} segment{'s' * (entry.wal.files != 1)}, "
                                  f"{size(entry.wal.stored)} stored")
    yield _field("cluster", f"PostgreSQL {backup.server_version} in {backup.data_directory}")
    for number, each in enumerate(backup.tablespaces):
        yield _field("" if number else "tablespaces", f"{each.name} in {each.location}")
    if backup.job:
        yield _field("job", backup.job)
    for number, path in enumerate(backup.corrupt_pages):
        yield _field("" if number else "damaged", path, "bad")


def _what_is_wrong(entry: Catalogued, wal_problem: str) -> Iterator[Field]:
    backup = entry.backup
    if backup.status is BackupStatus.FAILED:
        yield _field("FAILED", backup.error or "the reason is not known", "bad")
    elif backup.status is BackupStatus.STARTED:
        yield _field("STARTED", "being taken, or its job ended without saying how: 4 shows the jobs", "accent")
    elif backup.status is BackupStatus.WAITING_FOR_WALS:
        yield _field("WAITING", "complete but for WAL that has not arrived; x checks how it comes in", "warn")
    elif why := flaw(entry):
        yield _field("BROKEN", why, "bad")
    if wal_problem:
        yield _field("WAL", f"not known: {wal_problem}", "warn")


def _reach(entry: Catalogued) -> str:
    backup = entry.backup
    if backup.status is not BackupStatus.DONE:
        return "not, as long as it is not complete"
    if entry.own_wal is None:
        return "not known"
    if entry.flaw:
        return "not, without that WAL"
    begin = exact(entry.restorable_from) if entry.restorable_from else UNKNOWN
    if entry.restorable_until:
        return f"{begin} to {exact(entry.restorable_until)}"
    return f"at its end, {begin}; no later commit is archived"


def _amounts(backup: Backup) -> str:
    if not backup.file_count:
        return "not known"
    saved = f", {backup.deduplication_ratio:.0%} less: compressed, and nothing twice" \
        if backup.deduplication_ratio > 0 else ""
    return f"{size(backup.size_bytes)} in {backup.file_count:,} files; {size(backup.stored_bytes)} stored{saved}"


def _segments(backup: Backup) -> str:
    begin, end = backup.begin_segment, backup.end_segment
    if begin is None:
        return "-"
    first = begin.name(backup.segment_size)
    last = end.name(backup.segment_size) if end else "-"
    return f"{first} alone" if first == last else f"{first} to {last}"


def _size(backup: Backup, octets: int) -> str:
    return size(octets) if backup.status.copied or octets else "-"


def _took(backup: Backup) -> str:
    return span(backup.seconds)


def _field(name: str, text: str, style: str = "") -> Field:
    return Field(name, text, style, INDENT)
