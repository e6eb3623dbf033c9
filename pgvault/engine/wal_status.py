"""The status of a server's WAL archive: what is archived, what is missing, and which instants can be restored."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass

from pgvault.model.backup import Unreadable
from pgvault.model.errors import NoSpace, NotFound
from pgvault.model.timeline import TimelineTree
from pgvault.model.window import Survey, survey
from pgvault.vault import catalog, wal_index
from pgvault.vault.identity import read_identity
from pgvault.vault.layout import ServerVault
from pgvault.vault.streaming import partials
from pgvault.vault.wal_facts import OnProgress, read_facts, timeline_tree, unread
from pgvault.vault.wal_index import WalIndex, archived_segments
from pgvault.vault.wal_parted import latest_between
from pgvault.vault.wal_queries import problems
from pgvault.vault.wal_rebuild import Damaged, reconcile


@dataclass(frozen=True, slots=True)
class NotRead:
    """A segment whose records could not be read. It is archived, and recovery may still be able to use it."""

    segment: str
    reason: str


@dataclass(frozen=True, slots=True)
class WalStatus:
    survey: Survey
    tree: TimelineTree
    segment_size: int
    stored_bytes: int
    damaged: tuple[Damaged, ...]
    not_read: tuple[NotRead, ...]
    unread: int
    """Segments whose commits are unknown, so that times may extend further than they seem to."""
    streaming: tuple[str, ...]
    """Segments that have been received partly."""
    unreadable: tuple[Unreadable, ...]
    """Backups with unreadable facts, which open no window."""


def refresh(server: ServerVault, *, limit: int | None = None,
            on_progress: OnProgress | None = None) -> tuple[Damaged, ...]:
    """Update the index if the vault is writable. Return the files that were found damaged.

    Reading records takes about 0.05 s for each segment of 16 MiB; `limit` is the maximum that are read.
    """
    if not os.access(server.home, os.W_OK):
        return ()
    damaged = reconcile(server).damaged
    read_facts(server, limit=limit, on_progress=on_progress)
    return damaged


def wal_status(server: ServerVault, *, limit: int | None = None) -> WalStatus:
    """Return the status; NotFound if nothing of this server was archived yet. `limit` as in `refresh`."""
    identity = read_identity(server)
    if identity is None:
        raise NotFound(f"nothing of {server.name} is in the vault yet", hint=f"pgvault check {server.name}")
    damaged: tuple[Damaged, ...] = ()
    with suppress(NoSpace):  # then show what is known already
        damaged = refresh(server, limit=limit)
    with wal_index.reading(server) as index:
        tree, size = timeline_tree(server, index), identity.segment_size
        backups, unreadable = catalog.read_all(server)
        return WalStatus(
            survey(archived_segments(index), tree, backups, size, latest_between(server)), tree, size,
            index.stored_bytes(), damaged, _not_read(index, size), unread(index), tuple(partials(server)), unreadable)


def _not_read(index: WalIndex, size: int) -> tuple[NotRead, ...]:
    return tuple(NotRead(segment.name(size), reason) for segment, reason in problems(index))
