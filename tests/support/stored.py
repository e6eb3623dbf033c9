"""A backup in a vault without a server: files as they are named here, stored as a backup stores them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from crc32c import crc32c

from pgvault.model.backup import Backup
from pgvault.vault import catalog
from pgvault.vault import delta as page_delta
from pgvault.vault.compression import compress
from pgvault.vault.frames import FrameStore
from pgvault.vault.layout import ServerVault
from pgvault.vault.manifest import ZEROS, Entry, Kind, ManifestWriter, Run
from pgvault.vault.packs import FRAME_SIZE


def store(server: ServerVault, backup: Backup, files: Mapping[str, bytes | None],
          names: Callable[[ManifestWriter], None] = lambda _: None) -> Backup:  # fmt: skip
    """None is a directory. Each second run of a file is a delta, zeros are nothing; `names` adds those of things."""
    catalog.create(server, backup)
    writer = ManifestWriter(server, backup.id)
    with FrameStore(server) as frames:
        for path, content in files.items():
            entry = Entry(writer.next_id(), path, Kind.DIRECTORY if content is None else Kind.FILE, len(content or b""),
                          0o700 if content is None else 0o600, 1, None if content is None else crc32c(content),
                          tablespace=_tablespace(path))
            writer.add(entry)
            for number, run in enumerate(_runs(frames, content or b"")):
                writer.add_run(entry.id, number, run)
        frames.flush()
    names(writer)
    writer.index_paths()
    stored = replace(backup, manifest_sha256=writer.publish())
    catalog.write(server, stored)
    return stored


def _tablespace(path: str) -> int | None:
    head, _, rest = path.partition("/")
    return int(rest.partition("/")[0]) if head == "pg_tblspc" and rest else None


def _runs(frames: FrameStore, content: bytes) -> Iterable[Run]:
    for number, start in enumerate(range(0, len(content), FRAME_SIZE)):
        plain = content[start:start + FRAME_SIZE]
        if not any(plain):
            yield ZEROS
        elif number % 2 and len(plain) == FRAME_SIZE:
            parent = bytes(8192) + plain[8192:]
            delta = page_delta.make(parent, plain)
            yield Run(_put(frames, parent), _put(frames, delta), hashlib.sha256(plain).digest())
        else:
            yield Run(_put(frames, plain))


def _put(frames: FrameStore, plain: bytes) -> bytes:
    frame = hashlib.sha256(plain).digest()
    if not frames.has(frame):
        frames.add(frame, compress(plain, 1), len(plain))
    return frame
