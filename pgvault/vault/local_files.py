"""The files of one server that are on this machine and not in the store, whatever the store is.

The cache may be lost: it is made again from the objects, by `pgvault rebuild-index` or when it is next needed. The
spool, WAL that has arrived and is not in the archive, may not.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from pgvault.store.files import make_directory, open_private, replacing
from pgvault.store.keys import Key
from pgvault.store.local import LocalStore
from pgvault.store.store import Store, absent


class Cache(NamedTuple):
    """Indexes, and fetched objects."""

    home: Path

    @property
    def frames(self) -> Path:
        """Return the index of the place of each frame: SQLite."""
        return self.home / "frames.sqlite"

    @property
    def wal(self) -> Path:
        """Return the index of the archived files and of what their records contain: SQLite."""
        return self.home / "wal.sqlite"

    @property
    def catalog(self) -> Path:
        """Return the facts of the backups as they were last read."""
        return self.home / "catalog.cache"

    def fetched(self, store: Store, key: Key) -> Path:
        """Return an object as a file on this machine, for readers that need a file, such as SQLite: the object's own
        file if the store is a directory here, else a copy of this version, which is fetched once. Raises NotFound as
        `Store.read`.
        """
        if isinstance(store, LocalStore):
            return store.path(key)
        found = store.stat(key)
        if found is None:
            raise absent(store.location(key))
        copy = self.home / "fetched" / sha256(f"{key.path} {found.version}".encode()).hexdigest()
        if not copy.exists():
            import shutil  # put-wal does not need it

            make_directory(copy.parent)
            with replacing(copy) as temporary, open(open_private(temporary), "wb") as file, store.stream(key) as stored:
                shutil.copyfileobj(stored, file)
        return copy


class Spool(NamedTuple):
    """The place where WAL arrives, and where it stays if the archive does not accept it."""

    home: Path

    @property
    def incoming(self) -> Path:
        """Return the directory of complete files that an archive_command or a person puts there; `pgvault archive-wal`
        archives them."""
        return self.home / "incoming"

    @property
    def streaming(self) -> Path:
        """Return the directory of segments that `pgvault receive-wal` writes, `.partial` until they are complete."""
        return self.home / "streaming"

    @property
    def quarantine(self) -> Path:
        """Return the directory of WAL files that were refused or found damaged; `pgvault.vault.quarantine` fills it."""
        return self.home / "quarantine"

    @property
    def directories(self) -> tuple[Path, ...]:
        return self.incoming, self.streaming, self.quarantine
