"""Collects what no backup uses: the objects of deleted backups, and the frames that only they used.

Frames go in two phases. A pack of which no backup uses a frame is marked with the time first, in `garbage.toml`, and
removed by a run at least a day later, unless a backup took a frame of it up again. Of a pack that is mostly dead the
live frames are stored anew, which makes the old pack dead. So nothing is removed that was in use a moment ago, whatever
was interrupted.

The caller holds the leases of backups and of packs alone: nobody reads frames, and nobody adds any.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pgvault.model.backup import Backup
from pgvault.model.errors import Corrupt, NoSpace, NotFound, Refused
from pgvault.store.keys import Kind
from pgvault.vault import catalog
from pgvault.vault.frames import FrameStore
from pgvault.vault.layout import ServerVault
from pgvault.vault.manifest import Manifest
from pgvault.vault.packs import PACK_SIZE, PackReader, PackWriter, read_footer

GRACE = timedelta(days=1)
"""How long a pack stays after no backup uses it any more."""
_MOSTLY_DEAD = 0.5
"""The share of a pack's bytes below which its live frames move to a new pack."""
_PREFIX = 8
"""Bytes of a frame's id by which it is remembered: two that share them are both in use then, which does no harm."""

Marks = Mapping[str, datetime]
"""Packs that no backup used, and when that was found."""


@dataclass(frozen=True, slots=True)
class Collected:
    """What one run did. Sizes are those of packs, in bytes."""

    purged: tuple[str, ...]
    """Deleted backups whose objects are gone now."""
    removed: int
    """Packs that are gone now."""
    freed_bytes: int
    """What was in them."""
    marked: int
    """Packs that a later run removes."""
    marked_bytes: int
    rewritten: int
    """Packs whose live frames moved to new ones. The old packs are among the marked ones."""
    damaged: tuple[str, ...]
    """Packs that cannot be read, and were left alone."""


def collect(server: ServerVault, now: datetime, *, between: Callable[[], None] = lambda: None) -> Collected:
    """Collect once; Refused if a backup cannot be read, since it is not known then what it uses.

    `between` is called between two steps, and may raise to end the run; what was done until then is whole.
    """
    purged = []
    for backup in catalog.deleted(server):
        between()
        catalog.purge(server, backup.id)
        purged.append(backup.id)
    used = _frames_in_use(server, between)
    with FrameStore(server) as frames:
        bytes_of = frames.used_bytes(lambda frame_id: frame_id[:_PREFIX] in used)
        before = read_marks(server)
        dead = {name: _size(server, name) for name, live in bytes_of.items() if not live}
        due = [name for name in dead if name in before and now - before[name] >= GRACE
               and _is_dispensable(server, frames, name, used)]
        frames.forget_packs(due)  # first, so that nobody takes a frame for stored that is not
        for name in due:
            between()
            server.store.delete(server.key(Kind.PACK, name))
        moved = _rewrite(server, frames, _mostly_dead(server, bytes_of), used, between)
        dead |= {name: _size(server, name) for name in moved}
        marks = {name: min(before.get(name, now), now) for name in dead.keys() - set(due)}
        _write_marks(server, marks)
        return Collected(tuple(purged), len(due), sum(dead[name] for name in due), len(marks),
                         sum(dead[name] for name in marks), len(moved), frames.damaged)


def has_remains(server: ServerVault) -> bool:
    """Return whether objects of what was deleted are still to be removed, now or in a day."""
    return bool(catalog.deleted(server) or read_marks(server))


def _frames_in_use(server: ServerVault, between: Callable[[], None]) -> set[bytes]:
    """Return the beginnings of the ids of all frames that a backup uses."""
    found = catalog.read_all(server, save=False)
    if found.unreadable:
        raise Refused(f"the packs of {server.name} cannot be collected: not all of its backups can be read",
                      detail=catalog.listed(found.unreadable), hint=found.unreadable[0].fix)
    used: set[bytes] = set()
    for backup in found.backups:
        between()
        if backup.status.copied:
            used.update(_prefixes(server, backup))
    return used


def _prefixes(server: ServerVault, backup: Backup) -> Iterator[bytes]:
    try:
        with Manifest(server, backup, check=True) as manifest:
            yield from manifest.frame_prefixes(_PREFIX)
    except Corrupt as error:
        raise Refused(f"the packs of {server.name} cannot be collected: {error.message}", detail=error.detail,
                      hint=f"{error.hint} Or delete that backup: pgvault delete {server.name} {backup.id}") from error


def _size(server: ServerVault, pack: str) -> int:
    found = server.store.stat(server.key(Kind.PACK, pack))
    return found.size if found else 0


def _is_dispensable(server: ServerVault, frames: FrameStore, pack: str, used: set[bytes]) -> bool:
    """Return whether every frame of the pack that a backup uses has its place in another one, by the pack's own footer:
    the index is a cache, and nothing is removed on its word alone."""
    try:
        entries = list(read_footer(server, pack))
    except (Corrupt, NotFound):
        return False
    places = (frames.locate(each.id) for each in entries if each.id[:_PREFIX] in used)
    return all(place and place[0] != pack for place in places)


def _mostly_dead(server: ServerVault, used: Mapping[str, int]) -> list[str]:
    return [name for name, live in used.items() if 0 < live < _size(server, name) * _MOSTLY_DEAD]


def _rewrite(server: ServerVault, frames: FrameStore, packs: Iterable[str], used: set[bytes],
             between: Callable[[], None]) -> list[str]:
    """Store the live frames of these packs in new ones; return the packs that nobody needs then. Where there is no room
    for that, they stay as they are."""
    moved: list[str] = []
    waiting: list[str] = []
    writer: PackWriter | None = None
    try:
        with PackReader(server) as reader:
            for pack in packs:
                between()
                live = [each for each in frames.frames_of(pack) if each.id[:_PREFIX] in used]
                try:
                    stored = [reader.stored(pack, each) for each in live]
                except Corrupt:
                    continue  # it stays as it is, for those who report damage
                writer = writer or PackWriter(server)
                for each, content in zip(live, stored, strict=True):
                    writer.add(each.id, content, each.plain)
                waiting.append(pack)
                if writer.size >= PACK_SIZE:
                    frames.move_to(writer)
                    writer, moved, waiting = None, [*moved, *waiting], []
            if writer:
                frames.move_to(writer)
                writer, moved = None, [*moved, *waiting]
    except NoSpace:
        pass
    finally:
        if writer:
            writer.abandon()
    return moved


def read_marks(server: ServerVault) -> dict[str, datetime]:
    """Return the marked packs. Marks that cannot be read count as none: the packs are marked anew then."""
    try:
        packs = tomllib.loads(server.store.read(server.key(Kind.GARBAGE)).decode()).get("packs", {})
    except (NotFound, ValueError):
        return {}
    return {name: at.astimezone(UTC) for name, at in packs.items() if isinstance(at, datetime) and at.tzinfo}


def _write_marks(server: ServerVault, marks: Marks) -> None:
    import tomli_w

    if marks == read_marks(server):
        return
    key = server.key(Kind.GARBAGE)
    server.store.put(key, tomli_w.dumps({"packs": dict(sorted(marks.items()))}).encode(),
                     replaces=server.store.stat(key))
