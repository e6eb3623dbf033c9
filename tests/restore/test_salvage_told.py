"""What salvage says of an old pg_wal and where each file goes: the archive, quarantine, or nowhere."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from making_wal import quarantined
from test_salvage import ONE, SIZE, THREE, TWO, data, put, server, wal  # noqa: F401 -- data and server are fixtures
from wal_writer import SYSTEM, Writer

from pgvault.engine.restore.salvage import not_planned, only_there, planned_without, salvage, unreachable_without
from pgvault.io.local_host import LocalHost
from pgvault.model.check import Outcome
from pgvault.model.errors import PgvaultError, WalMissing
from pgvault.model.event import Event, Level, Noted
from pgvault.model.restore_plan import Precondition
from pgvault.model.segment import Segment
from pgvault.vault import recoveries
from pgvault.vault.identity import Identity, claim
from pgvault.vault.layout import ServerVault, Vault
from pgvault.vault.recoveries import Recovery
from pgvault.vault.wal_fetch import fetch

TWO_HISTORY = b"1\t0/300000\tno recovery target specified\n"
ON_TWO = Segment(2, 3).name(SIZE)


def told(data: Path, server: ServerVault) -> tuple[tuple[str, ...], list[tuple[str, Level, str]]]:  # noqa: F811
    events: list[Event] = []
    stored = asyncio.run(salvage(LocalHost(), str(data), server, level=1, emit=events.append))
    return stored, [(each.text, each.level, each.code) for each in events if isinstance(each, Noted)]


def on_two(*, timeline: int = 2) -> bytes:
    writer = Writer(Segment(2, 3).start(SIZE), timeline=timeline)
    writer.append(b"y" * 100)
    return writer.segments()[0][1]


def there(data: Path, server: ServerVault) -> tuple[str, ...]:  # noqa: F811
    return asyncio.run(only_there(LocalHost(), str(data), server))


def test_what_was_salvaged_is_named(data: Path, server: ServerVault) -> None:  # noqa: F811
    put(data, ONE, wal(ONE, whole=True))
    put(data, TWO, wal(TWO))
    assert there(data, server) == (ONE, f"{TWO}.partial")
    stored, events = told(data, server)
    assert stored == (ONE, f"{TWO}.partial")
    assert events == [(f"salvaged WAL that only {data} had into the vault: {ONE}, {TWO}.partial", Level.INFO,
                       "salvaged")]
    assert told(data, server) == ((), [])
    assert there(data, server) == ()


def test_a_directory_without_wal_has_none(data: Path, server: ServerVault, tmp_path: Path) -> None:  # noqa: F811
    for name in ("notes.txt", "archive_status_x", "00000001.history.bak", "short"):
        put(data, name, b"x")
    assert told(data, server) == ((), [])
    assert told(tmp_path / "none", server) == ((), [])


def test_a_history_comes_before_the_wal_of_its_timeline(data: Path, server: ServerVault) -> None:  # noqa: F811
    """A timeline on which the server was meant to archive is its own."""
    put(data, "00000002.history", TWO_HISTORY)
    put(data, TWO, wal(TWO, whole=True), status="done")
    put(data, ON_TWO, on_two(), status="ready")
    stored, _ = told(data, server)
    assert stored[:2] == ("00000002.history", TWO)
    assert fetch(server, "00000002.history") == TWO_HISTORY
    assert quarantined(server) == {}


LEAVES = "timeline 2 leaves the path of the server: the archive knows nothing of it"


@pytest.mark.parametrize(("recovery", "reason"), [
    (None, LEAVES),
    (Recovery(2, 1, "J7", "box", "/srv/x"), "timeline 2 was given to the recovery to /srv/x on box by job J7, of which "
                                            "nothing was archived"),
])  # fmt: skip
def test_wal_of_a_copys_timeline_is_set_apart(data: Path, server: ServerVault, recovery: Recovery | None,  # noqa: F811
                                              reason: str) -> None:
    if recovery:
        recoveries.reserve(server, recovery)
    put(data, "00000002.history", TWO_HISTORY)
    put(data, ONE, wal(ONE, whole=True), status="done")
    put(data, ON_TWO, on_two())
    assert there(data, server) == (ONE,)
    stored, events = told(data, server)
    assert stored == (ONE,)
    assert events[1:] == [(
        f"WAL in {data} is in quarantine, not in the archive of main: {reason}. It is 00000002.history, "
        f"{ON_TWO}.partial. What is wanted of it is archived with pgvault put-wal main, the history file first",
        Level.WARNING, "foreign")]
    assert {reason.strip() for reason in quarantined(server).values()} != set()
    assert len(quarantined(server)) == 2
    assert all(reason in each for each in quarantined(server).values())
    assert fetch(server, "00000002.history") is None


def test_what_goes_on_from_a_foreign_timeline_is_foreign_too(data: Path, server: ServerVault) -> None:  # noqa: F811
    put(data, ONE, wal(ONE, whole=True), status="done")
    put(data, "00000002.history", TWO_HISTORY)
    put(data, "00000003.history", TWO_HISTORY + b"2\t0/400000\tx\n")
    _, events = told(data, server)
    assert f"{LEAVES}; timeline 3 goes on from timeline 2, which is not the server's. It is " in events[1][0]


def test_a_history_that_cannot_be_read_is_no_history(data: Path, server: ServerVault) -> None:  # noqa: F811
    put(data, ONE, wal(ONE, whole=True), status="done")
    put(data, "00000002.history", b"\xff nonsense")
    stored, events = told(data, server)
    assert stored == (ONE,)
    assert LEAVES in events[1][0]


def test_other_content_under_a_name_is_in_quarantine(data: Path, server: ServerVault) -> None:  # noqa: F811
    put(data, f"{ONE}.partial", wal(ONE))
    told(data, server)
    other = Writer(Segment(1, 1).start(SIZE))
    other.append(b"z" * 100)
    put(data, f"{ONE}.partial", other.segments()[0][1])
    stored, events = told(data, server)
    assert stored == ()
    assert len(events) == 1
    assert "; it is in quarantine. " in events[0][0]
    assert events[0][1:] == (Level.WARNING, "rejected")
    assert len(quarantined(server)) == 1


def test_wal_that_cannot_be_read_stops_it(data: Path, server: ServerVault) -> None:  # noqa: F811
    """So that the directory stays as it is."""
    put(data, ONE, wal(ONE))
    (data / "pg_wal" / TWO).symlink_to(data / "gone")
    assert told(data, server)[0] == (f"{ONE}.partial",)
    (data / "pg_wal" / THREE).mkdir()
    assert told(data, server)[0] == ()
    (data / "pg_wal/archive_status").rename(data / "archive_status")
    for path in (data / "pg_wal").iterdir():
        path.rmdir() if path.is_dir() else path.unlink()
    (data / "pg_wal").rmdir()
    (data / "pg_wal").write_bytes(b"")
    with pytest.raises(PgvaultError) as failure:
        told(data, server)
    assert f"look for WAL in {data}/pg_wal" in failure.value.message


def test_segments_of_16_mib_come_in_pieces(data: Path, tmp_path: Path) -> None:  # noqa: F811
    size = 20 << 20
    vault = Vault.open_or_create(tmp_path / "large").server("main")
    vault.prepare()
    claim(vault, Identity(str(SYSTEM), 16 << 20))
    name = Segment(1, 1).name(16 << 20)
    writer = Writer(16 << 20, size=16 << 20)
    while writer.at < (16 << 20) + 12_000_000:
        writer.append(bytes(range(256)) * 30)
    content = writer.segments()[0][1]
    assert len(content) < size
    put(data, name, content)
    assert told(data, vault)[0] == (f"{name}.partial",)
    assert fetch(vault, f"{name}.partial") == content


# What a plan says of it


def listed(names: int, more: str = "") -> str:
    return f"Only /d/pg_wal has {', '.join(f'n{number}' for number in range(names))}{more}"


FIRST = ("archive each of them first, histories before segments: pgvault put-wal main NAME < FILE, with the file of "
         "that name in /d/pg_wal (without .partial where there is none)")


@pytest.mark.parametrize(("count", "told_"), [(1, listed(1)), (4, listed(4)), (7, listed(4, " and 3 more"))])
def test_a_plan_names_the_wal_that_it_does_not_replay(count: int, told_: str) -> None:
    names = [f"n{number}" for number in range(count)]
    assert planned_without(names, "main", "/d") == Precondition(
        "WAL of the old directory", Outcome.WARNING, f"{told_}. It is brought into the vault before the directory is "
        "set aside, and this restore does not replay it.",
        f"To restore that too, {FIRST}, and plan again, with --partial for a .partial.")
    error = unreachable_without(WalMissing("m", detail="D.", hint="H."), names, "main", "/d")
    assert (type(error), error.message, error.detail, error.hint) == (
        WalMissing, "m", f"D. {told_}; it was not looked into.", f"If the target is in there, {FIRST}, and plan again, "
        "with --partial for a .partial. Otherwise: H.")


def test_a_restore_to_the_end_says_what_it_leaves_out() -> None:
    note = not_planned((TWO, "00000002.history"), 3)
    assert note is not None
    assert (note.text, note.level, note.code) == (
        "this restore was planned without the salvaged WAL and ends before it. What was committed there is restored "
        "with --target-end --target-timeline 3", Level.WARNING, "salvaged")
