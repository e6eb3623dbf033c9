"""What the archive says of a file that it does not take, or no longer has whole; and how far a reading is."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from making_wal import MIB, new_vault, paged_segment, put, quarantined, segment
from support.objects import wal_path

from pgvault.model.errors import Corrupt, InDoubt, PgvaultError, Rejected
from pgvault.store.keys import Kind
from pgvault.vault import quarantine, wal_index
from pgvault.vault.layout import ServerVault
from pgvault.vault.wal_archive import TEXT_LIMIT, accept, digest_of, level_for, set_apart
from pgvault.vault.wal_facts import read_facts, unread
from pgvault.vault.wal_fetch import fetch, find

ONE, TWO = "000000010000000000000001", "000000010000000000000002"
CHECK = "Check that this server's archive_command names the right server."


@pytest.fixture
def server(tmp_path: Path) -> ServerVault:
    return new_vault(tmp_path / "v")


def said(kind: type[PgvaultError], act: Callable[[], object]) -> tuple[str, str, str]:
    with pytest.raises(PgvaultError) as failure:
        act()
    assert type(failure.value) is kind
    return failure.value.message, failure.value.detail, failure.value.hint


@pytest.mark.parametrize(("name", "content", "why"), [
    (ONE, b"\0" * MIB, "not a WAL page: it is all zeros"), (ONE, b"", "not a WAL page: only 0 bytes"),
    (ONE, segment(TWO), "it holds the WAL from 0/200000, not from 0/100000"),
    (ONE, segment(ONE) + b"!", "it has more than a segment's 1048576 bytes"),
    ("00000002.history", b"0\n", "line 1: a timeline and the position where it ended are expected, not '0'"),
    ("00000002.history", b"x" * (TEXT_LIMIT + 1), "it is longer than 1048576 bytes"),
    (f"{ONE}.00000028.backup", b"START WAL LOCATION: 0/1000028 (file 000000010000000000000009)\n",
     "it does not say where the backup of this name starts"),
    (f"{ONE}.00000028.backup", f"START\n(file {ONE})\n".encode(),
     "it does not say where the backup of this name starts")], ids=range(8))
def test_why_a_file_is_not_taken(server: ServerVault, name: str, content: bytes, why: str) -> None:
    put(server, "000000010000000000000007")
    assert said(Rejected, lambda: put(server, name, content)) == (f"{name} cannot be archived: {why}", "", CHECK)
    assert not wal_path(server, name).exists()
    [reason] = quarantined(server).values()
    assert f"why: {name} cannot be archived: {why}\n" in reason


def test_what_is_no_name_of_wal_goes_nowhere(server: ServerVault) -> None:
    message, _, _ = said(Rejected, lambda: put(server, "postgresql.conf", b""))
    assert message == "not the name of a file that PostgreSQL archives: 'postgresql.conf'"
    assert not server.spool.quarantine.exists()


def test_other_content_under_a_name_is_not_taken(server: ServerVault) -> None:
    put(server, ONE)
    assert said(Rejected, lambda: put(server, ONE, segment(ONE, seed=1))) == (
        f"{ONE} is archived already, with other content",
        "The archived file was kept; the newcomer is in quarantine.",
        "Two clusters may be archiving as one: check which servers have this archive_command.")


def test_what_lacks_a_page_is_refused_once(server: ServerVault) -> None:
    """Rule 11b."""
    whole = paged_segment(ONE)
    torn = whole[:3 * 8192] + bytes(8192) + whole[4 * 8192:]
    assert said(Rejected, lambda: accept(server, ONE, BytesIO(torn), comes_again=True)) == (
        f"{ONE} is damaged: the WAL page at 0/106000 is missing within it", "A copy of it is in quarantine.",
        "PostgreSQL sends it again. What comes the same is damaged on the server, and archived as it is: then see "
        "pgvault check main")
    assert accept(server, ONE, BytesIO(torn), comes_again=True) == (ONE, True)
    assert accept(server, ONE, BytesIO(torn), comes_again=True) == (ONE, False)
    assert quarantined(server) == {}


def test_what_lacks_a_page_is_taken_at_once_where_no_copy_can_be_kept(server: ServerVault,
                                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody would know when it comes again, and the server's disk would fill up."""
    whole = paged_segment(ONE)

    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(quarantine, "set_aside_once", refused)
    assert accept(server, ONE, BytesIO(whole[:3 * 8192] + bytes(8192) + whole[4 * 8192:]), comes_again=True) == (
        ONE, True)


@pytest.mark.parametrize("size", [1, 2, 16])
def test_segments_of_every_size_are_taken_whole(server: ServerVault, size: int) -> None:
    """Also those that are larger than a text may be."""
    for name in (ONE, TWO):
        content = segment(name, size=size * MIB)
        assert put(server, name, content) == (name, True)
        assert fetch(server, name) == content


def test_a_file_is_set_apart_in_place_of_the_archive(server: ServerVault) -> None:
    server.prepare()
    kept = set_apart(server, ONE, BytesIO(segment(ONE)), "of a timeline that is not the server's")
    assert kept.parent == server.spool.quarantine
    assert "why: of a timeline that is not the server's\n" in quarantined(server)[kept.name]
    assert f"name: {ONE}\n" in quarantined(server)[kept.name]
    assert set_apart(server, ONE, BytesIO(segment(ONE)), "again") == kept
    assert not list(server.wal.glob("*"))


@pytest.mark.parametrize(("configured", "level"), [(1, 1), (3, 1), (4, 4), (19, 19)])
def test_wal_is_stored_at_the_level_that_is_worth_it(configured: int, level: int) -> None:
    assert level_for(configured) == level


def test_an_archived_file_that_is_damaged_or_gone(server: ServerVault) -> None:
    put(server, ONE)
    put(server, TWO)
    path, other = wal_path(server, ONE), wal_path(server, TWO)
    stored = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(stored[:-1])
    hint = "Bring it back from a copy of the vault, or archive it again while the server still has it."
    assert said(Corrupt, lambda: fetch(server, ONE)) == (
        f"the archived file {path} is damaged", "It ends too early.", hint)
    assert said(Corrupt, lambda: digest_of(BytesIO(stored[:-1])))[1] == "It ends too early."
    path.write_bytes(other.read_bytes())
    assert said(Corrupt, lambda: fetch(server, ONE)) == (
        f"the archived file {path} is damaged", "It holds the WAL from 0/200000, not from 0/100000", hint)
    path.unlink()
    put(server, ONE, segment(ONE, seed=1))
    again = path.read_bytes()
    with wal_index.writing(server) as index:
        index.remove(ONE)
        found = server.store.stat(server.key(Kind.WAL, ONE))
        assert found
        index.add(wal_index.describe(found, ONE, MIB, MIB, b"\1" * 32))
    assert said(Corrupt, lambda: fetch(server, ONE)) == (
        f"the archived file {path} is damaged", "Its content is not what was archived.", hint)
    assert path.read_bytes() == again
    path.unlink()
    assert said(InDoubt, lambda: find(server, ONE)) == (
        f"{ONE} was archived, and its file is gone", f"{path} does not exist.",
        "Bring the file back. If it is lost for good: pgvault rebuild-index main, and take a new backup.")


def test_how_far_a_reading_is(server: ServerVault) -> None:
    for name in (ONE, TWO, "000000010000000000000003"):
        put(server, name)
    told: list[tuple[int, int]] = []
    assert read_facts(server, limit=1, on_progress=lambda done, total: told.append((done, total))) == 1
    assert told == [(0, 3 * MIB), (MIB, 3 * MIB)]
    with wal_index.reading(server) as index:
        assert unread(index) == 2
    told.clear()
    assert read_facts(server, on_progress=lambda done, total: told.append((done, total))) == 2
    assert told == [(0, 2 * MIB), (MIB, 2 * MIB), (2 * MIB, 2 * MIB)]
    told.clear()
    assert read_facts(server, on_progress=lambda done, total: told.append((done, total))) == 0
    assert told == [(0, 0)]
    assert read_facts(server) == 0


def test_a_history_that_is_damaged_is_named(server: ServerVault) -> None:
    put(server, ONE)
    accept(server, "00000002.history", BytesIO(b"1\t0/1000000\tthere\n"))
    path = wal_path(server, "00000002.history")
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1])
    message, _, _ = said(Corrupt, lambda: read_facts(server))
    assert message == f"the archived file {path} is damaged"
