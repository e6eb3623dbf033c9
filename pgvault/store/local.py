"""The objects of a vault in a directory: each is a file at its key's path.

A put has one order: temporary name, flush, the object's name, flush of the directory. So a crash leaves the old object
or the new one, and what got its name is durable before `put` returns. The name is given by a link, which replaces
nothing, or by a rename where something is to be replaced. Spool files lie in the directory of their kind, hence on the
same file system.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from pgvault.model.errors import Conflict, Locked, Unreachable
from pgvault.store.files import (
    READ,
    TEMPORARY,
    WRITE,
    SpoolFile,
    fsync_directory,
    fsync_path,
    make_directory,
    os_error,
    os_errors,
    publish,
    sweep_dead,
    sweep_temporaries,
    temporary_name,
)
from pgvault.store.keys import Key, Kind, wal_group
from pgvault.store.store import Facts, Listed, Properties, absent, changed, cut_short, exists_already

_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
"""The errors of file systems without hard links."""
_LASTING = (Kind.BACKUP, Kind.MANIFEST, Kind.PACK, Kind.WAL)
"""Kinds of which every server that has an identity has the directory, though it be empty."""
_MOUNT = "Its file system may not be mounted; check [vault] home."
_LOCK_SECONDS = 60.0
_LOCK_POLL_SECONDS = 0.005
_SEGMENT_NAME = 24
"""Digits."""


class LocalStore:
    """A `Store`. `root` is the vault's home; it is made with the mark of the vault."""

    properties = Properties(conditional_puts=True, atomic_replace=True)

    def __init__(self, root: Path) -> None:
        self._root = root
        self._prefix = f"{os.fspath(root)}/"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LocalStore) and other._root == self._root

    def __hash__(self) -> int:
        return hash(self._root)

    def put(self, key: Key, content: bytes | SpoolFile, *, replaces: Facts | None = None) -> None:
        if isinstance(content, bytes):
            with self.spool(key) as spool:
                spool.write(content)
                self.put(key, spool, replaces=replaces)
            return
        content.close()
        path = self.path(key)
        with os_errors(WRITE, path):
            if key.kind is Kind.IDENTITY:
                for kind in _LASTING:
                    make_directory(self._directory(kind, key.server))
            if replaces:
                self._replace(content.path, path, replaces)
            elif key.kind is Kind.BACKUP and not path.parent.exists():
                self._publish_with_directory(content.path, path)
            else:
                make_directory(path.parent)
                fsync_path(content.path)
                self._publish_new(content.path, path)
                fsync_directory(path.parent)

    def stat(self, key: Key) -> Facts | None:
        try:
            return _facts(os.stat(self._prefix + key.path))
        except (FileNotFoundError, NotADirectoryError):
            self._prove_absence(key)
            return None
        except OSError as error:
            raise os_error(error, READ) from error

    def read(self, key: Key, offset: int = 0, length: int | None = None) -> bytes:
        with self.stream(key) as file, os_errors(READ, self.path(key)):
            size = os.fstat(file.fileno()).st_size
            wanted = max(size - offset, 0) if length is None else length
            pieces = []
            while wanted and (piece := os.pread(file.fileno(), wanted, offset)):
                pieces.append(piece)
                wanted -= len(piece)
                offset += len(piece)
        if wanted:
            raise cut_short(self.location(key), wanted, offset)
        return b"".join(pieces)

    def stream(self, key: Key) -> BinaryIO:
        path = self._prefix + key.path
        try:
            return open(path, "rb", buffering=0)
        except (FileNotFoundError, NotADirectoryError):
            self._prove_absence(key)
            raise absent(path) from None
        except OSError as error:
            raise os_error(error, READ) from error

    def list(self, kind: Kind, server: str = "", *, prefix: str = "", after: str = "") -> Iterator[Listed]:
        try:
            names = self._names(kind, server, prefix, after)
            if prefix or after:
                names = (name for name in names if name.startswith(prefix) and name > after)
            yield from map(Listed, names)
        except FileNotFoundError:
            self._prove_absence(Key(kind, server))
        except OSError as error:
            raise os_error(error, READ) from error

    def revision(self, kind: Kind, server: str) -> str:
        """Return the time of the kind's directory: each put creates and removes spool files in it, whatever is below
        it.
        """
        try:
            return str(os.stat(self._directory(kind, server)).st_mtime_ns)
        except FileNotFoundError:
            self._prove_absence(Key(kind, server))
            return ""
        except OSError as error:
            raise os_error(error, READ) from error

    def delete(self, key: Key) -> None:
        path = self.path(key)
        with os_errors(WRITE, path), suppress(FileNotFoundError):
            path.unlink()
            fsync_directory(path.parent)
            if key.kind in (Kind.BACKUP, Kind.MANIFEST):
                with suppress(OSError):  # unless more follows
                    path.parent.rmdir()
            os.utime(self._directory(key.kind, key.server))  # see `revision`

    def spool(self, key: Key) -> SpoolFile:
        path, directory = self.path(key), self._directory(key.kind, key.server)
        if not directory.is_dir():
            if not key.kind.is_of_vault:
                self._prove_absence(key)  # lest a vault begin anew where its file system is not mounted
            with os_errors(WRITE, directory):
                make_directory(directory)
        return SpoolFile(temporary_name(directory / path.name))

    def sweep(self, kind: Kind, server: str, *, alone: bool = False) -> None:
        directory, swept = self._directory(kind, server), sweep_temporaries if alone else sweep_dead
        with os_errors(WRITE, directory):
            swept(directory)
            if kind is Kind.BACKUP:  # earlier versions of pgvault had their spool files among the objects
                for name in self._names(kind, server, "", ""):
                    swept(directory / name)

    def location(self, key: Key) -> str:
        return self._prefix + key.path

    def path(self, key: Key) -> Path:
        """Return the object's file, for code that cannot use a stream, such as SQLite."""
        return self._root / key.path

    def _directory(self, kind: Kind, server: str) -> Path:
        return self._root if kind.is_of_vault else self._root / server / kind.directory

    def _names(self, kind: Kind, server: str, prefix: str, after: str) -> Iterator[str]:
        """Return the names in order. Those before `after` or with another prefix are left out where that is easy."""
        directory = self._directory(kind, server)
        if kind is Kind.IDENTITY:
            self._prove_absence(Key(kind))  # an empty root looks like a vault without servers
            yield from sorted(path.parent.name for path in self._root.glob(f"*{kind.suffix}"))
        elif kind is Kind.WAL:
            yield from chain.from_iterable(_wal_groups(directory, prefix, after))
        elif kind in (Kind.BACKUP, Kind.MANIFEST):
            yield from sorted(name for name in os.listdir(directory) if not name.startswith(TEMPORARY))
        else:
            yield from sorted(name.removesuffix(kind.suffix) for name in os.listdir(directory)
                              if name.endswith(kind.suffix) and not name.startswith(TEMPORARY))

    def _prove_absence(self, key: Key) -> None:
        """Raise Unreachable unless the absence of a file is proven: the vault must be there, and the directory that the
        file would be in; otherwise a file system may not be mounted.
        """
        if key.kind.is_of_vault:
            return
        mark, directory = self._root / Kind.VAULT.suffix, self._directory(key.kind, key.server)
        with os_errors(READ, mark):
            if not mark.exists():
                raise Unreachable(f"the vault in {self._root} is not there", detail=f"{mark} does not exist.",
                                  hint=_MOUNT)
            if key.kind in _LASTING and not directory.is_dir() and self.path(Key(Kind.IDENTITY, key.server)).exists():
                raise Unreachable(f"the directory {directory} is not there", hint=_MOUNT)

    def _publish_new(self, temporary: Path, path: Path) -> None:
        """Give a flushed file a name that nothing has yet. A link does it at once; a rename would replace."""
        try:
            os.link(temporary, path)
        except FileExistsError:
            if not os.path.samefile(temporary, path):  # NFS may report this for a link that it has made
                raise _exists(path) from None
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            with _locked(path.parent, os.O_RDONLY):
                if path.exists():
                    raise _exists(path) from None
                os.rename(temporary, path)
                return
        temporary.unlink()

    def _publish_with_directory(self, temporary: Path, path: Path) -> None:
        """Publish a backup's facts together with its directory, or neither."""
        directory = temporary_name(path.parent)
        make_directory(directory)
        try:
            publish(temporary, directory / path.name)
            publish(directory, path.parent)
        except OSError as error:
            with suppress(FileNotFoundError):  # it was not moved there
                os.rename(directory / path.name, temporary)
            with suppress(OSError):  # it has its own name already
                directory.rmdir()
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY) and path.exists():  # another process was faster
                raise _exists(path) from None
            raise

    def _replace(self, temporary: Path, path: Path, facts: Facts) -> None:
        """Replace the object while it is locked, so that nobody else does; a process that waited for the lock finds
        another object.
        """
        try:
            with _locked(path, os.O_RDWR) as descriptor:
                if not facts == _facts(os.fstat(descriptor)) == _facts(os.stat(path)):
                    raise changed(str(path))
                publish(temporary, path)
        except FileNotFoundError:
            raise changed(str(path)) from None


def _wal_groups(directory: Path, prefix: str, after: str) -> Iterator[list[str]]:
    """Yield the names of each group. They begin as their group does, or sort before the names that do, so this is
    their order.
    """
    suffix = Kind.WAL.suffix
    for group in sorted(os.listdir(directory)):
        if group[:8] < after[:8] or not group.startswith(prefix[:8]):
            continue
        with suppress(FileNotFoundError, NotADirectoryError):  # removed since it was listed; something else
            names = [file[:-len(suffix)] for file in os.listdir(directory / group) if file.endswith(suffix)]
            # Nearly all are segments of the group, which this test shows quickly: there may be a hundred thousand.
            yield sorted([name for name in names
                          if (len(name) == _SEGMENT_NAME and name.startswith(group)) or wal_group(name) == group])


@contextmanager
def _locked(path: Path, mode: int) -> Iterator[int]:
    """Hold a file or directory alone. A file is opened for writing, since NFS locks nothing else alone; one that a copy
    made read-only can be replaced all the same. Locked when another process does not let go of it."""
    try:
        descriptor = os.open(path, mode | os.O_CLOEXEC)
    except PermissionError:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        give_up = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= give_up:
                    raise Locked(f"another process is writing {path}",
                                 hint="If it hangs, look at the file system that it lies on.") from None
                time.sleep(_LOCK_POLL_SECONDS)
        yield descriptor
    finally:
        os.close(descriptor)


def _exists(path: Path) -> Conflict:
    """Make an existing object durable: the process that put it may have died before that, and its existence is relied
    upon.
    """
    fsync_path(path)
    fsync_directory(path.parent)
    return exists_already(str(path))


def _facts(found: os.stat_result) -> Facts:
    return Facts(found.st_size, found.st_mtime_ns,
                 f"{found.st_ino:x}-{found.st_size:x}-{found.st_mtime_ns:x}-{found.st_ctime_ns:x}")
