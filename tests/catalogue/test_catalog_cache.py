"""The cache of the catalogue: never needed, never wrong, never in the way."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from shelf import Shelf, at, made_backup

from pgvault.model.backup import Backup, BackupStatus, Tablespace, Unreadable
from pgvault.vault import catalog, catalog_cache
from pgvault.vault.layout import ServerVault


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many files were read since the last call; files count as settled at once."""
    monkeypatch.setattr(catalog_cache, "_SETTLED", -1)
    read, count = catalog._read_stored, [0]

    def counting(server: ServerVault, backup_id: str) -> Backup:
        count[0] += 1
        return read(server, backup_id)

    def since() -> int:
        found, count[0] = count[0], 0
        return found

    monkeypatch.setattr(catalog, "_read_stored", counting)
    return since


@pytest.fixture
def server(shelf: Shelf) -> ServerVault:
    """Six backups of every kind."""
    shelf.put(made_backup(at(1)), made_backup(at(2), name="ü", tablespaces=(Tablespace(7, "a b", "/x"),)),
              made_backup(at(3), status=BackupStatus.FAILED, error="why", begin_lsn=None, end_lsn=None),
              made_backup(at(4), corrupt_pages=("base/1/2",)), made_backup(at(5), finished_at=None),
              made_backup(at(6) + timedelta(microseconds=123456)))
    return shelf.server()


def cache_of(server: ServerVault) -> Path:
    return server.home / "catalog.cache"


def test_what_was_read_once_is_not_read_again_and_is_the_same(server: ServerVault, reads) -> None:
    first = list(catalog.scan(server))
    assert reads() == 6
    assert list(catalog.scan(server)) == first
    assert reads() == 0
    cache_of(server).unlink()
    assert list(catalog.scan(server)) == first
    assert reads() == 6


def test_a_change_is_seen_and_a_deleted_backup_is_forgotten(server: ServerVault, reads) -> None:
    before = catalog.backups(server)
    reads()
    changed = made_backup(at(3), error="WHY", status=BackupStatus.FAILED, begin_lsn=None, end_lsn=None)
    catalog.write(server, changed)
    (server.backups / before[0].id / "backup.toml").unlink()
    (server.backups / before[0].id).rmdir()
    assert catalog.backups(server) == [before[1], changed, *before[3:]]
    assert reads() == 1
    assert catalog.backups(server) == [before[1], changed, *before[3:]]
    assert reads() == 0
    assert f"\"{before[0].id}\":" not in cache_of(server).read_text()


def test_a_backup_that_became_unreadable_is_not_hidden_by_the_cache(server: ServerVault, reads) -> None:
    catalog.backups(server)
    path = server.backups / "20261102T120000Z/backup.toml"
    path.write_bytes(b"\xff" * path.stat().st_size)
    found = list(catalog.scan(server))[1]
    assert isinstance(found, Unreadable)
    assert str(path) in found.reason


def test_a_damaged_cache_is_as_good_as_none(server: ServerVault, reads) -> None:
    whole = catalog.backups(server)
    content = cache_of(server).read_bytes()
    damaged = [content[:n] for n in range(0, len(content), 97)]
    damaged += [content[:n] + bytes([content[n] ^ 4]) + content[n + 1:] for n in range(0, len(content), 31)]
    reads()
    for each in damaged:
        cache_of(server).write_bytes(each)
        assert list(catalog.scan(server, save=False)) == whole
        assert reads() == 6


def test_what_may_still_change_within_the_clocks_grain_is_not_cached(server: ServerVault) -> None:
    assert len(catalog.backups(server)) == 6
    assert not cache_of(server).exists()


def test_scanning_writes_nothing_when_asked_not_to_or_when_nothing_changed(server: ServerVault, reads) -> None:
    list(catalog.scan(server, save=False))
    assert not cache_of(server).exists()
    catalog.backups(server)
    written = cache_of(server).stat()
    catalog.backups(server)
    now = cache_of(server).stat()  # reading may change st_atime
    assert (now.st_ino, now.st_size, now.st_mtime_ns) == (written.st_ino, written.st_size, written.st_mtime_ns)


def test_two_writers_do_not_meet_and_a_dead_one_leaves_no_trace(server: ServerVault, reads) -> None:
    half = server.home / ".tmp-catalog.cache"
    half.write_bytes(b"half")
    assert len(catalog.backups(server)) == 6
    assert not cache_of(server).exists(), "another one is writing it"
    os.utime(half, (1, 1))
    catalog.backups(server)
    assert not half.exists()
    catalog.backups(server)
    assert cache_of(server).exists()


def test_a_cache_that_cannot_be_written_costs_only_time(server: ServerVault, reads, monkeypatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert len(catalog.backups(server)) == 6
    assert not cache_of(server).exists()
    assert not list(server.home.glob(".tmp-*"))


def test_a_catalogue_is_found_by_id_prefix_and_word(server: ServerVault) -> None:
    from pgvault.model.errors import NotFound

    assert catalog.find(server, "20261102T120000Z").name == "ü"
    assert catalog.find(server, "20261104").id == "20261104T120000Z"
    assert catalog.find(server, "latest").id == "20261106T120000Z"
    assert catalog.find(server, "oldest").id == "20261101T120000Z"
    assert catalog.find(server, "last-failed").error == "why"
    for wrong in ("2026", "", "..", "../x", "20261131T120000Z", "newest", "٢٠٢٦١١٠١T120000Z"):
        with pytest.raises(NotFound):
            catalog.find(server, wrong)
    (server.backups / "20261106T120000Z/backup.toml").write_text("")
    assert catalog.find(server, "latest").id == "20261105T120000Z", "an unreadable one is passed over"


def test_facts_of_another_backup_are_not_taken_for_these(server: ServerVault) -> None:
    text = (server.backups / "20261101T120000Z/backup.toml").read_bytes()
    (server.backups / "20261102T120000Z/backup.toml").write_bytes(text)
    found = list(catalog.scan(server))[1]
    assert isinstance(found, Unreadable)
    assert "20261101T120000Z" in found.reason
