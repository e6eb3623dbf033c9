"""What is stored stays, whole or not at all: packs, frames, manifests, deltas; after kills and damage, too."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cli import environment
from support.objects import backup_directory, identity_path, manifest_path, pack_path

from pgvault.model.backup import Backup, BackupStatus
from pgvault.model.errors import Corrupt, NoSpace, NotFound, PgvaultError, Refused, from_os_error
from pgvault.store.files import TEMPORARY, make_directory, remove_tree, replacing, write_durably
from pgvault.vault import delta
from pgvault.vault.compression import compress
from pgvault.vault.frames import FrameStore, Rebuilt, rebuild_index
from pgvault.vault.identity import Identity, claim, read_identity
from pgvault.vault.layout import ServerVault, Vault
from pgvault.vault.manifest import ZEROS, Entry, Kind, Manifest, ManifestWriter, Run
from pgvault.vault.names import DatabaseName, RelationName
from pgvault.vault.packs import PackReader, pack_names, read_footer

MEBIBYTE = 1 << 20


@pytest.fixture
def server(tmp_path: Path) -> ServerVault:
    vault = Vault.open_or_create(tmp_path / "vault").server("main")
    vault.prepare()
    return vault


def plain_frames(count: int, *, length: int = 3000, salt: str = "") -> list[bytes]:
    """Bytes that do not compress, so that sizes in packs are known."""
    return [b"".join(hashlib.sha256(f"{salt}{n}/{i}".encode()).digest() for i in range(length // 32 + 1))[:length]
            for n in range(count)]


def store(server: ServerVault, frames: list[bytes]) -> list[bytes]:
    """Their ids."""
    with FrameStore(server) as frame_store:
        ids = []
        for plain in frames:
            ids.append(hashlib.sha256(plain).digest())
            frame_store.add(ids[-1], compress(plain, 3), len(plain))
        frame_store.flush()
    return ids


def read_all(server: ServerVault, ids: list[bytes]) -> list[bytes]:
    with FrameStore(server) as frame_store, PackReader(server) as reader:
        places = [frame_store.locate(frame_id) for frame_id in ids]
        return [reader.plain(*place) for place in places if place]


def temporaries(server: ServerVault) -> list[Path]:
    return list(server.home.rglob(f"{TEMPORARY}*"))


class TestFrames:
    def test_what_is_flushed_is_there_once_and_reads_back(self, server: ServerVault) -> None:
        frames = plain_frames(50)
        ids = store(server, frames)
        store(server, frames)
        assert read_all(server, ids) == frames
        assert len(pack_names(server)) == 1, "nothing is stored twice"

    def test_a_pack_is_closed_at_its_size_and_all_packs_are_found(self, server: ServerVault, monkeypatch) -> None:
        monkeypatch.setattr("pgvault.vault.frames.PACK_SIZE", 10_000)
        frames = plain_frames(40)
        ids = store(server, frames)
        assert len(pack_names(server)) >= 10
        assert read_all(server, ids) == frames

    def test_what_was_not_flushed_leaves_nothing(self, server: ServerVault) -> None:
        with FrameStore(server) as frame_store:
            plain, = plain_frames(1)
            frame_store.add(hashlib.sha256(plain).digest(), compress(plain, 3), len(plain))
            assert frame_store.has(hashlib.sha256(plain).digest())
        assert not pack_names(server)
        assert not temporaries(server)

    def test_a_deleted_index_is_made_again_equal(self, server: ServerVault) -> None:
        """Deleting any index loses nothing."""
        ids = store(server, plain_frames(30)) + store(server, plain_frames(30, salt="other"))

        def rows() -> list[tuple[object, ...]]:
            with sqlite3.connect(server.cache.frames) as index:
                return index.execute("SELECT f.id, p.name, f.offset, f.stored, f.plain, f.crc32c FROM frame f"
                                     " JOIN pack p ON p.id = f.pack ORDER BY f.id").fetchall()

        before = rows()
        for path in server.home.glob("frames.sqlite*"):
            path.unlink()
        assert rebuild_index(server) == Rebuilt(60, ())
        assert rows() == before
        for path in server.home.glob("frames.sqlite*"):
            path.unlink()
        assert len(read_all(server, ids)) == 60, "by itself, too"

    def test_a_pack_that_is_gone_is_forgotten(self, server: ServerVault) -> None:
        kept, gone = store(server, plain_frames(3)), store(server, plain_frames(3, salt="gone"))
        with FrameStore(server) as frame_store:
            place = frame_store.locate(gone[0])
        assert place
        pack_path(server, place[0]).unlink()
        with FrameStore(server) as frame_store:
            assert [frame_store.has(each) for each in kept + gone] == [True] * 3 + [False] * 3


KILLED = """
import os, signal, sys
from pathlib import Path
step = int(sys.argv[2])
steps = 0
def dying(name, call):
    def run(*args, **more):
        global steps
        steps += 1
        if steps == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*args, **more)
    return run
sys.path.insert(0, sys.argv[3])
from vault import test_vault_storage as t
server = t.Vault.open(Path(sys.argv[1])).server("main")
for name in ("fsync", "rename", "replace", "open", "write", "unlink"):
    setattr(os, name, dying(name, getattr(os, name)))
t.store(server, t.plain_frames(5, salt="second"))
print(steps)
"""


class TestAKill:
    def run(self, server: ServerVault, step: int) -> subprocess.CompletedProcess[bytes]:
        here = str(Path(__file__).parents[1])
        return subprocess.run([sys.executable, "-c", KILLED, server.home.parent, str(step), here],
                              env=environment(), capture_output=True)

    @pytest.mark.slow
    def test_at_any_step_leaves_a_valid_store(self, server: ServerVault) -> None:
        """kill -9 before each system call that publishing a pack makes."""
        first = store(server, plain_frames(5, salt="first"))
        second = [hashlib.sha256(plain).digest() for plain in plain_frames(5, salt="second")]
        step, outcomes = 1, set()
        while (done := self.run(server, step)).returncode == -signal.SIGKILL:
            for name in pack_names(server):
                list(read_footer(server, name))  # every visible pack is whole
            with FrameStore(server) as frame_store:
                there = [frame_store.has(frame_id) for frame_id in second]
                assert all(there) or not any(there), "a pack is there as a whole or not at all"
                assert all(frame_store.has(frame_id) for frame_id in first)
            outcomes.add(all(there))
            assert not temporaries(server), "the next writer cleans up"
            assert len(read_all(server, first)) == 5
            for name in pack_names(server):  # back to the start
                if any(entry.id in second for entry in read_footer(server, name)):
                    pack_path(server, name).unlink()
            step += 1
        assert done.returncode == 0, done.stderr.decode()
        assert step > 4, "it was killed at several steps"
        assert outcomes == {True, False}, "both before and after the pack became visible"
        assert len(read_all(server, second)) == 5

    def test_of_a_writer_that_got_no_further_than_the_pack_loses_nothing(self, server: ServerVault) -> None:
        """The pack is durable, its index row is not: the next writer finds it."""
        ids = store(server, plain_frames(5))
        with sqlite3.connect(server.cache.frames) as index:
            index.execute("DELETE FROM frame")
            index.execute("DELETE FROM pack")
        assert len(read_all(server, ids)) == 5


class TestDamage:
    @pytest.mark.slow
    @pytest.mark.parametrize("region", ["frame", "entries", "footer hash", "trailer", "cut"])
    def test_in_every_region_of_a_pack_is_found_and_names_the_pack(self, server: ServerVault, region: str) -> None:
        ids = store(server, plain_frames(4))
        name, = pack_names(server)
        path = pack_path(server, name)
        content = bytearray(path.read_bytes())
        start = int.from_bytes(content[-24:-16], "little")
        regions = {"frame": range(8, start, 17), "entries": range(start, start + 4 * 52),
                   "footer hash": range(start + 208, start + 240), "trailer": range(len(content) - 24, len(content)),
                   "cut": range(0, len(content), 101)}
        for at in regions[region]:
            damaged = content[:at] if region == "cut" else content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1:]
            path.write_bytes(damaged)
            if region == "frame":
                with pytest.raises(Corrupt, match=name):
                    read_all(server, ids)
            else:
                with pytest.raises(Corrupt, match=name):
                    list(read_footer(server, name))
                assert rebuild_index(server) == Rebuilt(0, (name,))
        path.write_bytes(content)
        assert rebuild_index(server) == Rebuilt(4, ())
        assert len(read_all(server, ids)) == 4

    def test_a_damaged_footer_leaves_the_other_packs_usable(self, server: ServerVault) -> None:
        lost, kept = store(server, plain_frames(3)), store(server, plain_frames(3, salt="other"))
        with FrameStore(server) as frame_store:
            place = frame_store.locate(lost[0])
        assert place
        path = pack_path(server, place[0])
        path.write_bytes(path.read_bytes()[:-5])
        for index in server.home.glob("frames.sqlite*"):
            index.unlink()
        with FrameStore(server) as frame_store:
            assert frame_store.damaged == (place[0],)
            assert not any(map(frame_store.has, lost)), "so the next backup stores them again"
        assert len(read_all(server, kept)) == 3

    def test_a_damaged_index_is_made_again_by_the_next_backup(self, server: ServerVault) -> None:
        ids = store(server, plain_frames(5))
        content = bytearray(server.cache.frames.read_bytes())
        content[4096:] = bytes(len(content) - 4096)
        server.cache.frames.write_bytes(content)
        assert len(read_all(server, ids)) == 5

    def test_damage_that_a_backup_meets_later_names_the_index(self, server: ServerVault) -> None:
        ids = store(server, plain_frames(5))
        with sqlite3.connect(server.cache.frames) as index:
            [(root,)] = index.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'frame'")
            [(page,)] = index.execute("PRAGMA page_size")
        index.close()
        content = bytearray(server.cache.frames.read_bytes())
        content[(root - 1) * page:root * page] = bytes(page)
        server.cache.frames.write_bytes(content)
        with FrameStore(server) as frame_store:
            for meet in (frame_store.has, frame_store.locate, frame_store.forget):
                with pytest.raises(Corrupt) as error:
                    meet(ids[0])
                assert error.value.message == f"the index {server.cache.frames} cannot be used"
                assert error.value.hint.endswith("pgvault rebuild-index main")

    def test_the_log_of_an_index_that_a_kill_left_is_not_taken_for_the_new_ones(self, server: ServerVault) -> None:
        """A killed backup leaves frames.sqlite-wal; rebuilding must not have it replayed into the new index."""
        ids = store(server, plain_frames(5))
        index = sqlite3.connect(server.cache.frames, isolation_level=None)
        index.execute("DELETE FROM frame")  # what the log holds
        log = server.cache.frames.with_name("frames.sqlite-wal")
        left = log.read_bytes()
        index.close()
        log.write_bytes(left)
        assert left
        assert rebuild_index(server) == Rebuilt(5, ())
        assert not log.exists()
        assert len(read_all(server, ids)) == 5

    def test_a_newer_copy_of_a_damaged_frame_counts_also_after_a_rebuild(self, server: ServerVault) -> None:
        ids = store(server, plain_frames(3))
        with FrameStore(server) as frame_store:
            place = frame_store.locate(ids[0])
            assert place
            path = pack_path(server, place[0])
            content = bytearray(path.read_bytes())
            content[place[1].offset + 5] ^= 1
            path.write_bytes(content)
            frame_store.forget(ids[0])
            assert not frame_store.has(ids[0])
        (again,) = store(server, plain_frames(1))
        assert again == ids[0]
        assert len(read_all(server, ids)) == 3
        rebuild_index(server)
        assert len(read_all(server, ids)) == 3

    def test_a_frame_that_is_another_than_its_id_says_is_refused(self, server: ServerVault) -> None:
        """The checksum of the stored bytes is right; only the strong hash tells."""
        with FrameStore(server) as frame_store:
            frame_store.add(hashlib.sha256(b"what was asked for").digest(), compress(b"something else, as long", 3), 23)
            frame_store.flush()
        with pytest.raises(Corrupt, match="SHA-256"):
            read_all(server, [hashlib.sha256(b"what was asked for").digest()])

    def test_a_pack_that_is_missing_is_named(self, server: ServerVault) -> None:
        ids = store(server, plain_frames(1))
        with FrameStore(server) as frame_store, PackReader(server) as reader:
            place = frame_store.locate(ids[0])
            assert place
            pack_path(server, place[0]).unlink()
            with pytest.raises(Corrupt, match=place[0]):
                reader.plain(*place)


class TestAFullDisk:
    @pytest.fixture
    def small(self, tmpfs: Callable[[int], Path]) -> ServerVault:
        """A vault with room for 4 MiB."""
        vault = Vault.open_or_create(tmpfs(4) / "vault").server("main")
        vault.prepare()
        return vault

    def test_stops_the_writer_and_leaves_what_was_there(self, small: ServerVault) -> None:
        """Rule 32: it is told as no space left, and nothing is half visible."""
        first = store(small, plain_frames(5))
        with pytest.raises((OSError, PgvaultError)) as caught:
            store(small, plain_frames(5, length=MEBIBYTE, salt="large"))
        error = caught.value
        told = error if isinstance(error, PgvaultError) else from_os_error(error, "write")
        assert isinstance(told, NoSpace), repr(error)
        assert not list(small.packs.glob(f"{TEMPORARY}*")), "the room is given back"
        assert len(read_all(small, first)) == 5
        assert len(pack_names(small)) == 1

    def test_a_manifest_that_does_not_fit_is_not_published(self, small: ServerVault) -> None:
        make_directory(backup_directory(small, ID))
        manifest = ManifestWriter(small, ID)

        def fill() -> None:
            for n in range(200_000):
                manifest.add(Entry(manifest.next_id(), f"base/1/{n}" + "x" * 100, Kind.FILE, 0, 0o600, 0))

        with pytest.raises(NoSpace):
            fill()
        manifest.abandon()
        assert not temporaries(small)

    def test_a_full_disk_that_the_other_thread_met_lets_no_manifest_be_published(self, small: ServerVault) -> None:
        """SQLite has then given up everything that was in it, and would write what comes next."""
        make_directory(backup_directory(small, ID))
        manifest = ManifestWriter(small, ID)
        manifest.add(Entry(manifest.next_id(), "base/1/1259", Kind.FILE, 0, 0o600, 0))
        manifest.index_paths()

        def names() -> Iterator[RelationName]:
            for n in range(200_000):
                yield RelationName(1, n, n, "public", "x" * 100, "r")

        with ThreadPoolExecutor(1) as other, pytest.raises(NoSpace):
            other.submit(manifest.add_relations, names()).result()
        for write in (manifest.index_paths, lambda: manifest.add_databases([DatabaseName(1, "x")]), manifest.publish):
            with pytest.raises(NoSpace):
                write()
        manifest.abandon()
        assert not manifest_path(small, ID).exists()

    def test_facts_are_the_old_ones_when_the_new_do_not_fit(self, small: ServerVault) -> None:
        path = small.home / "facts"
        write_durably(path, b"old")
        with pytest.raises(OSError, match="space") as caught:
            write_durably(path, b"x" * (8 * MEBIBYTE))
        assert caught.value.errno == errno.ENOSPC
        assert path.read_bytes() == b"old"
        assert not temporaries(small)


runs = st.integers(1, 128).flatmap(lambda pages: st.tuples(st.just(pages), st.sets(st.integers(0, pages - 1))))


class TestDeltas:
    @given(runs, st.binary(min_size=1, max_size=8))
    def test_a_delta_gives_the_run_back_or_is_not_made(self, drawn: tuple[int, set[int]], change: bytes) -> None:
        pages, changed = drawn
        parent = b"".join(bytes([n]) * delta.PAGE_SIZE for n in range(pages))
        run = bytearray(parent)
        for page in changed:
            at = page * delta.PAGE_SIZE + 100
            run[at:at + len(change)] = change
        really = [n for n in changed if change != bytes([n]) * len(change)]
        made = delta.make(parent, bytes(run))
        if len(really) > pages * delta.WORTHWHILE:
            assert made is None
        else:
            assert made is not None
            assert len(made) == 16 + len(really) * delta.PAGE_SIZE
            assert delta.apply(parent, made) == run

    @given(st.binary(max_size=64), st.integers(0, 3))
    def test_any_bytes_are_a_delta_that_fits_or_an_error(self, drawn: bytes, pages: int) -> None:
        parent = bytes(pages * delta.PAGE_SIZE)
        if drawn == bytes(16):
            assert delta.apply(parent, drawn) == parent
        else:
            with pytest.raises(ValueError, match="does not fit"):
                delta.apply(parent, drawn)

    def test_a_page_behind_the_end_of_the_run_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="does not fit"):
            delta.apply(bytes(delta.PAGE_SIZE), b"\x02" + bytes(15) + bytes(delta.PAGE_SIZE))

    @pytest.mark.parametrize("rest", [b"x", bytes(1), bytes(delta.PAGE_SIZE)])
    def test_bytes_behind_the_last_page_are_an_error(self, rest: bytes) -> None:
        parent, run = bytes(4 * delta.PAGE_SIZE), b"x" + bytes(4 * delta.PAGE_SIZE - 1)
        made = delta.make(parent, run)
        assert made
        assert delta.apply(parent, made) == run
        for changed in (made + rest, made[:-1], bytes(16) + rest):
            with pytest.raises(ValueError, match="does not fit"):
                delta.apply(parent, changed)

    def test_other_lengths_get_no_delta(self) -> None:
        assert delta.make(bytes(8192), bytes(16384)) is None
        assert delta.make(bytes(8191), bytes(8191)) is None


ID = "20261101T120000Z"
NAMES = ["base/1/1259", "base/1/ü", "a b=c#d'e\"f", "[x", "../../etc/passwd", "-rf", "new\nline", "\x1b[2J", "%s{}",
         os.fsdecode(b"\xff\xfe\x80"), os.fsdecode(b"base/1/\xc3"), "x" * 1000, "DROP TABLE file;--"]


def facts(**more: object) -> Backup:
    backup = Backup(ID, "main", BackupStatus.DONE, "pg_basebackup", datetime(2026, 11, 1, 12, tzinfo=UTC), "7",
                    "18.1", 16 * MEBIBYTE, 1, "/data")
    return replace(backup, **more)


class TestManifests:
    def write(self, server: ServerVault, names: list[str], runs: list[Run]) -> Backup:
        make_directory(backup_directory(server, ID))
        manifest = ManifestWriter(server, ID)
        for name in names:
            number = manifest.next_id()
            manifest.add(Entry(number, name, Kind.FILE, len(runs) * MEBIBYTE, 0o640, 1234, 0xFFFFFFFF, 16385))
            for i, run in enumerate(runs):
                manifest.add_run(number, i, run)
        manifest.index_paths()
        return facts(manifest_sha256=manifest.publish())

    def test_hostile_names_come_back_as_they_were(self, server: ServerVault) -> None:
        backup = self.write(server, NAMES, [ZEROS])
        with Manifest(server, backup, check=True) as manifest:
            assert [entry.path for entry in manifest.entries()] == NAMES
            for name in NAMES:
                entry = manifest.find(name)
                assert entry is not None
                assert (entry.path, entry.mode, entry.crc32c, entry.tablespace) == (name, 0o640, 0xFFFFFFFF, 16385)
                assert manifest.run(name, 0) == ZEROS
            assert manifest.find("base") is None
            assert [e.path for e in manifest.entries("base/1")] == [n for n in NAMES if n.startswith("base/1/")]

    def test_runs_lead_to_their_frames(self, server: ServerVault) -> None:
        parent, change = store(server, plain_frames(2))
        backup = self.write(server, ["f"], [Run(parent), ZEROS, Run(parent, change, b"p" * 32)])
        with Manifest(server, backup) as manifest:
            entry = manifest.find("f")
            assert entry
            found = list(manifest.runs(entry))
        assert [(r.frame and r.frame[1].id, r.delta and r.delta[1].id) for r in found] == [
            (parent, None), (None, None), (parent, change)]

    def test_a_frame_that_no_pack_has_is_an_error_that_names_the_file(self, server: ServerVault) -> None:
        store(server, plain_frames(1))
        backup = self.write(server, ["base/1/1"], [Run(b"?" * 32)])
        with Manifest(server, backup) as manifest:
            entry = manifest.find("base/1/1")
            assert entry
            with pytest.raises(Corrupt) as caught:
                list(manifest.runs(entry))
        assert "base/1/1" in caught.value.detail

    def test_any_changed_byte_is_found(self, server: ServerVault) -> None:
        backup = self.write(server, NAMES, [ZEROS])
        path = manifest_path(server, ID)
        content = bytearray(path.read_bytes())
        for at in range(0, len(content), 511):
            path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1:])
            with pytest.raises(Corrupt):
                Manifest(server, backup, check=True)
        path.unlink()
        with pytest.raises(Corrupt, match="missing"):
            Manifest(server, backup)

    def test_garbage_that_is_not_checked_is_still_no_crash(self, server: ServerVault) -> None:
        backup = self.write(server, NAMES, [ZEROS])
        manifest_path(server, ID).write_bytes(b"garbage" * 1000)
        with Manifest(server, backup) as manifest, pytest.raises(Corrupt):
            list(manifest.entries())

    def test_one_that_is_abandoned_leaves_nothing(self, server: ServerVault) -> None:
        make_directory(backup_directory(server, ID))
        manifest = ManifestWriter(server, ID)
        manifest.add(Entry(manifest.next_id(), "a", Kind.FILE, 0, 0o600, 0))
        manifest.abandon()
        assert not list(backup_directory(server, ID).iterdir())


class TestFiles:
    def test_an_interrupted_replacement_leaves_the_old_content(self, tmp_path: Path) -> None:
        path = tmp_path / "a"
        write_durably(path, b"old")

        def interrupted() -> None:
            with replacing(path) as temporary:
                temporary.write_bytes(b"half")
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert path.read_bytes() == b"old"
        assert os.listdir(tmp_path) == ["a"]

    def test_files_and_directories_are_the_owners_alone(self, tmp_path: Path) -> None:
        old = os.umask(0)
        try:
            make_directory(tmp_path / "a/b")
            write_durably(tmp_path / "a/b/c", b"")
        finally:
            os.umask(old)
        assert [(tmp_path / p).stat().st_mode & 0o777 for p in ("a", "a/b", "a/b/c")] == [0o700, 0o700, 0o600]

    def test_a_tree_that_is_being_removed_has_no_name_any_more(self, tmp_path: Path, monkeypatch) -> None:
        make_directory(tmp_path / "tree/below")

        def dies(path: Path) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("shutil.rmtree", dies)
        with pytest.raises(KeyboardInterrupt):
            remove_tree(tmp_path / "tree")
        assert [name[:9] for name in os.listdir(tmp_path)] == [".tmp-tree"]


class TestIdentity:
    first = Identity("7300000000000000001", 16 * MEBIBYTE)

    def test_the_first_cluster_stays_the_only_one(self, server: ServerVault) -> None:
        """Rule 6: the system identifier decides, and both are shown."""
        assert read_identity(server) is None
        claim(server, self.first)
        claim(server, self.first)
        with pytest.raises(Refused) as caught:
            claim(server, Identity("7300000000000000002", 16 * MEBIBYTE))
        assert "7300000000000000001" in caught.value.detail
        assert "7300000000000000002" in caught.value.detail
        with pytest.raises(Refused, match="segment size"):
            claim(server, Identity("7300000000000000001", MEBIBYTE))
        assert read_identity(server) == self.first

    @pytest.mark.parametrize("text", ["", "x", "system_identifier = 5\nsegment_size = 16777216",
                                      'system_identifier = "5"\nsegment_size = 5', 'system_identifier = "5"', "\x00"])
    def test_an_identity_that_cannot_be_read_lets_nobody_in(self, server: ServerVault, text: str) -> None:
        path = identity_path(server)
        path.write_text(text)
        with pytest.raises(PgvaultError, match=r"identity\.toml"):
            claim(server, self.first)
        assert path.read_text() == text


class TestTheVault:
    def test_a_directory_that_holds_something_else_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "PG_VERSION").write_text("18")
        with pytest.raises(PgvaultError, match="not empty"):
            Vault.open_or_create(tmp_path)
        assert os.listdir(tmp_path) == ["PG_VERSION"]

    def test_one_that_is_missing_or_newer_is_told_apart(self, tmp_path: Path) -> None:
        with pytest.raises(NotFound):
            Vault.open(tmp_path / "nowhere")
        (tmp_path / "vault.toml").write_text("format = 99")
        with pytest.raises(PgvaultError, match="format 99"):
            Vault.open(tmp_path)

    @pytest.mark.parametrize("name", ["..", "a/b", "", ".x", "jobs", "all", "a" * 64, "a\n", "-rf", "ü"])
    def test_no_name_leads_out_of_it(self, tmp_path: Path, name: str) -> None:
        """Rule 31."""
        with pytest.raises(ValueError, match="name"):
            Vault(tmp_path).server(name)
