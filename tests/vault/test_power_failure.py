"""What a vault calls stored is on the disk: content before name, name before anything that relies on it."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.durability import Durability
from support.objects import backup_directory, identity_path, manifest_path, pack_path

from pgvault.model.backup import Backup, BackupStatus
from pgvault.store.files import make_directory, publish, remove_tree, write_durably
from pgvault.vault import catalog
from pgvault.vault.compression import compress
from pgvault.vault.frames import FrameStore, rebuild_index
from pgvault.vault.identity import Identity, claim
from pgvault.vault.layout import ServerVault, Vault
from pgvault.vault.manifest import ZEROS, Entry, Kind, ManifestWriter
from pgvault.vault.packs import pack_names
from pgvault.vault.quarantine import REASON, set_aside

ID = "20261101T120000Z"
BACKUP = Backup(ID, "main", BackupStatus.WAITING_FOR_WALS, "pg_basebackup", datetime(2026, 11, 1, 12, tzinfo=UTC), "7",
                "18.1", 16 << 20, 1, "/data")


@pytest.fixture
def server(tmp_path: Path, durability: Durability) -> ServerVault:
    vault = Vault.open_or_create(tmp_path / "new" / "vault").server("main")
    vault.prepare()
    return vault


def assert_holds(durability: Durability, tmp_path: Path, *paths: Path) -> None:
    for path in paths:
        assert durability.holds(path, tmp_path), f"a power failure may lose {path.relative_to(tmp_path)}"
    assert not durability.too_early


def write_frames(server: ServerVault, *contents: bytes) -> None:
    with FrameStore(server) as frames:
        for content in contents:
            frames.add(hashlib.sha256(content).digest(), compress(content, 1), len(content))
        frames.flush()


def test_the_record_sees_a_flush_that_is_missing(tmp_path: Path, durability: Durability) -> None:
    """The instrument itself: each of the three steps left out, and a write after the flush."""
    place = tmp_path / "place"
    make_directory(place)

    def written(name: str) -> Path:
        (place / name).write_bytes(b"content")
        return place / name

    publish(written("a.tmp"), place / "a")
    assert durability.holds(place / "a", tmp_path)
    assert not durability.too_early

    os.replace(written("b.tmp"), place / "b")  # neither flushed
    assert durability.too_early
    assert not durability.holds(place / "b", tmp_path)

    durability.too_early.clear()
    publish(written("c.tmp"), place / "c")
    with (place / "c").open("ab") as file:
        file.write(b"more")
    assert not durability.holds(place / "c", tmp_path)

    (place / "a").unlink()
    assert not durability.is_gone(place / "a")


def test_a_new_vault(server: ServerVault, tmp_path: Path, durability: Durability) -> None:
    home = server.home.parent
    assert_holds(durability, tmp_path, home / "vault.toml", home / "README", server.packs, server.wal, server.backups,
                 server.spool.incoming, server.spool.streaming)


def test_a_file_that_takes_anothers_place(server: ServerVault, tmp_path: Path, durability: Durability) -> None:
    for text in (b"first", b"second"):
        write_durably(server.home / "note", text)
        assert_holds(durability, tmp_path, server.home / "note")
    assert (server.home / "note").read_bytes() == b"second"


def test_every_pack_that_a_backup_may_refer_to(server: ServerVault, tmp_path: Path, durability: Durability,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that the flusher writes in the background, and the last one."""
    monkeypatch.setattr("pgvault.vault.frames.PACK_SIZE", 4000)
    write_frames(server, *(os.urandom(3000) for _ in range(5)))
    packs = [pack_path(server, name) for name in pack_names(server)]
    assert len(packs) > 1
    assert_holds(durability, tmp_path, *packs)


def test_a_frame_that_is_in_the_index(server: ServerVault, tmp_path: Path, durability: Durability,
                                      monkeypatch: pytest.MonkeyPatch) -> None:
    """What the index says is stored, the next backup leaves out: its pack is durable first."""
    monkeypatch.setattr("pgvault.vault.frames.PACK_SIZE", 4000)
    with FrameStore(server) as frames:
        for _ in range(8):
            content = os.urandom(3000)
            frames.add(hashlib.sha256(content).digest(), compress(content, 1), len(content))
            for name in [name for (name,) in frames._index.execute("SELECT name FROM pack")]:
                assert_holds(durability, tmp_path, pack_path(server, name))


def test_an_index_that_was_made_again(server: ServerVault, tmp_path: Path, durability: Durability) -> None:
    write_frames(server, b"one")
    rebuild_index(server)
    assert_holds(durability, tmp_path, server.cache.frames)


def test_a_backup_from_its_first_instant_to_its_last(server: ServerVault, tmp_path: Path,
                                                     durability: Durability) -> None:
    catalog.create(server, BACKUP)
    facts = backup_directory(server, ID) / "backup.toml"
    assert_holds(durability, tmp_path, facts)

    manifest = ManifestWriter(server, ID)
    number = manifest.next_id()
    manifest.add(Entry(number, "base/1/1259", Kind.FILE, 8192, 0o600, 0))
    manifest.add_run(number, 0, ZEROS)
    manifest.index_paths()
    digest = manifest.publish()
    assert_holds(durability, tmp_path, manifest_path(server, ID))

    catalog.write(server, replace(BACKUP, manifest_sha256=digest, status=BackupStatus.DONE))
    assert_holds(durability, tmp_path, facts)


def test_which_cluster_the_vault_belongs_to(server: ServerVault, tmp_path: Path, durability: Durability) -> None:
    claim(server, Identity("7300000000000000001", 16 << 20))
    assert_holds(durability, tmp_path, identity_path(server))


def test_what_is_put_in_quarantine_and_why(server: ServerVault, tmp_path: Path, durability: Durability) -> None:
    odd = server.spool.incoming / "odd"
    odd.write_bytes(b"odd")
    kept = set_aside(server, odd, "it is odd")
    assert_holds(durability, tmp_path, kept, kept.with_name(kept.name + REASON))
    assert durability.is_gone(odd)


def test_what_comes_to_quarantine_from_another_file_system(
        server: ServerVault, tmp_path: Path, durability: Durability, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = server.spool.incoming / "odd"
    odd.write_bytes(b"odd")
    rename = os.rename

    def elsewhere(source: Path, target: Path) -> None:
        if source == odd:
            raise OSError(18, "Invalid cross-device link")
        rename(source, target)

    monkeypatch.setattr(os, "rename", elsewhere)
    kept = set_aside(server, odd, "it is odd")
    assert kept.read_bytes() == b"odd"
    assert_holds(durability, tmp_path, kept)
    assert durability.is_gone(odd)


def test_a_directory_that_is_removed_is_not_there_by_half(server: ServerVault, tmp_path: Path, durability: Durability,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    """It has lost its name, durably, before the first of its files goes."""
    catalog.create(server, BACKUP)
    doomed = backup_directory(server, ID)
    unlink = os.unlink

    def watched(path: str, *arguments: object, **named: object) -> None:
        assert durability.is_gone(doomed)
        unlink(path, *arguments, **named)

    monkeypatch.setattr(os, "unlink", watched)
    remove_tree(doomed)
    assert not os.listdir(server.backups)
