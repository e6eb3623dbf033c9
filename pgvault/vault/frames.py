"""The frames of one server: which are stored, where, and adding more.

`frames.sqlite` maps a frame's id to its place in a pack. It is a cache: the packs' footers say the same, and
`rebuild_index` makes it again from them.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from pgvault.model.errors import from_os_error
from pgvault.vault.files import replacing, sweep_temporaries
from pgvault.vault.layout import ServerVault
from pgvault.vault.packs import PACK_SIZE, Location, PackWriter, pack_names, pack_path, read_footer

_SCHEMA = """
CREATE TABLE IF NOT EXISTS pack (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS frame (
  id BLOB PRIMARY KEY, pack INTEGER NOT NULL, offset INTEGER NOT NULL, stored INTEGER NOT NULL,
  plain INTEGER NOT NULL, crc32c INTEGER NOT NULL) WITHOUT ROWID;
"""


def rebuild_index(server: ServerVault) -> int:
    """Make `frames.sqlite` again from the packs; the number of frames. Corrupt when a pack's footer is."""
    count = 0
    with replacing(server.frames_index) as temporary, telling_full(server.frames_index):
        index = sqlite3.connect(temporary)
        try:
            index.executescript(_SCHEMA)
            for name in sorted(pack_names(server.packs)):
                count += _add_pack(index, name, read_footer(pack_path(server.packs, name)))
            index.commit()
        finally:
            index.close()
    return count


def read_only_uri(path: Path) -> str:
    """An SQLite URI that opens the database without ever writing beside it, also on a read-only file system."""
    writable = os.access(path.parent, os.W_OK)
    return f"{path.absolute().as_uri()}?mode=ro{'' if writable else '&immutable=1'}"


@contextmanager
def telling_full(path: Path) -> Iterator[None]:
    """SQLite's own error for a full disk becomes NoSpace."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL:
            full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            raise from_os_error(full, f"write {path.name}") from None
        raise


def ensure_index(server: ServerVault) -> None:
    """Make the index again when it is missing."""
    if not server.frames_index.exists():
        rebuild_index(server)


def _add_pack(index: sqlite3.Connection, name: str, entries: Iterable[Location]) -> int:
    cursor = index.execute("INSERT INTO pack (name) VALUES (?)", (name,))
    pack = cursor.lastrowid
    rows = [(e.id, pack, e.offset, e.stored, e.plain, e.crc32c) for e in entries]
    index.executemany("INSERT OR IGNORE INTO frame VALUES (?, ?, ?, ?, ?, ?)", rows)
    return len(rows)


class FrameStore:
    """Adds frames, each once. The caller holds the server's backup lock.

    `has` may be called from any thread; `add` and the rest from one. Packs are flushed in the background; what is in
    the index is durable.
    """

    def __init__(self, server: ServerVault) -> None:
        self._server = server
        ensure_index(server)
        self._index = sqlite3.connect(server.frames_index, check_same_thread=False)
        self._index.execute("PRAGMA journal_mode = wal")
        self._index.executescript(_SCHEMA)
        self._lock = threading.Lock()
        self._recent: set[bytes] = set()
        self._pack: PackWriter | None = None
        self._flusher = ThreadPoolExecutor(1, "flush-pack")
        self._flushing: Future[None] | None = None
        self._flushing_pack: PackWriter | None = None
        self.stored_bytes = 0
        """What this store has added so far."""
        self._reconcile()

    def __enter__(self) -> FrameStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self._pack:
            self._pack.abandon()
        self._flusher.shutdown()
        if self._flushing and self._flushing_pack and self._flushing.exception():
            self._flushing_pack.abandon()
        self._index.close()

    def has(self, frame_id: bytes) -> bool:
        """Whether the frame is stored, or will be when this store is closed."""
        with self._lock:
            return frame_id in self._recent or self._find(frame_id) is not None

    def add(self, frame_id: bytes, stored: bytes, plain_length: int) -> None:
        """Store a frame unless it is there; durable only after `flush`."""
        with self._lock:
            if frame_id in self._recent or self._find(frame_id) is not None:
                return
            self._recent.add(frame_id)
        if self._pack is None:
            self._pack = PackWriter(self._server.packs)
        self._pack.add(frame_id, stored, plain_length)
        self.stored_bytes += len(stored)
        if self._pack.size >= PACK_SIZE:
            self._close_pack()

    def flush(self) -> None:
        """Everything added is durable and indexed when this returns."""
        if self._pack:
            self._close_pack()
        self._wait()

    def locate(self, frame_id: bytes) -> tuple[str, Location] | None:
        """Pack and place of an indexed frame."""
        with self._lock:
            return self._find(frame_id)

    def _find(self, frame_id: bytes) -> tuple[str, Location] | None:
        row = self._index.execute(
            "SELECT p.name, f.offset, f.stored, f.plain, f.crc32c FROM frame f JOIN pack p ON p.id = f.pack"
            " WHERE f.id = ?", (frame_id,)).fetchone()
        return None if row is None else (row[0], Location(frame_id, *row[1:]))

    def _close_pack(self) -> None:
        """Hand the full pack to the flusher, after the one before it: two packs at most are in flight."""
        self._wait()
        assert self._pack
        self._flushing_pack, self._pack = self._pack, None
        self._flushing = self._flusher.submit(self._flushing_pack.publish)

    def _wait(self) -> None:
        if self._flushing is None or self._flushing_pack is None:
            return
        pack = self._flushing_pack
        try:
            self._flushing.result()
        except BaseException:
            pack.abandon()
            raise
        finally:
            self._flushing = self._flushing_pack = None
        with self._lock, telling_full(self._server.frames_index), self._index:
            _add_pack(self._index, pack.name, pack.entries)
            self._recent.difference_update(e.id for e in pack.entries)

    def _reconcile(self) -> None:
        """Index what a crash left unindexed, forget what is gone, remove half-written packs."""
        sweep_temporaries(self._server.packs)
        on_disk = pack_names(self._server.packs)
        with telling_full(self._server.frames_index), self._index:
            indexed = dict(self._index.execute("SELECT name, id FROM pack"))
            for name in sorted(on_disk - indexed.keys()):
                _add_pack(self._index, name, read_footer(pack_path(self._server.packs, name)))
            for name in indexed.keys() - on_disk:
                self._index.execute("DELETE FROM frame WHERE pack = ?", (indexed[name],))
                self._index.execute("DELETE FROM pack WHERE id = ?", (indexed[name],))
