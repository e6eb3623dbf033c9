"""What the local store calls stored is on the disk: content before name, name before `put` returns."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.durability import Durability

from pgvault.store.keys import Key, Kind
from pgvault.store.local import LocalStore

KEYS = (Key(Kind.README), Key(Kind.IDENTITY, "main"), Key(Kind.BACKUP, "main", "20261101T120000Z"),
        Key(Kind.MANIFEST, "main", "20261101T120000Z"), Key(Kind.PACK, "main", "0001"),
        Key(Kind.WAL, "main", "000000010000000000000001"), Key(Kind.RECOVERY, "main", "00000002"))


@pytest.fixture
def store(tmp_path: Path, durability: Durability) -> LocalStore:
    made = LocalStore(tmp_path / "new/vault")
    made.put(Key(Kind.VAULT), b"")
    return made


@pytest.mark.parametrize("spooled", [False, True])
@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.kind.name)
def test_each_kind_of_object(store: LocalStore, tmp_path: Path, durability: Durability, key: Key,
                             spooled: bool) -> None:
    if spooled:
        with store.spool(key) as spool:
            spool.write(b"content")
            store.put(key, spool)
    else:
        store.put(key, b"content")
    assert durability.holds(store.path(key), tmp_path)
    store.put(key, b"changed", replaces=store.stat(key))
    assert durability.holds(store.path(key), tmp_path)
    assert not durability.too_early


def test_where_there_are_no_links(store: LocalStore, tmp_path: Path, durability: Durability,
                                  monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    store.put(KEYS[-1], b"content")
    assert durability.holds(store.path(KEYS[-1]), tmp_path)
    assert not durability.too_early


def test_what_is_deleted_stays_so(store: LocalStore, durability: Durability) -> None:
    store.put(KEYS[-1], b"content")
    store.delete(KEYS[-1])
    assert durability.is_gone(store.path(KEYS[-1]))
