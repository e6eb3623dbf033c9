"""Prepared transactions at the stop: those in the backup's own files, and the locks that the pending ones hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pgvault.engine.event_names import NameBook, NamesAt
from pgvault.engine.restore.choose import Choice
from pgvault.engine.restore.files import read_small
from pgvault.engine.restore.replay import replay_of, space_names
from pgvault.model.check import Outcome
from pgvault.model.identifier import sql_identifier
from pgvault.model.prepared import LOCK_MODES, Prepared
from pgvault.model.replay import PreparedTransaction, Replay
from pgvault.model.restore_plan import Precondition
from pgvault.vault import catalog
from pgvault.vault.layout import ServerVault
from pgvault.vault.manifest import Kind, Manifest
from pgvault.vault.packs import PackReader
from pgvault.wal.effects import read_two_phase

_TWO_PHASE = "pg_twophase/"
_ACCESS_SHARE = LOCK_MODES.index("AccessShareLock")
_FIRST_OF_USERS = 16384


def read_replay(server: ServerVault, choice: Choice) -> tuple[Replay, tuple[Precondition, ...]]:
    """Return what replay does, with what the backup's own files contain of transactions that were prepared before it.
    """
    held, flaws = [], []
    with Manifest(server, choice.backup) as manifest, PackReader(server) as packs:
        for entry in manifest.entries(under=_TWO_PHASE):
            if entry.kind is Kind.FILE and entry.path.startswith(_TWO_PHASE):
                try:
                    held.append(read_two_phase(read_small(entry.path, manifest, packs) or b"", choice.backup.major))
                except (ValueError, KeyError):
                    flaws.append(Precondition(
                        "prepared transactions", Outcome.WARNING, f"{entry.path} in the backup cannot be read.",
                        "Look at pg_prepared_xacts once the server runs."))
    return replay_of(choice, held=held, names=space_names(catalog.backups(server))), tuple(flaws)


def named_prepared(server: ServerVault, choice: Choice, pending: Iterable[PreparedTransaction]) -> tuple[Prepared, ...]:
    """Return the transactions pending at the stop, with the names that the backups around it have."""
    pending = tuple(pending)
    if not pending:
        return ()
    with NameBook(server, choice.history) as book:
        names = book.at(choice.stop.lsn)
        return tuple(_named(each, names) for each in pending)


def _named(each: PreparedTransaction, names: NamesAt) -> Prepared:
    return Prepared(each.gid, names.role(each.owner) or f"OID {each.owner}",
                    names.database(each.database) or f"OID {each.database}", each.prepared_at,
                    tuple(_locks(each, names)))


def _locks(each: PreparedTransaction, names: NamesAt) -> Iterator[str]:
    """Return the locks that others wait for, on users' relations; not on indexes and TOAST tables, which follow their
    tables.
    """
    for database, oid, mode in sorted(each.locks):
        if mode == _ACCESS_SHARE or database != each.database or oid < _FIRST_OF_USERS:
            continue
        found = names.by_oid(database, oid)
        if found is None or found.kind not in ("i", "t"):
            where = f"{sql_identifier(found.schema)}.{sql_identifier(found.name)}" if found else f"the relation {oid}"
            yield f"{LOCK_MODES[mode]} on {where}"
