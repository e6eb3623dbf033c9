"""How well one server is protected, from the vault alone: in milliseconds, even if the server is down.

Nothing is changed but the cache of the backups' facts. To follow many servers, poll `stamp`, which reads nothing, and
call `protection` again when it changed; also once a minute, since backups age.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from pgvault.config.schema import ServerConfig
from pgvault.engine.check.facts import VaultFacts, WalFacts, or_error
from pgvault.engine.check.vault_state import read_vault
from pgvault.engine.protection import ProtectionFacts, assess_protection
from pgvault.model.backup import BackupStatus
from pgvault.model.errors import PgvaultError, Refused
from pgvault.model.protection import Protection
from pgvault.model.segment import Segment
from pgvault.store.keys import Key, Kind
from pgvault.store.leases import Concern
from pgvault.vault import catalog
from pgvault.vault.layout import ServerVault, Vault
from pgvault.vault.streaming import PARTIAL, partials

Stamp = tuple[int | str | None, ...]


def protection(server: ServerConfig, home: Path, now: datetime) -> Protection:
    """Assess the protection. It raises nothing: what cannot be read makes the state UNKNOWN, with the reason."""
    vault = Vault(home).server(server.name)
    facts = or_error(lambda: _read(vault, home), "read the vault")
    known = facts if isinstance(facts, VaultFacts) else None
    state, reasons = assess_protection(ProtectionFacts(
        server=server, at=now, vault=facts, backup_job=_backup_job(vault, known),
        waiting_since=_waiting_since(vault.spool.incoming) if known and known.incoming else None,
        streamed_until=_streamed_until(vault, known) if known and known.receiver is None else None))
    good, problem = known.good_backups if known else (), known.problem if known else facts
    wal = known.wal if known and isinstance(known.wal, WalFacts) else None
    failures = (each for each in (problem, known and known.wal) if isinstance(each, PgvaultError))
    return Protection(
        server.name, state, reasons, next(failures, None), good[-1] if good else None, len(good),
        known.newest_window if known else None, _latest(wal) if wal else None,
        wal.survey.harmful_gaps if wal else (), known.receiver if known else None,
        known.unheard(now) if known else None, problem.message if isinstance(problem, Refused) else "",
        wal.stored_bytes + _packed_bytes(vault) if wal else None, now)


def stamp(server: ServerConfig, home: Path) -> Stamp:
    """Return a value that changes whenever `protection`, the catalogue or the WAL would show a change in the vault.

    Take it before reading, so that changes in the meantime cause another read.
    """
    vault = Vault(home).server(server.name)
    watched = (vault.spool.incoming, vault.spool.quarantine, vault.spool.streaming, vault.cache.wal,
               vault.cache.wal.with_name(f"{vault.cache.wal.name}-wal"))
    leases = (_held(vault, concern) for concern in (Concern.RECEIVE, Concern.BACKUP))
    return (*leases, *_times(watched), *_revisions(vault))


def _read(vault: ServerVault, home: Path) -> VaultFacts:
    Vault.open(home)  # a missing vault is not an empty one: its disk may not be mounted
    return read_vault(vault, home, *catalog.read_all(vault))


def _backup_job(vault: ServerVault, facts: VaultFacts | None) -> str | None:
    """Check the lock only while a backup is begun, so that this does not block a new backup."""
    begun = facts and any(backup.status is BackupStatus.STARTED for backup in facts.backups)
    return _held(vault, Concern.BACKUP) if begun else None


def _held(vault: ServerVault, concern: Concern) -> str | None:
    """Return the lease's holder, in words."""
    held = vault.leases.held(concern)
    return str(held) if held else None


def _waiting_since(directory: Path) -> datetime | None:
    """Return when the files appeared here: their own times may be the server's."""
    with suppress(OSError):
        return min((_moment(entry.stat().st_ctime) for entry in os.scandir(directory)
                    if not entry.name.startswith(".")), default=None)
    return None


def _streamed_until(vault: ServerVault, facts: VaultFacts) -> datetime | None:
    """Return when the last unfinished segment was written, except those that have been archived in another way."""
    if facts.identity is None or not isinstance(facts.wal, WalFacts):
        return None
    with suppress(OSError):
        for name in reversed(partials(vault)):
            segment = Segment.parse(name, facts.identity.segment_size)
            if segment.number > facts.wal.newest.get(segment.timeline, -1):
                return _moment((vault.spool.streaming / f"{name}{PARTIAL}").stat().st_mtime)
    return None


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _latest(wal: WalFacts) -> datetime | None:
    ranges = wal.survey.timelines[-1].ranges if wal.survey.timelines else ()
    return max((each.until_time for each in ranges if each.until_time), default=None)


def _packed_bytes(vault: ServerVault) -> int:
    try:
        return _bytes_of(vault, Kind.PACK, vault.store.revision(Kind.PACK, vault.name))
    except PgvaultError:
        return 0


@lru_cache(maxsize=256)
def _bytes_of(vault: ServerVault, kind: Kind, revision: str) -> int:
    """Return the size of all objects of a kind. Packs never change, so they are measured again only if there are
    others."""
    found = (each.facts or vault.store.stat(vault.key(kind, each.name)) for each in vault.store.list(kind, vault.name))
    return sum(facts.size for facts in found if facts)


def _revisions(vault: ServerVault) -> Iterator[str | None]:
    for kind in (Kind.BACKUP, Kind.PACK):
        try:
            yield vault.store.revision(kind, vault.name)
        except PgvaultError:
            yield None
    for key in (vault.key(Kind.IDENTITY), Key(Kind.VAULT)):
        try:
            facts = vault.store.stat(key)
            yield facts.version if facts else None
        except PgvaultError:
            yield None


def _times(paths: Iterable[Path]) -> Iterator[int | None]:
    for path in paths:
        try:
            yield os.stat(path).st_mtime_ns
        except OSError:
            yield None
