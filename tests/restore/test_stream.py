"""The tar streams and their rate: bytes, not time."""

from __future__ import annotations

import asyncio
import hashlib
import io
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgvault.engine.restore.send import RateLimit, Sender
from pgvault.engine.restore.stream import BackupFile, PackedFile, Shared, SmallFile, TarStream
from pgvault.vault import delta as page_delta
from pgvault.vault.compression import compress
from pgvault.vault.frames import FrameStore
from pgvault.vault.layout import ServerVault, Vault
from pgvault.vault.manifest import Entry, Kind, StoredRun
from pgvault.vault.packs import FRAME_SIZE, PackReader


def test_no_more_than_the_rate_goes_out() -> None:
    """With a clock of its own: the time that is slept is what the bytes take, but for a short moment's credit."""
    now = slept = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now, slept
        now, slept = now + seconds, slept + seconds

    async def story() -> None:
        limit = RateLimit(1000, clock=lambda: now, sleep=sleep)
        for _ in range(40):
            await limit.take(250)

    asyncio.run(story())
    assert slept == pytest.approx(10, abs=0.21)


def test_several_streams_share_one_rate() -> None:
    now = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        until = now + seconds
        await asyncio.sleep(0)
        now = max(now, until)

    async def story() -> None:
        limit = RateLimit(1000, clock=lambda: now, sleep=sleep)

        async def stream() -> None:
            for _ in range(20):
                await limit.take(100)

        await asyncio.gather(*(stream() for _ in range(4)))

    asyncio.run(story())
    assert now == pytest.approx(8, abs=0.21)


def test_without_a_rate_nothing_waits() -> None:
    async def never(_: float) -> None:
        raise AssertionError

    asyncio.run(RateLimit(None, sleep=never).take(10**12))


def test_items_are_handed_out_once() -> None:
    shared = Shared(SmallFile(str(n), b"") for n in range(50))
    assert [next(shared).path for _ in range(25)] + [item.path for item in shared] == [str(n) for n in range(50)]


def test_a_stream_that_is_stopped_waits_for_its_reader() -> None:
    """The reading thread uses packs and a manifest that are closed next; SQLite crashes when it is used then."""
    began, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def blocks() -> Iterator[bytes]:
        began.set()
        may_end.wait(10)
        ended.set()
        yield b"late"

    async def story() -> None:
        sender = Sender.__new__(Sender)
        task = asyncio.create_task(sender._feed(blocks(), write=lambda _: asyncio.sleep(0)))
        await asyncio.to_thread(began.wait, 10)
        task.cancel()
        await asyncio.sleep(0.05)
        assert not task.done()
        task.cancel()  # asked again, it waits all the same
        may_end.set()
        await asyncio.wait([task])
        assert task.cancelled()
        assert ended.is_set()

    asyncio.run(story())


CONTENTS = st.one_of(
    st.binary(max_size=3000),
    st.builds(lambda n, tail: bytes(n) + tail, st.integers(0, 3 * FRAME_SIZE), st.binary(max_size=20)),
    st.builds(lambda n, seed: hashlib.shake_256(seed).digest(n), st.integers(FRAME_SIZE - 2, 2 * FRAME_SIZE + 513),
              st.binary(max_size=4)),
)  # fmt: skip
NAMES = st.lists(st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=110)
                 .filter(lambda name: name not in (".", "..")), min_size=1, max_size=4, unique=True)  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> ServerVault:
    vault = Vault.open_or_create(tmp_path_factory.mktemp("vault") / "home").server("main")
    vault.prepare()
    return vault


def stored_file(server: ServerVault, number: int, path: str, content: bytes) -> tuple[Entry, list[StoredRun]]:
    """The file as a backup stores it: zeros by nothing, every second run as a delta."""
    runs = []
    with FrameStore(server) as store:
        for index, start in enumerate(range(0, len(content), FRAME_SIZE)):
            plain = content[start:start + FRAME_SIZE]
            if not any(plain):
                runs.append((index, None, None))
                continue
            parent, changes = plain, None
            if index % 2 and len(plain) == FRAME_SIZE:
                parent = bytes(8192) + plain[8192:]
                changes = page_delta.make(parent, plain)
            frame = put(store, parent)
            runs.append((index, frame, None if changes is None else put(store, changes)))
        store.flush()
        stored = [StoredRun(n, frame and store.locate(frame), delta and store.locate(delta))
                  for n, frame, delta in runs]  # fmt: skip
    return Entry(number, path, Kind.FILE, len(content), 0o640, 1_793_534_400), stored


def put(store: FrameStore, plain: bytes) -> bytes:
    frame = hashlib.sha256(plain).digest()
    if not store.has(frame):
        store.add(frame, compress(plain, 1), len(plain))
    return frame


def unpacked(sent: bytes) -> bytes:
    return subprocess.run(["zstd", "-q", "-d", "-c"], input=sent, capture_output=True, check=True).stdout


@settings(max_examples=25, deadline=None)
@given(names=NAMES, contents=st.lists(CONTENTS, min_size=4, max_size=4), packed=st.booleans())
def test_a_stream_unpacks_to_what_was_backed_up(server: ServerVault, names: list[str], contents: list[bytes],
                                                packed: bool) -> None:  # fmt: skip
    files = {f"dir/{name}": content for name, content in zip(names, contents, strict=False)}
    known = {path: stored_file(server, number, path, content) for number, (path, content) in enumerate(files.items())}
    wal = bytes(range(256)) * 4096
    items = [BackupFile("dir", Entry(99, "dir", Kind.DIRECTORY, 0, 0o700, 1)),
             *(BackupFile(path, entry) for path, (entry, _) in known.items()),
             PackedFile("wal", len(wal), lambda: [compress(wal, 1)], lambda: [wal]),
             SmallFile("small", b"x")]  # fmt: skip
    counted = [0, 0]

    def wrote(size: int, count: int) -> None:
        counted[0] += size
        counted[1] += count

    with PackReader(server) as packs:
        stream = TarStream(packs, lambda entry: known[entry.path][1], packed=packed, wrote=wrote)
        sent = b"".join(stream.blocks(iter(items)))
    with tarfile.open(fileobj=io.BytesIO(unpacked(sent) if packed else sent)) as archive:
        assert archive.getnames() == ["dir", *files, "wal", "small"]
        assert {archive.getmember(name).mode for name in ("wal", "small")} == {0o600}
        for path, content in files.items():
            assert archive.extractfile(path).read() == content
            assert archive.getmember(path).mode == 0o640
        assert archive.extractfile("wal").read() == wal
    assert counted == [sum(map(len, files.values())) + len(wal), len(files)]


def test_an_empty_stream_is_a_valid_archive(server: ServerVault, tmp_path: Path) -> None:
    with PackReader(server) as packs:
        sent = b"".join(TarStream(packs, lambda entry: [], packed=False, wrote=lambda *_: None).blocks(iter([])))
    subprocess.run(["tar", "-x", "-C", tmp_path, "-f", "-"], input=sent, check=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("size", [0, 5, FRAME_SIZE, FRAME_SIZE + 5, 3 * FRAME_SIZE, 2 * FRAME_SIZE + 512])
def test_zeros_which_are_stored_as_nothing_arrive(server: ServerVault, size: int, packed: bool) -> None:
    entry, runs = stored_file(server, 1, "zeros", bytes(size))
    assert not any(run.frame for run in runs)
    behind = SmallFile("behind", b"x")
    with PackReader(server) as packs:
        stream = TarStream(packs, lambda _: runs, packed=packed, wrote=lambda *_: None)
        sent = b"".join(stream.blocks(iter([BackupFile("zeros", entry), behind])))
    with tarfile.open(fileobj=io.BytesIO(unpacked(sent) if packed else sent)) as archive:
        assert archive.getnames() == ["zeros", "behind"]
        assert archive.extractfile("zeros").read() == bytes(size)


BLOCK = 256 << 10


@pytest.mark.parametrize(("content", "sizes"), [
    (BLOCK - 512, [BLOCK, BLOCK, BLOCK, 1024]), (BLOCK - 1024, [2 * BLOCK - 1024, BLOCK - 512 + 1024]),
    (100_000, [3 * 100_864, 1024]), (300_000, [300_544, 300_544, 300_544, 1024])])
def test_what_is_sent_is_gathered_to_blocks(server: ServerVault, content: int, sizes: list[int]) -> None:
    """Neither the memory nor the number of writes grows with the files."""
    items = [SmallFile(str(number), bytes(content)) for number in range(3)]
    with PackReader(server) as packs:
        stream = TarStream(packs, lambda _: [], packed=False, wrote=lambda *_: None)
        assert [len(block) for block in stream.blocks(iter(items))] == sizes


def test_stored_frames_are_gathered_as_they_are(server: ServerVault) -> None:
    piece = hashlib.shake_256(b"f").digest(100_000)
    frames = PackedFile("wal", 600_000, lambda: [piece] * 6, lambda: [])
    with PackReader(server) as packs:
        stream = TarStream(packs, lambda _: [], packed=True, wrote=lambda *_: None)
        blocks = list(stream.blocks(iter([frames])))
    assert [block.count(piece) for block in blocks] == [3, 3, 0]
