"""Writing files so that a crash leaves either the old state or the new one, never a half.

Whatever gets its name in a vault gets it from `publish`. Until then it has a temporary name, which begins with
`TEMPORARY`: so what a crash left is distinguished from what is complete, and removed.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Self

from pgvault.model.errors import PgvaultError, Unreachable, from_os_error

TEMPORARY = ".tmp-"
WRITE, READ = "write to the vault", "read from the vault"
"""What failed, in the words of its errors."""
_AMPLE = 1 << 20
_PROBED = 64 << 10
_BUFFER = 256 << 10
_UNREACHABLE = (errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.ENXIO, errno.ENODEV)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add the path to an error: a failed write or flush does not name it."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def os_error(error: OSError, doing: str) -> PgvaultError:
    """Return a failed system call on a file of the vault as an error of pgvault's; `doing` reads after "could not"."""
    if error.errno in _UNREACHABLE:
        return Unreachable(f"could not {doing}: {error.strerror}", detail=f"Path: {error.filename}.",
                           hint="Look at the file system that it lies on, then run this again.")
    return from_os_error(error, doing)


@contextmanager
def os_errors(doing: str, path: Path) -> Iterator[None]:
    """Do the same for every failed system call within."""
    try:
        with naming(path):
            yield
    except OSError as error:
        raise os_error(error, doing) from error


def fsync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with naming(directory):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_path(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with naming(path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_private(path: Path, flags: int = os.O_WRONLY | os.O_EXCL) -> int:
    """Return the descriptor of a file that is made here, or may be there with other flags. Every file of a vault is
    opened here: only its owner may read it, whatever the umask is."""
    return os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, 0o600)


def make_directory(directory: Path) -> None:
    """Make the directory with its parents, durably; private to the owner, since backups hold everything a database
    holds."""
    if directory.is_dir():
        return
    make_directory(directory.parent)
    directory.mkdir(mode=0o700, exist_ok=True)
    fsync_directory(directory.parent)


def temporary_name(path: Path) -> Path:
    """Return a name in the directory of `path` that no other process uses."""
    return path.with_name(f"{TEMPORARY}{path.name}.{os.getpid()}.{os.urandom(4).hex()}")


def publish(temporary: Path, path: Path) -> None:
    """Give a complete file, or a directory whose files are durable, its name; both are durable when this returns.

    Every promise of a vault depends on this order: flush, rename, flush the directory. Anything else leaves an empty
    file under the name, or no file, after a power failure.
    """
    fsync_path(temporary)
    os.replace(temporary, path)
    fsync_directory(path.parent)


class SpoolFile:
    """The contents of an object while it is made, on this machine and private.

    `Store.put` takes it over. Leaving its scope removes it, whatever happened, so that a caller need not know how far
    it came.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with os_errors(WRITE, path):
            self._file: BinaryIO = open(open_private(path), "wb", buffering=_BUFFER)  # noqa: SIM115 -- closed by close

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.discard()

    def write(self, data: bytes) -> None:
        with os_errors(WRITE, self.path):
            self._file.write(data)

    def close(self) -> None:
        """Close the file: all that was written is in it when this returns, though not flushed to the disk. Closing
        again is no error.
        """
        with os_errors(WRITE, self.path):
            self._file.close()

    def open(self) -> BinaryIO:
        """Open the contents so far for reading."""
        self.close()
        with os_errors(READ, self.path):
            return self.path.open("rb")

    def discard(self) -> None:
        with suppress(OSError):  # the disk may be too full for the buffered data
            self._file.close()
        self.path.unlink(missing_ok=True)


def is_full(directory: Path, *, sure: bool = False) -> bool:
    """Return whether nothing more can be written there; with `sure` it is tried even where much is free, as under a
    quota."""
    facts = os.statvfs(directory)
    if not sure and facts.f_bavail * facts.f_frsize >= _AMPLE:
        return False
    probe = temporary_name(directory / "room")
    try:
        descriptor = open_private(probe)
        try:
            return os.write(descriptor, bytes(_PROBED)) < _PROBED
        finally:
            os.close(descriptor)
            probe.unlink()
    except OSError as error:
        return error.errno in (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; at a clean end it durably becomes `path`, at any other it is removed."""
    temporary = temporary_name(path)
    try:
        with naming(path):
            yield temporary
            publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_durably(path: Path, data: bytes) -> None:
    with replacing(path) as temporary, open(open_private(temporary), "wb") as file:
        file.write(data)


def remove_tree(directory: Path) -> None:
    """Remove a directory so that a crash leaves either all of it under its name, or nothing under that name."""
    doomed = temporary_name(directory)
    os.rename(directory, doomed)
    fsync_directory(directory.parent)
    _remove(doomed)


def sweep_dead(directory: Path, *, is_in_use: Callable[[Path], bool] = lambda _: False) -> None:
    """Remove the files of processes that have ended; what running ones are writing or removing stays.

    Processes are recognized by their numbers, so by `is_in_use` where those of other machines or containers may write
    too.
    """
    for path in directory.glob(f"{TEMPORARY}*"):
        if is_in_use(path):
            continue
        try:
            os.kill(int(path.name.split(".")[-2]), 0)
        except ProcessLookupError:
            _remove(path)
        except (ValueError, IndexError, PermissionError):
            continue


def sweep_temporaries(directory: Path) -> None:
    """Remove what a crash left; the caller holds the lock that a living writer of this directory would hold."""
    for path in directory.glob(f"{TEMPORARY}*"):
        _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        import shutil  # directories are rarely removed, and put-wal never does

        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
