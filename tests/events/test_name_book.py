"""Names out of very many backups: few files open at a time, and the nearest backups that know are asked."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.objects import backup_directory, manifest_path

from pgvault.engine.event_names import NameBook
from pgvault.model.backup import Backup, BackupStatus
from pgvault.model.lsn import Lsn
from pgvault.model.timeline import TimelineTree
from pgvault.vault import catalog
from pgvault.vault.layout import ServerVault, Vault
from pgvault.vault.manifest import ManifestWriter
from pgvault.vault.names import DatabaseName, RelationName

SHOP, OTHER, TABLE = 5, 6, 20000
COUNT = 60
FEW = 12
"""Files that may be open at a time."""


def lsn(number: int) -> Lsn:
    return Lsn((number + 1) << 24)


def shelve(vault: ServerVault, number: int, relations: list[RelationName], *, named: bool = True) -> None:
    """A backup that ended at `lsn(number)`."""
    started = datetime(2026, 11, 1, tzinfo=UTC) + timedelta(hours=number)
    backup = Backup(
        id=started.strftime("%Y%m%dT%H%M%SZ"), server="main", status=BackupStatus.DONE, method="stream",
        started_at=started, finished_at=started, system_identifier="1", server_version="18.1", segment_size=1 << 24,
        timeline=1, data_directory="/data", begin_lsn=Lsn(lsn(number) - 100), end_lsn=lsn(number))
    backup_directory(vault, backup.id).mkdir(parents=True)
    catalog.write(vault, backup)
    writer = ManifestWriter(vault, backup.id)
    if named:
        writer.add_databases([DatabaseName(SHOP, "shop")])
        writer.add_relations(relations)
    writer.publish()


def table(oid: int, name: str, number: int | None = None) -> RelationName:
    return RelationName(SHOP, oid, number or oid, "public", name, "r")


@pytest.fixture
def vault(tmp_path: Path) -> ServerVault:
    vault = Vault.open_or_create(tmp_path).server("main")
    vault.prepare()
    return vault


def book_of(vault: ServerVault) -> NameBook:
    return NameBook(vault, TimelineTree(()).history(1))


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_many_backups_keep_few_files_open(vault: ServerVault) -> None:
    for number in range(COUNT):
        shelve(vault, number, [table(TABLE, f"table_{number}"), table(1259, "pg_class", 30000 + number)])
    before = open_files()
    with book_of(vault) as book:
        assert book.rewritten_catalogs() == {(SHOP, 30000 + number) for number in range(COUNT)}
        assert open_files() - before <= FEW
        for number in range(COUNT):
            names = book.at(Lsn(lsn(number) + 8))
            assert names.by_oid(SHOP, TABLE).name == f"table_{number}"
            assert names.by_oid(SHOP, 99999) is None
            assert names.by_number(OTHER, 99999) is None
            assert (names.database(SHOP), names.database(OTHER)) == ("shop", "")
        assert open_files() - before <= FEW
    assert open_files() == before


def test_the_newest_backup_before_counts_then_older_ones_then_the_next(vault: ServerVault) -> None:
    shelve(vault, 0, [table(TABLE, "old"), table(TABLE + 1, "older")])
    shelve(vault, 1, [table(TABLE, "new")])
    shelve(vault, 2, [table(TABLE, "newer"), table(TABLE + 2, "later", 40000)])
    with book_of(vault) as book:
        names = book.at(Lsn(lsn(1) + 8))
        assert names.by_oid(SHOP, TABLE).name == "new"
        assert names.by_oid(SHOP, TABLE + 1).name == "older"
        assert names.by_number(SHOP, 40000).name == "later"


def test_backups_without_names_are_passed_over_however_many_they_are(vault: ServerVault) -> None:
    """Those of earlier versions, those that could not ask a database, and those whose manifest cannot be read."""
    shelve(vault, 0, [table(TABLE, "orders")])
    for number in range(1, 21):
        shelve(vault, number, [], named=number % 2 == 0)
    damaged = catalog.backups(vault)[-1]
    manifest_path(vault, damaged.id).write_bytes(b"nonsense")
    with book_of(vault) as book:
        names = book.at(Lsn(lsn(20) + 8))
        assert names.by_oid(SHOP, TABLE).name == "orders"
        assert (names.database(SHOP), names.kind(SHOP, TABLE)) == ("shop", "r")
