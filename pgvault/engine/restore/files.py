"""Reads single files of a backup: configuration, labels, version."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator

from pgvault.model.errors import Corrupt, NotFound
from pgvault.vault import delta as page_delta
from pgvault.vault.manifest import Entry, Kind, Manifest, StoredRun
from pgvault.vault.packs import FRAME_SIZE, PackReader

_SMALL = 16 << 20


def run_length(entry: Entry, run: StoredRun) -> int:
    """Return the plain bytes of a run of this file."""
    return min(FRAME_SIZE, entry.size - run.number * FRAME_SIZE)


def plain_run(entry: Entry, run: StoredRun, packs: PackReader) -> bytes:
    """Return a run's bytes, checked. Raises Corrupt, naming the file, if they are not what was backed up."""
    length = run_length(entry, run)
    if run.frame is None:
        return bytes(length)
    plain = packs.plain(*run.frame)
    if run.delta is not None:
        try:
            plain = page_delta.apply(plain, packs.plain(*run.delta))
        except ValueError as error:
            raise Corrupt(f"{entry.path} is damaged in the backup", detail=f"{error}.") from None
    if len(plain) != length:
        raise Corrupt(f"{entry.path} is damaged in the backup",
                      detail=f"Run {run.number} has {len(plain)} bytes instead of {length}.")
    return plain


def plain_file(entry: Entry, manifest: Manifest, packs: PackReader) -> Iterator[bytes]:
    """Yield a file's bytes, a run at a time."""
    for run in manifest.runs(entry):
        yield plain_run(entry, run, packs)


def read_small(path: str, manifest: Manifest, packs: PackReader) -> bytes | None:
    """Return a small file as a whole; None if the backup has no file of this path."""
    entry = manifest.find(path)
    if entry is None or entry.kind is not Kind.FILE:
        return None
    if entry.size > _SMALL:
        raise NotFound(f"{path} is too large to be a configuration file", detail=f"It has {entry.size} bytes.")
    return b"".join(plain_file(entry, manifest, packs))


def conf_files(directory: str, manifest: Manifest) -> list[str] | None:
    """Return the `*.conf` files of a directory of the backup in the order of `include_dir`: sorted, without hidden
    ones. None if the backup has no such directory.
    """
    at_root = posixpath.normpath(directory) == "."
    prefix = "" if at_root else directory.rstrip("/") + "/"
    if not at_root and ((entry := manifest.find(directory)) is None or entry.kind is not Kind.DIRECTORY):
        return None
    names = [e.path for e in manifest.entries(under=prefix) if e.kind is Kind.FILE and e.path.startswith(prefix)]
    return sorted((n for n in names if "/" not in (name := n[len(prefix):]) and name.endswith(".conf")
                   and not name.startswith(".")), key=os.fsencode)
