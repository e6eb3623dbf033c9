"""Whether a backup can be restored by its WAL: the rule of `model.window`, for a single backup."""

from __future__ import annotations

from pgvault.model.backup import Backup
from pgvault.model.errors import Corrupt, NotFound
from pgvault.model.segment import Segment
from pgvault.model.timeline import TimelineTree
from pgvault.model.window import Archived, survey
from pgvault.vault import wal_index
from pgvault.vault.layout import ServerVault
from pgvault.vault.wal_archive import is_archived
from pgvault.vault.wal_index import archived_between


def missing_wal(server: ServerVault, backup: Backup) -> list[Segment]:
    """Return the segments from the backup's begin to its end that are not archived."""
    begin, end, size = backup.begin_segment, backup.end_segment, backup.segment_size
    if begin is None or end is None:
        return []
    wanted = [Segment(backup.timeline, number) for number in range(begin.number, end.number + 1)]
    return [segment for segment in wanted if not is_archived(server, segment.name(size))]


def lacking(server: ServerVault, backup: Backup) -> Segment | None:
    """Return the first segment from the backup's begin to its end that is missing, or that recovery cannot pass; None
    if the backup can be restored. A segment that has not been read yet counts as whole, as it does in `pgvault wal`."""
    begin, end = backup.begin_segment, backup.end_segment
    if begin is None or end is None:
        return None
    missing = set(missing_wal(server, backup))
    there = {number: Archived(begin.timeline, number) for number in range(begin.number, end.number + 1)
             if Segment(begin.timeline, number) not in missing}
    try:
        with wal_index.reading(server) as index:
            there |= {each.number: each for each in archived_between(index, begin, end) if each.number in there}
    except (NotFound, Corrupt):
        pass  # the index is a cache: without it this WAL counts as unread
    return survey(there.values(), TimelineTree(()), [backup], backup.segment_size).lacking(backup.id)
