"""A vault that pgvault 0.1 wrote (fixtures/make_vault_0_1.py) opens, lists and gives back every byte."""

from __future__ import annotations

import random
import sqlite3
import tarfile
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest
from support.objects import manifest_path

from pgvault.engine.restore.files import plain_file
from pgvault.model.backup import Backup, BackupStatus
from pgvault.vault import catalog, recoveries, wal_index
from pgvault.vault.frames import FrameStore, rebuild_index
from pgvault.vault.identity import Identity, read_identity, servers_of
from pgvault.vault.layout import ServerVault, Vault
from pgvault.vault.manifest import Kind, Manifest
from pgvault.vault.packs import PackReader
from pgvault.vault.wal_fetch import fetch
from pgvault.vault.wal_rebuild import Reconciled, rebuild, reconcile
from pgvault.vault.wal_whole import missing_wal

ARCHIVE = Path(__file__).with_name("fixtures") / "vault-0.1.tar.xz"
SYSTEM, MIB = "7300000000000000001", 1 << 20
IDS = ("20261101T120000Z", "20261102T120000Z")
WAL = [f"0000000100000000{number:08X}" for number in (2, 3, 4, 5)] + ["000000010000000000000006.partial",
                                                                    "00000002.history"]
CACHES = ("frames.sqlite", "frames.sqlite-wal", "frames.sqlite-shm", "wal.sqlite", "wal.sqlite-wal", "wal.sqlite-shm",
          "catalog.cache")


@pytest.fixture(params=["as it was written", "without its caches"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> ServerVault:
    with tarfile.open(ARCHIVE) as tar:
        tar.extraction_filter = lambda member, _: member  # the older Pythons have no other spelling for it
        tar.extractall(tmp_path)
    server = Vault.open(tmp_path / "vault").server("main")
    if request.param == "without its caches":
        for name in CACHES:
            (server.home / name).unlink(missing_ok=True)
        rebuild_index(server)
        rebuild(server)
    return server


def content(server: ServerVault, backup: Backup) -> dict[str, bytes]:
    with Manifest(server, backup, check=True) as manifest, PackReader(server) as packs:
        return {entry.path: b"".join(plain_file(entry, manifest, packs)) for entry in list(manifest.entries())
                if entry.kind is Kind.FILE}


def table(backup_id: str, *changed: int) -> bytes:
    pages = (bytes([page in changed]) * 4096 + bytes(4096) for page in range(128))
    return b"".join(pages) + bytes(MIB) + random.Random(backup_id).randbytes(5000)


def test_its_backups_are_listed_and_their_wal_is_there(server: ServerVault) -> None:
    found = catalog.read_all(server)
    assert [(each.id, each.status) for each in found.backups] == [(each, BackupStatus.DONE) for each in IDS]
    assert not found.unreadable
    assert found.backups[1].finished_at == datetime.fromisoformat("2026-11-02T12:01:00+00:00")
    assert [missing_wal(server, each) for each in found.backups] == [[], []]
    assert read_identity(server) == Identity(SYSTEM, MIB)


def test_what_was_backed_up_is_given_back(server: ServerVault) -> None:
    older, newer = (content(server, backup) for backup in catalog.backups(server))
    assert older == {"base/1/16384": table(IDS[0]), "base/1/16385": b""}
    assert newer == {"base/1/16384": table(IDS[1], 3, 7), "base/1/16385": b""}


def test_wal_is_given_back_and_what_is_absent_is_proven_so(server: ServerVault) -> None:
    for name in WAL:
        assert fetch(server, name)
    assert fetch(server, "000000010000000000000007") is None
    with wal_index.reading(server) as index:
        assert index.names() == sorted(WAL)
    assert reconcile(server) == Reconciled(0, 0, ())


def test_it_goes_on(server: ServerVault) -> None:
    """A frame that it has is not stored again, its facts are replaced, and its timeline numbers stay taken."""
    backup = catalog.read(server, IDS[0])
    with Manifest(server, backup) as manifest:
        run = manifest.run("base/1/16384", 0)
    assert run
    assert run.frame
    with FrameStore(server) as store:
        assert store.has(run.frame)
    catalog.write(server, backup)
    assert catalog.read(server, IDS[0]) == backup
    assert recoveries.next_timeline(server, 1) == 4
    assert servers_of(Vault(server.home.parent), SYSTEM) == ["main"]


def test_its_names_are_read(server: ServerVault) -> None:
    with closing(sqlite3.connect(manifest_path(server, IDS[0]))) as manifest:
        assert manifest.execute("SELECT name FROM relation").fetchall() == [("t",)]
