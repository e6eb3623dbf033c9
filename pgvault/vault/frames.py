"""The frames of one server: which are stored, where, and adding more.

`frames.sqlite` maps a frame's id to its place in a pack. It is a cache: the packs' footers have the same data, and
`rebuild_index` makes it again from them.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from types import TracebackType

from pgvault.model.errors import Corrupt, NotFound
from pgvault.store.files import replacing, sweep_dead
from pgvault.store.keys import Kind
from pgvault.vault.index_files import in_words, make_private, reading_uri
from pgvault.vault.layout import ServerVault
from pgvault.vault.packs import PACK_SIZE, Location, PackWriter, pack_names, read_footer

_SCHEMA = """
CREATE TABLE IF NOT EXISTS pack (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS frame (
  id BLOB PRIMARY KEY, pack INTEGER NOT NULL, offset INTEGER NOT NULL, stored INTEGER NOT NULL,
  plain INTEGER NOT NULL, crc32c INTEGER NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """The result of a rebuild."""

    frames: int
    damaged: tuple[str, ...]
    """The packs with an unreadable footer: their frames are left out, the rest is unaffected."""


def rebuild_index(server: ServerVault) -> Rebuilt:
    """Make `frames.sqlite` again from the packs. The caller holds the backup lock, or knows that no store is open."""
    with replacing(server.cache.frames) as temporary, _in_words(server):
        make_private(temporary)
        index = sqlite3.connect(temporary)
        try:
            index.executescript(_SCHEMA)
            rebuilt = _add_packs(server, index, pack_names(server))
            index.commit()
        finally:
            index.close()
        for suffix in ("-wal", "-shm", "-journal"):  # else SQLite would replay the old index's log into the new one
            server.cache.frames.with_name(server.cache.frames.name + suffix).unlink(missing_ok=True)
    return rebuilt


def attach_to(connection: sqlite3.Connection, server: ServerVault, scratch: ExitStack) -> None:
    """Attach the index as the schema `frames` of this connection, for reading."""
    ensure_index(server)
    with _in_words(server):
        connection.execute("ATTACH ? AS frames", (reading_uri(server.cache.frames, scratch),))
        connection.execute("SELECT 1 FROM frames.sqlite_master").fetchone()


def _in_words(server: ServerVault) -> AbstractContextManager[None]:
    return in_words(server.cache.frames, f"pgvault rebuild-index {server.name}")


def ensure_index(server: ServerVault) -> None:
    """Make the index again if it is missing. Raises NotFound if the vault may not be written to."""
    if server.cache.frames.exists():
        return
    if not os.access(server.home, os.W_OK):
        raise NotFound(f"the index of {server.name}'s frames is missing", detail=f"There is no {server.cache.frames}, "
                       "and the vault may not be written to.", hint="Copy that file too, or let it be written.")
    rebuild_index(server)


def _add_packs(server: ServerVault, index: sqlite3.Connection, names: Iterable[str]) -> Rebuilt:
    """Add the packs, oldest first, so that of a frame that is stored twice the newer copy counts: it was stored because
    the older one was found damaged.
    """
    count, damaged = 0, []
    for name in sorted(names):
        try:
            entries = list(read_footer(server, name))
        except Corrupt:
            damaged.append(name)
            continue
        _add_pack(index, name, entries)
        count += len(entries)
    return Rebuilt(count, tuple(damaged))


def _add_pack(index: sqlite3.Connection, name: str, entries: Iterable[Location]) -> None:
    pack = index.execute("INSERT INTO pack (name) VALUES (?)", (name,)).lastrowid
    index.executemany("INSERT OR REPLACE INTO frame VALUES (?, ?, ?, ?, ?, ?)",
                      [(e.id, pack, e.offset, e.stored, e.plain, e.crc32c) for e in entries])


class FrameStore:
    """Adds frames, each once. The caller holds the server's backup lock.

    `has` may be called from any thread; `add` and the rest from one. Packs are flushed in the background; what is in
    the index is durable.
    """

    def __init__(self, server: ServerVault) -> None:
        self._server = server
        sweep_dead(server.home)
        server.store.sweep(Kind.PACK, server.name, alone=True)
        self.damaged: tuple[str, ...] = ()
        """The packs that cannot be read; their frames count as not stored."""
        self._index = self._open()
        self._lock = threading.Lock()
        self._recent: set[bytes] = set()
        self._pack: PackWriter | None = None
        self._flusher = ThreadPoolExecutor(1, "flush-pack")
        self._flushing: Future[None] | None = None
        self._flushing_pack: PackWriter | None = None
        self.stored_bytes = 0
        """The bytes that this store has added so far."""

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

    def _open(self) -> sqlite3.Connection:
        """Open the index, in agreement with the packs: it is made again if it is damaged or if a pack is gone."""
        ensure_index(self._server)
        index = self._connect()
        try:
            with _in_words(self._server), index:
                indexed = {name for (name,) in index.execute("SELECT name FROM pack")}
                on_disk = pack_names(self._server)
                if indexed <= on_disk:
                    self.damaged = _add_packs(self._server, index, on_disk - indexed).damaged
                    return index
        except Corrupt:
            pass
        except BaseException:
            index.close()
            raise
        index.close()
        self.damaged = rebuild_index(self._server).damaged
        return self._connect()

    def _connect(self) -> sqlite3.Connection:
        index = sqlite3.connect(self._server.cache.frames, check_same_thread=False)
        try:
            with _in_words(self._server):
                index.execute("PRAGMA journal_mode = wal")
                index.executescript(_SCHEMA)
        except Corrupt:  # `_open` gets the same error, and makes the index again
            pass
        except BaseException:
            index.close()
            raise
        return index

    def has(self, frame_id: bytes) -> bool:
        """Return whether the frame is stored, or will be when this store is closed."""
        with self._lock:
            return frame_id in self._recent or self._find(frame_id) is not None

    def add(self, frame_id: bytes, stored: bytes, plain_length: int) -> None:
        """Store a frame unless it is stored already; it is durable only after `flush`."""
        with self._lock:
            if frame_id in self._recent or self._find(frame_id) is not None:
                return
            self._recent.add(frame_id)
        if self._pack is None:
            self._pack = PackWriter(self._server)
        self._pack.add(frame_id, stored, plain_length)
        self.stored_bytes += len(stored)
        if self._pack.size >= PACK_SIZE:
            self._close_pack()

    def flush(self) -> None:
        """Make everything that was added durable and indexed."""
        if self._pack:
            self._close_pack()
        self._wait()

    def locate(self, frame_id: bytes) -> tuple[str, Location] | None:
        """Return pack and place of an indexed frame."""
        with self._lock:
            return self._find(frame_id)

    def forget(self, frame_id: bytes) -> None:
        """Count a frame with a damaged stored form as not stored, so that `add` stores it anew."""
        with self._lock, _in_words(self._server), self._index:
            self._index.execute("DELETE FROM frame WHERE id = ?", (frame_id,))

    # What collecting garbage asks and does

    def used_bytes(self, is_used: Callable[[bytes], bool]) -> dict[str, int]:
        """Return how many stored bytes of each indexed pack are frames whose id fits."""
        used = dict.fromkeys((name for (name,) in self._index.execute("SELECT name FROM pack")), 0)
        for frame_id, stored, name in self._index.execute(
                "SELECT f.id, f.stored, p.name FROM frame f JOIN pack p ON p.id = f.pack"):
            if is_used(frame_id):
                used[name] += stored
        return used

    def frames_of(self, pack: str) -> list[Location]:
        """Return the frames for which the pack is the place, in the order of their offsets."""
        return [Location(*row) for row in self._index.execute(
            "SELECT f.id, f.offset, f.stored, f.plain, f.crc32c FROM frame f JOIN pack p ON p.id = f.pack"
            " WHERE p.name = ? ORDER BY f.offset", (pack,))]

    def move_to(self, pack: PackWriter) -> None:
        """Publish a pack with frames that are stored already; from now on it is their place."""
        pack.publish()
        with _in_words(self._server), self._index:
            _add_pack(self._index, pack.name, pack.entries)

    def forget_packs(self, names: Iterable[str]) -> None:
        """Remove packs from the index; they themselves are removed after that."""
        with _in_words(self._server), self._index:
            self._index.execute("CREATE TEMP TABLE gone (id INTEGER PRIMARY KEY)")
            self._index.executemany("INSERT INTO gone SELECT id FROM pack WHERE name = ?", ((each,) for each in names))
            self._index.execute("DELETE FROM frame WHERE pack IN (SELECT id FROM gone)")
            self._index.execute("DELETE FROM pack WHERE id IN (SELECT id FROM gone)")
            self._index.execute("DROP TABLE gone")

    def _find(self, frame_id: bytes) -> tuple[str, Location] | None:
        try:
            row = self._index.execute(
                "SELECT p.name, f.offset, f.stored, f.plain, f.crc32c FROM frame f JOIN pack p ON p.id = f.pack"
                " WHERE f.id = ?", (frame_id,)).fetchone()
        except sqlite3.Error:
            with _in_words(self._server):
                raise
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
        with self._lock, _in_words(self._server), self._index:
            _add_pack(self._index, pack.name, pack.entries)
            self._recent.difference_update(e.id for e in pack.entries)
