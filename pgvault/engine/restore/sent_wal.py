"""The archived WAL as it is sent to be replayed: no record in it creates a tablespace at a path of its own.

Replay takes a tablespace's place from the record that creates it, replacing an existing link. A restore removes the
path (`wal.rewrite`) in every segment that it sends: WAL after the stop is replayed when a person later lets recovery
continue.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain

from pgvault.engine.restore.stream import PackedFile
from pgvault.model.errors import Corrupt, UnknownWal, WalMissing
from pgvault.model.lsn import Lsn
from pgvault.model.replay import TablespaceCreated
from pgvault.model.restore_plan import WalNeed
from pgvault.model.segment import Segment
from pgvault.vault.compression import compress
from pgvault.vault.layout import ServerVault
from pgvault.vault.wal_fetch import find, read_stored, read_verified
from pgvault.vault.wal_unfinished import newest_content
from pgvault.wal.effects import effects_of
from pgvault.wal.pages import read_header
from pgvault.wal.pieces import Piece, pieces
from pgvault.wal.rewrite import Change, record_at, rewritten, without_path

_PAGES = 4
"""The most pages of a record that creates a tablespace: a path has less than 1024 bytes, which no page has."""


class SentWal:
    """The history files and the segments of one plan, and the unfinished one as it is now."""

    def __init__(self, server: ServerVault, need: WalNeed, size: int) -> None:
        self._server, self._need, self._size = server, need, size
        names = (*need.segments, *([need.last] if need.partial else []))
        self._names = {Segment.parse(name, size).number: name for name in names}
        self._unfinished = self._newest(need.last) if need.partial else None

    def items(self, directory: str) -> Iterator[PackedFile]:
        for name in self._need.histories:
            yield self._archived(directory, name, ())
        created = sorted({*self._need.created, *self._created_since()})
        changes = [change for lsn in created for change in self._without_path(lsn)]
        for number, name in self._names.items():
            begin = number * self._size
            within = [each for each in changes if begin <= each.at < begin + self._size]
            if self._unfinished is not None and name == self._need.last:
                content = b"".join(rewritten([(begin, self._unfinished)], within))
                yield PackedFile(f"{directory}/{name}", len(content), stored=partial(_packed, [content]),
                                 plain=partial(iter, [content]))
            else:
                yield self._archived(directory, name, within)

    def _archived(self, directory: str, name: str, changes: Iterable[Change]) -> PackedFile:
        if not find(self._server, name):
            raise WalMissing(f"{name} has left the archive since the plan was made", hint="Make the plan again.")
        size = sum(map(len, read_verified(self._server, name)))
        if not changes:
            return PackedFile(f"{directory}/{name}", size, stored=partial(read_stored, self._server, name),
                              plain=partial(read_verified, self._server, name))
        changed = partial(self._changed, name, tuple(changes))
        return PackedFile(f"{directory}/{name}", size, stored=lambda: _packed(changed()), plain=changed)

    def _changed(self, name: str, changes: tuple[Change, ...]) -> Iterator[bytes]:
        try:
            yield from rewritten(self._pieces(name), changes)
        except ValueError as error:
            raise Corrupt(f"segment {name} is not what it was", detail=f"{error}.",
                          hint="Make the plan again.") from None

    def _newest(self, name: str) -> bytes:
        """Send the unfinished segment under the name that PostgreSQL asks for; what was added to it since the plan was
        made does no harm.
        """
        content = newest_content(self._server, name, self._size)
        if content is None:
            raise WalMissing(f"nothing is left of {name} since the plan was made", hint="Make the plan again.")
        return content

    def _created_since(self) -> Iterator[Lsn]:
        """Return the creations in the unfinished segment as it is now; a record may begin in the one before."""
        if self._unfinished is None:
            return
        last = max(self._names)
        before = [self._names[last - 1]] if last - 1 in self._names else []
        try:
            yield from (effect.lsn for effect in effects_of(chain.from_iterable(map(self._pieces, [
                *before, self._need.last]))) if isinstance(effect, TablespaceCreated))
        except UnknownWal:
            return  # the plan reports it as unreadable
        except ValueError as error:
            raise Corrupt(f"the unfinished segment {self._need.last} cannot be read", detail=f"{error}.") from None

    def _without_path(self, lsn: int) -> tuple[Change, ...]:
        """Return nothing if the record continues after the WAL that is sent: it is not replayed."""
        held, at, block = b"", 0, 0
        number = lsn // self._size
        try:
            for name in (self._names[each] for each in (number, number + 1) if each in self._names):
                for start, piece in self._pieces(name):
                    block = block or read_header(piece).block_size
                    first = max(lsn - lsn % block, start)
                    if first >= start + len(piece):
                        continue
                    at = at if held else first
                    held += piece[first - start:first - start + _PAGES * block]
                    record = record_at(held, at, lsn, block=block, size=self._size)
                    if record is not None:
                        return without_path(record, lsn, block=block, size=self._size)
        except ValueError as error:
            raise Corrupt(f"the tablespace created at {Lsn(lsn)} cannot be given another place", detail=f"{error}.",
                          hint="Make the plan again.") from None
        return ()

    def _pieces(self, name: str) -> Iterator[Piece]:
        start = Segment.parse(name, self._size).start(self._size)
        if self._unfinished is not None and name == self._need.last:
            return pieces([self._unfinished], start)
        if not find(self._server, name):
            raise WalMissing(f"{name} has left the archive since the plan was made", hint="Make the plan again.")
        return pieces(read_verified(self._server, name), start)


def _packed(plain: Iterable[bytes]) -> Iterator[bytes]:
    return (compress(piece, 1) for piece in plain)
