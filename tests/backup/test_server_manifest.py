"""PostgreSQL's own manifest, against which each file is compared: what does not agree is told, whatever it looks like.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from crc32c import crc32c
from hypothesis import example, given
from hypothesis import strategies as st

from pgvault.engine.backup.server_manifest import ServerManifest, parse_file_line
from pgvault.model.errors import PgvaultError
from pgvault.vault.layout import Vault
from pgvault.vault.manifest import Entry, Kind, ManifestWriter

FILES = {"PG_VERSION": b"18\n", "base/1/2": b"x" * 9000, "it's \"odd\"\n": b"", "caf\udce9": b"bytes"}


def line(path: str, content: bytes, **changes: Any) -> str:
    raw = path.encode(errors="surrogateescape")
    try:
        named = {"Path": raw.decode()}
    except UnicodeDecodeError:
        named = {"Encoded-Path": raw.hex()}
    fields = {**named, "Size": len(content), "Last-Modified": "2026-01-01 00:00:00 GMT",
              "Checksum-Algorithm": "CRC32C", "Checksum": crc32c(content).to_bytes(4, "little").hex(), **changes}
    text = ", ".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in fields.items())
    return f"{{ {text} }}"


def document(lines: list[str], checksum: str | None = None) -> bytes:
    text = ('{ "PostgreSQL-Backup-Manifest-Version": 2,\n"System-Identifier": 1,\n"Files": [\n' + ",\n".join(lines) +
            '\n],\n"WAL-Ranges": [\n{ "Timeline": 1, "Start-LSN": "0/1", "End-LSN": "0/2" }\n],\n').encode()
    return text + f'"Manifest-Checksum": "{checksum or hashlib.sha256(text).hexdigest()}"}}\n'.encode()


@pytest.fixture
def arrived(tmp_path: Path) -> Iterator[Callable[[dict[str, bytes]], ManifestWriter]]:
    """Makes the list of what arrived."""
    made: list[ManifestWriter] = []

    def make(files: dict[str, bytes]) -> ManifestWriter:
        vault = Vault.open_or_create(tmp_path / "vault").server("main")
        (vault.backups / "20260101T000000Z").mkdir(parents=True, exist_ok=True)
        manifest = ManifestWriter(vault, "20260101T000000Z")
        for path, content in {**files, "backup_manifest": b"{}"}.items():
            manifest.add(Entry(manifest.next_id(), path, Kind.FILE, len(content), 0o600, 1, crc32c(content)))
        manifest.index_paths()
        made.append(manifest)
        return manifest

    yield make
    for each in made:
        each.abandon()


def compare(directory: Path, text: bytes, manifest: ManifestWriter, chunk: int = 77) -> None:
    expected = ServerManifest(directory)
    try:
        for at in range(0, len(text), chunk):
            expected.feed(memoryview(text)[at:at + chunk])
        assert expected.size == len(text)
        assert b"".join(expected.chunks()) == text
        expected.compare(manifest)
    finally:
        expected.close()


LINES = [line(path, content) for path, content in FILES.items()]


def test_what_arrived_as_it_was_sent(tmp_path: Path, arrived: Callable[..., ManifestWriter]) -> None:
    compare(tmp_path, document(LINES), arrived(FILES))


OTHER_SUM = "the server's backup manifest does not match its own checksum"


@pytest.mark.parametrize(("text", "files", "reason"), [
    (document(LINES), {k: v for k, v in FILES.items() if k != "base/1/2"}, "base/1/2 did not arrive"),
    (document(LINES), {**FILES, "base/1/2": b"x" * 8999}, "base/1/2 arrived with 8999 bytes instead of 9000"),
    (document(LINES), {**FILES, "base/1/2": b"x" * 8999 + b"y"},
     f"base/1/2 arrived damaged: CRC-32C {crc32c(b'x' * 8999 + b'y'):08x} instead of {crc32c(b'x' * 9000):08x}"),
    (document(LINES), {**FILES, "extra": b""}, "5 files arrived, its manifest lists 4"),
    (document([]), {}, "the server's backup manifest lists no files"),
    (document(LINES, "0" * 64), FILES, OTHER_SUM),
    (document(LINES).replace(b"9000", b"9001"), FILES, "base/1/2 arrived with 9000 bytes instead of 9001"),
    (document(LINES)[:-80], FILES, OTHER_SUM),
    (b"", FILES, OTHER_SUM),
    (b'"Manifest-Checksum"\n', FILES, OTHER_SUM),
    (b'"Manifest-Checksum": \xff\xfe\n', FILES, OTHER_SUM),
    (document([LINES[0].replace("CRC32C", "SHA256")]), FILES,
     "a line of the server's backup manifest cannot be read: ValueError('unexpected checksum SHA256')"),
])
def test_what_does_not_agree(text: bytes, files: dict[str, bytes], reason: str, tmp_path: Path,
                             arrived: Callable[..., ManifestWriter]) -> None:  # fmt: skip
    """Rule 7: each file is compared with its CRC-32C, and the list itself with its checksum."""
    with pytest.raises(PgvaultError) as told:
        compare(tmp_path, text, arrived(files))
    assert told.value.message == f"the backup differs from what the server sent: {reason}"
    assert told.value.hint == "Run the backup again; if it fails again, check the network and this machine's memory."


def test_files_that_came_by_another_way_are_not_in_it(tmp_path: Path, arrived: Callable[..., ManifestWriter]) -> None:
    expected = ServerManifest(tmp_path)
    expected.feed(memoryview(document(LINES)))
    manifest = arrived({**FILES, "linked": b"x"})
    expected.compare(manifest, beside=1)
    with pytest.raises(PgvaultError, match="5 files arrived, its manifest lists 4"):
        expected.compare(manifest)
    expected.close()


def test_a_large_one_is_handed_on_in_pieces(tmp_path: Path) -> None:
    expected = ServerManifest(tmp_path)
    expected.feed(memoryview(bytes((2 << 20) + 1)))
    assert [len(each) for each in expected.chunks()] == [1 << 20, 1 << 20, 1]
    expected.close()


@given(st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=40), st.binary(max_size=50))
def test_lines_there_and_back(path: str, content: bytes) -> None:
    if any(0xD800 <= ord(char) < 0xDC80 or 0xDCFF < ord(char) < 0xE000 for char in path):
        return
    found = parse_file_line(f"{line(path, content)},\n".encode())
    raw = path.encode(errors="surrogateescape")
    assert (found.path.encode(errors="surrogateescape"), found.size, found.crc32c) == (
        raw, len(content), crc32c(content))


@given(st.one_of(
    st.binary(max_size=200),
    st.recursive(st.none() | st.integers() | st.floats() | st.text(max_size=5), lambda inner: st.lists(inner)
                 | st.dictionaries(st.sampled_from(["Path", "Encoded-Path", "Size", "Checksum"]), inner)).map(
        lambda value: json.dumps(value).encode()),
    st.tuples(st.sampled_from(["Path", "Size", "Checksum", "Checksum-Algorithm"]),
              st.none() | st.integers() | st.text(max_size=9) | st.lists(st.integers())).map(
        lambda change: line("p", b"", **{change[0]: change[1]}).encode())))
@pytest.mark.slow
@example(b'{ "Path": ' + b"[" * 100_000)
@example(b'{ "Path": "\\ud800", "Size": 1, "Checksum-Algorithm": "CRC32C", "Checksum": "00" }')
@example(b'{ "Path": "x", "Size": 1e999, "Checksum-Algorithm": "CRC32C", "Checksum": "00" }')
def test_hostile_lines(text: bytes) -> None:
    """Never anything but a file or a PgvaultError."""
    try:
        found = parse_file_line(text)
    except PgvaultError:
        return
    assert isinstance(found.path, str)
    assert isinstance(found.size, int)
