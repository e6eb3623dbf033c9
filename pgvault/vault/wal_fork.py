"""Checks whether a history and WAL of its timeline are of one server: both show where the timeline branched off.

Two servers may take the same number, such as a copy that was only looked at, and a standby that was promoted by hand.
With the history of one and the WAL of the other, a recovery would pass from one server's WAL to the other's.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from functools import partial
from typing import BinaryIO

from pgvault.model.errors import Corrupt, NotFound, Rejected
from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment
from pgvault.model.timeline import History, parse_history
from pgvault.store.keys import Kind
from pgvault.vault.compression import decompressed
from pgvault.vault.layout import ServerVault
from pgvault.wal.pages import PageOrder

Open = Callable[[], AbstractContextManager[BinaryIO]]
"""Opens a segment as it is stored, compressed."""

_HINT = ("Two servers have taken the same timeline. See which one archives here, and let the other archive elsewhere, "
         "or nowhere.")


def contradiction(history: History, segment: Segment, size: int, pages: PageOrder, stored: Open) -> str:
    """Return why this segment is not of the timeline that the history describes; empty if they agree, as far as they
    show.

    The records are read only if the pages agree and the timeline branched off in this segment by its history.
    """
    if history.parent is None:
        return ""
    switch = history.parent.switch
    low, high = pages.forked(segment.timeline, size)
    if not low <= switch <= high:
        shown = f"between {low} and {high}" if low else f"before {high}"
    elif segment.start(size) <= switch < segment.end(size) and (
            exact := _branch_point(segment, size, stored)) not in (None, switch):
        shown = f"at {exact}"
    else:
        return ""
    return f"it branches off at {switch}, and {segment.name(size)} shows that its WAL did {shown}"


def _branch_point(segment: Segment, size: int, stored: Open) -> Lsn | None:
    from pgvault.wal.branch import branch_point

    with suppress(NotFound, Corrupt), stored() as file:
        return branch_point(b"".join(decompressed(file)), segment.start(size), segment.timeline)
    return None


def archived_history(server: ServerVault, timeline: int) -> History | None:
    """Return the archived history; None if there is none, or none that can be read: code that needs it reports the
    damage.
    """
    from pgvault.vault.wal_archive import key_of

    name = f"{timeline:08X}.history"
    with suppress(NotFound, Corrupt, ValueError), server.store.stream(key_of(server, name)) as file:
        return parse_history(b"".join(decompressed(file)).decode(), timeline)
    return None


def refuse_wal(server: ServerVault, segment: Segment, size: int, pages: PageOrder, stored: Open) -> None:
    """Raise Rejected if the archived history of its timeline is another server's."""
    if segment.timeline > 1 and (history := archived_history(server, segment.timeline)) and (
            why := contradiction(history, segment, size, pages, stored)):
        raise Rejected(f"{segment.name(size)} is not of the timeline {segment.timeline} that is archived",
                       detail=f"The history of that says otherwise: {why}.", hint=_HINT)


def refuse_history(server: ServerVault, history: History, size: int) -> None:
    """Raise Rejected if the archived WAL of its timeline is another server's: the oldest segment shows it best."""
    from pgvault.vault.wal_archive import is_archived, key_of

    name, prefix = f"{history.timeline:08X}.history", f"{history.timeline:08X}"
    listed = server.store.list(Kind.WAL, server.name, prefix=prefix)
    oldest = next((each.name for each in listed if len(each.name) == len(prefix) * 3), None)
    if oldest is None or is_archived(server, name):
        return
    pages, stored = PageOrder(), partial(server.store.stream, key_of(server, oldest))
    with suppress(NotFound, Corrupt), stored() as file:
        for piece in decompressed(file):
            pages.add(piece)
        if why := contradiction(history, Segment.parse(oldest, size), size, pages, stored):
            raise Rejected(f"{name} is not the history of the WAL of timeline {history.timeline} that is archived",
                           detail=f"As {name} has it, {why}.", hint=_HINT)
