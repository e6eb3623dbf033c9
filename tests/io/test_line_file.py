"""Text files of any size by their lines, against reading them whole."""

from __future__ import annotations

import os
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgvault.io import lines as module
from pgvault.io.lines import LONGEST, Change, LineFile

BLOCK = 16
"""Bytes, so that a few lines have many of them."""
PIECES = st.sampled_from([b"\n", b"\n", b"a", b"B\xc3\xa9", b"error", b"\xff", b"\r\n", b"x" * 15, b"y" * 33, b" "])
CONTENT = st.lists(PIECES, max_size=30).map(b"".join)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", BLOCK)


def whole(content: bytes) -> list[bytes]:
    """Its lines, naively."""
    pieces = content.split(b"\n")
    return pieces if pieces[-1] else pieces[:-1]


def shown(line: bytes) -> str:
    return line.removesuffix(b"\r").decode(errors="backslashreplace")


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def indexed(path: Path) -> LineFile:
    file = LineFile(path)
    while not file.index_some(1):
        assert file.count >= 0
    return file


def held(lines: list[bytes], text: str, invert: bool, first: int = 0) -> list[int]:
    needle = text.encode(errors="surrogateescape").lower()
    return [n for n, line in enumerate(lines) if n >= first and (needle in line.lower()) is not invert]


EVERY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@EVERY
@given(CONTENT, st.integers(0, 40), st.integers(0, 10))
def test_each_line_is_what_reading_the_whole_file_gives(
        small: None, tmp_path: Path, content: bytes, first: int, limit: int) -> None:
    expected = [shown(line) for line in whole(content)]
    with indexed(written(tmp_path / "log", content)) as file:
        assert (file.count, file.size) == (len(expected), len(content))
        assert [file.line(number) for number in reversed(range(file.count))] == expected[::-1]
        assert file.lines(first, limit) == expected[first:first + limit]
        assert file.tail(limit) == expected[len(expected) - min(limit, len(expected)):]


@EVERY
@given(CONTENT, st.integers(1, 40))
def test_what_is_known_while_indexing_is_right_already(
        small: None, tmp_path: Path, content: bytes, budget: int) -> None:
    expected = [shown(line) for line in whole(content)]
    with LineFile(written(tmp_path / "log", content)) as file:
        while not file.index_some(budget):
            assert file.lines(0, 1000) == expected[:file.count]
        assert file.lines(0, 1000) == expected
        with pytest.raises(IndexError):
            file.line(file.count)
        with pytest.raises(IndexError):
            file.line(-1)


@EVERY
@given(CONTENT, st.sampled_from(["error", "ERR", "a", "é", "\udcff", "", "x" * 17, "y" * 33, "nowhere"]), st.booleans(),
       st.integers(0, 12), st.booleans())
def test_a_search_finds_what_reading_every_line_finds(
        small: None, tmp_path: Path, content: bytes, text: str, invert: bool, first: int, ready: bool) -> None:
    """Whether or not the file was indexed before."""
    path = written(tmp_path / "log", content)
    with indexed(path) if ready else LineFile(path) as file:
        found = list(chain.from_iterable(file.search(text, invert=invert, first=first)))
        assert found == held(whole(content), text, invert, first)
        assert first or file.is_indexed


@EVERY
@given(st.lists(CONTENT, min_size=1, max_size=5), st.booleans())
def test_a_growing_file_is_followed(small: None, tmp_path: Path, parts: list[bytes], look_back: bool) -> None:
    path = written(tmp_path / "log", parts[0])
    with indexed(path) as file:
        for end in range(2, len(parts) + 1):
            if look_back:
                file.lines(0, 1000)
            with path.open("ab") as more:
                more.write(parts[end - 1])
            assert file.grew() is (Change.GREW if parts[end - 1] else Change.NONE)
            before = file.count
            assert file.index_some()
            expected = whole(b"".join(parts[:end]))
            assert file.lines(0, 1000) == [shown(line) for line in expected]
            assert list(chain.from_iterable(file.search("a", first=max(before - 1, 0)))) == held(
                expected, "a", False, max(before - 1, 0))


def test_a_rotated_file_is_begun_anew(tmp_path: Path) -> None:
    path = written(tmp_path / "log", b"old\n" * 3)
    with indexed(path) as file:
        path.rename(tmp_path / "log.1")
        assert file.grew() is Change.NONE
        assert file.line(2) == "old"
        written(path, b"new and longer than before\n")
        assert file.grew() is Change.REPLACED
        assert (file.count, file.tail(5)) == (0, ["new and longer than before"])
        assert file.index_some()
        assert file.lines(0, 9) == ["new and longer than before"]
        assert file.grew() is Change.NONE


@pytest.mark.parametrize("content", [b"", b"new\n", b"new\nnew\n", b"new\n" * 9])
def test_a_file_that_was_emptied_and_written_again_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    """Shorter, as long, or longer than before."""
    path = written(tmp_path / "log", b"old\nold\n")
    with indexed(path) as file:
        with path.open("r+b") as same:
            same.truncate(0)
            same.write(content)
        assert file.grew() is Change.REPLACED
        assert file.index_some()
        assert file.count == content.count(b"\n")


def test_a_search_ends_when_the_file_is_replaced_or_closed(small: None, tmp_path: Path) -> None:
    path = written(tmp_path / "log", b"error\n" * 50)
    with LineFile(path) as file:
        walk = file.search("error")
        assert list(next(walk)) == [0, 1, 2]
        written(tmp_path / "other", b"error\n").rename(path)
        assert file.grew() is Change.REPLACED
        assert list(walk) == []
        walk = file.search("error")
    assert list(walk) == []


def test_a_file_that_shrinks_while_it_is_indexed_ends_there(small: None, tmp_path: Path) -> None:
    path = written(tmp_path / "log", b"line\n" * 50)
    with LineFile(path) as file:
        file.index_some(1)
        os.truncate(path, 5)
        assert file.index_some()
        assert file.grew() is Change.REPLACED
        assert file.index_some()
        assert file.lines(0, 9) == ["line"]


def test_long_lines_are_cut(tmp_path: Path) -> None:
    """A character at the cut is either whole or not there."""
    long = "é" * (LONGEST + 1)
    exact = "ü" * LONGEST
    path = written(tmp_path / "log", f"{long}\n{exact}\r\n{'z' * 3_000_000}".encode())
    with indexed(path) as file:
        assert file.lines(0, 9) == ["é" * LONGEST + "…", exact, "z" * LONGEST + "…"]
        assert [len(line) for line in file.tail(2)] == [LONGEST, LONGEST + 1]


def test_the_end_of_an_endless_line_is_all_that_is_shown_of_it(small: None, tmp_path: Path,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TAIL_BYTES", 64)
    with LineFile(written(tmp_path / "log", b"first\n" + b"z" * 200)) as file:
        assert file.tail(5) == ["z" * 64]
    with LineFile(written(tmp_path / "log", b"first\n" + b"z" * 200 + b"\nlast\n")) as file:
        assert file.tail(5) == ["last"]


def test_what_is_no_plain_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "nowhere"):
        with pytest.raises(OSError, match=r"plain file|No such file"):
            LineFile(path)


@pytest.mark.slow
def test_the_index_of_a_large_file_is_small(tmp_path: Path) -> None:
    """Blocks of 256 KiB take eight bytes each."""
    path = tmp_path / "log"
    with path.open("wb") as file:
        for _ in range(40):
            file.write(b"2026-11-22 20:05:12 LOG:  checkpoint complete\n" * 20_000)
    with LineFile(path) as log:
        assert log.tail(2) == ["2026-11-22 20:05:12 LOG:  checkpoint complete"] * 2
        assert not log.index_some(1 << 20)
        assert 0 < log.count < 30_000
        assert log.index_some(1 << 30)
        assert log.count == 800_000
        assert len(log._before) == path.stat().st_size // module.BLOCK + 1
        assert sum(map(len, log.search("CHECKPOINT"))) == 800_000
        assert sum(map(len, log.search("checkpoint", invert=True))) == 0
