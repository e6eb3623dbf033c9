"""Where tablespaces go: those in the backup, and those that replay creates before the target.

Replay makes a tablespace's directory at its original path, whatever else is there by now. So each one that exists at
the target is asked for by name, and the WAL that is sent has no path (`wal.rewrite`). One that is dropped before the
target needs no place: it is inside the data directory until replay drops it.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence

from pgvault.model.backup import Backup
from pgvault.model.errors import Refused, UsageError
from pgvault.model.replay import Replay
from pgvault.model.restore_plan import TablespacePlace
from pgvault.model.target import option


def spaces_of(backup: Backup, replay: Replay, sizes: Mapping[int | None, int]) -> list[TablespacePlace]:
    """Return every tablespace of the backup and of the replay, without a place yet."""
    dropped = {drop.oid: drop.lsn for drop in replay.dropped}
    created = {each.oid: each for each in replay.created}

    def is_gone(oid: int) -> bool:
        return oid in dropped and (oid not in created or created[oid].lsn < dropped[oid])

    found = [TablespacePlace(space.oid, space.name, space.location, "", sizes.get(space.oid, 0),
                             is_gone=is_gone(space.oid)) for space in backup.tablespaces]
    known = {space.oid for space in backup.tablespaces}
    return found + [TablespacePlace(oid, each.name or str(oid), each.path, "", 0, is_new=True, is_gone=is_gone(oid))
                    for oid, each in created.items() if oid not in known]


def to_place(spaces: Sequence[TablespacePlace]) -> tuple[TablespacePlace, ...]:
    """Return the tablespaces that need a place at the destination."""
    return tuple(space for space in spaces if not space.is_gone and not space.is_in_place)


def placed(spaces: Sequence[TablespacePlace], asked: Sequence[str], backup: Backup) -> tuple[TablespacePlace, ...]:
    """Return the tablespaces with the places that a person asked for as NAME=PATH, or as OID=PATH if another one has
    the name.
    """
    names = {each.oid: each.name for each in sorted(spaces, key=lambda each: each.is_gone, reverse=True)}
    by_name = {name: oid for oid, name in names.items()}
    oids = by_name | {str(oid): oid for oid in names if str(oid) not in by_name}
    mapping = dict(_cut(text, oids) for text in asked)
    if unknown := sorted(mapping.keys() - oids):
        later = [each.name for each in spaces if each.is_new]
        earlier = [each.name for each in spaces if not each.is_new]
        raise UsageError(f"backup {backup.id} has no tablespace {unknown[0]!r}",
                         detail=f"It has: {', '.join(sorted(earlier)) or 'none'}."
                         + (f" Created after it began: {', '.join(sorted(later))}." if later else ""))
    given = {oids[name]: path for name, path in mapping.items()}
    return tuple(_placed(each, given.get(each.oid)) for each in spaces)


def _cut(text: str, known: Collection[str]) -> tuple[str, str]:
    """Split NAME=PATH. A name may contain `=`, even `=/`, and a path is absolute: the first split that yields a known
    name counts.
    """
    cuts = [(text[:at], text[at + 1:]) for at in range(1, len(text)) if text.startswith("=/", at)]
    name, _, path = text.partition("=")
    return next((cut for cut in cuts if cut[0] in known), cuts[0] if cuts else (name, path))


def _placed(space: TablespacePlace, location: str | None) -> TablespacePlace:
    if location is None:
        if space.is_gone or space.is_in_place:
            return space
        later = ", created after the backup began," if space.is_new else ""
        argument = shlex.join(option("--tablespace", f"{space.name}=PATH"))
        raise Refused(f"tablespace {space.name}{later} needs a place at the destination",
                      detail=f"On the server it is in {space.original}.",
                      hint=f"Say where, be it the same place: {argument}")
    if space.is_in_place:
        raise UsageError(f"tablespace {space.name} is inside the data directory",
                         hint="Leave it out: it needs no place of its own.")
    if not location.startswith("/"):
        raise UsageError(f"not an absolute path: {location}", hint="Write the whole path, from the root.")
    return space.at(location.rstrip("/") or "/")


def describe_tablespace(space: TablespacePlace) -> str:
    """Describe its old and its new place, and why replay matters to it."""
    went = "created after the backup began" if space.is_new else ""
    went += f"{' and ' if went else ''}dropped before the target" if space.is_gone else ""
    origin = space.original or "what was inside the data directory"
    return f"{origin} goes to {space.location or 'inside the data directory'}{f', {went}' if went else ''}"
