"""A backup's facts, when whoever takes it and whoever sees its WAL arrive write them at the same time."""

from __future__ import annotations

import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from shelf import Shelf, at, made_backup

from pgvault.model.backup import Backup, BackupStatus
from pgvault.store.keys import Kind
from pgvault.vault import catalog
from pgvault.vault.layout import ServerVault

WAITING, DONE = BackupStatus.WAITING_FOR_WALS, BackupStatus.DONE


@pytest.fixture
def waiting(shelf: Shelf) -> Backup:
    backup = made_backup(at(1), status=WAITING)
    shelf.put(backup)
    return backup


def test_whoever_takes_a_backup_always_has_its_facts_written(shelf: Shelf, waiting: Backup,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    server = shelf.server()
    monkeypatch.setattr(catalog, "_settled", lambda _, stored: replace(stored, status=DONE))
    with ThreadPoolExecutor(1) as pool:
        for _ in range(50):
            catalog.write(server, waiting)
            settling = pool.submit(catalog.settle, server)
            catalog.write(server, replace(waiting, status=DONE))
            settling.result()
            assert catalog.read(server, waiting.id).status is DONE


def test_what_was_judged_is_not_written_over_what_came_meanwhile(shelf: Shelf, waiting: Backup,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    server, newer = shelf.server(), replace(waiting, name="changed meanwhile")

    def settled(_: ServerVault, stored: Backup) -> Backup:
        catalog.write(server, newer)
        return replace(stored, status=DONE)

    with monkeypatch.context() as patch:
        patch.setattr(catalog, "_settled", settled)
        assert catalog.settle(server) == []
    assert catalog.read(server, waiting.id) == newer


def test_what_a_newer_version_of_pgvault_wrote_stays(shelf: Shelf, waiting: Backup,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    server = shelf.server()
    key = server.key(Kind.BACKUP, waiting.id)
    written = server.store.read(key).decode() + '\n[incremental]\non = "20261101T000000Z"\n'
    server.store.put(key, written.encode(), replaces=server.store.stat(key))
    monkeypatch.setattr(catalog, "_settled", lambda _, stored: replace(stored, status=DONE))
    assert [each.id for each in catalog.settle(server)] == [waiting.id]
    assert tomllib.loads(server.store.read(key).decode()) == tomllib.loads(written) | {"status": "DONE"}
