"""A segment while it is being received: what of it is flushed, whose failures are told, and what it is padded with."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from making_wal import MIB, new_vault

from pgvault.model.segment import Segment
from pgvault.vault.layout import ServerVault
from pgvault.vault.streaming import StreamedSegment, pad, partials

NAME = "000000010000000000000003"
PLACE = Segment.parse(NAME, MIB)
START = 3 * MIB


@pytest.fixture
def server(tmp_path: Path) -> ServerVault:
    server = new_vault(tmp_path / "v")
    server.prepare()
    return server


@pytest.fixture
def streamed(server: ServerVault) -> StreamedSegment:
    return StreamedSegment(server, PLACE, MIB)


@pytest.fixture
def flushes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    found: list[int] = []
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda file: (found.append(file), real(file)))
    return found


def refused(*_: object) -> Any:
    raise OSError(errno.EIO, "refused")


def test_only_what_was_flushed_is_safe_and_that_is_flushed_once(streamed: StreamedSegment, flushes: list[int]) -> None:
    streamed.flush()
    assert (streamed.flushed, len(flushes)) == (START, 0), "there is nothing yet"
    streamed.write(b"some")
    assert streamed.flushed == START
    streamed.flush()
    streamed.flush()
    assert (streamed.flushed, len(flushes)) == (START + 4, 1)


def test_a_failure_names_the_file(streamed: StreamedSegment, monkeypatch: pytest.MonkeyPatch) -> None:
    streamed.write(b"some")
    for call, act in (("pwrite", lambda: streamed.write(b"more")), ("fdatasync", streamed.flush),
                      ("fsync", lambda: pad(streamed.path, MIB))):
        with monkeypatch.context() as patch:
            patch.setattr(os, call, refused)
            with pytest.raises(OSError, match="refused") as failure:
                act()
        assert failure.value.filename == str(streamed.path), call
    assert (streamed.written, streamed.flushed) == (START + 4, START)


def test_a_part_is_padded_to_a_whole_segment(streamed: StreamedSegment) -> None:
    assert pad(streamed.path, MIB) is False
    assert streamed.path.read_bytes() == b""
    streamed.write(b"some")
    assert pad(streamed.path, MIB) is True
    assert streamed.path.read_bytes() == b"some".ljust(MIB, b"\0")


def test_which_segments_have_a_part(server: ServerVault) -> None:
    for name in ("000000020000000000000001.partial", f"{NAME}.partial", NAME, "notes", "00000002.history"):
        (server.spool.streaming / name).touch()
    assert partials(server) == [NAME, "000000020000000000000001"]
