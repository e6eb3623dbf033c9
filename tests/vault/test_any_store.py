"""A vault does the same whatever its objects are kept in; and what a store does badly loses nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pytest
from support.faulty_store import FaultyStore

from pgvault.model.backup import Backup, BackupStatus
from pgvault.model.errors import Conflict, Corrupt, InDoubt, Unreachable
from pgvault.store.keys import Kind
from pgvault.store.local import LocalStore
from pgvault.store.memory import MemoryStore
from pgvault.store.store import Store
from pgvault.vault import catalog, recoveries, wal_index
from pgvault.vault.compression import compress
from pgvault.vault.frames import FrameStore, rebuild_index
from pgvault.vault.identity import Identity, claim, read_identity, servers_of
from pgvault.vault.layout import ServerVault, Vault
from pgvault.vault.manifest import Entry, Manifest, ManifestWriter
from pgvault.vault.manifest import Kind as FileKind
from pgvault.vault.packs import PackReader, pack_names
from pgvault.vault.wal_archive import accept
from pgvault.vault.wal_fetch import fetch
from pgvault.vault.wal_rebuild import rebuild, reconcile
from pgvault.wal.pages import LONG_HEADER

MIB, SYSTEM = 1 << 20, 7_300_000_000_000_000_001
ONE, TWO = "000000010000000000000001", "000000010000000000000002"
HISTORY = "00000002.history"
BACKUP = Backup("20261101T120000Z", "main", BackupStatus.STARTED, "stream", datetime(2026, 11, 1, 12, tzinfo=UTC),
                str(SYSTEM), "18.1", MIB, 1, "/data")

MAKERS: dict[str, Callable[[Path], Store]] = {
    "local": LocalStore, "memory": lambda home: MemoryStore(home.with_name("spool"))}


def segment(name: str, filler: bytes = b"\0") -> bytes:
    number = int(name[-8:], 16)
    return LONG_HEADER.pack(0xD118, 2, 1, number * MIB, 0, SYSTEM, MIB, 8192).ljust(MIB, filler)


@pytest.fixture(params=MAKERS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> FaultyStore:
    (tmp_path / "spool").mkdir()
    return FaultyStore(MAKERS[request.param](tmp_path / "vault"))


@pytest.fixture
def server(store: FaultyStore, tmp_path: Path) -> ServerVault:
    vault = Vault(tmp_path / "vault", store)
    vault._create()
    server = vault.server("main")
    server.prepare()
    claim(server, Identity(str(SYSTEM), MIB))
    return server


def put(server: ServerVault, name: str, content: bytes | None = None) -> bool:
    return accept(server, name, BytesIO(segment(name) if content is None else content)).new


def test_which_cluster_it_is(server: ServerVault, tmp_path: Path) -> None:
    assert read_identity(server) == Identity(str(SYSTEM), MIB)
    assert servers_of(Vault(tmp_path / "vault", server.store), str(SYSTEM)) == ["main"]
    assert servers_of(Vault(tmp_path / "vault", server.store), "1") == []


def test_wal_comes_and_is_given_back(server: ServerVault) -> None:
    assert put(server, ONE)
    assert put(server, HISTORY, b"1\t0/3000000\tno recovery target specified\n")
    assert not put(server, ONE)
    assert fetch(server, ONE) == segment(ONE)
    assert fetch(server, TWO) is None
    with wal_index.writing(server) as index:
        index.remove(ONE)
    assert (reconcile(server).added, rebuild(server).damaged) == (1, ())


def test_a_backup_from_its_first_facts_to_its_last(server: ServerVault) -> None:
    catalog.create(server, BACKUP)
    with pytest.raises(Conflict):
        catalog.create(server, BACKUP)
    frames = [hashlib.sha256(b"%d" % number).digest() * 50 for number in range(20)]
    ids = [hashlib.sha256(frame).digest() for frame in frames]
    with FrameStore(server) as into:
        for frame_id, frame in zip(ids, frames, strict=True):
            into.add(frame_id, compress(frame, 3), len(frame))
        into.flush()
    rebuild_index(server)
    with FrameStore(server) as again, PackReader(server) as packs:
        assert [packs.plain(*place) for place in map(again.locate, ids) if place] == frames
    done = replace(BACKUP, status=BackupStatus.FAILED)
    catalog.write(server, done)
    assert catalog.backups(server) == [done]


def test_a_timeline_is_given_once(server: ServerVault) -> None:
    put(server, HISTORY, b"1\t0/3000000\tno recovery target specified\n")
    first = recoveries.reserve(server, recoveries.Recovery(0, 1, "first"))
    assert (first.timeline, recoveries.next_timeline(server, 1)) == (3, 4)
    assert recoveries.find(server, 3) == first


def test_an_answer_that_got_lost_is_made_up_for_by_the_next_try(server: ServerVault, store: FaultyStore) -> None:
    """Rule 11: the sender keeps its file and sends it again; it is stored once."""
    store.faults.losing = {"put"}
    with pytest.raises(Unreachable):
        put(server, ONE)
    store.faults.losing = set()
    assert not put(server, ONE)
    assert fetch(server, ONE) == segment(ONE)
    with wal_index.reading(server) as index:
        assert index.names() == [ONE]


def test_what_cannot_be_asked_is_never_absent(server: ServerVault, store: FaultyStore) -> None:
    """Rule 17."""
    put(server, ONE)
    store.faults.failing = {"stat"}
    for name in (ONE, TWO):
        with pytest.raises((Unreachable, InDoubt)):
            fetch(server, name)
    store.faults.failing, store.faults.streams_at_most = set(), 40
    with pytest.raises(Unreachable):
        fetch(server, ONE)


def test_a_pack_that_could_not_be_put_is_not_in_the_index(server: ServerVault, store: FaultyStore) -> None:
    frame = b"content" * 100
    frame_id = hashlib.sha256(frame).digest()
    store.faults.failing = {"put"}
    with pytest.raises(Unreachable), FrameStore(server) as into:  # noqa: PT012
        into.add(frame_id, compress(frame, 3), len(frame))
        into.flush()
    store.faults.failing = set()
    assert pack_names(server) == set()
    with FrameStore(server) as into:
        assert not into.has(frame_id)


def test_a_listing_that_breaks_off_removes_nothing_from_the_index(server: ServerVault, store: FaultyStore) -> None:
    for name in (ONE, TWO):
        put(server, name)
    store.faults.lists_at_most = 1
    with pytest.raises(Unreachable):
        reconcile(server)
    with wal_index.reading(server) as index:
        assert index.names() == [ONE, TWO]
    assert [each.name for each in server.store._inner.list(Kind.WAL, "main")] == [ONE, TWO]  # type: ignore[attr-defined]


def test_a_manifest_is_fetched_once_and_read_here(server: ServerVault, store: FaultyStore) -> None:
    catalog.create(server, BACKUP)
    writer = ManifestWriter(server, BACKUP.id)
    writer.add(Entry(writer.next_id(), "base/1/1259", FileKind.FILE, 0, 0o600, 0))
    writer.index_paths()
    stored = replace(BACKUP, manifest_sha256=writer.publish())
    catalog.write(server, stored)
    for _ in range(2):
        with Manifest(server, stored, check=True) as manifest:
            assert [each.path for each in manifest.entries()] == ["base/1/1259"]
    assert store.faults.calls.count("stream") == 1, "the second time it is there already"
    store.delete(catalog.manifest_key(server, BACKUP.id))
    with pytest.raises(Corrupt, match="is missing"):
        Manifest(server, stored)


def test_an_attempt_that_comes_after_another_has_its_own_manifest(server: ServerVault) -> None:
    catalog.create(server, BACKUP)
    digests = []
    for path in ("first", "second"):
        writer = ManifestWriter(server, BACKUP.id)
        writer.add(Entry(writer.next_id(), path, FileKind.FILE, 0, 0o600, 0))
        digests.append(writer.publish())
    with Manifest(server, replace(BACKUP, manifest_sha256=digests[1]), check=True) as manifest:
        assert [each.path for each in manifest.entries()] == ["second"]


def test_a_manifest_that_is_fetched_by_half_is_none(server: ServerVault, store: FaultyStore) -> None:
    catalog.create(server, BACKUP)
    writer = ManifestWriter(server, BACKUP.id)
    stored = replace(BACKUP, manifest_sha256=writer.publish())
    store.faults.streams_at_most = 100
    with pytest.raises(Unreachable):
        Manifest(server, stored)
    store.faults.streams_at_most = None
    with Manifest(server, stored, check=True) as manifest:
        assert list(manifest.entries()) == []
