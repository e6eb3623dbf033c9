"""What replay does behind a plan's back, found in the archived WAL from the backup's begin to the stop."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pgvault.engine.event_names import NameBook, NamesAt
from pgvault.engine.restore.choose import Choice, needed
from pgvault.engine.restore.files import read_small
from pgvault.engine.restore.recovery_path import RecoveryPath
from pgvault.engine.restore.stop import Stop
from pgvault.model.backup import Backup
from pgvault.model.check import Outcome
from pgvault.model.identifier import sql_identifier
from pgvault.model.lsn import Lsn
from pgvault.model.prepared import LOCK_MODES, Prepared
from pgvault.model.replay import Effect, PreparedTransaction, Replay, TablespaceCreated, replay_from
from pgvault.model.restore_plan import Precondition
from pgvault.vault import catalog
from pgvault.vault.layout import ServerVault
from pgvault.vault.manifest import Kind, Manifest
from pgvault.vault.packs import PackReader
from pgvault.vault.wal_search import Row
from pgvault.wal.effects import read_two_phase

_TWO_PHASE = "pg_twophase/"
_ACCESS_SHARE = LOCK_MODES.index("AccessShareLock")
_FIRST_OF_USERS = 16384


def replay_of(choice: Choice, *, held: Iterable[PreparedTransaction] = (),
              names: Mapping[int, str] | None = None) -> Replay:
    """What recovery of the chosen backup does up to the chosen stop; ask while the archive is open.

    `held` are the prepared transactions of which the backup has the files (pg_twophase, `read_two_phase`), `names` the
    names of tablespaces by OID as other backups and catalogue snapshots know them. WalMissing when the segment in which
    recovery stops has to be read and cannot be.
    """
    path, stop, begin = choice.path, choice.stop, choice.backup.begin_lsn or Lsn(0)
    rows = needed(path, choice.backup, stop).rows
    unread = [row.name for row in rows if row.problem]
    effects = _effects(path, rows, begin, stop) if rows else ()
    return replay_from(effects, begin, held=held, names=names, unread=unread)


def read_replay(server: ServerVault, choice: Choice) -> tuple[Replay, tuple[Precondition, ...]]:
    """The same, with what the backup's own files say of transactions that were prepared before it."""
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


def space_names(backups: Iterable[Backup]) -> dict[int, str]:
    """Of tablespaces by OID, as the backups know them."""
    return {space.oid: space.name for backup in backups for space in backup.tablespaces}


def named_prepared(server: ServerVault, choice: Choice, pending: Iterable[PreparedTransaction]) -> tuple[Prepared, ...]:
    """Those that are pending at the stop, in the names that the backups around it know."""
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
    """Those that others meet, on what users made; not on indexes and TOAST tables, which follow their tables."""
    for database, oid, mode in sorted(each.locks):
        if mode == _ACCESS_SHARE or database != each.database or oid < _FIRST_OF_USERS:
            continue
        found = names.by_oid(database, oid)
        if found is None or found.kind not in ("i", "t"):
            where = f"{sql_identifier(found.schema)}.{sql_identifier(found.name)}" if found else f"the relation {oid}"
            yield f"{LOCK_MODES[mode]} on {where}"


def creations_in(path: RecoveryPath, rows: Sequence[Row]) -> tuple[Lsn, ...]:
    """Where these segments create tablespaces, also behind the stop: a person may let recovery go on."""
    return tuple(effect.lsn for _, effect in path.effects(rows[-1])
                 if isinstance(effect, TablespaceCreated) and effect.segment >= rows[0].segment.number)


def _effects(path: RecoveryPath, rows: Sequence[Row], begin: Lsn, stop: Stop) -> Iterator[Effect]:
    """Those of the unbroken WAL around `begin`, up to the stop: a transaction may have been prepared long before."""
    last, first = rows[-1], _unbroken_before(path.numbers(), begin // path.size)
    exact = path.effects_within(last) if last.passed and not last.problem else None
    for number, effect in path.effects(last):
        if number >= first and (exact is None or number < last.segment.number) and _is_replayed(effect, stop):
            yield effect
    yield from (effect for effect in exact or () if _is_replayed(effect, stop))


def _is_replayed(effect: Effect, stop: Stop) -> bool:
    return effect.lsn < stop.lsn or (effect.lsn == stop.lsn and stop.replayed)


def _unbroken_before(numbers: list[int], number: int) -> int:
    """The first segment from which WAL follows without a gap up to this one."""
    place = bisect_left(numbers, number)
    while place and numbers[place - 1] == number - 1:
        place, number = place - 1, number - 1
    return number
