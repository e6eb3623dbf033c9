"""A made-up archive to choose in: what was lived through, and what is found there for a target."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from made_archive import NOON, MadeArchive, Server

from pgvault.engine.restore.choose import Choice, NoChoice, find_choice
from pgvault.engine.restore.recovery_path import RecoveryPaths
from pgvault.model.backup import Backup
from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment
from pgvault.model.target import Target

FIRST, SECOND = "20261101T120000Z", "20261101T120001Z"
FIRST_END, SECOND_END = "2026-11-01 12:00:01.25+00", "2026-11-01 12:02:12.5+00"
REACH = "where the last commit is of 2026-11-01 12:03:12.5+00"


def lived() -> Server:
    """Backup, commit 701, restore point deploy, commit 702; backup, commit 703, restore points deploy and only.

    Segment 2 has the first backup, 3 what follows, 4 the second one, 5 what follows.
    """
    server = Server()
    server.backup()
    server.idle(60)
    server.commit()
    server.idle(60)
    server.point("deploy")
    server.idle(10)
    server.commit()
    server.switch()
    server.backup()
    server.idle(60)
    server.commit()
    server.idle(5)
    server.point("deploy")
    server.point("only")
    server.switch()
    return server


def archive_without(*numbers: int) -> MadeArchive:
    return MadeArchive(lived(), frozenset(Segment(1, number) for number in numbers))


def branched() -> MadeArchive:
    """Timeline 2 leaves the first where commit 701 would have been; it has commit 704."""
    server = lived()
    server.promote(Lsn(0x300028))
    server.commit()
    server.switch()
    return MadeArchive(server)


def find(archive: MadeArchive, target: Target, timeline: int | None = None,
         backups: Sequence[Backup] | None = None) -> Choice | NoChoice:  # fmt: skip
    return find_choice(RecoveryPaths(archive), archive.backups if backups is None else backups, target, timeline)


def refusal(archive: MadeArchive, target: Target, timeline: int | None = None,
            backups: Sequence[Backup] | None = None) -> NoChoice:  # fmt: skip
    found = find(archive, target, timeline, backups)
    assert isinstance(found, NoChoice)
    return found


def at(hour: int, minute: int = 0, second: float = 0) -> datetime:
    return NOON.replace(hour=hour, minute=minute) + timedelta(seconds=second)
