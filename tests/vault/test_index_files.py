"""The SQLite files of a vault: SQLite's errors in words, and how they are read where nothing can be written."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from pgvault.model.errors import Corrupt, Locked, NoSpace, PgvaultError, Refused
from pgvault.vault import index_files
from pgvault.vault.index_files import in_words, make_private, raising_no_space, reading_uri


def failure(code: int | None) -> sqlite3.Error:
    error = sqlite3.OperationalError("it says so")
    if code is not None:
        error.sqlite_errorcode = code
    return error


def said(path: Path, code: int | None) -> tuple[type[PgvaultError], str, str, str]:
    with pytest.raises(PgvaultError) as told, in_words(path, "pgvault rebuild-index main"):
        raise failure(code)
    return type(told.value), told.value.message, told.value.detail, told.value.hint


@pytest.mark.parametrize("code", [None, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR,
                                  sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CORRUPT_INDEX])
def test_what_a_new_index_would_mend_says_how_to_make_it(tmp_path: Path, code: int | None) -> None:
    path = tmp_path / "index"
    assert said(path, code) == (Corrupt, f"the index {path} cannot be used", "SQLite says: it says so.",
                                "It is a cache; make it again: pgvault rebuild-index main")


@pytest.mark.parametrize("code", [sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_BUSY_TIMEOUT])
def test_what_others_use_is_waited_for_in_vain(tmp_path: Path, code: int) -> None:
    path = tmp_path / "index"
    assert said(path, code) == (Locked, f"the index {path} is in use", "It was not free for 30 seconds.",
                                "Run this again.")


@pytest.mark.parametrize("code", [sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM])
def test_what_may_not_be_used_is_no_damage(tmp_path: Path, code: int) -> None:
    path = tmp_path / "index"
    kind, message, detail, _ = said(path, code)
    assert (kind, message) == (Refused, f"could not use the index {path}: it says so")
    assert detail == f"This user may not access {path}."


@pytest.mark.parametrize("code", [sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_IOERR])
def test_another_failure_is_that_of_its_file_system(tmp_path: Path, code: int) -> None:
    path = tmp_path / "index"
    assert said(path, code) == (PgvaultError, f"could not use the index {path}", "SQLite says: it says so.",
                                "Look at the file system that it lies on, then run this again.")


@pytest.mark.parametrize(("code", "full", "told"), [
    (sqlite3.SQLITE_FULL, False, True), (sqlite3.SQLITE_IOERR_WRITE, True, True), (sqlite3.SQLITE_CANTOPEN, True, True),
    (sqlite3.SQLITE_IOERR_WRITE, False, False), (sqlite3.SQLITE_CORRUPT, True, False)])
def test_a_full_file_system_is_told_however_sqlite_meets_it(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, full: bool, told: bool) -> None:
    """It is tried for sure: under a quota much may be free."""
    path = tmp_path / "index"
    monkeypatch.setattr(index_files, "is_full", lambda place, sure=False: full and sure and place == tmp_path)
    with pytest.raises((NoSpace, sqlite3.Error)) as met, raising_no_space(path):
        raise failure(code)
    if told:
        assert isinstance(met.value, NoSpace)
        assert (met.value.message, met.value.detail) == (
            f"could not use the index {path}: no space left", f"The file system of {path} is full.")
    else:
        assert isinstance(met.value, sqlite3.Error)


def test_a_private_file_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "index"
    make_private(path)
    path.write_text("content")
    make_private(path)
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("content", 0o600)


# Where nothing can be written


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Path]:
    """An index with a row that only its log has, in which someone writes."""
    path = tmp_path / "place with %25" / "index"
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.executescript("PRAGMA journal_mode = wal; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (n)")
        writer.execute("INSERT INTO t VALUES (7)")
        yield path


@pytest.fixture
def read_only(written: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same for one who may not write there."""
    allowed: Any = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: written.parent not in (path, *Path(path).parents)
                        and allowed(path, mode))
    return written


def content(uri: str) -> list[tuple[int]]:
    with closing(sqlite3.connect(uri, uri=True)) as reader:
        return reader.execute("SELECT n FROM t").fetchall()


def test_where_it_can_be_written_to_the_index_itself_is_read(written: Path) -> None:
    with ExitStack() as scratch:
        for mode in ("ro", "rw"):
            assert reading_uri(written, scratch, mode=mode) == f"{written.as_uri()}?mode={mode}"
        assert reading_uri(written, scratch) == f"{written.as_uri()}?mode=ro"
        assert content(reading_uri(written, scratch)) == [(7,)]


@pytest.mark.parametrize("log", [None, b""])
def test_without_a_log_it_is_read_as_it_stands(read_only: Path, log: bytes | None) -> None:
    beside = read_only.with_name("index-wal")
    beside.unlink() if log is None else beside.write_bytes(log)
    with ExitStack() as scratch:
        assert reading_uri(read_only, scratch) == f"{read_only.as_uri()}?mode=ro&immutable=1"


def test_with_a_log_a_copy_is_read_that_goes_afterwards(read_only: Path) -> None:
    before = sorted(os.listdir(read_only.parent))
    with ExitStack() as scratch:
        uri = reading_uri(read_only, scratch)
        copy = Path(uri.removeprefix("file://"))
        assert content(uri) == [(7,)]
        assert copy.parent.name.startswith("pgvault-")
    assert not copy.parent.exists()
    assert sorted(os.listdir(read_only.parent)) == before


def test_a_full_index_s_file_system_is_not_written_to(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_files, "is_full", lambda place: place == written.parent)
    with ExitStack() as scratch:
        uri = reading_uri(written, scratch)
        assert str(written.parent) not in uri
        assert content(uri) == [(7,)]


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="this machine has no file system in memory")
@pytest.mark.parametrize(("number", "times"), [(errno.ENOSPC, 1), (errno.EDQUOT, 1), (errno.ENOSPC, 2), (errno.EIO, 1)])
def test_where_the_temporary_directory_is_full_memory_holds_the_copy(
        read_only: Path, monkeypatch: pytest.MonkeyPatch, number: int, times: int) -> None:
    copy, failures = shutil.copyfile, [number] * times

    def copyfile(source: Path, to: Path) -> None:
        if failures:
            raise OSError(failures.pop(), "no")
        copy(source, to)

    monkeypatch.setattr(shutil, "copyfile", copyfile)
    with ExitStack() as scratch:
        if times == 2 or number == errno.EIO:
            with pytest.raises(OSError, match="no"):
                reading_uri(read_only, scratch)
        else:
            uri = reading_uri(read_only, scratch)
            assert uri.startswith("file:///dev/shm/pgvault-")
            assert content(uri) == [(7,)]
