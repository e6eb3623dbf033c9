"""Turns the streams of a base backup into frames in packs and rows in a manifest.

One thread reads the connection and splits files into runs of at most 1 MiB, collected in buffers. Worker threads hash,
look up, compare and compress the runs of a buffer (the libraries release the interpreter's lock). The reading thread
stores the results in order. Memory is limited to the buffers, whatever the cluster's size.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from crc32c import crc32c

from pgvault.engine.backup.linked import Linked
from pgvault.engine.backup.server_manifest import ServerManifest
from pgvault.engine.progress import Progress
from pgvault.io.tar import Member, MemberKind, TarReader
from pgvault.model.errors import Corrupt
from pgvault.vault import delta as page_delta
from pgvault.vault.compression import compress
from pgvault.vault.frames import FrameStore
from pgvault.vault.layout import ServerVault
from pgvault.vault.manifest import ZEROS, Entry, Kind, Manifest, ManifestWriter, Run
from pgvault.vault.packs import FRAME_SIZE, PackReader

_KINDS = {MemberKind.FILE: Kind.FILE, MemberKind.DIRECTORY: Kind.DIRECTORY, MemberKind.LINK: Kind.LINK}
_WHOLE_FORKS = ("_vm", "_fsm")
"""Forks that are always stored whole: they are small, and a delta saves too little for its risk (rule 7a)."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One run of a file within a buffer."""

    file: int
    path: str
    number: int
    start: int
    length: int


@dataclass(slots=True)
class Batch:
    """A buffer and its runs; one worker processes it."""

    buffer: bytearray = field(default_factory=lambda: bytearray(FRAME_SIZE))
    pieces: list[Piece] = field(default_factory=list)
    fill: int = 0


@dataclass(frozen=True, slots=True)
class Stored:
    """A worker's result for a piece: the run, and its new frame, if it needs one."""

    piece: Piece
    run: Run
    new_id: bytes = b""
    new_frame: bytes = b""
    plain_length: int = 0


class RunMaker:
    """Makes runs of plain bytes. Any number of workers may call it at a time."""

    def __init__(self, server: ServerVault, store: FrameStore, previous: Manifest | None, level: int) -> None:
        self._server, self._store, self._previous, self._level = server, store, previous, level
        self._previous_lock = threading.Lock()
        self._local = threading.local()
        self._readers: list[PackReader] = []

    def close(self) -> None:
        for reader in self._readers:
            reader.close()

    def make(self, batch: Batch) -> list[Stored]:
        return [self._make(piece, memoryview(batch.buffer)[piece.start:piece.start + piece.length])
                for piece in batch.pieces]

    def _make(self, piece: Piece, plain: memoryview) -> Stored:
        if not plain[0] and not plain[-1] and not any(plain[:64]) and bytes(plain).count(0) == len(plain):
            return Stored(piece, ZEROS)
        frame_id = hashlib.sha256(plain).digest()
        if self._is_stored(frame_id):
            return Stored(piece, Run(frame_id))
        before = self._before(piece)
        if before is not None and before.frame is not None:
            if before.plain == frame_id and self._is_still_stored(before):
                return Stored(piece, before)
            if (changes := self._delta(before.frame, plain)) is not None:
                delta_id = hashlib.sha256(changes).digest()
                run = Run(before.frame, delta_id, frame_id)
                return Stored(piece, run, delta_id, compress(changes, self._level), len(changes))
        return Stored(piece, Run(frame_id), frame_id, compress(plain, self._level), len(plain))

    def _before(self, piece: Piece) -> Run | None:
        if self._previous is None or piece.path.endswith(_WHOLE_FORKS):
            return None
        with self._previous_lock:
            return self._previous.run(piece.path, piece.number)

    def _is_stored(self, frame_id: bytes) -> bool:
        """Return whether the frame is stored. A full backup reads it back, so that a damaged older copy is stored
        again."""
        if not self._store.has(frame_id):
            return False
        place = self._store.locate(frame_id) if self._previous is None else None
        if place is None:
            return True
        try:
            self._packs().plain(*place)
        except Corrupt:
            self._store.forget(frame_id)
            return False
        return True

    def _is_still_stored(self, run: Run) -> bool:
        return all(part is None or self._store.has(part) for part in (run.frame, run.delta))

    def _delta(self, parent: bytes, plain: memoryview) -> bytes | None:
        place = self._store.locate(parent)
        if place is None or place[1].plain != len(plain):
            return None
        try:
            return page_delta.make(self._packs().plain(*place), bytes(plain))
        except Corrupt:  # a damaged parent must not prevent storing the run whole
            return None

    def _packs(self) -> PackReader:
        """Return this thread's own reader."""
        if not hasattr(self._local, "packs"):
            self._local.packs = PackReader(self._server)
            self._readers.append(self._local.packs)
        packs: PackReader = self._local.packs
        return packs


class Copier:
    """The sink of a base backup: pass it the streams, then call `finish`."""

    def __init__(self, server: ServerVault, store: FrameStore, manifest: ManifestWriter, previous: Manifest | None, *,
                 level: int, workers: int, progress: Progress) -> None:
        self._store, self._manifest, self._progress = store, manifest, progress
        self._maker = RunMaker(server, store, previous, level)
        self._pool = ThreadPoolExecutor(workers, "frames")
        self._pending: deque[tuple[Batch, Future[list[Stored]]]] = deque()
        self._most_pending = 2 * workers + 2
        self._free: list[Batch] = []
        self._batch = Batch()
        self._tar = TarReader(self)
        self._tablespace: int | None = None
        self._member: Member | None = None
        self._path = ""
        self._id = self._left = self._number = self._crc = 0
        self._room = 0
        self._expected = ServerManifest(server.home)
        self._beside = 0

    def __enter__(self) -> Copier:
        return self

    def __exit__(self, *exc: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._maker.close()
        self._expected.close()

    # --- the base backup's streams

    def archive(self, tablespace: int | None) -> None:
        self._tar.close()
        self._tar = TarReader(self, links=tablespace is None)
        self._tablespace = tablespace

    def tar(self, chunk: memoryview) -> None:
        self._tar.feed(chunk)

    def manifest(self, chunk: memoryview) -> None:
        self._expected.feed(chunk)

    # --- the members of a tar stream

    def begin(self, member: Member) -> None:
        under = "" if self._tablespace is None else f"pg_tblspc/{self._tablespace}"
        self._path = member.path if not under else under if member.path == "." else f"{under}/{member.path}"
        self._member, self._id = member, self._manifest.next_id()
        self._left, self._number, self._crc = member.size, 0, 0
        self._room = 0

    def data(self, chunk: memoryview) -> None:
        self._crc = crc32c(chunk, self._crc)
        self._progress.add(len(chunk))
        while chunk:
            if not self._room:
                self._start_run()
            batch = self._batch
            take = min(len(chunk), self._room)
            batch.buffer[batch.fill:batch.fill + take] = chunk[:take]
            batch.fill += take
            self._room -= take
            chunk = chunk[take:]

    def end(self) -> None:
        member = self._member
        assert member
        kind = _KINDS[member.kind]
        self._manifest.add(Entry(
            self._id, self._path, kind, member.size, member.mode, member.mtime,
            self._crc if kind is Kind.FILE else None, self._tablespace, member.link or None))
        self._progress.add(0, 1 if kind is Kind.FILE else 0)

    def finish(self) -> None:
        """Make everything durable, and compare each file with the server's own manifest."""
        self._tar.close()
        self._store_server_manifest()
        self._dispatch()
        while self._pending:
            self._take_oldest()
        self._store.flush()
        self._manifest.index_paths()
        self._expected.compare(self._manifest, self._beside)

    def add_linked(self, linked: Linked) -> None:
        """Add files from behind links on the server, which are not in the streams. Call it after their end."""
        if linked.content is None:
            self._add(Member(linked.path, MemberKind.DIRECTORY, 0, 0o700, int(time.time())), ())
        else:
            self._beside += 1
            self._add(Member(linked.path, MemberKind.FILE, len(linked.content), 0o600, int(time.time())),
                      [memoryview(linked.content)])

    def _store_server_manifest(self) -> None:
        """Store it as a file of the backup, where pg_verifybackup and later increments look for it."""
        self._add(Member("backup_manifest", MemberKind.FILE, self._expected.size, 0o600, int(time.time())),
                  self._expected.chunks())

    def _add(self, member: Member, content: Iterable[memoryview]) -> None:
        self.archive(None)
        self.begin(member)
        for chunk in content:
            self.data(chunk)
        self.end()

    # --- runs

    def _start_run(self) -> None:
        """Make space for the next run of the current file: in this buffer if it fits, else in the next."""
        length = min(self._left, FRAME_SIZE)
        if self._batch.fill + length > FRAME_SIZE:
            self._dispatch()
        self._batch.pieces.append(Piece(self._id, self._path, self._number, self._batch.fill, length))
        self._number += 1
        self._left -= length
        self._room = length

    def _dispatch(self) -> None:
        if not self._batch.pieces:
            return
        if len(self._pending) >= self._most_pending:
            self._take_oldest()
        self._pending.append((self._batch, self._pool.submit(self._maker.make, self._batch)))
        self._batch = self._free.pop() if self._free else Batch()

    def _take_oldest(self) -> None:
        batch, future = self._pending.popleft()
        for stored in future.result():
            if stored.new_id:
                self._store.add(stored.new_id, stored.new_frame, stored.plain_length)
            self._manifest.add_run(stored.piece.file, stored.piece.number, stored.run)
        batch.pieces.clear()
        batch.fill = 0
        self._free.append(batch)
