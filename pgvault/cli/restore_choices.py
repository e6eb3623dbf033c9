"""Shows the result of `restore --choices` as text and as the documented JSON."""

from __future__ import annotations

import shlex
from typing import Any

from pgvault.cli.output import Output
from pgvault.engine.restore.bounds import Bound, Bounds
from pgvault.engine.restore.choices import Choices
from pgvault.engine.restore.nearest import Nearest
from pgvault.model.restore_request import point_options
from pgvault.model.target import describe, option
from pgvault.model.text import size, when
from pgvault.model.times import utc


def show(found: Choices, out: Output) -> None:
    stop = found.stop
    stops = f"{'after' if stop.replayed else 'before'} {stop.lsn} on timeline {stop.timeline}" if stop else ""
    stops += f", {utc(stop.time)}" if stop and stop.time else ""
    out.fields([
        ("Target", describe(found.target)),
        *([("Recovery stops", stops), ("Backup", found.backup)] if stop else
          [("Not reachable", out.paint(found.reason, "bad"))]),
        *((f"Tablespace {each.name}", f"needs a directory, {shlex.join(option('--tablespace', f'{each.name}=PATH'))}; "
           f"on the server it is in {each.original}") for each in found.spaces),
        *([("Not read", f"{found.unread[0]}{' and others' * (len(found.unread) > 1)}: whether it creates a tablespace "
            "is not known (--allow-unread-wal)")] if found.unread else []),
        *(("Restorable", _reach(each)) for each in found.windows),
    ], title=f"Restore of server {found.server}:")
    if found.nearest:
        out.line()
        out.line(out.paint("Nearest targets", "bold"))
        for each in found.nearest:
            moment = utc(each.stop.time) if each.stop.time else ""
            added = "" if moment in each.text else f", {moment}"
            out.line(f"  {each.when.value:<7}  {each.text}{added}: {each.reading.reason}")
            out.line(f"           {shlex.join(_words(found, each))}")
    out.line()
    words = {True: ("fits", "good"), False: ("no", "dim")}
    out.table(["Backup", "", "Segments", "WAL stored", ""], [
        [fit.backup, out.paint(*(("proposed", "good") if fit.proposed else words[fit.fits])),
         "-" if fit.segments is None else str(fit.segments), size(fit.wal_bytes), fit.reason]
        for fit in found.fits], right={2, 3})


def _reach(each: Bounds) -> str:
    latest = when(each.latest.time, exact=True) if each.latest.time else str(each.latest.lsn)
    return f"{when(each.earliest.time, exact=True)} to {latest} on timeline {each.timeline}"


def _words(found: Choices, place: Nearest) -> list[str]:
    """Return the beginning of the command that restores to this target."""
    backup = [place.reading.backup] if place.reading.backup else []
    return ["pgvault", "restore", found.server, *backup, *_options_of(place)]


def _options_of(place: Nearest) -> list[str]:
    return point_options(place.reading.target, place.reading.timeline, partial=place.reading.partial)


def document(found: Choices) -> dict[str, Any]:
    """Return the documented JSON object."""
    stop = found.stop
    return {
        "server": found.server,
        "target": {"kind": type(found.target).__name__, "text": describe(found.target),
                   "options": point_options(found.target, found.timeline)},
        "reachable": stop is not None, "reason": found.reason or None,
        "stop": stop and {"lsn": stop.lsn, "replayed": stop.replayed, "time": stop.time, "timeline": stop.timeline},
        "backup": found.backup, "timeline": found.followed,
        "nearest": [_place(each) for each in found.nearest],
        "backups": [{"id": fit.backup, "fits": fit.fits, "proposed": fit.proposed, "reason": fit.reason,
                     "segments": fit.segments, "wal_bytes": fit.wal_bytes} for fit in found.fits],
        "tablespaces": [{"oid": each.oid, "name": each.name, "original": each.original,
                         "created_after_backup_began": each.is_new} for each in found.spaces],
        "unread_wal": list(found.unread),
        "windows": [{"timeline": each.timeline, "earliest": _bound(each.earliest), "latest": _bound(each.latest),
                     "backups": each.backups} for each in found.windows]}


def _place(each: Nearest) -> dict[str, Any]:
    return {"when": each.when.value, "kind": type(each.reading.target).__name__, "text": each.text,
            "backup": each.reading.backup or None, "options": _options_of(each), "time": each.stop.time,
            "lsn": each.stop.lsn, "timeline": each.reading.timeline, "reason": each.reading.reason}


def _bound(bound: Bound) -> dict[str, Any]:
    return {"time": bound.time, "lsn": bound.lsn, "timeline": bound.timeline}
