"""The backups of a server: reads and finds their `backup.toml`, and records each state that they reach.

Reading TOML takes 0.3 ms a backup, so `scan` caches what it read; `read` always reads the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

from pgvault.model.backup import FROM_COPY, Backup, BackupStatus, Keep, Unreadable, is_backup_id
from pgvault.model.errors import OTHER_USER, Conflict, NotFound, PgvaultError, Refused
from pgvault.store.keys import Key, Kind
from pgvault.store.store import Facts, Listed
from pgvault.vault.backup_toml import format_facts, parse_facts, with_changes
from pgvault.vault.catalog_cache import CatalogCache
from pgvault.vault.layout import ServerVault

_ATTEMPTS = 5
_MOST_NAMED = 3


class Found(NamedTuple):
    """Every backup of a server, oldest first."""

    backups: tuple[Backup, ...]
    unreadable: tuple[Unreadable, ...]


def _key(server: ServerVault, backup_id: str, kind: Kind = Kind.BACKUP) -> Key:
    if not is_backup_id(backup_id):
        raise ValueError(f"not a backup id: {backup_id!r}")
    return server.key(kind, backup_id)


def location(server: ServerVault, backup_id: str) -> str:
    """Return the place of all objects of a backup, for people."""
    return server.store.location(_key(server, backup_id)).rpartition("/")[0]


def manifest_key(server: ServerVault, backup_id: str) -> Key:
    return _key(server, backup_id, Kind.MANIFEST)


def write(server: ServerVault, backup: Backup) -> None:
    """Durably replace the backup's facts. The process that takes a backup holds its lease and has its latest facts:
    what `settle` wrote meanwhile is replaced, too.
    """
    for _ in range(_ATTEMPTS):
        with suppress(Conflict):
            _put(server, backup, server.store.stat(_key(server, backup.id)))
            return
    _put(server, backup, server.store.stat(_key(server, backup.id)))


def create(server: ServerVault, backup: Backup) -> None:
    """Create a backup, which appears with its facts, or not at all."""
    _put(server, backup, None)


def advance(server: ServerVault, backup: Backup, status: BackupStatus) -> Backup:
    """Record the backup's facts with its next state, and return it. Raises ValueError if that state may not follow."""
    moved = backup.moved_to(status)
    write(server, moved)
    return moved


def fail(server: ServerVault, backup: Backup, reason: str) -> None:
    """Record that a backup failed, and remove its manifest, which would retain frames for nothing."""
    advance(server, replace(backup, finished_at=datetime.now(UTC), error=reason), BackupStatus.FAILED)
    server.store.delete(manifest_key(server, backup.id))


def fail_abandoned(server: ServerVault) -> None:
    """Mark every backup that is STARTED as failed. The caller holds the backup's lease, so none of them has a process.
    """
    for backup in backups(server):
        if backup.status is BackupStatus.STARTED:
            fail(server, backup, "its process ended without reporting a result")


def _put(server: ServerVault, backup: Backup, replaces: Facts | None) -> None:
    server.store.put(_key(server, backup.id), format_facts(backup).encode(), replaces=replaces)


def keep(server: ServerVault, backup_id: str, kept: Keep | None) -> Backup:
    """Note that a backup is kept whatever the policy says, or with None that it is not any more; return it."""
    return _change(server, backup_id, lambda _: {"keep": kept and kept.value})


def delete(server: ServerVault, backup_id: str, now: datetime) -> Backup:
    """Make a backup cease to be one, at once and durably; return it. Refused if it is kept. Its objects stay until
    `purge`, since a restore or another backup may be reading them."""
    def change(backup: Backup) -> Mapping[str, object]:
        refuse_kept(backup)
        return {"deleted_at": now}

    return _change(server, backup_id, change)


def refuse_kept(backup: Backup) -> None:
    """Raise Refused for a backup that a person asked to keep."""
    if backup.keep:
        raise Refused(f"backup {backup.id} is kept on request",
                      hint=f"Release it first: pgvault keep {backup.server} {backup.id} --release")


def _change(server: ServerVault, backup_id: str, change: Callable[[Backup], Mapping[str, object]]) -> Backup:
    """Change single facts on top of what is stored, whoever changes others meanwhile."""
    key = _key(server, backup_id)
    for left in reversed(range(_ATTEMPTS)):
        facts, changes = server.store.stat(key), change(read(server, backup_id))
        text = with_changes(server.store.read(key).decode(), **changes)
        try:
            server.store.put(key, text.encode(), replaces=facts)
            break
        except Conflict:
            if not left:
                raise
    return parse_facts(text, backup_id, server.name)


def deleted(server: ServerVault) -> list[Backup]:
    """Return what was deleted and not purged yet, oldest first."""
    return [each for each in _scan_every(server, False) if isinstance(each, Backup) and each.deleted_at]


def purge(server: ServerVault, backup_id: str) -> None:
    """Remove the objects of a deleted backup; the facts, which say that it is one, come last. The caller holds the
    lease of the packs alone, so nobody reads its manifest."""
    server.store.delete(manifest_key(server, backup_id))
    server.store.delete(_key(server, backup_id))


def read(server: ServerVault, backup_id: str) -> Backup:
    """Return the backup; NotFound also if it was deleted."""
    stored = _read_stored(server, backup_id)
    if stored.deleted_at:
        raise NotFound(f"backup {backup_id} of {server.name} was deleted",
                       detail=f"That was at {stored.deleted_at:%Y-%m-%d %H:%M:%S}Z.",
                       hint=f"pgvault list-backups {server.name}")
    return _settled(server, stored)


def _read_stored(server: ServerVault, backup_id: str) -> Backup:
    key = _key(server, backup_id)
    where = server.store.location(key)
    try:
        return parse_facts(server.store.read(key).decode(), backup_id, server.name)
    except NotFound:
        if backup_id in ids(server):
            raise _unreadable(backup_id, where, "the file is missing") from None
        raise NotFound(f"{server.name} has no backup {backup_id}", hint=f"pgvault list-backups {server.name}") from None
    except ValueError as error:
        raise _unreadable(backup_id, where, str(error)) from None
    except PgvaultError as error:
        cause = error.__cause__
        reason = cause.strerror if isinstance(cause, OSError) else error.message
        raise _unreadable(backup_id, where, str(reason), error) from None


def ids(server: ServerVault) -> list[str]:
    """Return the ids of all backups, oldest first, whether or not their facts can be read, and of those deleted."""
    return [each.name for each in _listed(server)]


def _listed(server: ServerVault) -> Iterator[Listed]:
    return (each for each in server.store.list(Kind.BACKUP, server.name) if is_backup_id(each.name))


def scan(server: ServerVault, *, save: bool = True) -> Iterator[Backup | Unreadable]:
    """Yield every backup, oldest first, also those whose facts cannot be read. Nothing is written unless the cache may
    be saved."""
    for found in _scan_stored(server, save):
        yield _settled(server, found) if isinstance(found, Backup) else found


def _scan_stored(server: ServerVault, save: bool) -> Iterator[Backup | Unreadable]:
    return (each for each in _scan_every(server, save) if isinstance(each, Unreadable) or not each.deleted_at)


def _scan_every(server: ServerVault, save: bool) -> Iterator[Backup | Unreadable]:
    """Yield those that were deleted, too."""
    cache = CatalogCache(server)
    for each in _listed(server):
        try:
            yield _read_cached(server, each, cache)
        except NotFound:  # deleted meanwhile
            continue
        except PgvaultError as error:
            yield Unreadable(each.name, error.detail.removesuffix("."), error.hint)
    if save:
        cache.save()


def _read_cached(server: ServerVault, listed: Listed, cache: CatalogCache) -> Backup:
    try:
        facts = listed.facts or server.store.stat(server.key(Kind.BACKUP, listed.name))
    except PgvaultError:
        facts = None
    if facts is None:
        return _read_stored(server, listed.name)  # its error names the problem
    backup = cache.get(listed.name, facts)
    if backup is None:
        backup = _read_stored(server, listed.name)
        cache.note(backup, facts)
    return backup


def read_all(server: ServerVault, *, save: bool = True) -> Found:
    """Return what `scan` yields, with readable and unreadable backups separated."""
    found = list(scan(server, save=save))
    return Found(tuple(each for each in found if isinstance(each, Backup)),
                 tuple(each for each in found if isinstance(each, Unreadable)))


def backups(server: ServerVault) -> list[Backup]:
    """Return every readable backup, oldest first."""
    return list(read_all(server).backups)


def has_waiting(server: ServerVault) -> bool:
    """Return whether a backup waits for WAL, by its facts."""
    return any(isinstance(each, Backup) and each.status is BackupStatus.WAITING_FOR_WALS
               for each in _scan_stored(server, False))


def settle(server: ServerVault) -> list[Backup]:
    """Record which backups became DONE because their WAL has arrived, and return these."""
    waiting = [each.id for each in list(_scan_stored(server, True))
               if isinstance(each, Backup) and each.status is BackupStatus.WAITING_FOR_WALS]
    return [backup for backup_id in waiting if (backup := _settle(server, backup_id))]


def _settle(server: ServerVault, backup_id: str) -> Backup | None:
    """Record only the state, and only if the facts are those that were read: nothing is written if they have changed or
    are gone by then.
    """
    key = _key(server, backup_id)
    if (facts := server.store.stat(key)) is None:
        return None
    try:
        text = server.store.read(key).decode()
        stored = parse_facts(text, backup_id, server.name)
    except (NotFound, ValueError):
        return None
    if (backup := _settled(server, stored)) is stored:
        return None
    try:
        server.store.put(key, with_changes(text, status=backup.status.value).encode(), replaces=facts)
    except Conflict:
        return None
    return backup


def _settled(server: ServerVault, stored: Backup) -> Backup:
    """Return the backup as DONE if the WAL that it waits for has arrived, however it came."""
    if stored.status is not BackupStatus.WAITING_FOR_WALS:
        return stored
    from pgvault.vault.wal_whole import lacking  # few backups wait

    if lacking(server, stored) is not None:
        return stored
    return stored.moved_to(BackupStatus.DONE)


def find(server: ServerVault, wanted: str) -> Backup:
    """Return a backup by its id, a unique beginning of one, `latest`, `oldest` or `last-failed`. Raises NotFound
    otherwise.
    """
    hint = f"pgvault list-backups {server.name}"
    if is_backup_id(wanted):
        return read(server, wanted)
    known = ids(server)
    named: dict[str, Callable[[], Backup | None]] = {
        "latest": lambda: newest_copied(server),
        "oldest": lambda: _first(server, known, lambda b: b.status.copied),
        "last-failed": lambda: _first(server, reversed(known), lambda b: b.status is BackupStatus.FAILED)}
    if wanted in named:
        if found := named[wanted]():
            return found
        unreadable = read_all(server, save=False).unreadable
        raise NotFound(f"{server.name} has no backup {wanted!r} that can be read" if unreadable else
                       f"{server.name} has no backup {wanted!r}", detail=listed(unreadable), hint=hint)
    fitting = [backup_id for backup_id in known if wanted and backup_id.startswith(wanted)]
    if not fitting:
        raise NotFound(f"{server.name} has no backup {wanted!r}", hint=hint)
    if len(fitting) > 1:
        raise NotFound(f"{wanted!r} is the beginning of {len(fitting)} backup ids of {server.name}",
                       detail=", ".join(fitting[:10]) + ".", hint=hint)
    return read(server, fitting[0])


def newest_copied(server: ServerVault) -> Backup | None:
    """Return the newest backup that was copied completely, whether its WAL is there or still to come; None if there is
    none.
    """
    return _first(server, reversed(ids(server)), lambda backup: backup.status.copied)


def _first(server: ServerVault, candidates: Iterable[str], fits: Callable[[Backup], bool]) -> Backup | None:
    """Return the first backup that fits; unreadable ones are skipped."""
    for backup_id in candidates:
        try:
            if fits(backup := read(server, backup_id)):
                return backup
        except PgvaultError:
            continue
    return None


def listed(unreadable: Sequence[Unreadable]) -> str:
    """List the backups and the reasons in one sentence; empty if there is none."""
    shown = "; ".join(f"{each.id}: {each.reason}" for each in unreadable[:_MOST_NAMED])
    more = len(unreadable) - _MOST_NAMED
    return f"Cannot be read: {shown}{f'; and {more} more' if more > 0 else ''}." if unreadable else ""


def _unreadable(backup_id: str, where: str, reason: str, error: PgvaultError | None = None) -> PgvaultError:
    kind, hint = (Refused, OTHER_USER) if isinstance(error, Refused) else (PgvaultError, FROM_COPY)
    return kind(f"could not read the facts of backup {backup_id}", detail=f"{where}: {reason}.", hint=hint)

