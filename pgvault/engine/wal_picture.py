"""All data for a picture of a server's WAL, read in one pass over the index.

Nothing is updated first (`wal_status.refresh` does that) and nothing is written, so it works on a read-only vault.
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter

from pgvault.model.errors import NotFound
from pgvault.model.timeline import TimelineTree
from pgvault.model.wal_picture import Lane, RestorePoint, WalPicture
from pgvault.model.window import Archived, survey
from pgvault.vault import catalog, wal_index, wal_queries
from pgvault.vault.identity import read_identity
from pgvault.vault.layout import ServerVault
from pgvault.vault.wal_facts import timeline_tree
from pgvault.vault.wal_index import WalIndex
from pgvault.vault.wal_parted import latest_between
from pgvault.vault.wal_rebuild import archived_names

_WIDTH = len(Archived._fields)


def wal_picture(server: ServerVault) -> WalPicture:
    """Read the picture; NotFound if the vault has nothing of this server, or its index must be rebuilt."""
    identity = read_identity(server)
    if identity is None:
        raise NotFound(f"nothing of {server.name} is in the vault yet", hint=f"pgvault check {server.name}")
    read_at, size = datetime.now(UTC), identity.segment_size
    backups = catalog.read_all(server, save=False).backups
    archived, lanes, points, tree, unread = _read(server)
    found = survey(archived, tree, backups, size, latest_between(server))
    return WalPicture(server.name, size, found, tree, lanes, points, backups, unread, read_at)


def _read(server: ServerVault) -> tuple[list[Archived], tuple[Lane, ...], tuple[RestorePoint, ...], TimelineTree, int]:
    try:
        with wal_index.reading(server) as index, wal_queries.one_moment(index):
            points = wal_queries.restore_points(index)
            archived, lanes, unread = _segments(index)
            return archived, lanes, points, timeline_tree(server, index), unread
    except NotFound:
        if any(archived_names(server)):
            raise
        return [], (), (), TimelineTree(()), 0


def _segments(index: WalIndex) -> tuple[list[Archived], tuple[Lane, ...], int]:
    """Return the rows for the survey, the lanes, and how many segments were not read yet."""
    archived: list[Archived] = []
    lanes: dict[int, Lane] = {}
    unread = 0
    for portion in wal_queries.picture_rows(index):
        for timeline, same in groupby(portion, itemgetter(0)):
            columns = list(zip(*same, strict=True))
            archived.extend(map(Archived._make, zip(*columns[:_WIDTH], strict=True)))
            lane = lanes.setdefault(timeline, Lane(timeline))
            for values, column in zip((lane.numbers, lane.earliest, lane.latest, lane.accepted, lane.commits),
                                      (columns[1], *columns[_WIDTH:-1]), strict=True):
                values.extend(column)
            unread += sum(columns[-1])
    return archived, tuple(lanes.values()), unread
