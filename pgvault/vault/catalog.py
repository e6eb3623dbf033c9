"""The backups of a server: reading, writing and finding their `backup.toml`.

Reading TOML takes 0.3 ms a backup, so `scan` keeps what it read in a cache; `read` always reads the file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pgvault.model.backup import Backup, BackupStatus, Tablespace, is_backup_id
from pgvault.model.errors import OTHER_USER, Conflict, NotFound, PgvaultError, Refused
from pgvault.model.lsn import Lsn
from pgvault.model.segment import is_segment_size
from pgvault.store.keys import Key, Kind
from pgvault.store.store import Facts, Listed
from pgvault.vault.catalog_cache import CatalogCache
from pgvault.vault.layout import ServerVault

FROM_COPY = "Bring the file back from a copy of the vault; other backups are unaffected."

_ATTEMPTS = 5
_REQUIRED: dict[str, type] = {
    "id": str, "status": str, "method": str, "name": str, "started_at": datetime, "system_identifier": str,
    "server_version": str, "segment_size": int, "timeline": int, "data_directory": str, "size_bytes": int,
    "stored_bytes": int, "file_count": int, "manifest_sha256": str, "job": str, "error": str, "corrupt_pages": list,
    "tablespaces": list}
_OPTIONAL: dict[str, type] = {"finished_at": datetime, "begin_lsn": str, "end_lsn": str}
_MOST_TOLD = 3


class Unreadable(NamedTuple):
    """A backup whose facts cannot be read; it is shown, and never counts as protection."""

    id: str
    reason: str
    """With the path."""
    fix: str = FROM_COPY
    """What to do, as a sentence."""

    def __str__(self) -> str:
        return f"the facts of backup {self.id} cannot be read: {self.reason}. {self.fix}"


class Found(NamedTuple):
    """Every backup of a server, oldest first."""

    backups: tuple[Backup, ...]
    unreadable: tuple[Unreadable, ...]


def _key(server: ServerVault, backup_id: str, kind: Kind = Kind.BACKUP) -> Key:
    if not is_backup_id(backup_id):
        raise ValueError(f"not a backup id: {backup_id!r}")
    return server.key(kind, backup_id)


def location(server: ServerVault, backup_id: str) -> str:
    """Where all of a backup's own objects are, for people."""
    return server.store.location(_key(server, backup_id)).rpartition("/")[0]


def manifest_key(server: ServerVault, backup_id: str) -> Key:
    return _key(server, backup_id, Kind.MANIFEST)


def write(server: ServerVault, backup: Backup) -> None:
    """Durably replace the backup's facts. Whoever takes a backup holds its lease and knows most of it: what `settle`
    wrote meanwhile is replaced, too."""
    for _ in range(_ATTEMPTS):
        with suppress(Conflict):
            _put(server, backup, server.store.stat(_key(server, backup.id)))
            return
    _put(server, backup, server.store.stat(_key(server, backup.id)))


def create(server: ServerVault, backup: Backup) -> None:
    """A new backup, which appears with its facts, or not at all."""
    _put(server, backup, None)


def _put(server: ServerVault, backup: Backup, replaces: Facts | None) -> None:
    import tomli_w

    server.store.put(_key(server, backup.id), tomli_w.dumps(_document(backup)).encode(), replaces=replaces)


def read(server: ServerVault, backup_id: str) -> Backup:
    return _settled(server, _read_stored(server, backup_id))


def _read_stored(server: ServerVault, backup_id: str) -> Backup:
    key = _key(server, backup_id)
    where = server.store.location(key)
    try:
        return _parse(server.store.read(key).decode(), backup_id, server.name)
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
    """Of every backup, oldest first, whether or not its facts can be read."""
    return [each.name for each in _listed(server)]


def _listed(server: ServerVault) -> Iterator[Listed]:
    return (each for each in server.store.list(Kind.BACKUP, server.name) if is_backup_id(each.name))


def scan(server: ServerVault, *, save: bool = True) -> Iterator[Backup | Unreadable]:
    """Every backup, oldest first, also those whose facts cannot be read. Nothing is written unless the cache may be
    saved."""
    for found in _scan_stored(server, save):
        yield _settled(server, found) if isinstance(found, Backup) else found


def _scan_stored(server: ServerVault, save: bool) -> Iterator[Backup | Unreadable]:
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
        return _read_stored(server, listed.name)  # which says what is wrong with it
    backup = cache.get(listed.name, facts)
    if backup is None:
        backup = _read_stored(server, listed.name)
        cache.note(backup, facts)
    return backup


def read_all(server: ServerVault, *, save: bool = True) -> Found:
    """As `scan`, apart."""
    found = list(scan(server, save=save))
    return Found(tuple(each for each in found if isinstance(each, Backup)),
                 tuple(each for each in found if isinstance(each, Unreadable)))


def backups(server: ServerVault) -> list[Backup]:
    """Every readable backup, oldest first."""
    return list(read_all(server).backups)


def has_waiting(server: ServerVault) -> bool:
    """Whether it is written down of a backup that it waits for WAL."""
    return any(isinstance(each, Backup) and each.status is BackupStatus.WAITING_FOR_WALS
               for each in _scan_stored(server, False))


def settle(server: ServerVault) -> list[Backup]:
    """Write down which backups became DONE because their WAL has arrived, and return these."""
    waiting = [each.id for each in list(_scan_stored(server, True))
               if isinstance(each, Backup) and each.status is BackupStatus.WAITING_FOR_WALS]
    return [backup for backup_id in waiting if (backup := _settle(server, backup_id))]


def _settle(server: ServerVault, backup_id: str) -> Backup | None:
    """What is written stands on what was read: nothing is, when the facts have changed or are gone by then."""
    key = _key(server, backup_id)
    facts = server.store.stat(key)
    try:
        stored = _parse(server.store.read(key).decode(), backup_id, server.name) if facts else None
    except (NotFound, ValueError):
        return None
    if facts is None or stored is None or (backup := _settled(server, stored)) is stored:
        return None
    try:
        _put(server, backup, facts)
    except Conflict:
        return None
    return backup


def _settled(server: ServerVault, stored: Backup) -> Backup:
    """A backup that waits for WAL is DONE as soon as the WAL is there, whoever brought it and whoever asks."""
    if stored.status is not BackupStatus.WAITING_FOR_WALS:
        return stored
    from pgvault.vault.wal_whole import lacking  # few wait

    if lacking(server, stored) is not None:
        return stored
    return replace(stored, status=BackupStatus.DONE)


def find(server: ServerVault, wanted: str) -> Backup:
    """By id, unique prefix of one, `latest`, `oldest` or `last-failed`; NotFound otherwise."""
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
    """The newest that was copied whole, be its WAL there or still to come; None when there is none."""
    return _first(server, reversed(ids(server)), lambda backup: backup.status.copied)


def _first(server: ServerVault, candidates: Iterable[str], fits: Callable[[Backup], bool]) -> Backup | None:
    """The first that fits; one that cannot be read is passed over."""
    for backup_id in candidates:
        try:
            if fits(backup := read(server, backup_id)):
                return backup
        except PgvaultError:
            continue
    return None


def listed(unreadable: Sequence[Unreadable]) -> str:
    """Which they are and why, in one sentence; empty when there is none."""
    told = "; ".join(f"{each.id}: {each.reason}" for each in unreadable[:_MOST_TOLD])
    more = len(unreadable) - _MOST_TOLD
    return f"Cannot be read: {told}{f'; and {more} more' if more > 0 else ''}." if unreadable else ""


def _unreadable(backup_id: str, where: str, reason: str, error: PgvaultError | None = None) -> PgvaultError:
    kind, hint = (Refused, OTHER_USER) if isinstance(error, Refused) else (PgvaultError, FROM_COPY)
    return kind(f"could not read the facts of backup {backup_id}", detail=f"{where}: {reason}.", hint=hint)


def _document(backup: Backup) -> dict[str, Any]:
    return {name: value for name, value in {
        "id": backup.id, "status": backup.status.value, "method": backup.method, "name": backup.name,
        "started_at": backup.started_at, "finished_at": backup.finished_at,
        "system_identifier": backup.system_identifier, "server_version": backup.server_version,
        "segment_size": backup.segment_size, "timeline": backup.timeline,
        "begin_lsn": None if backup.begin_lsn is None else str(backup.begin_lsn),
        "end_lsn": None if backup.end_lsn is None else str(backup.end_lsn),
        "data_directory": backup.data_directory,
        "size_bytes": backup.size_bytes, "stored_bytes": backup.stored_bytes, "file_count": backup.file_count,
        "manifest_sha256": backup.manifest_sha256, "job": backup.job, "error": backup.error,
        "corrupt_pages": list(backup.corrupt_pages),
        "tablespaces": [{"oid": t.oid, "name": t.name, "location": t.location} for t in backup.tablespaces],
    }.items() if value is not None}


def _parse(text: str, backup_id: str, server: str) -> Backup:
    """ValueError, saying what is wrong, unless every fact is there and of its kind."""
    facts = tomllib.loads(text)
    for name, kind in (_REQUIRED | _OPTIONAL).items():
        if name not in facts and name in _REQUIRED:
            raise ValueError(f"{name} is missing")
        if name in facts and type(facts[name]) is not kind:
            raise ValueError(f"{name} is not of the right kind")
        if kind is datetime and name in facts:
            if facts[name].tzinfo is None:
                raise ValueError(f"{name} is no time with a zone")
            facts[name] = facts[name].astimezone(UTC)
    if facts["id"] != backup_id:
        raise ValueError(f"it is about backup {facts['id']!r}")
    if not is_segment_size(facts["segment_size"]):
        raise ValueError(f"segment_size cannot be {facts['segment_size']}")
    if not all(type(path) is str for path in facts["corrupt_pages"]):
        raise ValueError("corrupt_pages is not of the right kind")
    try:
        return _backup(facts, server)
    except (KeyError, TypeError):
        raise ValueError("tablespaces is not of the right kind") from None


def _backup(facts: dict[str, Any], server: str) -> Backup:
    def lsn(name: str) -> Lsn | None:
        return Lsn.parse(facts[name]) if name in facts else None

    return Backup(
        id=facts["id"], server=server, status=BackupStatus(facts["status"]), method=facts["method"],
        name=facts["name"], started_at=facts["started_at"], finished_at=facts.get("finished_at"),
        system_identifier=facts["system_identifier"], server_version=facts["server_version"],
        segment_size=facts["segment_size"], timeline=facts["timeline"], begin_lsn=lsn("begin_lsn"),
        end_lsn=lsn("end_lsn"), data_directory=facts["data_directory"], size_bytes=facts["size_bytes"],
        stored_bytes=facts["stored_bytes"], file_count=facts["file_count"],
        manifest_sha256=facts["manifest_sha256"], job=facts["job"], error=facts["error"],
        corrupt_pages=tuple(facts["corrupt_pages"]),
        tablespaces=tuple(Tablespace(t["oid"], t["name"], t["location"]) for t in facts["tablespaces"]))
