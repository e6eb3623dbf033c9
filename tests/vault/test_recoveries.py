"""Timelines of recoveries: a number is given once, for good; and whether WAL of a data directory is the server's."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from support.objects import object_path

from pgvault.model.lsn import Lsn
from pgvault.model.timeline import Ancestor, History, parse_history
from pgvault.store.keys import Kind
from pgvault.vault.layout import ServerVault, Vault
from pgvault.vault.recoveries import (
    KnownTimeline,
    Recovery,
    find,
    next_timeline,
    note_history,
    of_job,
    reserve,
    what_is_known,
    why_foreign,
)
from pgvault.vault.wal_archive import accept

HISTORY_2 = "1\t0/3000000\tno recovery target specified\n"
WANTED = Recovery(0, 1, "20261124T120000Z-01", "db2", "/restored")


@pytest.fixture
def server(tmp_path: Path) -> ServerVault:
    server = Vault.open_or_create(tmp_path / "vault").server("main")
    server.prepare()
    return server


def test_a_number_is_reserved_once(server: ServerVault) -> None:
    first, second = reserve(server, WANTED), reserve(server, Recovery(9, 1, "another"))
    assert first == Recovery(2, 1, "20261124T120000Z-01", "db2", "/restored")
    assert second == Recovery(3, 1, "another")
    assert find(server, 2) == first
    assert find(server, 4) is None
    assert [path.name for path in sorted((server.home / "recoveries").iterdir())] == ["00000002.toml", "00000003.toml"]


def test_of_which_job_a_recovery_is(server: ServerVault) -> None:
    made = reserve(server, WANTED)
    assert of_job(server, WANTED.job) == made
    assert of_job(server, "another") is None
    assert reserve(server, Recovery(0, 25, "late")).timeline == 0x1A
    assert of_job(server, "late") == Recovery(0x1A, 25, "late")


@pytest.mark.parametrize(("names", "follows", "number"), [
    ((), 1, 2), ((), 7, 8), (("wal/0000000500000000/00000005.history.zst",), 1, 6),
    (("wal/0000000100000000/000000010000000000000001.zst", "wal/0000000500000001/000000050000000100000001.zst"), 1, 6),
    (("recoveries/0000000A.toml",), 1, 11), (("streaming/000000040000000000000001.partial",), 1, 5),
    (("incoming/000000040000000000000001",), 1, 5), (("recoveries/0000000A.toml.new",), 1, 2),
    (("wal/abc", "wal/0000000G00000000/0000000G.history.zst", "recoveries/00000005.txt"), 1, 2),
    (("wal/0000000100000000/00000001.history.zst",), 7, 8),
    (("recoveries/000003E9.toml",), 1, 1002), (("recoveries/000003EA.toml",), 1, 2),
    (("recoveries/000003E9.toml", "recoveries/000007D1.toml"), 1, 2002)])
def test_the_next_number_is_behind_all_that_is_known(
        server: ServerVault, names: tuple[str, ...], follows: int, number: int) -> None:
    """Rule 46: but a number that leaps more than a thousand ahead is none that PostgreSQL made."""
    for name in names:
        path = server.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert next_timeline(server, follows) == number


def test_the_history_of_a_promotion_is_kept(server: ServerVault) -> None:
    made = reserve(server, WANTED)
    assert made.parsed is None
    noted = note_history(server, made, HISTORY_2)
    assert find(server, 2) == noted == Recovery(2, 1, WANTED.job, "db2", "/restored", HISTORY_2)
    assert noted.parsed == parse_history(HISTORY_2, 2)
    with pytest.raises(ValueError, match="timeline 2 cannot have timeline 2 as its ancestor"):
        note_history(server, made, "2\t0/3000000\n")
    assert find(server, 2) == noted, "what is wrong changes nothing"


@pytest.mark.parametrize("content", ["", "follows = 'x'", "= [", "job = 'a'", "follows = []"])
def test_one_that_cannot_be_read_has_its_number_all_the_same(server: ServerVault, content: str) -> None:
    server.store.put(server.key(Kind.RECOVERY, "00000002"), b"")
    object_path(server, Kind.RECOVERY, "00000002").write_text(content)
    assert find(server, 2) == Recovery(2, 0)
    assert next_timeline(server, 1) == 3


def test_what_is_missing_in_it_is_empty(server: ServerVault) -> None:
    server.store.put(server.key(Kind.RECOVERY, "00000002"), b"")
    object_path(server, Kind.RECOVERY, "00000002").write_text("follows = 1\nhistory = 'no history'\n")
    found = find(server, 2)
    assert found == Recovery(2, 1, history="no history")
    assert found is not None
    assert found.parsed is None


def test_where_a_recovery_went() -> None:
    assert WANTED.place == "/restored on db2"
    assert Recovery(2, 1, directory="/restored").place == "/restored on this machine"


def test_what_is_known_of_a_timeline(server: ServerVault) -> None:
    assert what_is_known(server, 2) == KnownTimeline(2, False, None, None)
    made = reserve(server, WANTED)
    accept(server, "00000002.history", BytesIO(HISTORY_2.encode()))
    assert what_is_known(server, 2) == KnownTimeline(2, False, parse_history(HISTORY_2, 2), made)
    for directory, name in ((server.wal / "0000000200000000", "000000020000000000000003.zst"),
                            (server.spool.streaming, "000000030000000000000003.partial")):
        directory.mkdir(parents=True, exist_ok=True)
        (directory / name).touch()
    assert [what_is_known(server, timeline).has_wal for timeline in (1, 2, 3)] == [False, True, True]


# Whose WAL it is


HERE = History(2, (Ancestor(1, Lsn(0x3000000), "here"),))
ELSEWHERE = History(2, (Ancestor(1, Lsn(0x4000000), "elsewhere"),))
GIVEN = ("timeline 2 was given to the recovery to /restored on db2 by job 20261124T120000Z-01, of which nothing was "
         "archived")


@pytest.mark.parametrize(("known", "history", "foreign", "archives", "why"), [
    (KnownTimeline(1, False, None, None), None, set(), False, ""),
    (KnownTimeline(2, True, None, None), HERE, set(), False, ""),
    (KnownTimeline(2, False, HERE, None), HERE._replace(ancestors=(HERE.ancestors[0]._replace(reason="other"),)), set(),
     False, ""),
    (KnownTimeline(2, True, HERE, None), ELSEWHERE, set(), True,
     "timeline 2 of the directory is another one than that of the archive"),
    (KnownTimeline(2, False, HERE, None), None, set(), False, ""),
    (KnownTimeline(2, False, None, None), HERE, set(), True, ""),
    (KnownTimeline(2, False, None, None), HERE, set(), False,
     "timeline 2 leaves the path of the server: the archive knows nothing of it"),
    (KnownTimeline(2, False, None, WANTED), HERE, set(), False, GIVEN),
    (KnownTimeline(2, True, HERE, None), HERE, {1}, True,
     "timeline 2 goes on from timeline 1, which is not the server's"),
    (KnownTimeline(4, True, None, None), History(4, tuple(Ancestor(n, Lsn(n), "") for n in (1, 2, 3))), {2, 3}, True,
     "timeline 4 goes on from timeline 3, which is not the server's")])
def test_whose_wal_of_a_data_directory_is(known: KnownTimeline, history: History | None, foreign: set[int],
                                          archives: bool, why: str) -> None:
    """Rule 47."""
    assert why_foreign(known, history, foreign, meant_to_archive=archives) == why
