"""What it costs to see that every relation arrived: of a manifest of many relations, all there, then all lost.

    .venv/bin/python benchmarks/completeness.py [RELATIONS]
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pgvault.vault.arrived import ends_of_whole_segments, relations_without_file
from pgvault.vault.layout import Vault
from pgvault.vault.manifest import Entry, Kind, ManifestWriter
from pgvault.vault.names import RelationName

RELATIONS = 1_000_000
DATABASES = 10
SEGMENT = 1 << 30
PLACES = ("pg_tblspc/16400/PG_18_202506291", "pg_tblspc/16401/PG_18_202506291")


def main() -> None:
    relations = int(sys.argv[1]) if len(sys.argv) > 1 else RELATIONS
    for arrived in (True, False):
        with tempfile.TemporaryDirectory() as directory:
            measure(Path(directory), relations, arrived)


def measure(directory: Path, relations: int, arrived: bool) -> None:
    vault = Vault.open_or_create(directory / "vault").server("main")
    (vault.backups / "20261122T200512Z").mkdir(parents=True)
    manifest = ManifestWriter(vault, "20261122T200512Z")
    timed(f"{relations:,} relations, {'all' if arrived else 'none'} arrived: write", lambda: fill(manifest, relations, arrived))
    timed("  relations without a file", lambda: sum(
        1 for database in range(DATABASES) for _ in relations_without_file(manifest, database, PLACES)))
    timed("  whole segments", lambda: sum(1 for _ in ends_of_whole_segments(manifest, SEGMENT)))
    manifest.abandon()


def fill(manifest: ManifestWriter, relations: int, arrived: bool) -> int:
    for database in range(DATABASES):
        manifest.add_relations(names(database, relations // DATABASES))
        for number in range(16384, 16384 + relations // DATABASES):
            size = SEGMENT if arrived and number % 100 == 0 else 8192
            manifest.add(Entry(manifest.next_id(), f"base/{database}/{number if arrived else -number}", Kind.FILE, size, 0o600, 0))
    manifest.index_paths()
    return relations


def names(database: int, count: int) -> Iterator[RelationName]:
    for number in range(16384, 16384 + count):
        yield RelationName(database, number, number, "public", f"a_table_{number}", "r")


def timed(what: str, act: Callable[[], int]) -> None:
    began = time.perf_counter()
    found = act()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{what:<60} {time.perf_counter() - began:6.2f} s, {found:>9,} found, {peak:6.0f} MB at most")


if __name__ == "__main__":
    main()
