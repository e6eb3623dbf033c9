"""What the verbs answer in the recovery wizard's stories: accidents, choices, plans; and the way from step to step."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from desk import NARROW, Desk, press
from textual.pilot import Pilot

from pgvault.console.commands import Answer
from pgvault.console.recovery.draft import Draft
from pgvault.console.recovery.drafts import draft_file
from pgvault.console.wizard.screen import RecoveryScreen
from pgvault.model.event import Checked, CommandRan, Level, Noted, PhaseStarted, Progressed
from pgvault.model.job import JobKind

BACKUP, OLDER = "20261122T120000Z", "20261121T120000Z"
DIRECTORY = "/srv/pg/18/main"
HOSTS = f"""
[hosts.standby]
ssh = "postgres@standby"
data_directory = "{DIRECTORY}"
socket_directory = "/run/postgresql"
port = 5432
[hosts.other]
ssh = "postgres@other"
"""
DROPPED = "DROP TABLE shop.public.orders"
COMMAND = (f"pgvault restore main {BACKUP} {DIRECTORY} --host standby --target-lsn 0/E01ADF0 --exclusive "
           "--target-timeline 1 --jobs 2 --expect shop.public.orders --start")
JOB = "20261123T120000Z-01"


def accident(kind: str = "drop", name: str = "orders", *, at: str = "2026-11-23T11:40:12Z", lsn: str = "0/E01ADF0",
             database: str = "shop", **counts: int) -> dict[str, Any]:
    objects = [{"kind": "table", "schema": "public", "name": name, "oid": 16390, "number": 0, "deleted": 0,
                "updated": 0, **counts}]
    return {"schema": 1, "server": "main", "kind": kind, "time": at, "timeline": 1, "lsn": lsn, "end_lsn": lsn,
            "xid": 739, "database": {"oid": 5, "name": database}, "objects": objects, "rows": 0, "name": "",
            "partial": False, "undo": ["--target-lsn", lsn, "--exclusive", "--target-timeline", "1"]}


def choices(*, reachable: bool = True, reason: str = "", nearest: tuple[dict[str, Any], ...] = (),
            lsn: str = "0/E01ADF0", backup: str = BACKUP, spaces: tuple[dict[str, Any], ...] = (),
            unread: tuple[str, ...] = ()) -> dict[str, Any]:
    """The answer to --choices: two backups, WAL to 11:50 of 23 November."""
    fits = [{"id": each, "fits": reachable, "proposed": reachable and each == backup,
             "reason": "is proposed, replays 3 segments" if each == backup else "would fit too, replays 4 more",
             "segments": 3 if reachable else None, "wal_bytes": 12 << 20 if reachable else None}
            for each in (BACKUP, OLDER)]
    failed = {"id": "20261120T120000Z", "fits": False, "proposed": False, "reason": "failed: the connection was lost",
              "segments": None, "wal_bytes": None}
    stop = {"lsn": lsn, "replayed": False, "time": "2026-11-23T11:40:12Z", "timeline": 1}
    return {"schema": 1, "server": "main", "target": {}, "reachable": reachable, "reason": reason or None,
            "stop": stop if reachable else None, "backup": backup if reachable else None,
            "timeline": 1 if reachable else None, "nearest": list(nearest), "backups": [*fits, failed],
            "tablespaces": list(spaces), "unread_wal": list(unread),
            "windows": [{"timeline": 1, "backups": [OLDER, BACKUP],
                         "earliest": {"time": "2026-11-21T12:01:00Z", "lsn": "0/60000B8", "timeline": 1},
                         "latest": {"time": "2026-11-23T11:50:00Z", "lsn": "0/F000000", "timeline": 1}}]}


def space(name: str, oid: int = 16400, *, is_new: bool = False) -> dict[str, Any]:
    return {"oid": oid, "name": name, "original": f"/mnt/{name}", "created_after_backup_began": is_new}


NEAREST = {"when": "earlier", "kind": "AtTime",
           "text": "just after the last commit at or before 2026-11-23 11:50:00+00",
           "backup": None, "options": ["--target-time", "2026-11-23 11:50:00+00", "--target-timeline", "1"],
           "time": "2026-11-23T11:50:00Z", "lsn": "0/EFFFF00", "timeline": 1,
           "reason": "the last commit that can be reached on timeline 1"}
TOO_LATE = choices(
    reachable=False, nearest=(NEAREST,),
    reason="On timeline 1 the archived WAL reaches to 0/F000000, where the last commit is of 2026-11-23 11:50:00+00.")


def condition(name: str, outcome: str = "ok", detail: str = "", fix: str = "") -> dict[str, str]:
    return {"name": name, "outcome": outcome, "detail": detail, "fix": fix}


OCCUPIED = condition("directory", "failed", f"{DIRECTORY} holds a cluster of PostgreSQL 18.",
                     f"Choose another directory; or have it renamed out of the way: --overwrite {DIRECTORY}")


def plan(*failed: dict[str, str], overwrites: str = "", command: str = COMMAND) -> dict[str, Any]:
    """The answer to --dry-run; as always with its exit code, see `planned`."""
    return {
        "schema": 1, "plan": "restore", "server": "main", "backup": BACKUP,
        "backup_details": {"finished_at": "2026-11-22T12:01:00Z", "server_version": "18.1", "size_bytes": 28 << 20},
        "target": {"kind": "AtLsn", "text": "WAL position 0/E01ADF0, exclusive", "stop_lsn": "0/E01ADF0",
                   "stop_replayed": False, "stop_time": "2026-11-23T11:40:12Z"},
        "destination": {"host": "standby", "directory": DIRECTORY, "tablespaces": {}},
        "timeline": 1, "timeline_path": [1], "prepared": [],
        "wal": {"first": "00000001000000000000000A", "last": "00000001000000000000000E", "segments": 5,
                "bytes": 12 << 20, "missing": [], "partial": None},
        "bytes_to_send": 31 << 20, "bytes_to_write": 144 << 20, "estimate_seconds": 34.4,
        "estimate_basis": "measured by job 20261120T120000Z-01 on standby: 110.0 MiB/s copy",
        "space": [{"path": DIRECTORY, "mounted_on": "/srv", "needed_bytes": 192 << 20, "free_bytes": 1 << 40}],
        "recovery_settings": {"recovery_target_lsn": "0/E01ADF0", "recovery_target_inclusive": "off",
                              "recovery_target_timeline": "1"},
        "sets_aside": bool(overwrites),
        "overwrites": overwrites or None,
        "settings_changed": [{"file": "postgresql.conf", "line": 257, "name": "archive_command", "was": "'cp %p /wal'",
                              "action": "commented out"}],
        "settings_to_look_at": [],
        "preconditions": [condition("backup", detail=f"{BACKUP} is whole, by its manifest"),
                          condition("running server", detail="none there"),
                          *(failed or [condition("directory", detail="empty")]),
                          condition("space", detail="1.4 TiB free for 192.0 MiB")],
        "command": command}


def planned(document: dict[str, Any]) -> Answer:
    failed = any(each["outcome"] == "failed" for each in document["preconditions"])
    return Answer(5 if failed else 0, (document,), None)


def ready(desk: Desk, asked: dict[str, Any] | None = None, **facts: object) -> Desk:
    """A server with backups and a dropped table, two hosts, and a restore that will go well; `asked`: what the point
    comes to."""
    desk.protect(days=(21, 22), **facts)
    desk.shelf.config.write_text(desk.shelf.config.read_text() + HOSTS)
    desk.says("events main", accident())
    desk.says("restore main auto", asked or choices())
    desk.says("restore main auto /srv", answer=planned(plan()))
    desk.says(f"restore main {BACKUP} /srv", {"schema": 1, "job": JOB})
    return desk


def running(desk: Desk, *events: Any, lives: bool = True) -> str:
    """The restore's job, copying half of what it has to, unless other events are given."""
    told = events or (
        CommandRan("standby", "sh -c 'probe'", 0.2, 0, desk.now), PhaseStarted("copy", 144 << 20, desk.now),
        Progressed(36 << 20, 10, desk.now), Progressed(72 << 20, 600, desk.now))
    return desk.job(*told, kind=JobKind.RESTORE, command=COMMAND, lives=lives, started=desk.now)


VERDICT = ("restored to standby:/srv/pg/18/main; the server is promoted, on timeline 2, last replayed commit "
           "2026-11-23 11:40:11.9+00; shop.public.orders is there with 1500 rows")


def succeeded(desk: Desk) -> str:
    """The restore's job, ended well."""
    return running(desk, PhaseStarted("copy", 144 << 20, desk.now),
                   Checked("shop.public.orders is there", "ok", "1500 rows", at=desk.now),
                   Noted("standby says: LOG:  recovery stopping before WAL location (LSN) \"0/E01ADF0\"", Level.INFO,
                         "", desk.now),
                   desk.ended(VERDICT), lives=False)


@asynccontextmanager
async def recovering(desk: Desk, *keys: str, size: tuple[int, int] = NARROW,
                     **options: object) -> AsyncIterator[Pilot[None]]:
    """The console with the wizard open, behind these keys."""
    async with desk.open(size=size, **options) as pilot:
        await press(pilot, "r")
        for key in keys:
            await press(pilot, key)
        yield pilot


def wizard(pilot: Pilot[None]) -> RecoveryScreen:
    screen = pilot.app.screen
    assert isinstance(screen, RecoveryScreen), screen
    return screen


def draft_of(desk: Desk) -> Draft | None:
    """What is kept of the recovery of `main`."""
    file = draft_file(desk.shelf.home, "main")
    assert file
    return file.read()
