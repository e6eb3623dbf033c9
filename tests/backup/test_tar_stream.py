"""The tar streams of a base backup: any chunking gives the same members, and nothing hostile gets through."""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pgvault.io.tar import BLOCK, END_OF_ARCHIVE, Member, MemberKind, TarReader, make_header, parse_header
from pgvault.model.errors import PgvaultError


@dataclass
class Kept:
    """What a reader told, the pieces of each file put together."""

    members: list[tuple[Member, bytes]] = field(default_factory=list)
    _open: Member | None = None
    _data: bytearray = field(default_factory=bytearray)

    def begin(self, member: Member) -> None:
        assert self._open is None
        self._open = member
        self._data = bytearray()

    def data(self, chunk: memoryview) -> None:
        assert self._open
        assert len(chunk)
        self._data += chunk

    def end(self) -> None:
        assert self._open
        self.members.append((self._open, bytes(self._data)))
        self._open = None


def read(stream: bytes, sizes: list[int] | None = None) -> list[tuple[Member, bytes]]:
    kept, position = Kept(), 0
    reader = TarReader(kept)
    for size in sizes or []:
        reader.feed(memoryview(stream)[position:position + size])
        position += size
    reader.feed(memoryview(stream)[position:])
    reader.close()
    return kept.members


def written(path: str, kind: MemberKind = MemberKind.FILE, content: bytes = b"", **facts: int | str) -> bytes:
    header = make_header(path, kind, len(content), int(facts.get("mode", 0o600)), int(facts.get("mtime", 1)),
                         str(facts.get("link", "")))
    return header + content + bytes(-len(content) % BLOCK)


def short(name: str) -> bool:
    return 0 < len(name.encode(errors="surrogateescape")) <= 100


parts = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=30).filter(
    lambda part: part not in (".", ".."))
paths = st.lists(parts, min_size=1, max_size=4).map("/".join).filter(short)
files = st.tuples(paths, st.binary(max_size=3000))
sizes = st.lists(st.integers(0, 1500), max_size=30)


@given(st.lists(files, max_size=6), sizes)
def test_any_chunking_gives_the_same_members(contents: list[tuple[str, bytes]], chunks: list[int]) -> None:
    stream = b"".join(written(path, content=content) for path, content in contents) + END_OF_ARCHIVE
    found = read(stream, chunks)
    assert [(member.path, content) for member, content in found] == contents
    assert found == read(stream)


@given(paths, st.sampled_from(MemberKind), st.integers(0, (1 << 63) - 1), st.integers(0, 0o7777),
       st.integers(0, (1 << 40)), paths)
@example("x", MemberKind.FILE, 8 << 30, 0o600, 0, "y")
@example("x", MemberKind.FILE, (8 << 30) - 1, 0o600, 8 << 30, "y")
def test_headers_there_and_back(path: str, kind: MemberKind, size: int, mode: int, mtime: int, link: str) -> None:
    member = parse_header(make_header(path, kind, size, mode, mtime, link if kind is MemberKind.LINK else ""))
    assert member == Member(path, kind, size if kind is MemberKind.FILE else 0, mode, mtime,
                            link if kind is MemberKind.LINK else "")


@given(paths, st.binary(max_size=2000), st.integers(1, 1 << 33))
def test_python_reads_what_is_made(path: str, content: bytes, mtime: int) -> None:
    """A second opinion: the standard library's tarfile."""
    stream = written(path, content=content, mtime=mtime) + END_OF_ARCHIVE
    with tarfile.open(fileobj=io.BytesIO(stream), encoding="utf-8") as archive:
        [found] = archive.getmembers()
        assert (found.name, found.size, found.mtime) == (path.rstrip("/"), len(content), mtime)
        assert archive.extractfile(found).read() == content


def test_long_names_are_read_by_others() -> None:
    """PostgreSQL sends none, a restore may: GNU's extra blocks, which every tar knows."""
    path, link = "d/" + "n" * 250, "t/" + "l" * 300
    stream = written(path, MemberKind.LINK, link=link) + END_OF_ARCHIVE
    with tarfile.open(fileobj=io.BytesIO(stream)) as archive:
        [found] = archive.getmembers()
    assert (found.name, found.linkname) == (path, link)


@given(st.lists(st.binary(min_size=BLOCK, max_size=BLOCK), min_size=1, max_size=4), sizes)
def test_noise_is_refused(blocks: list[bytes], chunks: list[int]) -> None:
    if any(any(block) for block in blocks):
        with pytest.raises(PgvaultError):
            read(b"".join(blocks), chunks)


def resealed(header: bytearray) -> bytes:
    """With the checksum that fits, as one who means it would make it."""
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


@given(st.integers(0, BLOCK - 1), st.binary(min_size=1, max_size=24), st.binary(max_size=600), sizes)
@example(124, b"-0000000777", b"x" * 512, [])
@example(124, b"0_000000777", b"x" * 512, [])
@example(136, b"\xff" * 12, b"", [])
@example(124, b"\xff" * 12, b"", [])
def test_hostile_headers(at: int, change: bytes, rest: bytes, chunks: list[int]) -> None:
    """Whatever a header says, it is a member within the data directory or a PgvaultError, never anything else."""
    header = bytearray(make_header("base/1/2", MemberKind.FILE, 300, 0o600, 1))
    header[at:at + len(change)] = change[:BLOCK - at]
    kept = Kept()
    reader, stream = TarReader(kept), memoryview(resealed(header) + rest)
    try:
        for size in chunks:
            reader.feed(stream[:size])
            stream = stream[size:]
        reader.feed(stream)
        reader.close()
    except PgvaultError:
        return
    for member, content in kept.members:
        assert len(content) == member.size
        assert not member.path.startswith("/")
        assert ".." not in member.path.split("/")
        assert 0 <= member.size < 1 << 63
        assert 0 <= member.mtime < 1 << 63


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "base/../../x", "a/..", "..", "//x"])
@pytest.mark.parametrize("kind", list(MemberKind))
def test_members_outside_are_refused(path: str, kind: MemberKind) -> None:
    with pytest.raises(PgvaultError) as told:
        read(written(path, kind, link="x" if kind is MemberKind.LINK else "") + END_OF_ARCHIVE)
    assert "outside the data directory" in told.value.detail


def test_a_prefix_cannot_lead_outside() -> None:
    header = bytearray(make_header("x", MemberKind.FILE, 0, 0o600, 1))
    header[257:265] = b"ustar\x0000"
    header[345:347] = b".."
    with pytest.raises(PgvaultError):
        read(resealed(header))


@pytest.mark.parametrize(("kind", "named"), [
    (b"1", "a hard link"), (b"3", "a character device"), (b"4", "a block device"), (b"6", "a named pipe"),
    (b"7", "of the unexpected kind"), (b"L", ""), (b"K", ""), (b"x", ""), (b"g", ""), (b"S", "")])
def test_other_kinds_are_refused(kind: bytes, named: str) -> None:
    """Hard links, devices, pipes and extensions are nothing that PostgreSQL sends."""
    header = bytearray(make_header("base/x", MemberKind.FILE, 0, 0o600, 1))
    header[156:157] = kind
    with pytest.raises(PgvaultError) as told:
        read(resealed(header))
    assert f"The member 'base/x' is {named}" in told.value.detail


@pytest.mark.parametrize(("path", "base", "taken"), [
    ("pg_tblspc/16400", True, True), ("pg_tblspc/16400", False, False), ("pg_tblspc/x", True, False),
    ("pg_tblspc/16400/x", True, False), ("pg_tblspc", True, False), ("base/5", True, False), ("pg_wal", True, False)])
def test_only_tablespaces_are_links(path: str, base: bool, taken: bool) -> None:
    """And only in the data directory's own stream."""
    kept = Kept()
    stream = memoryview(written(path, MemberKind.LINK, link="/etc"))
    if taken:
        TarReader(kept, links=base).feed(stream)
        assert [member.link for member, _ in kept.members] == ["/etc"]
        return
    with pytest.raises(PgvaultError) as told:
        TarReader(kept, links=base).feed(stream)
    assert f"The member '{path}' is a link" in told.value.detail
    assert not kept.members


@given(st.integers(1, 3 * BLOCK - 1))
def test_a_stream_that_ends_early(length: int) -> None:
    stream = written("x", content=b"y" * 600)[:length]
    if length in (BLOCK + 600, *range(BLOCK + 600, 3 * BLOCK)):
        assert len(read(stream)) == 1  # whole but for its padding
        return
    with pytest.raises(PgvaultError):
        read(stream)


def test_nothing_comes_after_the_end() -> None:
    with pytest.raises(PgvaultError):
        read(END_OF_ARCHIVE + written("x"))
