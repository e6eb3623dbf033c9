"""Facts and indexes that cannot be read are named, with the path and the next step, by every verb that reads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from shelf import SIZE, Shelf, at, made_backup
from support.objects import backup_directory

from pgvault.cli.main import main
from pgvault.store.files import make_directory
from pgvault.vault import catalog
from pgvault.vault.identity import Identity, claim

SECOND = "20261102T120000Z"
READERS = (("list-backups", "main"), ("show-backup", "main", "latest"), ("show-backup", "main", SECOND),
           ("list-files", "main", "latest"), ("wal", "main"), ("check", "main"), ("status", "main"),
           ("restore", "main", "--choices"))
RESTORE = ("restore", "main", "auto", "/nowhere", "--target-end", "--dry-run")


@pytest.fixture
def said(shelf: Shelf, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What a command says, within this process."""
    def say(*words: str) -> str:
        main(["--config", str(shelf.config), *words])
        return " ".join(" ".join(capfd.readouterr()).split())

    shelf.put(made_backup(at(1)), made_backup(at(2)), made_backup(at(3)))
    shelf.archive(1, 2, 2)
    claim(shelf.server(), Identity("7300000000000000001", SIZE))
    return say


def damaged_facts(shelf: Shelf, backup_id: str) -> Path:
    path = backup_directory(shelf.server(), backup_id) / "backup.toml"
    path.write_text("status = [")
    return path


@pytest.mark.parametrize("words", READERS, ids=" ".join)
def test_facts_are_named_by_whoever_reads_them(shelf: Shelf, said: Callable[..., str], words: tuple[str, ...]) -> None:
    facts = damaged_facts(shelf, SECOND if SECOND in words else "20261103T120000Z")
    told = said(*words)
    assert f"{facts}: Invalid value" in told
    assert words[0] == "restore" or ("pgvault check main" if words[0] == "status" else catalog.FROM_COPY) in told


@pytest.mark.parametrize("words", [("show-backup", "main", "latest"), RESTORE], ids=" ".join)
def test_that_no_facts_can_be_read_is_not_called_no_backup(shelf: Shelf, said: Callable[..., str],
                                                           words: tuple[str, ...]) -> None:
    paths = [damaged_facts(shelf, backup_id) for backup_id in catalog.ids(shelf.server())]
    assert f"Cannot be read: 20261101T120000Z: {paths[0]}: Invalid value" in said(*words)


@pytest.mark.parametrize("words", READERS[:3] + READERS[5:7], ids=" ".join)
def test_a_missing_index_is_named_by_those_who_only_read_it(shelf: Shelf, said: Callable[..., str],
                                                            words: tuple[str, ...]) -> None:
    """The others make it again."""
    make_directory(segments := shelf.server().wal / "0000000100000000")
    (segments / "000000010000000000000002.zst").touch()
    shelf.server().cache.wal.unlink()
    told = said(*words)
    assert f"the index {shelf.server().cache.wal} is missing" in told
    assert ("pgvault check main" if words[0] == "status" else "pgvault rebuild-index main") in told


@pytest.mark.parametrize("words", [*(each for each in READERS if each[0] != "list-files"), RESTORE], ids=" ".join)
def test_a_bad_index_is_named(shelf: Shelf, said: Callable[..., str], words: tuple[str, ...]) -> None:
    shelf.server().cache.wal.write_bytes(b"no database" * 500)
    told = said(*words)
    assert f"the index {shelf.server().cache.wal} cannot be used" in told
    assert ("pgvault check main" if words[0] == "status" else "pgvault rebuild-index main") in told
