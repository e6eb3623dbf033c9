"""Brings WAL that only an old data directory has into the vault, before that directory is set aside.

What the server had not archived is in its pg_wal: finished segments, and the unfinished one, which has the newest
commits and is kept as a `.partial`, as PostgreSQL does at the end of a timeline. A segment there is genuine if its
first page has its own position; a recycled one, waiting to be used, has that of its earlier life.

The directory may be that of a copy which was restored, looked at and is no longer wanted. Its timelines are not the
server's: if they were archived, standbys and restores would follow them. They go to quarantine.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from pgvault.io.host import Host
from pgvault.io.host_failure import command_failed
from pgvault.model.check import Outcome
from pgvault.model.errors import PgvaultError, Rejected, UnknownWal, WalMissing
from pgvault.model.event import Emit, Level, Noted
from pgvault.model.restore_plan import Precondition
from pgvault.model.segment import HistoryFile, PartialFile, Segment, SegmentFile, parse_wal_name
from pgvault.model.timeline import History, parse_history
from pgvault.store.files import naming
from pgvault.vault import recoveries
from pgvault.vault.identity import Identity, read_identity
from pgvault.vault.layout import ServerVault
from pgvault.vault.wal_archive import accept, is_archived, set_apart
from pgvault.wal.facts import skim_all
from pgvault.wal.pages import LONG_HEADER, read_header
from pgvault.wal.pieces import pieces
from pgvault.wal.records import Cause

_PIECE = 8 << 20
_MOST_NAMED = 4

# A segment that waits for its archive_command has a .ready; the segment counts, whatever the .ready contains.
_LIST = f"""# look at the WAL in the old directory
cd "$1/pg_wal" 2>/dev/null || {{ [ ! -e "$1/pg_wal" ]; exit; }}
for file in *; do
  case $file in *[!0-9A-Fa-z.]*) continue ;; esac
  [ -f "$file" ] || continue
  head -c 1 "$file" > /dev/null || exit 1
  printf '%s ' "$file"
  if [ -e "archive_status/$file.ready" ]; then printf 'ready '
  elif [ -e "archive_status/$file.done" ]; then printf 'done '
  fi
  head -c {LONG_HEADER.size} "$file" | od -An -v -tx1 | tr -d ' \\n'
  echo
done
"""
_READ = """# read a piece of the WAL in the old directory
dd if="$1" bs=1048576 skip="$2" count="$3"
"""


@dataclass(frozen=True, slots=True)
class _Found:
    """A file of pg_wal."""

    name: str
    head: bytes
    finished: bool
    """True if PostgreSQL has marked it as complete."""
    waits: bool = False
    """True if it waits for an archive_command, so that this server is meant to archive."""

    @property
    def timeline(self) -> int:
        return int(self.name[:8], 16)


async def salvage(host: Host, directory: str, server: ServerVault, *, level: int, emit: Emit) -> tuple[str, ...]:
    """Archive what the old data directory has and the vault lacks; return the names under which it was stored.

    Raises an error if something could not be read or stored: then the directory must not be changed. A file that the
    archive refuses because it has another one of that name is in quarantine, so that nothing is lost; it is reported.
    """
    identity = read_identity(server)
    found = await _look(host, directory)
    wanted = _wanted(found, identity)
    foreign = await _foreign(host, directory, server, [found[source] for source in wanted.values()])
    stored: list[str] = []
    apart: list[str] = []
    for name, source in wanted.items():
        reason = foreign.get(found[source].timeline, "")
        if not reason and not name.endswith(".partial") and await asyncio.to_thread(is_archived, server, name):
            continue
        if kept := await _bring(host, f"{directory}/pg_wal/{source}", name, server, identity, reason, level, emit):
            (apart if reason else stored).append(kept)
    if stored:
        emit(Noted(f"salvaged WAL that only {directory} had into the vault: {', '.join(stored)}", code="salvaged"))
    if apart:
        emit(Noted(f"WAL in {directory} is in quarantine, not in the archive of {server.name}: "
                   f"{'; '.join(dict.fromkeys(foreign.values()))}. It is {', '.join(apart)}. What is wanted of it is "
                   f"archived with pgvault put-wal {server.name}, the history file first", Level.WARNING, "foreign"))
    return tuple(stored)


async def only_there(host: Host, directory: str, server: ServerVault) -> tuple[str, ...]:
    """Return the names under which `salvage` would archive what only this directory has. Raises the same errors."""
    found = await _look(host, directory)
    wanted = _wanted(found, read_identity(server))
    foreign = await _foreign(host, directory, server, [found[source] for source in wanted.values()])
    return tuple(name for name, source in wanted.items()
                 if found[source].timeline not in foreign and not is_archived(server, name))


def planned_without(names: Sequence[str], server: str, directory: str) -> Precondition:
    """Return the condition of a plan to the end of the WAL, if the directory that it replaces has more WAL."""
    return Precondition("WAL of the old directory", Outcome.WARNING,
                        f"{_listed(names, directory)}. It is brought into the vault before the directory is set aside, "
                        "and this restore does not replay it.",
                        f"To restore that too, {_first(server, directory)}, and plan again, with --partial for a "
                        ".partial.")


def unreachable_without(error: WalMissing, names: Sequence[str], server: str, directory: str) -> WalMissing:
    """Return the error for a target that may be in WAL that only the directory has, which has not been read."""
    return WalMissing(error.message, detail=f"{error.detail} {_listed(names, directory)}; it was not looked into.",
                      hint=f"If the target is in there, {_first(server, directory)}, and plan again, with --partial "
                           f"for a .partial. Otherwise: {error.hint}")


def _listed(names: Sequence[str], directory: str) -> str:
    listed = ", ".join(names[:_MOST_NAMED]) + (f" and {len(names) - _MOST_NAMED} more" if names[_MOST_NAMED:] else "")
    return f"Only {directory}/pg_wal has {listed}"


def _first(server: str, directory: str) -> str:
    return (f"archive each of them first, histories before segments: pgvault put-wal {server} NAME < FILE, with the "
            f"file of that name in {directory}/pg_wal (without .partial where there is none)")


def not_planned(stored: Sequence[str], timeline: int) -> Noted | None:
    """Return the note of a restore to the end of the WAL that was planned, and reviewed, before `stored` was there."""
    wal = [each for each in stored if not each.endswith(".history")]
    if not wal:
        return None
    partial = " --partial" if any(each.endswith(".partial") for each in wal) else ""
    return Noted("this restore was planned without the salvaged WAL and ends before it. What was committed there is "
                 f"restored with --target-end --target-timeline {timeline}{partial}", Level.WARNING, "salvaged")


async def _foreign(host: Host, directory: str, server: ServerVault, wanted: Sequence[_Found]) -> dict[int, str]:
    """Return the timelines in the directory that are not the server's, each with the reason."""
    texts: dict[int, str] = {}
    for each in wanted:
        if each.name.endswith(".history"):
            texts[each.timeline] = (await host.read_file(f"{directory}/pg_wal/{each.name}")).decode("utf-8", "replace")
    reasons: dict[int, str] = {}
    for timeline in sorted({each.timeline for each in wanted}):
        waits = any(each.waits for each in wanted if each.timeline == timeline)
        history = _parsed(texts.get(timeline, ""), timeline)
        known = await asyncio.to_thread(recoveries.what_is_known, server, timeline)
        if reason := recoveries.why_foreign(known, history, reasons, meant_to_archive=waits):
            reasons[timeline] = reason
    return reasons


def _parsed(text: str, timeline: int) -> History | None:
    try:
        return parse_history(text, timeline) if text else None
    except ValueError:
        return None


async def _look(host: Host, directory: str) -> dict[str, _Found]:
    done = await host.run_script(_LIST, directory, timeout=600)
    if done.status:
        raise command_failed(host.description, ["sh"], done.status, done.stderr, path=f"{directory}/pg_wal",
                             doing=f"look for WAL in {directory}/pg_wal")
    found = {}
    for line in done.stdout.decode().splitlines():
        name, *status, head = line.split(" ")
        found[name] = _Found(name, bytes.fromhex(head), bool(status), status == ["ready"])
    return found


def _wanted(found: Mapping[str, _Found], identity: Identity | None) -> dict[str, str]:
    """Return the name under which to archive each file: histories first, then segments in the order of their names."""
    wanted: dict[str, str] = {}
    for name in sorted(found, key=lambda n: (not n.endswith(".history"), n)):
        try:
            file = parse_wal_name(name)
        except ValueError:
            continue
        if isinstance(file, HistoryFile) or (isinstance(file, PartialFile) and _holds(found[name], identity)):
            wanted[name] = name
        elif isinstance(file, SegmentFile) and identity is not None and _holds(found[name], identity):
            following = Segment.parse(name, identity.segment_size).next().name(identity.segment_size)
            written_on = following in found and _holds(found[following], identity)
            wanted[name if found[name].finished or written_on else f"{name}.partial"] = name
    if not any(not name.endswith(".history") for name in wanted):
        return {}  # nothing in it is this cluster's WAL, so its histories are not either
    return wanted


def _holds(found: _Found, identity: Identity | None) -> bool:
    """Return whether the file has the WAL of its name, of this cluster."""
    try:
        header = read_header(found.head)
        segment = Segment.parse(found.name[:24], header.segment_size)
    except (ValueError, PgvaultError):
        return False
    return identity is not None and str(header.system_identifier) == identity.system_identifier \
        and header.address == segment.start(header.segment_size)


async def _bring(host: Host, path: str, name: str, server: ServerVault, identity: Identity | None, foreign: str,
                 level: int, emit: Emit) -> str:
    """Store what the vault lacks, in the archive or, with the reason in `foreign`, in quarantine; return its name,
    empty if nothing was stored.
    """
    with tempfile.TemporaryFile(dir=server.home) as copy:
        with naming(server.home):
            await _copy(host, path, copy, identity.segment_size if identity else 0)
        name = await asyncio.to_thread(_name_by_content, name, copy)
        copy.seek(0)
        if foreign:
            await asyncio.to_thread(set_apart, server, name, copy, foreign, level=level)
            return name
        try:
            accepted = await asyncio.to_thread(accept, server, name, copy, level=level)
        except Rejected as rejection:
            emit(Noted(f"{rejection.message}; it is in quarantine. {rejection.detail}", Level.WARNING, "rejected"))
            return ""
    return name if accepted.new else ""


def _name_by_content(name: str, copy: BinaryIO) -> str:
    """Return the name that the contents have. A restore with an unfinished segment leaves that under the name of a
    complete one, and recovery marks it as done. Archived so, it would be taken for all the WAL that the server has
    written there.
    """
    if not isinstance(parse_wal_name(name), SegmentFile):
        return name
    copy.seek(0)
    try:
        header = read_header(copy.read(LONG_HEADER.size))
        copy.seek(0)
        end = skim_all(pieces(iter(lambda: copy.read(_PIECE), b""), header.address)).end
    except (UnknownWal, ValueError):
        return name
    return f"{name}.partial" if end and end.cause is Cause.UNWRITTEN else name


async def _copy(host: Host, path: str, into: BinaryIO, size: int) -> None:
    """Copy in pieces, so that a large segment needs no large memory."""
    for skip, count in _pieces(max(size, 1)):
        piece = await host.run_script(_READ, path, str(skip), str(count), timeout=600)
        if piece.status:
            raise command_failed(host.description, ["dd"], piece.status, piece.stderr, doing=f"read {path}", path=path)
        await asyncio.to_thread(into.write, piece.stdout)


def _pieces(size: int) -> Iterator[tuple[int, int]]:
    """Yield (skip, count) in MiB."""
    for start in range(0, size, _PIECE):
        yield start >> 20, min(_PIECE, max(size - start, 1 << 20)) >> 20
