"""The recoveries that pgvault made, and the timeline of each: `<server>/recoveries/<8 hex>.toml`.

A restored server forks a timeline when it promotes, with archiving off, so its history file is never archived, and the
next recovery would take the same number. So a number is reserved here before a restore writes its first byte, for good,
whatever becomes of that restore; and the history that the promotion wrote is kept here. It becomes part of the archive
with the first WAL of that timeline that arrives, since then the restored server is in service. Until then nothing
follows the timeline, since a copy may only have been looked at.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Container, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace

from pgvault.model.errors import NotFound, PgvaultError
from pgvault.model.timeline import History, parse_history
from pgvault.store.keys import Key, Kind
from pgvault.store.leases import Concern
from pgvault.vault.layout import ServerVault

_TIMELINE = re.compile(r"[0-9A-F]{8}")
_WAL_FILE = re.compile(r"[0-9A-F]{8}([0-9A-F]{8}|\.history)")
"""The beginning of the name of a segment or of a history."""
_LEAP = 1000


@dataclass(frozen=True, slots=True)
class Recovery:
    timeline: int
    follows: int
    """The timeline along which it recovers."""
    job: str = ""
    host: str = ""
    directory: str = ""
    history: str = ""
    """The text of the history file that its promotion wrote; empty while it is not known."""

    @property
    def place(self) -> str:
        return f"{self.directory} on {self.host or 'this machine'}"

    @property
    def parsed(self) -> History | None:
        """Return the history; None if none is known, or none that can be read."""
        try:
            return parse_history(self.history, self.timeline) if self.history else None
        except ValueError:
            return None


def find(server: ServerVault, timeline: int) -> Recovery | None:
    """Return the recovery; None if pgvault made none with this timeline. An unreadable one still has its number."""
    try:
        facts = tomllib.loads(server.store.read(_key(server, timeline)).decode())
        return Recovery(timeline, int(facts["follows"]), *(str(facts.get(name, "")) for name in (
            "job", "host", "directory", "history")))
    except NotFound:
        return None
    except (PgvaultError, ValueError, KeyError, TypeError):
        return Recovery(timeline, 0)


def of_job(server: ServerVault, job: str) -> Recovery | None:
    """Return the recovery of this job; None if none is recorded."""
    found = (find(server, timeline) for timeline in _reserved(server))
    return next((each for each in found if each is not None and each.job == job), None)


def next_timeline(server: ServerVault, follows: int) -> int:
    """Return the first number after all timelines that the vault knows of, even if a recovery was only to take one.

    PostgreSQL counts by ones. A number that leaps far ahead is no timeline that it made, and would have a restore bring
    a placeholder for each number up to it.
    """
    newest = follows
    for number in sorted(_numbers(server)):
        if newest < number <= newest + _LEAP:
            newest = number
    return newest + 1


def reserve(server: ServerVault, wanted: Recovery) -> Recovery:
    """Give a recovery the first number that nothing in this vault has, permanently; `wanted.timeline` does not matter.
    """
    with server.leases.hold(Concern.ARCHIVE, wait=True):
        recovery = replace(wanted, timeline=next_timeline(server, wanted.follows))
        server.store.put(_key(server, recovery.timeline), _document(recovery))
        return recovery


def note_history(server: ServerVault, recovery: Recovery, history: str) -> Recovery:
    """Record the history that the promotion wrote. Raises ValueError if it is no history of this timeline."""
    parse_history(history, recovery.timeline)
    noted, key = replace(recovery, history=history), _key(server, recovery.timeline)
    server.store.put(key, _document(noted), replaces=server.store.stat(key))
    return noted


@dataclass(frozen=True, slots=True)
class KnownTimeline:
    """What the vault knows about one timeline."""

    timeline: int
    has_wal: bool
    """True if the archive has WAL of it, or WAL of it is being received."""
    history: History | None
    """The archived history."""
    recovery: Recovery | None


def what_is_known(server: ServerVault, timeline: int) -> KnownTimeline:
    from pgvault.vault.wal_archive import is_archived
    from pgvault.vault.wal_fetch import read_verified

    name = f"{timeline:08X}.history"
    text = b"".join(read_verified(server, name)).decode() if is_archived(server, name) else ""
    return KnownTimeline(timeline, _has_wal(server, timeline), parse_history(text, timeline) if text else None,
                         find(server, timeline))


def _has_wal(server: ServerVault, timeline: int) -> bool:
    archived = server.store.list(Kind.WAL, server.name, prefix=f"{timeline:08X}")
    return any(len(each.name) >= 24 for each in archived) or \
        any(server.spool.streaming.glob(f"{timeline:08X}{'?' * 16}*"))


def why_foreign(known: KnownTimeline, history: History | None, foreign: Container[int], *,
                meant_to_archive: bool) -> str:
    """Return why WAL of this timeline, found in a data directory, is not the server's; empty if it is.

    `history` is the one in the directory, `foreign` the timelines that are known not to be the server's.
    """
    timeline = known.timeline
    if parents := [each.timeline for each in (history.ancestors if history else ()) if each.timeline in foreign]:
        return f"timeline {timeline} goes on from timeline {parents[-1]}, which is not the server's"
    if known.history and history:
        if known.history.branches == history.branches:
            return ""
        return f"timeline {timeline} of the directory is another one than that of the archive"
    if timeline == 1 or known.has_wal or known.history or meant_to_archive:
        return ""
    if known.recovery:
        return (f"timeline {timeline} was given to the recovery to {known.recovery.place} by job {known.recovery.job}, "
                "of which nothing was archived")
    return f"timeline {timeline} leaves the path of the server: the archive knows nothing of it"


def _document(recovery: Recovery) -> bytes:
    import tomli_w

    return tomli_w.dumps(asdict(recovery)).encode("utf-8", "backslashreplace")


def _key(server: ServerVault, timeline: int) -> Key:
    return server.key(Kind.RECOVERY, f"{timeline:08X}")


def _reserved(server: ServerVault) -> Iterator[int]:
    for each in server.store.list(Kind.RECOVERY, server.name):
        if _TIMELINE.fullmatch(each.name):
            yield int(each.name, 16)


def _archived(server: ServerVault) -> Iterator[int]:
    """Yield each timeline of which anything is archived, with one listing for each, however large it is."""
    after = ""
    while found := next(iter(server.store.list(Kind.WAL, server.name, after=after)), None):
        if _WAL_FILE.match(found.name):
            yield int(found.name[:8], 16)
        after = f"{found.name[:8]}~"  # sorts after every name of this timeline


def _numbers(server: ServerVault) -> set[int]:
    """Return the numbers in the names of what is archived, received and reserved."""
    found = {*_archived(server), *_reserved(server)}
    for directory in (server.spool.streaming, server.spool.incoming):
        with suppress(FileNotFoundError):
            found |= {int(name[:8], 16) for name in os.listdir(directory) if _WAL_FILE.match(name)}
    return found
