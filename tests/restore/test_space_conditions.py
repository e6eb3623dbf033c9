"""Where the tablespaces of a backup and of the WAL behind it have to go, and what must hold there: the rules."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.restoring import NO_WAL, SPACE, backup, destination, place, plan

from pgvault.engine.restore.space_conditions import minor_conditions, space_conditions
from pgvault.engine.restore.spaces import describe_tablespace, placed, spaces_of, to_place
from pgvault.io.probe import Contents, Installation, Place
from pgvault.io.probe_script import MARKER
from pgvault.model.backup import Tablespace
from pgvault.model.check import Outcome
from pgvault.model.errors import PgvaultError, Refused, UsageError
from pgvault.model.lsn import Lsn
from pgvault.model.replay import Replay, TablespaceCreated, TablespaceDropped
from pgvault.model.restore_plan import Precondition, TablespacePlace

OK, WARNING, FAILED = Outcome.OK, Outcome.WARNING, Outcome.FAILED
POPULATED = Contents.POPULATED


def created(oid: int, lsn: int, name: str | None = "new") -> TablespaceCreated:
    return TablespaceCreated(oid, "/mnt/new", Lsn(lsn), 1, 0, Lsn(lsn + 8), name)


def replay(*effects: TablespaceCreated | TablespaceDropped) -> Replay:
    return Replay(None, tuple(each for each in effects if isinstance(each, TablespaceCreated)),
                  tuple(each for each in effects if isinstance(each, TablespaceDropped)), ())


# Which there are


@pytest.mark.parametrize(("done", "expected"), [
    (replay(), [(16400, "old", "/mnt/old", False, False)]),
    (replay(TablespaceDropped(16400, Lsn(50))), [(16400, "old", "/mnt/old", False, True)]),
    (replay(TablespaceDropped(16400, Lsn(50)), created(16400, 60)), [(16400, "old", "/mnt/old", False, False)]),
    (replay(TablespaceDropped(16400, Lsn(50)), created(16400, 40)), [(16400, "old", "/mnt/old", False, True)]),
    (replay(created(16500, 60)),
     [(16400, "old", "/mnt/old", False, False), (16500, "new", "/mnt/new", True, False)]),
    (replay(created(16500, 60, None), TablespaceDropped(16500, Lsn(70))),
     [(16400, "old", "/mnt/old", False, False), (16500, "16500", "/mnt/new", True, True)]),
])  # fmt: skip
def test_those_of_the_backup_and_those_that_replay_makes(
        done: Replay, expected: list[tuple[int, str, str, bool, bool]]) -> None:
    """OID, name, path on the server, whether it is made by replay, whether it is gone at the target."""
    found = spaces_of(backup(tablespaces=(Tablespace(16400, "old", "/mnt/old"),)), done, {16400: 77, None: 99})
    assert [(each.oid, each.name, each.original, each.is_new, each.is_gone) for each in found] == expected
    assert [each.size_bytes for each in found] == [0 if each.is_new else 77 for each in found]
    assert {each.location for each in found} == {""}


def test_one_that_has_no_file_in_the_backup_has_no_size() -> None:
    [only] = spaces_of(backup(tablespaces=(Tablespace(5, "e", "/e"),)), replay(), {})
    assert only.size_bytes == 0


HERE = TablespacePlace(1, "here", "/mnt/here", "", 0)
GONE = replace(HERE, oid=2, name="gone", is_gone=True)
INSIDE = replace(HERE, oid=3, name="inside", original="pg_tblspc/3")
NEW = replace(HERE, oid=4, name="new", is_new=True)


def test_only_what_is_there_at_the_target_and_outside_needs_a_place() -> None:
    assert to_place([HERE, GONE, INSIDE, NEW]) == (HERE, NEW)


# What a person asked for


@pytest.mark.parametrize(("spaces", "asked", "places"), [
    ([HERE, NEW], ["here=/a/", "new=/b"], ["/a", "/b"]),
    ([HERE], ["1=/a"], ["/a"]),
    ([HERE], ["here=/"], ["/"]),
    ([GONE, INSIDE], [], ["", ""]),
    ([GONE], ["gone=/a"], ["/a"]),
    ([GONE, replace(HERE, oid=5, name="gone")], ["gone=/a"], ["", "/a"]),  # a living one has the name
    ([replace(HERE, oid=5, name="gone"), GONE], ["gone=/a", "2=/b"], ["/a", "/b"]),
    ([HERE, replace(NEW, name="1")], ["1=/a", "here=/b"], ["/b", "/a"]),  # a name comes before an OID
    ([replace(HERE, name="a=/b")], ["a=/b=/c"], ["/c"]),
    ([replace(HERE, name="a")], ["a=/b=/c"], ["/b=/c"]),
    ([replace(HERE, name="a=b")], ["a=b=/c"], ["/c"]),
])  # fmt: skip
def test_each_gets_the_place_that_was_asked_for_by_its_name_or_oid(spaces: list[TablespacePlace], asked: list[str],
                                                                  places: list[str]) -> None:
    assert placed(spaces, asked, backup()) == tuple(
        each.at(place) if place else each for each, place in zip(spaces, places, strict=True))


@pytest.mark.parametrize(("spaces", "asked", "kind", "message", "detail", "hint"), [
    ([HERE, INSIDE, NEW, replace(NEW, oid=6, name="later")], ["x=/a", "w=/b"], UsageError,
     "backup 20261101T120000Z has no tablespace 'w'", "It has: here, inside. Created after it began: later, new.", ""),
    ([HERE], ["x"], UsageError, "backup 20261101T120000Z has no tablespace 'x'", "It has: here.", ""),
    ([HERE], ["x=y"], UsageError, "backup 20261101T120000Z has no tablespace 'x'", "It has: here.", ""),
    ([HERE], ["x=/y=/z"], UsageError, "backup 20261101T120000Z has no tablespace 'x'", "It has: here.", ""),
    ([HERE], ["a=b=/c"], UsageError, "backup 20261101T120000Z has no tablespace 'a=b'", "It has: here.", ""),
    ([], ["x=/a"], UsageError, "backup 20261101T120000Z has no tablespace 'x'", "It has: none.", ""),
    ([HERE], [], Refused, "tablespace here needs a place at the destination", "On the server it is in /mnt/here.",
     "Say where, be it the same place: --tablespace here=PATH"),
    ([replace(NEW, name="a b")], [], Refused,
     "tablespace a b, created after the backup began, needs a place at the destination",
     "On the server it is in /mnt/here.", "Say where, be it the same place: --tablespace 'a b=PATH'"),
    ([INSIDE], ["inside=/a"], UsageError, "tablespace inside is inside the data directory", "",
     "Leave it out: it needs no place of its own."),
    ([HERE], ["here=a/b"], UsageError, "not an absolute path: a/b", "", "Write the whole path, from the root."),
])  # fmt: skip
def test_what_has_no_place_is_refused(spaces: list[TablespacePlace], asked: list[str], kind: type[PgvaultError],
                                      message: str, detail: str, hint: str) -> None:
    with pytest.raises(kind) as refusal:
        placed(spaces, asked, backup())
    assert (refusal.value.message, refusal.value.detail, refusal.value.hint) == (message, detail, hint)


# What must hold there


CHOOSE = "Choose another place: --tablespace fast=PATH"
GOES = "/mnt/fast goes to /srv/fast"


def one_space(there: Place, **facts: object) -> Precondition:
    found = list(space_conditions(destination(place(), there, **facts), plan(tablespaces=(SPACE,)), 17))
    assert [each.name for each in found] == ["tablespace fast"]
    return found[0]


@pytest.mark.parametrize(("there", "outcome", "detail"), [
    (place("/mnt/a\tb"), FAILED, "'/mnt/a\\tb' has control characters."),
    (place("/srv/data"), FAILED, "/srv/data is taken by this restore itself."),
    (place("/mnt/link", real_path="/srv/data/x"), FAILED, "/mnt/link is taken by this restore itself."),
    (place("/srv"), FAILED, "/srv is taken by this restore itself."),
    (place("/srv/data2"), OK, GOES),
    (place("/mnt/fast", within="/mnt"), FAILED, "/mnt/fast lies inside the data directory /mnt of another cluster."),
    (place("/mnt/fast", POPULATED, "a", "b"), FAILED, "/mnt/fast is not empty: a, b."),
    (place("/mnt/fast", POPULATED, MARKER, "a"), FAILED, f"/mnt/fast is not empty: {MARKER}, a."),
    (place("/mnt/fast", Contents.NOT_A_DIRECTORY, "-"), FAILED, "/mnt/fast is not empty: -."),
    (place("/mnt/fast", POPULATED, "lost+found"), OK, GOES),
    (place("/mnt/fast", writable=False), FAILED, "postgres may not write to /mnt/fast."),
    (place("/mnt/fast", owner_uid=5), FAILED, "postgres may not write to /mnt/fast."),
    (place("/mnt/fast", Contents.MISSING, owner_uid=0), OK, GOES),
    (place("/mnt/fast", Contents.MISSING, owner_uid=0, writable=False), FAILED,
     "postgres may not write to /mnt/fast."),
])  # fmt: skip
def test_where_a_tablespace_may_go(there: Place, outcome: Outcome, detail: str) -> None:
    assert one_space(there) == Precondition("tablespace fast", outcome, detail, CHOOSE if outcome is FAILED else "")


def test_what_an_incomplete_restore_left_there_is_removed() -> None:
    there = place("/mnt/fast", POPULATED, MARKER, "PG_17_202406281")
    assert one_space(there, incomplete_restore="J1") == Precondition(
        "tablespace fast", OK, f"{GOES}, where what the incomplete restore left will be removed")


def test_two_tablespaces_do_not_share_a_place() -> None:
    spaces = (SPACE, replace(SPACE, oid=2, name="slow", location="/mnt/fast/slow"))
    there = destination(place(), place("/mnt/fast"), place("/mnt/fast/slow"))
    assert [(each.name, each.outcome) for each in space_conditions(there, plan(tablespaces=spaces), 17)] == [
        ("tablespace fast", OK), ("tablespace slow", FAILED)]


@pytest.mark.parametrize(("space", "told"), [
    (HERE.at("/a"), "/mnt/here goes to /a"),
    (GONE, "/mnt/here goes to inside the data directory, dropped before the target"),
    (replace(INSIDE, original=""), "what was inside the data directory goes to inside the data directory"),
    (NEW.at("/a"), "/mnt/here goes to /a, created after the backup began"),
    (replace(NEW, is_gone=True),
     "/mnt/here goes to inside the data directory, created after the backup began and dropped before the target"),
])  # fmt: skip
def test_where_one_goes_in_words(space: TablespacePlace, told: str) -> None:
    assert describe_tablespace(space) == told


OLD = (Installation("/pg/bin", "13.7", True),)


def test_one_inside_the_data_directory_is_told_and_the_minor_has_to_be_able_to_replay_it() -> None:
    there = destination(installations=OLD)
    inside = Precondition("tablespace gone", OK, describe_tablespace(GONE))
    assert list(space_conditions(there, plan(tablespaces=(GONE,)), 17)) == [inside]
    assert [each.name for each in space_conditions(there, plan(tablespaces=(GONE,)), 13)] == [
        "tablespace gone", "replay of tablespaces"]
    assert [each.name for each in space_conditions(there, plan(wal=replace(NO_WAL, created=(Lsn(9),))), 13)] == [
        "replay of tablespaces"]
    assert list(space_conditions(there, plan(), 13)) == []


def test_a_standby_has_to_know_of_later_tablespaces() -> None:
    assert list(space_conditions(destination(), plan(standby=True), 17)) == [Precondition(
        "later tablespaces", WARNING,
        "What the original server creates from now on, a standby creates at the same path on its own host.",
        "Make the directory on both hosts before each CREATE TABLESPACE; on the original server's own host the two "
        "would write to one directory, so create none while it follows.")]


def test_what_is_said_of_a_minor_that_is_too_old_or_not_known() -> None:
    assert list(minor_conditions(OLD, 13)) == [Precondition(
        "replay of tablespaces", FAILED, "A tablespace was created or dropped after the backup began, and PostgreSQL "
        "13.7 in /pg/bin can replay that only at its original path.",
        "Update it to 13.8 or newer, or restore from a newer backup.")]
    assert list(minor_conditions((), 14)) == [Precondition(
        "replay of tablespaces", WARNING, "A tablespace was created or dropped after the backup began, and the "
        "version of the programs there is not known.", "Be sure that it is 14.5 or newer.")]


