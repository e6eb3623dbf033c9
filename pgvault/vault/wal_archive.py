"""The WAL archive: accepts a file so that it is never lost, and returns it so that it is never wrong.

Everything that brings WAL comes through `accept`: put-wal, the incoming directory and the receiver. Archiving depends
on its order: durable in the store, then a row in the index; only then does it return, and only then may the caller
acknowledge the file or remove its source.

PostgreSQL waits for put-wal, so modules that only a rare file needs are imported where they are used.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

from pgvault.model.errors import Conflict, Corrupt, PgvaultError, Rejected
from pgvault.model.segment import HistoryFile, LabelFile, PartialFile, Segment, SegmentFile, WalFile, parse_wal_name
from pgvault.store.files import SpoolFile
from pgvault.store.keys import Key, Kind
from pgvault.store.leases import Concern
from pgvault.store.store import absent
from pgvault.vault import wal_index
from pgvault.vault.compression import PIECE, Compression, decompressed
from pgvault.vault.identity import Identity, claim, read_identity
from pgvault.vault.layout import ServerVault
from pgvault.wal.pages import PageOrder, check_segment, read_header

TEXT_LIMIT = 1 << 20
"""The most bytes of a history or label file; PostgreSQL's have a few hundred."""
LARGEST_SEGMENT = 1 << 30


class Accepted(NamedTuple):
    name: str
    new: bool
    """False if the archive already had exactly this file."""


class _Spooled(NamedTuple):
    """Arrived data, compressed under a temporary name."""

    file: SpoolFile
    plain: int
    sha256: bytes
    head: bytes
    """The first bytes: of a first page, or all of a text file."""
    pages: PageOrder


def key_of(server: ServerVault, name: str) -> Key:
    """Return the key of an archived file. Raises ValueError if PostgreSQL archives nothing of this name."""
    parse_wal_name(name)
    return server.key(Kind.WAL, name)


def is_archived(server: ServerVault, name: str) -> bool:
    """Return whether it is archived; False only if that is proven. Raises ValueError as `key_of`."""
    return server.store.stat(key_of(server, name)) is not None


def level_for(configured: int) -> int:
    """Return the zstd level for WAL: the levels up to 3 store it equally small, and level 1 takes half the time of 3.
    """
    return 1 if configured <= 3 else configured


def accept(server: ServerVault, name: str, source: BinaryIO, *, level: int = 1, keep_rejected: bool = True,
           comes_again: bool = False) -> Accepted:
    """Archive the data of `source`, durably, under `name`.

    Raises Rejected if it does not belong there, or if other contents are archived under the name; a copy of it is then
    in quarantine (with `keep_rejected`). After any error the archive is as it was, and the sender must keep the file.
    With `comes_again` the sender tries again, and a file that lacks a page is refused once (rule 11b).
    """
    try:
        file = parse_wal_name(name)
    except ValueError as error:
        raise Rejected(str(error)) from None
    server.prepare()
    identity = read_identity(server)
    limit = TEXT_LIMIT if isinstance(file, HistoryFile | LabelFile) else \
        identity.segment_size if identity else LARGEST_SEGMENT
    with server.store.spool(server.key(Kind.WAL, name)) as spool:
        spooled = _spool(source, spool, limit, level)
        try:
            identity = _check(server, file, spooled, identity)
            if identity:
                _check_timeline(server, file, spooled, identity.segment_size)
            if comes_again and spooled.pages.broken_at is not None:
                return _publish_damaged(server, name, spooled, identity)
            return _publish(server, name, spooled, identity)
        except Rejected as rejection:
            if keep_rejected:
                from pgvault.vault.quarantine import set_aside_once

                with suppress(OSError):  # the sender keeps its file, so this copy is only a convenience
                    set_aside_once(server, spool.path, name, spooled.sha256, rejection.message)
            raise


def set_apart(server: ServerVault, name: str, source: BinaryIO, reason: str, *, level: int = 1) -> Path:
    """Put the data of `source` into quarantine instead of the archive; return its place."""
    from pgvault.vault.quarantine import set_aside_once

    with server.store.spool(server.key(Kind.WAL, name)) as spool:
        return set_aside_once(server, spool.path, name, _spool(source, spool, LARGEST_SEGMENT, level).sha256, reason)


def _check_timeline(server: ServerVault, file: WalFile, spooled: _Spooled, size: int) -> None:
    """Raise Rejected if the WAL and the history of a timeline are not of one server (rule 47)."""
    timeline = int(file.name[:8], 16)
    if timeline == 1 or isinstance(file, LabelFile):
        return
    from pgvault.vault.wal_fork import refuse_history, refuse_wal

    if isinstance(file, HistoryFile):
        from pgvault.model.timeline import parse_history

        refuse_history(server, parse_history(spooled.head.decode(), timeline), size)
        return
    segment = Segment.parse(file.name[:24], size)
    refuse_wal(server, segment, size, spooled.pages, spooled.file.open)
    _bring_history(server, segment, size, spooled)


def _bring_history(server: ServerVault, segment: Segment, size: int, spooled: _Spooled) -> None:
    """Archive the history file together with the first WAL of a recovery that pgvault made. PostgreSQL never archives
    it: it was made while archiving was off. WAL that branched off elsewhere is of another server, which took the same
    number.
    """
    name = f"{segment.timeline:08X}.history"
    if is_archived(server, name):
        return
    from pgvault.vault import recoveries
    from pgvault.vault.wal_fork import contradiction

    recovery = recoveries.find(server, segment.timeline)
    history = recovery.parsed if recovery else None
    if recovery and history and history.parent and segment.end(size) > history.parent.switch and \
            not contradiction(history, segment, size, spooled.pages, spooled.file.open):
        accept(server, name, io.BytesIO(recovery.history.encode()))


def _spool(source: BinaryIO, spool: SpoolFile, limit: int, level: int) -> _Spooled:
    """Read at most one byte more than `limit`, so that excess data is noticed."""
    digest, compression, plain, head, pages = hashlib.sha256(), Compression(level), 0, b"", PageOrder()
    while plain <= limit and (piece := source.read(min(PIECE, limit + 1 - plain))):
        plain += len(piece)
        head = head or piece
        spool.write(compression.add(piece))
        digest.update(piece)
        pages.add(piece)
    spool.write(compression.finish())
    spool.close()
    return _Spooled(spool, plain, digest.digest(), head, pages)


def _check(server: ServerVault, file: WalFile, spooled: _Spooled, identity: Identity | None) -> Identity | None:
    """Check whether these contents belong under this name, in this cluster (rule 12). At first contact the contents
    decide.
    """
    name = file.name
    try:
        if isinstance(file, HistoryFile):
            from pgvault.model.timeline import parse_history

            _whole_text(spooled)
            parse_history(spooled.head.decode(), file.timeline)
            return identity
        if isinstance(file, LabelFile):
            _check_label(_whole_text(spooled), file)
            return identity
        header = read_header(spooled.head)
        cluster = identity or Identity(str(header.system_identifier), header.segment_size)
        size = cluster.segment_size
        check_segment(header, spooled.plain, Segment.parse(name[:24], size), size, int(cluster.system_identifier))
        return cluster
    except (ValueError, PgvaultError) as error:
        reason = getattr(error, "message", str(error))
        raise Rejected(f"{name} cannot be archived: {reason}", detail=getattr(error, "detail", ""),
                       hint="Check that this server's archive_command names the right server.") from None


def _whole_text(spooled: _Spooled) -> str:
    if len(spooled.head) != spooled.plain or spooled.plain > TEXT_LIMIT:
        raise ValueError(f"it is longer than {TEXT_LIMIT} bytes")
    return spooled.head.decode()


def _check_label(text: str, file: LabelFile) -> None:
    """Check the segment in which the backup starts, according to `pg_backup_stop` (`access/transam/xlogbackup.c`)."""
    if not text.startswith("START WAL LOCATION: ") or f"(file {file.segment})" not in text.splitlines()[0]:
        raise ValueError("it does not say where the backup of this name starts")


def _publish(server: ServerVault, name: str, spooled: _Spooled, identity: Identity | None) -> Accepted:
    kept = None
    with server.leases.hold(Concern.ARCHIVE, wait=True):
        if identity:
            claim(server, identity)
        try:
            server.store.put(key_of(server, name), spooled.file)
        except Conflict:
            kept = _compare(server, name, spooled)
        add_to_index(server, name, spooled.plain, kept or spooled.sha256)
        return Accepted(name, kept is None)


def _publish_damaged(server: ServerVault, name: str, spooled: _Spooled, identity: Identity | None) -> Accepted:
    """Refuse a damaged segment once, since one that was damaged in transit arrives whole then (rule 11b). If it comes
    again the same, it is damaged on the server, permanently: it is archived, so that the server's disk does not fill
    up, and the WAL ends before the damage.
    """
    from pgvault.vault.quarantine import copy_of, forget, set_aside_once

    copy = copy_of(server, name, spooled.sha256)
    if not copy.exists() and not is_archived(server, name):
        reason = f"{name} is damaged: the WAL page at {spooled.pages.broken_at} is missing within it"
        with suppress(OSError):  # only the copy shows that it comes again
            set_aside_once(server, spooled.file.path, name, spooled.sha256, reason)
            raise Rejected(reason, detail="A copy of it is in quarantine.",
                           hint="PostgreSQL sends it again. What comes the same is damaged on the server, and archived "
                                f"as it is: then see pgvault check {server.name}")
    accepted = _publish(server, name, spooled, identity)
    forget(copy)
    return accepted


def remove(server: ServerVault, names: Sequence[str]) -> None:
    """Remove archived files for good, in this order: a run that is interrupted finds the rest in the index again."""
    with server.leases.hold(Concern.ARCHIVE, wait=True):
        for name in names:
            server.store.delete(key_of(server, name))
        with wal_index.writing(server) as index:
            index.remove(*names)


def _compare(server: ServerVault, name: str, spooled: _Spooled) -> bytes | None:
    """Compare a file with the stored one of the same name (rule 11). Return the digest of the stored file if that
    stays, None if the newcomer has replaced it.

    The stored file itself is read, not its row: only what can be read is worth an acknowledgement. It stays in its
    place until the newcomer replaces it, so that the segment is never found absent meanwhile.
    """
    key = key_of(server, name)
    facts = server.store.stat(key)
    stored = _digest_of(server, name)
    if stored == spooled.sha256:
        return stored
    if stored is not None and not _repairs(server, name, spooled, stored):
        further = _further(server, name, spooled)
        if further is None:
            raise _other_content(name)
        if not further:
            return stored
    _forget(server, name)
    server.store.put(key, spooled.file, replaces=facts)
    return None


def _digest_of(server: ServerVault, name: str) -> bytes | None:
    """Return the digest of the stored plain contents; None if they are no WAL any more, of which a copy is then kept in
    quarantine.
    """
    try:
        with server.store.stream(key_of(server, name)) as file:
            return digest_of(file)
    except Corrupt as error:
        from pgvault.vault.quarantine import set_aside_stored

        set_aside_stored(server, name, f"the archived copy is damaged ({error.detail}), a good one arrived")
        return None


def _repairs(server: ServerVault, name: str, spooled: _Spooled, stored: bytes) -> bool:
    """Return whether the newcomer is the whole segment of which the stored one is a damaged copy; that copy is then
    kept in quarantine.
    """
    if not isinstance(parse_wal_name(name), SegmentFile):
        return False
    from pgvault.vault.quarantine import set_aside_stored
    from pgvault.vault.wal_agreement import repairs
    from pgvault.vault.wal_facts import carry_to

    if not repairs(partial(server.store.stream, key_of(server, name)), spooled.file.open, carry_to(server, name)):
        return False
    set_aside_stored(server, name, "its WAL is damaged, and a whole copy arrived", stored)
    return True


def _further(server: ServerVault, name: str, spooled: _Spooled) -> bool | None:
    """Return whether the newcomer is the better of two copies of an unfinished segment, or of two histories that differ
    only in the reason, which PostgreSQL does not read; None if they differ, as any other files do.
    """
    file = parse_wal_name(name)
    if isinstance(file, HistoryFile):
        from pgvault.model.timeline import parse_history
        from pgvault.vault.wal_fork import archived_history

        stored, newcomer = archived_history(server, file.timeline), parse_history(spooled.head.decode(), file.timeline)
        return True if stored and stored.branches == newcomer.branches else None
    if not isinstance(file, PartialFile):
        return None
    from pgvault.vault.wal_agreement import reaches_further

    return reaches_further(spooled.file.open, partial(server.store.stream, key_of(server, name)))


def _forget(server: ServerVault, name: str) -> None:
    """Remove the row of a file that is about to be replaced: wherever that stops, no row has the wrong digest."""
    with suppress(Corrupt), wal_index.writing(server) as index:
        index.remove(name)


def _other_content(name: str) -> Rejected:
    return Rejected(
        f"{name} is archived already, with other content",
        detail="The archived file was kept; the newcomer is in quarantine.",
        hint="Two clusters may be archiving as one: check which servers have this archive_command.")


def add_to_index(server: ServerVault, name: str, plain: int, sha256: bytes) -> None:
    """Add the row of an archived file. Raises NotFound if the file is not archived. The caller holds the archive's
    lease.
    """
    found = server.store.stat(key := key_of(server, name))
    if found is None:
        raise absent(server.store.location(key))
    identity = read_identity(server)
    size = identity.segment_size if identity else None
    row = wal_index.describe(found, name, size, plain, sha256)
    try:
        _add_row(server, row)
    except Corrupt:  # a cache must not stop the archiving; `reconcile` adds what is missing in it
        wal_index.discard(server)
        _add_row(server, row)


def _add_row(server: ServerVault, row: wal_index.StoredFile) -> None:
    with wal_index.writing(server) as index:
        if index.find(row.name) != row:
            index.add(row)


def digest_of(file: BinaryIO) -> bytes:
    """Return the SHA-256 of an archived file's plain contents. Raises Corrupt if it is damaged."""
    digest = hashlib.sha256()
    for piece in decompressed(file):
        digest.update(piece)
    return digest.digest()


def sweep(server: ServerVault) -> None:
    """Remove the temporary files of processes that have ended."""
    server.store.sweep(Kind.WAL, server.name)
