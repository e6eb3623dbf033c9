"""The effects of replay beyond the data files, found in the archived WAL from the backup's begin to the stop."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pgvault.engine.restore.choose import Choice, needed
from pgvault.engine.restore.recovery_path import RecoveryPath
from pgvault.engine.restore.stop import Stop
from pgvault.model.backup import Backup
from pgvault.model.lsn import Lsn
from pgvault.model.replay import Effect, PreparedTransaction, Replay, TablespaceCreated, replay_from
from pgvault.vault.wal_rows import Row


def replay_of(choice: Choice, *, held: Iterable[PreparedTransaction] = (),
              names: Mapping[int, str] | None = None) -> Replay:
    """Return what recovery of the chosen backup does up to the chosen stop; call it while the archive is open.

    `held` are the prepared transactions whose files are in the backup (pg_twophase, `read_two_phase`), `names` the
    names of tablespaces by OID as other backups and catalogue snapshots have them. Raises WalMissing if the segment in
    which recovery stops has to be read and cannot be.
    """
    path, stop, begin = choice.path, choice.stop, choice.backup.begin_lsn or Lsn(0)
    rows = needed(path, choice.backup, stop).rows
    unread = [row.name for row in rows if row.problem]
    effects = _effects(path, rows, begin, stop) if rows else ()
    return replay_from(effects, begin, held=held, names=names, unread=unread)


def space_names(backups: Iterable[Backup]) -> dict[int, str]:
    """Return the names of tablespaces by OID, from the backups."""
    return {space.oid: space.name for backup in backups for space in backup.tablespaces}


def creations_in(path: RecoveryPath, rows: Sequence[Row]) -> tuple[Lsn, ...]:
    """Return where these segments create tablespaces, also after the stop: a person may let recovery continue."""
    return tuple(effect.lsn for _, effect in path.effects(rows[-1])
                 if isinstance(effect, TablespaceCreated) and effect.segment >= rows[0].segment.number)


def _effects(path: RecoveryPath, rows: Sequence[Row], begin: Lsn, stop: Stop) -> Iterator[Effect]:
    """Return the effects of the unbroken WAL around `begin`, up to the stop: a transaction may have been prepared long
    before.
    """
    last, first = rows[-1], begin // path.size
    exact = path.effects_within(last) if last.passed and not last.problem else None
    found = path.effects(last)
    if any(number < first for number, _ in found):
        first = _unbroken_before(path.numbers(), first)
    for number, effect in found:
        if number >= first and (exact is None or number < last.segment.number) and _is_replayed(effect, stop):
            yield effect
    yield from (effect for effect in exact or () if _is_replayed(effect, stop))


def _is_replayed(effect: Effect, stop: Stop) -> bool:
    return effect.lsn < stop.lsn or (effect.lsn == stop.lsn and stop.replayed)


def _unbroken_before(numbers: list[int], number: int) -> int:
    """Return the first segment from which WAL follows without a gap up to this one."""
    place = bisect_left(numbers, number)
    while place and numbers[place - 1] == number - 1:
        place, number = place - 1, number - 1
    return number
