"""The queries of pictures, lists and checks to the WAL index, so that the layers above do not know its tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment
from pgvault.model.wal_picture import NOT_KNOWN, RestorePoint
from pgvault.vault.wal_index import StoredFile, WalIndex, archived_rows

_OF_PICTURE = (*(f"coalesce({column}, {NOT_KNOWN})" for column in ("earliest", "latest")), "accepted_at",
               f"coalesce(commits, {NOT_KNOWN})", "joined IS NULL")
_PORTION = 8192
"""The number of rows in a portion."""

Row = tuple[int, ...]


@contextmanager
def one_moment(index: WalIndex) -> Iterator[None]:
    """Answer all queries within the scope as of one moment."""
    index.connection.execute("BEGIN")
    try:
        yield
    finally:
        index.connection.execute("ROLLBACK")


def picture_rows(index: WalIndex) -> Iterator[list[Row]]:
    """Yield in portions, for every segment by timeline and number: the columns of `Archived`; when the first and the
    last of its transactions ended, when it was accepted, how many commits it has (NOT_KNOWN if that is unknown);
    whether it has not been read yet.
    """
    rows = archived_rows(index, *_OF_PICTURE)
    while portion := rows.fetchmany(_PORTION):
        yield portion


def restore_points(index: WalIndex) -> tuple[RestorePoint, ...]:
    """Return the restore points by timeline and position."""
    return tuple(RestorePoint(name, timeline, number, Lsn(lsn), Lsn(end), at) for name, timeline, number, lsn, end, at
                 in index.connection.execute("SELECT name, timeline, number, lsn, end_lsn, at FROM restore_point"
                                             " ORDER BY timeline, lsn"))


def segment_sizes(index: WalIndex) -> list[Row]:
    """Return timeline, number, plain and stored bytes of every segment, by timeline and number."""
    return index.connection.execute(
        "SELECT timeline, number, plain, stored FROM file WHERE +kind = 'segment' ORDER BY name").fetchall()


def segments_between(index: WalIndex, timeline: int, first: int, last: int) -> Iterator[StoredFile]:
    """Return the segments with these numbers, by number."""
    return (StoredFile(*row) for row in index.connection.execute(
        "SELECT * FROM file WHERE kind = 'segment' AND timeline = ? AND number BETWEEN ? AND ?"
        " ORDER BY timeline, number", (timeline, first, last)))


def has_histories(index: WalIndex) -> bool:
    return index.connection.execute("SELECT 1 FROM file WHERE kind = 'history'").fetchone() is not None


def newest_accepted(index: WalIndex) -> int | None:
    """Return when the newest segment was accepted, in microseconds since 1970; None if there is none."""
    [at] = index.connection.execute("SELECT max(accepted_at) FROM file WHERE kind = 'segment'").fetchone()
    return None if at is None else int(at)


def problems(index: WalIndex) -> Iterator[tuple[Segment, str]]:
    """Return the segments whose records could not be read, and why."""
    return ((Segment(timeline, number), reason) for timeline, number, reason in index.connection.execute(
        "SELECT timeline, number, problem FROM facts WHERE problem IS NOT NULL ORDER BY timeline, number"))
