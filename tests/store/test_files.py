"""What a crash left is removed, and nothing else is; files are private; what fails says where."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest

from pgvault.store.files import (
    TEMPORARY,
    make_directory,
    naming,
    remove_tree,
    replacing,
    sweep_dead,
    sweep_temporaries,
    temporary_name,
    write_durably,
)


@pytest.fixture
def dead() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def left(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_only_what_dead_processes_left_is_swept(tmp_path: Path, dead: int) -> None:
    """Of a directory, a link and a file; what a living one writes, and what nobody's number stands in, stays."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    swept = tmp_path / "swept"
    swept.mkdir()
    (swept / f"{TEMPORARY}file.{dead}.0a").touch()
    (swept / f"{TEMPORARY}dir.{dead}.0a").mkdir()
    (swept / f"{TEMPORARY}dir.{dead}.0a/inside").touch()
    (swept / f"{TEMPORARY}link.{dead}.0a").symlink_to(outside)
    stays = {"complete", f"{TEMPORARY}odd", f"{TEMPORARY}odd.x.0a", f"{TEMPORARY}new.1.0a",
             temporary_name(swept / "mine").name}
    for name in stays:
        (swept / name).touch()
    sweep_dead(swept)
    assert left(swept) == stays
    assert left(outside) == {"kept"}


def test_what_is_in_use_is_not_swept_whatever_its_number_says(tmp_path: Path, dead: int) -> None:
    """It may be another machine's or container's."""
    used, unused = (tmp_path / f"{TEMPORARY}{name}.{dead}.0a" for name in ("used", "unused"))
    for path in (used, unused):
        path.touch()
    sweep_dead(tmp_path, is_in_use=lambda path: path == used)
    assert left(tmp_path) == {used.name}


def test_under_its_lock_a_directory_is_swept_of_all_that_is_temporary(tmp_path: Path) -> None:
    (tmp_path / f"{TEMPORARY}odd").touch()
    (tmp_path / f"{TEMPORARY}dir").mkdir()
    (tmp_path / "complete").touch()
    sweep_temporaries(tmp_path)
    assert left(tmp_path) == {"complete"}


def test_what_another_sweeps_at_the_same_time_is_no_error(tmp_path: Path, dead: int,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / f"{TEMPORARY}file.{dead}.0a").touch()
    glob = Path.glob

    def slow(self: Path, pattern: str) -> list[Path]:
        found = list(glob(self, pattern))
        for path in found:
            path.unlink()
        return found

    monkeypatch.setattr(Path, "glob", slow)
    sweep_dead(tmp_path)


def test_two_names_for_one_file_are_never_the_same(tmp_path: Path) -> None:
    one, other = temporary_name(tmp_path / "x"), temporary_name(tmp_path / "x")
    assert one != other
    assert {one.parent, other.parent} == {tmp_path}
    assert one.name.startswith(f"{TEMPORARY}x.{os.getpid()}.")


def test_files_and_directories_are_their_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        make_directory(tmp_path / "a" / "b")
        write_durably(tmp_path / "a" / "b" / "c", b"content")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "a").rglob("*")}
    assert modes == {"b": 0o700, "c": 0o600}
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700
    make_directory(tmp_path / "a" / "b")  # again is no error


def test_what_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "note"
    write_durably(path, b"old")
    with pytest.raises(FileNotFoundError), replacing(path) as temporary:
        temporary.write_bytes((tmp_path / "gone").read_bytes())
    assert path.read_bytes() == b"old"
    assert left(tmp_path) == {"note"}


@pytest.mark.parametrize(("error", "named"), [
    (OSError(errno.ENOSPC, "No space left on device"), "here"),
    (OSError(errno.ENOENT, "No such file", "elsewhere"), "elsewhere")])
def test_an_error_says_where_it_was_going(error: OSError, named: str) -> None:
    with pytest.raises(OSError) as caught, naming(Path("here")):  # noqa: PT011 -- its path is what counts
        raise error
    assert caught.value.filename == named


def test_a_tree_is_removed_and_a_link_in_it_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "doomed/inside").mkdir(parents=True)
    (tmp_path / "doomed/link").symlink_to(tmp_path / "kept")
    remove_tree(tmp_path / "doomed")
    assert left(tmp_path) == {"kept"}
