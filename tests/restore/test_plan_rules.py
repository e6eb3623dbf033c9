"""What a restore is asked for that does not go together; what a plan says of its backup and of the WAL on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from choosing import find, lived
from made_archive import MadeArchive
from support.restoring import backup, box, destination, place
from test_fit_rules import Shelf

from pgvault.engine.restore.choose import Choice
from pgvault.engine.restore.directory_state import read_directory_state
from pgvault.engine.restore.plan import directory_of
from pgvault.engine.restore.plan_conditions import (
    break_conditions,
    histories_for,
    passed_over,
    replaced_by,
    wal_conditions,
    whole,
)
from pgvault.engine.restore.stop import Stop
from pgvault.io.probe import Contents
from pgvault.model.backup import Backup
from pgvault.model.check import Outcome
from pgvault.model.errors import UsageError, WalMissing
from pgvault.model.lsn import Lsn
from pgvault.model.relation import RelationName
from pgvault.model.restore_plan import Precondition, Replaced
from pgvault.model.restore_request import RestoreRequest
from pgvault.model.segment import Segment
from pgvault.model.target import AtLsn, AtXid, EndOfWal, Immediate, TargetAction
from pgvault.model.window import MINIMAL
from pgvault.vault import catalog
from pgvault.vault.layout import ServerVault, Vault
from pgvault.vault.wal_rows import Row


@pytest.fixture
def server(tmp_path: Path) -> ServerVault:
    vault = Vault.open_or_create(tmp_path / "vault").server("main")
    vault.prepare()
    return vault


def chosen(search: MadeArchive, target: Any, backups: Sequence[Backup] | None = None) -> Choice:
    found = find(search, target, None, backups)
    assert isinstance(found, Choice)
    return found


@pytest.mark.parametrize(("request_", "host", "expected"), [
    ({"directory": "/srv/x/"}, None, "/srv/x"), ({"directory": "/"}, None, "/"),
    ({"directory": "/srv/X"}, None, "/srv/X"),
    ({"directory": "/srv/x"}, box(data_directory="/srv/data"), "/srv/x"),
    ({}, box(data_directory="/srv/data"), "/srv/data"),
    ({}, None, ("no directory to restore to", "Name it: pgvault restore SERVER BACKUP DIRECTORY")),
    ({}, box(), ("no directory to restore to", "Name it: pgvault restore SERVER BACKUP DIRECTORY")),
    ({"directory": "x/y"}, None, ("not an absolute path: x/y", "Write the whole path, from the root.")),
])  # fmt: skip
def test_where_a_restore_goes(request_: dict[str, str], host: Any, expected: Any) -> None:
    asked = RestoreRequest("main", **request_)
    if isinstance(expected, str):
        assert directory_of(asked, host) == expected
        return
    with pytest.raises(UsageError) as refusal:
        directory_of(asked, host)
    assert (refusal.value.message, refusal.value.hint) == expected


TABLE = RelationName("a", "b", "c")
ONLY_STARTED = ("only a server that was started and still runs can be asked for what is expected",
                "--expect goes with --start, and not with --target-action shutdown.")
NO_TARGET = "Name the place as --target-time or --target-lsn; pgvault wal SERVER shows the last."
LSN = AtLsn(Lsn(5))


@pytest.mark.parametrize(("request_", "refused"), [
    ({}, None), ({"expects": (TABLE,), "start": True}, None), ({"standby": True}, None),
    ({"target": LSN, "action": TargetAction.PAUSE}, None), ({"partial": True}, None),
    ({"expects": (TABLE,)}, ONLY_STARTED),
    ({"expects": (TABLE,), "start": True, "target": LSN, "action": TargetAction.SHUTDOWN}, ONLY_STARTED),
    ({"standby": True, "target": LSN},
     ("--standby cannot be used with a target, as a standby follows the original server", "")),
    ({"standby": True, "action": TargetAction.PAUSE},
     ("--standby cannot be used with a target, as a standby follows the original server", "")),
    ({"standby": True, "partial": True},
     ("a standby gets the newest WAL from the original server, not from an unfinished segment", "")),
    ({"action": TargetAction.PAUSE}, ("the server can only pause at a target, and the end of the WAL is none",
                                      NO_TARGET)),
    ({"action": TargetAction.SHUTDOWN}, ("the server can only shutdown at a target, and the end of the WAL is none",
                                         NO_TARGET)),
])  # fmt: skip
def test_what_does_not_go_together(request_: dict[str, Any], refused: tuple[str, str] | None) -> None:
    asked = RestoreRequest("main", **request_)
    if refused is None:
        asked.check()
        return
    with pytest.raises(UsageError) as refusal:
        asked.check()
    assert (refusal.value.message, refusal.value.hint) == refused


def test_a_backup_with_corrupt_pages_is_a_warning() -> None:
    assert whole(backup()) == Precondition("backup", Outcome.OK, "20261101T120000Z is whole, by its manifest")
    pages = tuple(f"base/1/{number}" for number in range(7))
    assert whole(backup(corrupt_pages=pages)) == Precondition(
        "backup", Outcome.WARNING,
        "The server reported corrupt pages in base/1/0, base/1/1, base/1/2, base/1/3, base/1/4.",
        "Prefer an older backup, with the same target: it replays the changes since.")


def test_newer_backups_that_cannot_be_read_were_passed_over(server: ServerVault) -> None:
    for number in (1, 3):
        lost = server.backups / f"2026110{number}T120000Z"
        lost.mkdir(parents=True)
        (lost / "backup.toml").write_text("=")
    [_, newest] = catalog.read_all(server).unreadable
    assert list(passed_over(server, backup(id="20261102T120000Z"))) == [Precondition(
        "unreadable backup 20261103T120000Z", Outcome.WARNING, f"It was passed over: {newest.reason}.", newest.fix)]


PASSES = "What was done behind it can be restored from a newer backup only."


@pytest.mark.parametrize(("asked", "ends_by", "expected"), [
    ({}, "", [Precondition("end of the WAL", Outcome.WARNING, "It is 0/300000, though the archive goes on: segment "
                           "000000010000000000000003 behind it is missing.", PASSES)]),
    ({"standby": True}, "", [Precondition("end of the WAL", Outcome.WARNING, "It is 0/300000, though the archive goes "
                                          "on: segment 000000010000000000000003 behind it is missing.", PASSES)]),
    ({"target": LSN}, MINIMAL, []),
    ({"standby": True}, MINIMAL, "no standby can be made of backup 20261101T120000Z"),
])  # fmt: skip
def test_an_archive_that_goes_on_behind_a_break(asked: dict[str, Any], ends_by: str, expected: Any) -> None:
    search = Shelf(lived(), frozenset([Segment(1, 3)]))
    choice = chosen(search, Immediate(), search.backups[:1])
    last = search.rows[Segment(1, 2)]._replace(ends_by=ends_by)
    request = RestoreRequest("main", **asked)
    if isinstance(expected, list):
        assert list(break_conditions(request, choice, last)) == expected
        return
    with pytest.raises(WalMissing) as refusal:
        list(break_conditions(request, choice, last))
    assert (refusal.value.message, refusal.value.detail, refusal.value.hint) == (
        expected, "segment 000000010000000000000003 behind it is missing.",
        "Take a newer backup, and make it of that: pgvault backup main")


def test_nothing_is_said_of_an_end_that_is_the_archives() -> None:
    search = Shelf(lived())
    choice = chosen(search, EndOfWal())
    assert list(break_conditions(RestoreRequest("main"), choice, search.rows[Segment(1, 5)])) == []


@pytest.mark.parametrize(("standby", "names"), [
    (False, ("00000002.history", "00000003.history", "0000000A.history")),
    (True, ("00000002.history", "00000003.history"))])
def test_a_standby_gets_no_newer_history(standby: bool, names: tuple[str, ...]) -> None:
    """Rule 48."""
    search: Any = SimpleNamespace(histories=lambda: ("00000002.history", "00000003.history", "0000000A.history"))
    choice = cast("Choice", SimpleNamespace(history=SimpleNamespace(timeline=3)))
    assert histories_for(search, RestoreRequest("main", standby=standby), choice) == names


LOOK = ("Look: pgvault wal main. Where nothing that is in use is at the original paths of tablespaces, it can be "
        "replayed unread: --allow-unread-wal")


@pytest.mark.parametrize(("allowed", "outcome"), [(False, Outcome.FAILED), (True, Outcome.WARNING)])
def test_wal_that_was_not_read_has_to_be_allowed(allowed: bool, outcome: Outcome) -> None:
    search = Shelf(lived())
    rows = [search.rows[Segment(1, 4)], search.rows[Segment(1, 5)]._replace(problem="it is of version 99")]
    choice = chosen(search, EndOfWal())
    request = RestoreRequest("main", allow_unread=allowed, target=AtXid(703))
    assert list(wal_conditions(search, request, choice, rows)) == [Precondition(  # type: ignore[arg-type]
        "unread WAL", outcome, "000000010000000000000005 was not read: it is of version 99. Whether it creates a "
        "tablespace is not known; replay would do that at the original path, whatever is there by now.", LOOK)]
    assert list(wal_conditions(search, request, choice, rows[:1])) == []  # type: ignore[arg-type]


@pytest.mark.parametrize(("target", "action", "named"), [
    (AtXid(703, inclusive=False), TargetAction.PAUSE, True), (AtXid(703), TargetAction.PAUSE, False),
    (AtXid(703, inclusive=False), TargetAction.PROMOTE, False)])
def test_a_pause_before_what_holds_its_locks_is_told_beforehand(target: Any, action: TargetAction, named: bool) -> None:
    search = Shelf(lived())
    choice = chosen(search, target)
    request = RestoreRequest("main", target=target, action=action, expects=(RelationName("shop", "public", "orders"),))
    found = list(wal_conditions(search, request, choice, [search.rows[Segment(1, 5)]]))  # type: ignore[arg-type]
    assert [(each.name, each.outcome) for each in found] == [("locks at the target", Outcome.WARNING)] * named


class LeftOut(Shelf):
    """Unfinished segments on the ways to two timelines."""

    def left_out(self, history: Any, row: Row) -> Row | None:
        last = self.rows[Segment(1, 5)]
        return {1: last._replace(name="one", end_at=0x600100, latest=None, problem=None),
                2: last._replace(name="two", end_at=0x600200),
                3: last._replace(name="three", end_at=0x600180, latest=None, problem="x")}.get(history.timeline)


def test_an_unfinished_segment_that_would_bring_more_is_named() -> None:
    server = lived()
    for position in (0x600028, 0x700028):
        server.promote(Lsn(position))
        server.commit()
        server.switch()
    search = LeftOut(server)
    last = search.rows[Segment(1, 5)]
    stop = Stop(1, last.end, True, last.end, None)
    choice = cast("Choice", SimpleNamespace(history=search.tree.history(1), stop=stop))
    asked = RestoreRequest("main")
    assert list(wal_conditions(search, asked, choice, [last])) == [Precondition(  # type: ignore[arg-type]
        "unused WAL", Outcome.WARNING, "With --partial it goes on to 0/600200 in the unfinished two, where the last "
        "commit is of 2026-11-01 12:03:12.5+00.",
        "Use it when the server is lost; while it runs, pgvault switch-wal brings its newest WAL.")]
    for changed in ({"standby": True}, {"timeline": 1}, {"target": LSN}):
        found = list(wal_conditions(  # type: ignore[arg-type]
            search, RestoreRequest("main", **changed), choice, [last]))
        assert found == []


# What is overwritten


def test_what_is_overwritten_is_told() -> None:
    there = destination(place("/srv/data"), held_bytes=None)
    full = replace(there, directory=place("/srv/data", Contents.POPULATED, "a"))
    state = read_directory_state(full, Vault(Path("/nowhere")), "main")

    def after(there_: Any, **asked: Any) -> Replaced:
        return replaced_by(RestoreRequest("main", **asked), "/srv/data", there_, backup(), "/mnt/data")

    assert after(state) == Replaced(state, "no-cluster")
    assert after(read_directory_state(there, Vault(Path("/nowhere")), "main"), overwrite="/srv/data").overwrites == ""
    told = after(state, overwrite="/srv/data/")
    assert (told.overwrites, told.sets_aside, told.kept_as) == (
        "files in /srv/data that are no cluster: a, of unknown size", True, "/mnt/data.before-JOB")
    assert after(replace(state, size_bytes=2048), overwrite="/srv/data").overwrites == (
        "files in /srv/data that are no cluster: a (2.0 KiB)")
    left = read_directory_state(replace(full, incomplete_restore="J1"), Vault(Path("/nowhere")), "main")
    again = after(left, overwrite="/srv/data")
    assert (again.overwrites, again.sets_aside, again.kept_as) == ("what the incomplete restore J1 left", False, "")
    with pytest.raises(UsageError) as refusal:
        after(state, overwrite="/srv/other")
    assert (refusal.value.message, refusal.value.hint) == (
        "--overwrite names /srv/other, the restore goes to /srv/data",
        "Name the very directory that is to be replaced.")


