"""Segments as PostgreSQL makes them, small, and vaults to put them into."""

from __future__ import annotations

import random
from io import BytesIO
from pathlib import Path

from pgvault.model.segment import Segment
from pgvault.vault import wal_index
from pgvault.vault.layout import ServerVault, Vault
from pgvault.vault.wal_archive import Accepted, accept
from pgvault.wal.pages import LONG_HEADER, SHORT_HEADER

MIB = 1 << 20
SYSTEM = 7_300_000_000_000_000_001
MAGIC_18 = 0xD118
LONG = 2


def segment(name: str, *, size: int = MIB, system: int = SYSTEM, seed: int = 0, timeline: int | None = None) -> bytes:
    """A whole segment: its first page's header is right, the rest is noise that compresses to half."""
    place = Segment.parse(name[:24], size)
    header = LONG_HEADER.pack(MAGIC_18, LONG, timeline or place.timeline, place.start(size), 0, system, size, 8192)
    noise = random.Random(f"{name}{seed}").randbytes(size // 2)
    return (header + noise).ljust(size, b"\0")


def paged_segment(name: str) -> bytes:
    """A whole segment that begins each page with its header; there are no records in it."""
    data = bytearray(segment(name))
    for at in range(8192, len(data), 8192):
        SHORT_HEADER.pack_into(data, at, MAGIC_18, 0, int(name[:8], 16), Segment.parse(name, MIB).start(MIB) + at, 0)
    return bytes(data)


def forked_segment(name: str, fork: int) -> bytes:
    """The same, a copy of the parent timeline's, which is 1, up to the page with the position `fork`."""
    own, parents = paged_segment(name), paged_segment(f"{1:08X}{name[8:]}")
    own_from = fork // 8192 * 8192 + 8192 - Segment.parse(name, MIB).start(MIB)
    return parents[:own_from] + own[own_from:]


def new_vault(home: Path) -> ServerVault:
    return Vault.open_or_create(home).server("main")


def put(server: ServerVault, name: str, data: bytes | None = None) -> Accepted:
    return accept(server, name, BytesIO(segment(name) if data is None else data))


def rows(server: ServerVault) -> dict[str, list[tuple[object, ...]]]:
    """Everything in the index."""
    with wal_index.reading(server) as index:
        return {table: index.connection.execute(f"SELECT * FROM {table}").fetchall()
                for table in ("file", "facts", "restore_point")}


def names_on_disk(server: ServerVault) -> list[str]:
    """Every file below wal/, temporary ones too."""
    return sorted(str(path.relative_to(server.wal)) for path in server.wal.rglob("*") if path.is_file())


def quarantined(server: ServerVault) -> dict[str, str]:
    """The name of each file in quarantine, and its reason."""
    return {path.name: path.with_name(path.name + ".reason").read_text() for path in server.spool.quarantine.iterdir()
            if path.suffix != ".reason"}
