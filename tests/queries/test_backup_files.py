"""Looking through a backup's files: pages, searches while one types, and manifests that are not what they were."""

from __future__ import annotations

import threading
import time
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shelf import Shelf, at, made_backup
from support.objects import backup_directory, manifest_path

from pgvault.engine.backup_files import BackupFiles
from pgvault.model.backup import Backup
from pgvault.model.errors import Corrupt
from pgvault.store.files import make_directory
from pgvault.vault import listing
from pgvault.vault.layout import ServerVault, Vault
from pgvault.vault.manifest import Entry, Kind, ManifestWriter

PATHS = ("PG_VERSION", "base", "base/1", "base/1/1259", "base/1/1259_fsm", "base/1/125%", "a\\b", "Straße/Ünicode",
         "name\udcff with bytes", "pg_wal", "GLOBAL/pg_control")  # fmt: skip


def stored(vault: ServerVault, paths: list[str] | tuple[str, ...], day: int = 1) -> Backup:
    backup = made_backup(at(day))
    make_directory(backup_directory(vault, backup.id))
    writer = ManifestWriter(vault, backup.id)
    for path in paths:
        writer.add(Entry(writer.next_id(), path, Kind.FILE, len(path), 0o600, 0))
    writer.index_paths()
    return made_backup(at(day), manifest_sha256=writer.publish())


@pytest.fixture
def many(vault: ServerVault) -> Backup:
    """A hundred thousand files."""
    return stored(vault, [f"base/{number % 7}/{number}{'_fsm' * (number % 10 == 0)}" for number in range(100_000)])


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> tuple[ServerVault, Backup]:
    vault = Vault.open_or_create(tmp_path_factory.mktemp("few") / "vault").server("main")
    vault.prepare()
    return vault, stored(vault, PATHS)


def found(files: BackupFiles, text: str, *, invert: bool = False) -> list[str]:
    ids = list(chain.from_iterable(files.search(text, invert=invert)))
    return [entry.path for entry in files.rows_of(ids)]


def test_pages_in_the_order_of_the_backup(few: tuple[ServerVault, Backup]) -> None:
    with BackupFiles(*few) as files:
        assert len(files) == len(PATHS)
        assert [entry.path for entry in files.rows(0, 3)] == list(PATHS[:3])
        assert [entry.path for entry in files.rows(8, 100)] == list(PATHS[8:])
        assert files.rows(len(PATHS), 5) == files.rows_of([]) == []
        assert [entry.path for entry in files.rows_of([3, 1, 99])] == [PATHS[2], PATHS[0]]


def test_a_search_takes_text_as_it_is(few: tuple[ServerVault, Backup]) -> None:
    """Nothing in it is a pattern; letters match in either case; bytes that are no text do no harm."""
    with BackupFiles(*few) as files:
        assert found(files, "_") == [path for path in PATHS if "_" in path]
        assert found(files, "%") == ["base/1/125%"]
        assert found(files, "\\") == ["a\\b"]
        assert found(files, "global/PG_") == ["GLOBAL/pg_control"]
        assert found(files, "\udcff") == ["name\udcff with bytes"]
        assert found(files, "'; DROP TABLE file; --") == []
        assert found(files, "") == list(PATHS)
        assert found(files, "base", invert=True) == [path for path in PATHS if "base" not in path]
        assert found(files, "x" * 100_000) == []


@given(text=st.text(st.sampled_from("bas/1%_\\ßẞÜnN\udcff'\" "), max_size=4), invert=st.booleans())
def test_a_search_finds_what_reading_every_path_finds(
        few: tuple[ServerVault, Backup], text: str, invert: bool) -> None:
    def lowered(path: str) -> str:
        return "".join(letter.lower() if letter.isascii() else letter for letter in path)

    with BackupFiles(*few) as files:
        assert found(files, text, invert=invert) == [
            path for path in PATHS if (lowered(text) in lowered(path)) is not invert]


def test_results_come_while_the_search_goes_on(vault: ServerVault, many: Backup) -> None:
    with BackupFiles(vault, many) as files:
        search = files.search("_fsm")
        walk = iter(search)
        first = next(walk)
        assert 0 < len(first) < 10_000
        assert len(first) * 10 == search.searched < len(files) == 100_000
        assert files.rows_of(first[:1])[0].path == "base/0/0_fsm"
        assert len(first) + sum(map(len, walk)) == 10_000
        assert search.searched == 100_000


@pytest.mark.parametrize(("block", "steps"), [(3, [3, 6, 9, 11]), (11, [11]), (1, list(range(1, 12))), (12, [11])])
def test_a_search_goes_through_each_entry_once(few: tuple[ServerVault, Backup], monkeypatch: pytest.MonkeyPatch,
                                               block: int, steps: list[int]) -> None:
    monkeypatch.setattr(listing, "_BLOCK", block)
    with BackupFiles(*few) as files:
        search, searched, ids = files.search(""), [], []
        for each in search:
            searched.append(search.searched)
            ids += each
        assert (searched, ids) == (steps, list(range(1, len(PATHS) + 1)))


def test_typing_on_ends_the_search_before(vault: ServerVault, many: Backup) -> None:
    with BackupFiles(vault, many) as files:
        search = files.search("7")
        walk = iter(search)
        next(walk)
        search.stop()
        assert list(walk) == []
        assert list(search) == []
        assert found(files, "base/3/99991") == ["base/3/99991"]


def test_searches_in_threads_are_stopped_at_any_moment(vault: ServerVault, many: Backup) -> None:
    with BackupFiles(vault, many) as files:
        for delay in range(20):
            search = files.search("nowhere")
            failures: list[Exception] = []

            def walk(search=search, failures=failures) -> None:
                try:
                    list(search)
                except Exception as error:
                    failures.append(error)

            thread = threading.Thread(target=walk)
            thread.start()
            time.sleep(delay / 4000)
            assert len(files.rows(delay * 100, 50)) == 50
            search.stop()
            thread.join(5)
            assert not thread.is_alive()
            assert failures == []


def test_a_missing_manifest_is_told(shelf: Shelf, vault: ServerVault) -> None:
    backup = made_backup(at(1))
    shelf.put(backup)
    with pytest.raises(Corrupt, match="is missing"):
        BackupFiles(vault, backup)


@pytest.mark.parametrize("keep", [0, 100, 5000])
def test_damage_that_shows_is_told_at_once(vault: ServerVault, keep: int) -> None:
    """Garbage, and a manifest of which only the beginning is there."""
    backup = stored(vault, PATHS)
    path = manifest_path(vault, backup.id)
    content = path.read_bytes()
    path.write_bytes(content[:keep] if keep > 100 else b"garbage" * 1000)
    with pytest.raises(Corrupt, match="could not read the manifest"):
        BackupFiles(vault, backup)


def test_damage_further_in_is_told_where_it_is_met(vault: ServerVault, many: Backup) -> None:
    path = manifest_path(vault, many.id)
    content = bytearray(path.read_bytes())
    content[400 * 4096:401 * 4096] = bytes(4096)  # one page of the table's entries
    path.write_bytes(content)
    with BackupFiles(vault, many) as files:
        with pytest.raises(Corrupt):
            list(files.search("_fsm"))
        with pytest.raises(Corrupt, match="does not match its SHA-256"):
            files.check()


def test_a_sound_manifest_passes_its_check(few: tuple[ServerVault, Backup]) -> None:
    with BackupFiles(*few) as files:
        files.check()
