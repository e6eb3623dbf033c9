"""What every store keeps to, whatever it is made of; and that what wraps one goes wrong as it should."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
from support.faulty_store import FaultyStore

from pgvault.model.errors import Conflict, Corrupt, Locked, NotFound, Unreachable
from pgvault.store import files
from pgvault.store import local as local_module
from pgvault.store.keys import Key, Kind
from pgvault.store.local import LocalStore
from pgvault.store.memory import MemoryStore
from pgvault.store.store import Facts, Store

MARK = Key(Kind.VAULT)
PACK = Key(Kind.PACK, "main", "0001")
BACKUP = Key(Kind.BACKUP, "main", "20261101T120000Z")
MANIFEST = Key(Kind.MANIFEST, "main", "20261101T120000Z")
SEGMENT = Key(Kind.WAL, "main", "000000010000000000000001")
KEYS = (Key(Kind.README), Key(Kind.IDENTITY, "main"), BACKUP, MANIFEST, PACK, SEGMENT,
        Key(Kind.WAL, "main", "00000002.history"), Key(Kind.RECOVERY, "main", "00000002"))

MAKERS: dict[str, Callable[[Path], Store]] = {
    "local": lambda directory: LocalStore(directory / "vault"),
    "memory": MemoryStore,
    "wrapped": lambda directory: FaultyStore(LocalStore(directory / "vault")),
}


@pytest.fixture(params=MAKERS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    made = MAKERS[request.param](tmp_path)
    made.put(MARK, b"format = 1\n")
    return made


@pytest.fixture
def faulty(tmp_path: Path) -> FaultyStore:
    made = FaultyStore(MemoryStore(tmp_path))
    made.put(PACK, b"0123456789")
    return made


def names(store: Store, kind: Kind, server: str = "main", **options: str) -> list[str]:
    return [each.name for each in store.list(kind, server, **options)]


def replace(store: Store, key: Key, content: bytes) -> None:
    store.put(key, content, replaces=store.stat(key))


def spooled(store: Store, key: Key, *pieces: bytes) -> None:
    with store.spool(key) as spool:
        for piece in pieces:
            spool.write(piece)
        store.put(key, spool)


def let_the_clock_tick(store: Store, key: Key) -> None:
    """A file system's clock has a grain of some milliseconds; so what was done before is made to be long past."""
    directory = Path(store.location(key)).parent
    for each in (directory, directory.parent):
        if each.exists():
            os.utime(each, (1, 1))


class TestPut:
    @pytest.mark.parametrize("key", KEYS, ids=lambda key: key.kind.name)
    def test_an_object_of_each_kind_is_there_as_it_was_put(self, store: Store, key: Key) -> None:
        assert store.stat(key) is None
        store.put(key, b"content")
        found = store.stat(key)
        assert found
        assert found.size == 7
        assert store.read(key) == b"content"
        with store.stream(key) as file:
            assert file.read(3) + file.read(100) == b"content"

    def test_from_a_spool_file(self, store: Store) -> None:
        with store.spool(PACK) as spool:
            spool.write(b"first ")
            spool.write(b"second")
            with spool.open() as file:
                assert file.read() == b"first second"
            assert store.stat(PACK) is None, "not before it is put"
            store.put(PACK, spool)
            assert not spool.path.exists()
        assert store.read(PACK) == b"first second"

    def test_a_spool_file_that_is_not_put_leaves_nothing(self, store: Store) -> None:
        with store.spool(PACK) as spool:
            spool.write(b"content")
        assert not spool.path.exists()
        assert names(store, Kind.PACK) == []

    def test_an_empty_object_is_one(self, store: Store) -> None:
        store.put(PACK, b"")
        assert store.read(PACK) == b""
        assert store.stat(PACK)

    @pytest.mark.parametrize("key", [PACK, BACKUP, SEGMENT], ids=lambda key: key.kind.name)
    def test_what_is_there_is_never_overwritten(self, store: Store, key: Key) -> None:
        store.put(key, b"first")
        with pytest.raises(Conflict):
            store.put(key, b"second")
        with pytest.raises(Conflict):
            spooled(store, key, b"third")
        assert store.read(key) == b"first"

    @pytest.mark.parametrize("key", [PACK, BACKUP, SEGMENT], ids=lambda key: key.kind.name)
    def test_a_spool_file_that_met_a_conflict_may_take_the_others_place(self, store: Store, key: Key) -> None:
        store.put(key, b"first")
        with store.spool(key) as spool:
            spool.write(b"second")
            with pytest.raises(Conflict):
                store.put(key, spool)
            with spool.open() as file:
                assert file.read() == b"second"
            store.put(key, spool, replaces=store.stat(key))
        assert store.read(key) == b"second"

    def test_one_that_is_unchanged_is_replaced(self, store: Store) -> None:
        store.put(BACKUP, b"STARTED")
        before = store.stat(BACKUP)
        replace(store, BACKUP, b"DONE")
        assert store.read(BACKUP) == b"DONE"
        assert store.stat(BACKUP) != before

    def test_one_that_was_changed_or_deleted_is_not(self, store: Store) -> None:
        store.put(BACKUP, b"STARTED")
        seen = store.stat(BACKUP)
        replace(store, BACKUP, b"another")
        with pytest.raises(Conflict):
            store.put(BACKUP, b"mine", replaces=seen)
        assert store.read(BACKUP) == b"another"
        seen = store.stat(BACKUP)
        store.delete(BACKUP)
        with pytest.raises(Conflict):
            store.put(BACKUP, b"mine", replaces=seen)
        assert store.stat(BACKUP) is None

    @pytest.mark.parametrize("key", [PACK, BACKUP, SEGMENT], ids=lambda key: key.kind.name)
    def test_of_many_at_once_one_wins(self, store: Store, key: Key) -> None:
        assert store.properties.conditional_puts
        assert self.winners(lambda number: store.put(key, b"%d" % number)) == [int(store.read(key))]

    def test_of_many_that_replace_at_once_one_wins(self, store: Store) -> None:
        store.put(BACKUP, b"STARTED")
        seen = store.stat(BACKUP)
        assert self.winners(lambda number: store.put(BACKUP, b"%d" % number, replaces=seen)) == [
            int(store.read(BACKUP))]

    @staticmethod
    def winners(put: Callable[[int], None]) -> list[int]:
        together = threading.Barrier(8)

        def tried(number: int) -> bool:
            together.wait()
            try:
                put(number)
            except Conflict:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            return [number for number, won in enumerate(pool.map(tried, range(8))) if won]

    def test_a_reader_gets_the_old_or_the_new_and_never_a_mixture(self, store: Store) -> None:
        assert store.properties.atomic_replace
        contents = [letter * 100_000 for letter in (b"a", b"b")]
        store.put(BACKUP, contents[0])
        done = threading.Event()

        def change() -> None:
            for number in range(40):
                replace(store, BACKUP, contents[number % 2])
            done.set()

        with ThreadPoolExecutor(1) as pool:
            changing = pool.submit(change)
            while not done.is_set() and not changing.done():
                assert store.read(BACKUP) in contents
            changing.result()

    @pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a\0b", "-rf"])
    def test_a_name_leads_nowhere_else(self, store: Store, name: str) -> None:
        for key in (Key(Kind.PACK, "main", name), Key(Kind.PACK, name, "0001")):
            with pytest.raises(ValueError, match="no object can have the name"):
                store.put(key, b"")


class TestRead:
    @pytest.fixture(autouse=True)
    def pack(self, store: Store) -> None:
        store.put(PACK, b"0123456789")

    @pytest.mark.parametrize(("offset", "length", "expected"), [
        (0, 4, b"0123"), (4, 6, b"456789"), (3, None, b"3456789"), (0, None, b"0123456789"), (10, None, b""),
        (10, 0, b""), (2, 0, b"")])
    def test_a_range(self, store: Store, offset: int, length: int | None, expected: bytes) -> None:
        assert store.read(PACK, offset, length) == expected

    @pytest.mark.parametrize(("offset", "length"), [(0, 11), (5, 6), (10, 1), (100, 3)])
    def test_one_that_is_not_all_there_is_corrupt(self, store: Store, offset: int, length: int) -> None:
        with pytest.raises(Corrupt, match="cut short"):
            store.read(PACK, offset, length)

    def test_what_is_not_there_is_not_found(self, store: Store) -> None:
        for read in (store.read, store.stream):
            with pytest.raises(NotFound):
                read(Key(Kind.PACK, "main", "0002"))

    def test_an_open_stream_outlives_the_object(self, store: Store) -> None:
        with store.stream(PACK) as file:
            store.delete(PACK)
            assert file.read() == b"0123456789"


class TestList:
    def test_by_kind_and_server_in_the_order_of_names(self, store: Store) -> None:
        for server, name in (("main", "c"), ("main", "a"), ("main", "b"), ("other", "d")):
            store.put(Key(Kind.PACK, server, name), b"")
        assert names(store, Kind.PACK) == ["a", "b", "c"]
        assert names(store, Kind.PACK, "other") == ["d"]
        assert names(store, Kind.PACK, "third") == []
        assert names(store, Kind.PACK, after="a") == ["b", "c"]
        assert names(store, Kind.PACK, after="aa", prefix="b") == ["b"]

    def test_wal_by_timeline_and_from_a_segment_on(self, store: Store) -> None:
        there = ["000000010000000000000001", "000000010000000000000001.00000028.backup", "0000000100000000000000FF",
                 "000000010000000100000000", "00000002.history", "000000020000000100000000",
                 "000000020000000100000001.partial"]
        for name in reversed(there):
            store.put(Key(Kind.WAL, "main", name), b"")
        assert names(store, Kind.WAL) == there
        assert names(store, Kind.WAL, prefix="00000001") == there[:4]
        assert names(store, Kind.WAL, prefix="0000000200000001") == there[5:]
        for number, name in enumerate(there):
            assert names(store, Kind.WAL, after=name) == there[number + 1:]

    def test_a_backup_as_soon_as_any_of_its_objects_is_there(self, store: Store) -> None:
        store.put(MANIFEST, b"")
        assert names(store, Kind.BACKUP) == names(store, Kind.MANIFEST) == [BACKUP.name]
        assert store.stat(BACKUP) is None
        store.put(BACKUP, b"")
        assert names(store, Kind.BACKUP) == [BACKUP.name]

    def test_servers_by_their_identities(self, store: Store) -> None:
        for server in ("two", "one"):
            store.put(Key(Kind.IDENTITY, server), b"")
        store.put(PACK, b"")
        assert names(store, Kind.IDENTITY, "") == ["one", "two"]

    def test_facts_that_are_listed_are_those_of_the_object(self, store: Store) -> None:
        store.put(PACK, b"content")
        assert {each.facts for each in store.list(Kind.PACK, "main")} <= {None, store.stat(PACK)}

    def test_what_is_being_made_is_not_listed(self, store: Store) -> None:
        for key in KEYS:
            with store.spool(key) as spool:
                spool.write(b"half")
                assert names(store, key.kind, key.server) == []


class TestDelete:
    def test_is_done_once_and_may_be_done_again(self, store: Store) -> None:
        store.put(PACK, b"")
        store.delete(PACK)
        assert store.stat(PACK) is None
        assert names(store, Kind.PACK) == []
        store.delete(PACK)
        store.put(PACK, b"again")
        assert store.read(PACK) == b"again"


    def test_of_a_backup_is_listed_what_is_left(self, store: Store) -> None:
        for key in (BACKUP, MANIFEST):
            store.put(key, b"")
        store.delete(MANIFEST)
        assert names(store, Kind.BACKUP) == [BACKUP.name]
        store.delete(BACKUP)
        assert names(store, Kind.BACKUP) == []

    @pytest.mark.parametrize("key", [PACK, BACKUP, SEGMENT, MANIFEST], ids=lambda key: key.kind.name)
    def test_every_change_shows_in_the_revision(self, store: Store, key: Key) -> None:
        seen = [store.revision(key.kind, "main")]
        acts = (lambda: store.put(key, b"first"), lambda: replace(store, key, b"second"), lambda: store.delete(key))
        for act in acts:
            let_the_clock_tick(store, key)
            act()
            seen.append(store.revision(key.kind, "main"))
            assert store.revision(key.kind, "main") == seen[-1]
        assert all(one != other for one, other in pairwise(seen))


class TestLocal:
    """What only a file system does."""

    @pytest.fixture
    def local(self, tmp_path: Path) -> LocalStore:
        made = LocalStore(tmp_path / "vault")
        made.put(MARK, b"")
        made.put(PACK, b"0123456789")
        return made

    def test_nothing_is_absent_where_the_vault_is_not_mounted(self, local: LocalStore, tmp_path: Path) -> None:
        (tmp_path / "vault").rename(tmp_path / "elsewhere")
        asked: tuple[Callable[[], object], ...] = (
            lambda: local.stat(PACK), lambda: local.read(PACK), lambda: names(local, Kind.PACK),
            lambda: names(local, Kind.IDENTITY, ""), lambda: local.revision(Kind.PACK, "main"),
            lambda: local.put(PACK, b"x"))
        for state in ("gone", "empty"):
            for ask in asked:
                with pytest.raises(Unreachable, match=f"the vault in {tmp_path / 'vault'} is not there"):
                    ask()
            if state == "gone":
                (tmp_path / "vault").mkdir()
        assert list((tmp_path / "vault").iterdir()) == []

    @pytest.mark.parametrize("key", [PACK, BACKUP, MANIFEST, SEGMENT], ids=lambda key: key.kind.name)
    def test_nothing_is_absent_where_its_directory_is_not_mounted(self, local: LocalStore, tmp_path: Path,
                                                                  key: Key) -> None:
        local.put(Key(Kind.IDENTITY, "main"), b"")
        assert local.stat(Key(key.kind, "main", "another")) is None
        directory = tmp_path / "vault/main" / key.kind.directory
        directory.rename(tmp_path / "elsewhere")
        with pytest.raises(Unreachable, match=f"the directory {directory} is not there"):
            local.stat(key)
        with pytest.raises(Unreachable):
            names(local, key.kind)
        with pytest.raises(Unreachable):
            local.put(key, b"")

    def test_files_lie_at_their_paths(self, local: LocalStore, tmp_path: Path) -> None:
        for key in KEYS:
            if key != PACK:
                local.put(key, b"")
            assert (tmp_path / "vault" / key.path).is_file()
            assert local.location(key) == str(tmp_path / "vault" / key.path)

    @pytest.mark.parametrize("failing", [1, 2])
    def test_a_backup_that_cannot_get_its_directory_leaves_nothing(
            self, local: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int) -> None:
        real, calls = os.replace, []

        def fails(source: Path, target: Path) -> None:
            calls.append(target)
            if len(calls) == failing:
                raise OSError(5, "Input/output error")
            real(source, target)

        monkeypatch.setattr(os, "replace", fails)
        with pytest.raises(Unreachable, match="could not write to the vault: Input/output error"):
            local.put(BACKUP, b"STARTED")
        assert list((tmp_path / "vault/main/backups").iterdir()) == []
        local.put(BACKUP, b"STARTED")
        assert local.read(BACKUP) == b"STARTED"

    def test_what_a_copy_made_read_only_is_replaced_all_the_same(self, local: LocalStore) -> None:
        local.put(BACKUP, b"STARTED")
        local.path(BACKUP).chmod(0o400)
        replace(local, BACKUP, b"DONE")
        assert local.read(BACKUP) == b"DONE"

    def test_where_there_are_no_links_a_put_is_a_rename(self, local: LocalStore,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
        def refused(*_: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr("os.link", refused)
        local.put(SEGMENT, b"content")
        assert local.read(SEGMENT) == b"content"
        with pytest.raises(Conflict):
            local.put(SEGMENT, b"other")

    def test_of_many_that_put_at_once_without_links_one_wins(self, local: LocalStore,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
        def refused(*_: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        def exists(path: Path) -> bool:
            found = real(path)
            together.wait(0.05) if path.name.startswith(SEGMENT.name) else None
            return found

        real, together = Path.exists, threading.Event()  # which nobody sets: each looks while the others do
        monkeypatch.setattr("os.link", refused)
        monkeypatch.setattr(Path, "exists", exists)

        def put(number: int) -> bool:
            try:
                local.put(SEGMENT, b"%d" % number)
            except Conflict:
                return False
            return True

        with ThreadPoolExecutor(4) as pool:
            assert sorted(pool.map(put, range(4))) == [False, False, False, True]

    def test_a_link_that_was_made_though_the_answer_was_no_is_ours(self, local: LocalStore,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
        """As NFS answers when it was asked twice."""
        def twice(source: Path, target: Path) -> None:
            real(source, target)
            real(source, target)

        real = os.link
        monkeypatch.setattr("os.link", twice)
        local.put(SEGMENT, b"content")
        assert local.read(SEGMENT) == b"content"

    def test_an_object_that_another_process_holds_is_not_waited_for_without_end(
            self, local: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
        local.put(BACKUP, b"STARTED")
        monkeypatch.setattr(local_module, "_LOCK_SECONDS", 0.0)
        with local.path(BACKUP).open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            with pytest.raises(Locked, match="another process is writing"):
                replace(local, BACKUP, b"DONE")
        replace(local, BACKUP, b"DONE")

    def test_one_that_is_deleted_while_it_is_waited_for_has_changed(self, local: LocalStore,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
        local.put(BACKUP, b"STARTED")
        seen = local.stat(BACKUP)
        monkeypatch.setattr(fcntl, "flock", lambda *_: local.path(BACKUP).unlink())
        with pytest.raises(Conflict, match="was changed by another process"):
            local.put(BACKUP, b"DONE", replaces=seen)

    def test_a_flush_that_fails_at_the_end_is_the_error_that_is_reported(self, local: LocalStore,
                                                                         monkeypatch: pytest.MonkeyPatch) -> None:
        def fails(directory: Path) -> None:
            if directory.name == "backups" and local.path(BACKUP).exists():
                raise OSError(5, "Input/output error")
            real(directory)

        real = files.fsync_directory
        monkeypatch.setattr(files, "fsync_directory", fails)
        with pytest.raises(Unreachable, match="could not write to the vault: Input/output error"):
            local.put(BACKUP, b"STARTED")

    def test_what_crashed_writers_left_is_swept(self, local: LocalStore, tmp_path: Path) -> None:
        packs = tmp_path / "vault/main/packs"
        (packs / ".tmp-0002.999999999.00000000").touch()
        with local.spool(PACK) as mine:
            local.sweep(Kind.PACK, "main")
            assert mine.path.exists()
            assert len(list(packs.iterdir())) == 2
            local.sweep(Kind.PACK, "main", alone=True)
            assert names(local, Kind.PACK) == [path.stem for path in packs.iterdir()] == ["0001"]


class TestFaults:
    """The wrapper that other tests rely on."""

    def test_what_fails_did_nothing(self, faulty: FaultyStore) -> None:
        faulty.faults.failing = {"put", "delete", "stat"}
        with pytest.raises(Unreachable):
            faulty.put(SEGMENT, b"")
        with pytest.raises(Unreachable):
            faulty.delete(PACK)
        with pytest.raises(Unreachable):
            faulty.stat(PACK)
        faulty.faults.failing = set()
        assert faulty.stat(SEGMENT) is None
        assert faulty.stat(PACK)

    def test_an_answer_that_got_lost_was_a_success_all_the_same(self, faulty: FaultyStore) -> None:
        faulty.faults.losing = {"put"}
        with pytest.raises(Unreachable):
            faulty.put(SEGMENT, b"content")
        assert faulty.read(SEGMENT) == b"content"

    def test_what_is_slow_waits(self, faulty: FaultyStore) -> None:
        faulty.faults.stuck["read"] = released = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(faulty.read, PACK)
            assert not reading.done()
            released.set()
            assert reading.result() == b"0123456789"

    def test_what_stops_half_way_and_what_lies(self, faulty: FaultyStore) -> None:
        faulty.faults.streams_at_most, faulty.faults.lists_at_most, faulty.faults.lies_by = 4, 0, 5
        with faulty.stream(PACK) as file:
            assert file.read(100) == b"0123"
            with pytest.raises(Unreachable):
                file.read(100)
        with pytest.raises(Unreachable):
            names(faulty, Kind.PACK)
        told = faulty.stat(PACK)
        assert isinstance(told, Facts)
        with pytest.raises(Corrupt):
            faulty.read(PACK, 0, told.size)
        assert faulty.faults.calls.count("read") == 1
