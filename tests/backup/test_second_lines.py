"""What a backup relies on was stored by an earlier one: that it is still there is looked at, and not believed."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.objects import manifest_path, pack_path

from pgvault.engine.backup.copy import Batch, Piece, RunMaker, Stored
from pgvault.engine.backup.run import _previous_manifest
from pgvault.model.backup import Backup, BackupStatus
from pgvault.vault import catalog, delta
from pgvault.vault.compression import compress
from pgvault.vault.frames import FrameStore
from pgvault.vault.layout import ServerVault, Vault
from pgvault.vault.manifest import ZEROS, Entry, Kind, Manifest, ManifestWriter, Run
from pgvault.vault.packs import pack_names

FILE = "base/5/16384"
OLD = b"".join(bytes([n]) * delta.PAGE_SIZE for n in range(1, 9))
NEW = b"x" * delta.PAGE_SIZE + OLD[delta.PAGE_SIZE:]
NEWEST = b"y" * delta.PAGE_SIZE + OLD[delta.PAGE_SIZE:]


@pytest.fixture
def server(tmp_path: Path) -> ServerVault:
    vault = Vault.open_or_create(tmp_path / "vault").server("main")
    vault.prepare()
    return vault


def digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def store(server: ServerVault, content: bytes) -> Path:
    """In a pack of its own."""
    before = pack_names(server)
    with FrameStore(server) as frames:
        frames.add(digest(content), compress(content, 1), len(content))
        frames.flush()
    [name] = pack_names(server) - before
    return pack_path(server, name)


def backup(server: ServerVault, hour: int, *runs: Run, status: BackupStatus = BackupStatus.DONE,
           path: str = FILE) -> Backup:
    """With one file, of these runs."""
    made = Backup(f"20261101T{hour:02}0000Z", "main", status, "pg_basebackup",
                  datetime(2026, 11, 1, hour, tzinfo=UTC), "7", "18.1", 16 << 20, 1, "/data")
    catalog.create(server, made)
    manifest = ManifestWriter(server, made.id)
    number = manifest.next_id()
    manifest.add(Entry(number, path, Kind.FILE, len(OLD), 0o600, 0))
    for i, run in enumerate(runs):
        manifest.add_run(number, i, run)
    manifest.index_paths()
    made = replace(made, manifest_sha256=manifest.publish())
    catalog.write(server, made)
    return made


def make(server: ServerVault, previous: Backup | None, content: bytes, *, path: str = FILE) -> Stored:
    """What the next backup makes of a run."""
    with FrameStore(server) as frames, ExitStack() as scope:
        manifest = scope.enter_context(Manifest(server, previous)) if previous else None
        maker = RunMaker(server, frames, manifest, 1)
        scope.callback(maker.close)
        [stored] = maker.make(Batch(bytearray(content), [Piece(1, path, 0, 0, len(content))], len(content)))
        if stored.new_id:
            frames.add(stored.new_id, stored.new_frame, stored.plain_length)
        frames.flush()
    return stored


def whole(content: bytes, stored: Stored) -> bool:
    return stored.run == Run(digest(content)) and stored.new_id == digest(content)


@pytest.fixture
def changed(server: ServerVault) -> tuple[Backup, Path, Path]:
    """A backup of a run that is a frame and a delta, with the pack of each."""
    changes = delta.make(OLD, NEW)
    assert changes
    frame, pages = store(server, OLD), store(server, changes)
    return backup(server, 1, Run(digest(OLD), digest(changes), digest(NEW))), frame, pages


def test_a_run_that_has_not_changed_is_what_it_was(server: ServerVault, changed: tuple[Backup, Path, Path]) -> None:
    stored = make(server, changed[0], NEW)
    assert (stored.run.frame, stored.run.plain, stored.new_id) == (digest(OLD), digest(NEW), b"")


def test_a_run_that_changed_again_is_a_delta_of_the_same_frame(
        server: ServerVault, changed: tuple[Backup, Path, Path]) -> None:
    stored = make(server, changed[0], NEWEST)
    assert (stored.run.frame, stored.run.delta, stored.run.plain) == (digest(OLD), stored.new_id, digest(NEWEST))


def test_a_run_of_a_delta_that_is_lost_is_stored_anew(server: ServerVault, changed: tuple[Backup, Path, Path]) -> None:
    """The frame is there, and the run has not changed: still nobody could restore it."""
    previous, _, pages = changed
    pages.unlink()
    stored = make(server, previous, NEW)
    assert stored.new_id, "something is stored"
    assert stored.run.delta == stored.new_id


def test_a_run_of_a_frame_that_is_lost_is_stored_whole(server: ServerVault, changed: tuple[Backup, Path, Path]) -> None:
    previous, frame, _ = changed
    frame.unlink()
    assert whole(NEW, make(server, previous, NEW))
    assert whole(NEWEST, make(server, previous, NEWEST))


def test_a_frame_that_is_damaged_is_the_parent_of_no_delta(
        server: ServerVault, changed: tuple[Backup, Path, Path]) -> None:
    previous, frame, _ = changed
    content = bytearray(frame.read_bytes())
    content[20] ^= 1
    frame.write_bytes(content)
    assert whole(NEWEST, make(server, previous, NEWEST))


def test_a_full_backup_reads_back_what_it_does_not_store_again(
        server: ServerVault, changed: tuple[Backup, Path, Path]) -> None:
    _, frame, _ = changed
    assert make(server, None, OLD).new_id == b""
    content = bytearray(frame.read_bytes())
    content[20] ^= 1
    frame.write_bytes(content)
    assert whole(OLD, make(server, None, OLD))
    assert make(server, None, OLD).new_id == b"", "which heals it"


@pytest.mark.parametrize("at", [0, 1, 63, 64, 5000, len(OLD) - 1])
def test_one_byte_makes_a_run_no_run_of_zeros(server: ServerVault, at: int) -> None:
    content = bytearray(len(OLD))
    assert make(server, None, bytes(content)).run == ZEROS
    content[at] = 1
    assert whole(bytes(content), make(server, None, bytes(content)))


@pytest.mark.parametrize("fork", ["_vm", "_fsm"])
def test_a_map_is_stored_whole(server: ServerVault, fork: str) -> None:
    """Rule 7a."""
    store(server, OLD)
    assert make(server, backup(server, 1, Run(digest(OLD))), NEW).run.delta, "as any other file's run would be a delta"
    previous = backup(server, 2, Run(digest(OLD)), path=f"{FILE}{fork}")
    assert whole(NEW, make(server, previous, NEW, path=f"{FILE}{fork}"))


def test_a_damaged_manifest_is_passed_over(server: ServerVault) -> None:
    """It is only there to save work; the one before it serves as well, and a failed backup's does not."""
    older, newer = backup(server, 1, Run(digest(OLD))), backup(server, 2, Run(digest(OLD)))
    backup(server, 3, status=BackupStatus.FAILED)

    def chosen() -> Path | None:
        with ExitStack() as scope:
            manifest = _previous_manifest(server, scope)
            return manifest.path if manifest else None

    assert chosen() == manifest_path(server, newer.id)
    path = manifest_path(server, newer.id)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # SQLite does not notice
    path.write_bytes(content)
    assert chosen() == manifest_path(server, older.id)
    manifest_path(server, older.id).unlink()
    assert chosen() is None
