"""A backup's states: which may follow which, and what the catalogue writes down with each."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from shelf import Shelf, at, made_backup
from support.objects import manifest_path

from pgvault.model.backup import NEXT, BackupStatus
from pgvault.model.errors import Conflict
from pgvault.vault import catalog

STARTED, WAITING, DONE, FAILED = BackupStatus
FOLLOW = {(STARTED, WAITING), (STARTED, FAILED), (WAITING, DONE), (DONE, WAITING)}


@pytest.mark.parametrize(("before", "after"), list(product(BackupStatus, BackupStatus)))
def test_only_these_states_follow(shelf: Shelf, before: BackupStatus, after: BackupStatus) -> None:
    server, backup = shelf.server(), made_backup(at(1), status=before)
    catalog.create(server, backup)
    if (before, after) in FOLLOW:
        moved = catalog.advance(server, replace(backup, error="why"), after)
        assert (moved.status, moved.error) == (after, "why")
    else:
        moved = backup
        with pytest.raises(ValueError, match=f"is {before.value}, and cannot become {after.value}"):
            catalog.advance(server, replace(backup, error="why"), after)
    assert list(catalog.scan(server, save=False)) == [moved]


def test_every_state_has_its_followers() -> None:
    assert set(NEXT) == set(BackupStatus)
    assert {(before, after) for before, each in NEXT.items() for after in each} == FOLLOW


def test_a_failed_backup_has_its_reason_and_no_manifest(shelf: Shelf) -> None:
    server, backup = shelf.server(), made_backup(at(1), status=STARTED, finished_at=None)
    catalog.create(server, backup)
    manifest_path(server, backup.id).touch()
    catalog.fail(server, backup, "the disk is full")
    found = catalog.read(server, backup.id)
    assert (found.status, found.error) == (FAILED, "the disk is full")
    assert found.finished_at is not None
    assert not manifest_path(server, backup.id).exists()


def test_whoever_takes_a_backup_has_the_last_word(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often another process writes the same facts meanwhile; when it never ends, that is said."""
    server, backup = shelf.server(), made_backup(at(1), status=STARTED)
    catalog.create(server, backup)
    put, others = server.store.put, iter(range(5))

    def put_late(key: Any, content: bytes, *, replaces: Any = None) -> None:
        if isinstance(content, bytes) and (other := next(others, None)) is not None:
            put(key, f"# {other}".encode(), replaces=replaces)
        put(key, content, replaces=replaces)

    monkeypatch.setattr(type(server.store), "put", lambda _, *given, **asked: put_late(*given, **asked))
    catalog.write(server, replace(backup, error="mine"))
    assert catalog.read(server, backup.id).error == "mine"
    others = iter(range(6))
    with pytest.raises(Conflict):
        catalog.write(server, replace(backup, error="again"))


def test_what_no_process_is_taking_any_more_failed(shelf: Shelf) -> None:
    server = shelf.server()
    for day, status in enumerate(BackupStatus, 1):
        catalog.create(server, made_backup(at(day), status=status, segment=100))
    catalog.fail_abandoned(server)
    assert [each.status for each in catalog.backups(server)] == [FAILED, WAITING, DONE, FAILED]
    assert catalog.backups(server)[0].error == "its process ended without reporting a result"
