"""Checks a backup's facts against its contents: `backup.toml` has no checksum, but the manifest that it names by hash
has.

PostgreSQL's own manifest records the WAL that has to be replayed (documentation 72.1, "WAL-Ranges"), and pgvault's
manifest the tablespaces. A wrong number in `backup.toml` would choose the wrong WAL.
"""

from __future__ import annotations

import re

from pgvault.engine.restore.files import plain_run
from pgvault.model.backup import Backup
from pgvault.model.errors import Corrupt
from pgvault.model.lsn import Lsn
from pgvault.vault.manifest import Manifest
from pgvault.vault.packs import PackReader

_RANGE = re.compile(rb'"Timeline": (\d+), "Start-LSN": "([0-9A-F/]+)", "End-LSN": "([0-9A-F/]+)"')


def check_facts(backup: Backup, manifest: Manifest, packs: PackReader) -> None:
    """Raise Corrupt if the facts are not those of the backup whose manifest this is."""
    missing = manifest.tablespace_sizes().keys() - {None, *(space.oid for space in backup.tablespaces)}
    if missing:
        raise _damaged(backup, f"The backup has files of tablespace {min(filter(None, missing))}, which is not in it")
    ranges = [(int(timeline), Lsn.parse(start.decode()), Lsn.parse(end.decode()))
              for timeline, start, end in _RANGE.findall(_end_of_server_manifest(manifest, packs))]
    if not ranges:
        return
    begin, end = min(start for _, start, _ in ranges), max(end for _, _, end in ranges)
    if (backup.begin_lsn, backup.end_lsn) != (begin, end) or backup.timeline not in {line for line, _, _ in ranges}:
        raise _damaged(backup, f"By PostgreSQL's own manifest its WAL is from {begin} to {end}; there it is from "
                               f"{backup.begin_lsn} to {backup.end_lsn} on timeline {backup.timeline}")


def _end_of_server_manifest(manifest: Manifest, packs: PackReader) -> bytes:
    """Return its last one or two runs, which contain the ranges: they follow the files, of which there may be millions.
    """
    entry = manifest.find("backup_manifest")
    runs = [] if entry is None else list(manifest.runs(entry))[-2:]
    return b"".join(plain_run(entry, run, packs) for run in runs if entry is not None)


def _damaged(backup: Backup, what: str) -> Corrupt:
    return Corrupt(f"the facts of backup {backup.id} are damaged", detail=f"{what} (backup.toml).",
                   hint="Restore from another backup, or bring the file back from a copy of the vault.")
