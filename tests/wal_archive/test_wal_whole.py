"""A backup is DONE only when its WAL is there and whole: the list of backups and `pgvault wal` say the same of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from making_wal import MIB, new_vault, put, quarantined
from wal_writer import SYSTEM, Writer

from pgvault.engine.backup.run import clean_up, refuse_damaged
from pgvault.engine.wal_status import wal_status
from pgvault.model.backup import Backup, BackupStatus
from pgvault.model.errors import Rejected, WalMissing
from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment
from pgvault.model.timeline import History
from pgvault.vault import catalog, wal_index
from pgvault.vault.identity import Identity
from pgvault.vault.layout import ServerVault
from pgvault.vault.wal_current import current
from pgvault.vault.wal_facts import read_facts
from pgvault.vault.wal_fetch import fetch
from pgvault.vault.wal_search import WalSearch
from pgvault.vault.wal_whole import lacking, missing_wal

DAY = datetime(2026, 11, 1, tzinfo=UTC)
ID = "20261101T000000Z"


@pytest.fixture
def vault(tmp_path: Path) -> ServerVault:
    """With a backup from segment 2 to within segment 4 that waits for its WAL."""
    server = new_vault(tmp_path)
    server.prepare()
    catalog.create(server, Backup(
        ID, "main", BackupStatus.WAITING_FOR_WALS, "stream", DAY, str(SYSTEM), "18.1", MIB, 1, "/data",
        finished_at=DAY, begin_lsn=Lsn((2 << 20) + 40), end_lsn=Lsn((4 << 20) + 4096)))
    return server


def archive(server: ServerVault, *, damaged: int = 0, without: int = 0) -> None:
    """Segments 2 to 4, with a flipped byte in one of them, or without one."""
    for number, content in segments().items():
        if number != without:
            put(server, name(number), flipped(content, MIB // 2) if number == damaged else content)


def segments(seed: int = 0) -> dict[int, bytes]:
    """By number; the last one has zeros behind its WAL."""
    writer = Writer(2 << 20)
    while writer.at < (5 << 20) - 8192:
        writer.append(bytes((seed,)) * 1000)
    return {start >> 20: data for start, data in writer.segments()}


def name(number: int) -> str:
    return f"0000000100000000{number:08X}"


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes((content[place] ^ 1,)) + content[place + 1:]


def states(server: ServerVault) -> tuple[BackupStatus, int | None]:
    """What the catalogue says, and which segment it lacks by the survey."""
    lacks = wal_status(server).survey.lacking(ID)
    return catalog.read(server, ID).status, lacks and lacks.number


def test_one_whose_begin_or_end_is_not_known_lacks_nothing_by_name(vault: ServerVault) -> None:
    """It is being taken, or failed before it had them."""
    backup = catalog.read(vault, ID)
    assert lacking(vault, backup) == missing_wal(vault, backup)[0] == Segment(1, 2)
    for other in (replace(backup, end_lsn=None), replace(backup, begin_lsn=None),
                  replace(backup, begin_lsn=None, end_lsn=None)):
        assert lacking(vault, other) is None
        assert missing_wal(vault, other) == []


def test_it_is_done_when_its_wal_is_whole(vault: ServerVault) -> None:
    archive(vault)
    assert states(vault) == (BackupStatus.DONE, None)
    assert [each.id for each in catalog.settle(vault)] == [ID]


@pytest.mark.parametrize("number", [2, 3])
def test_it_waits_when_recovery_does_not_get_past_a_damaged_segment(vault: ServerVault, number: int) -> None:
    archive(vault, damaged=number)
    status, lacks = states(vault)
    assert status is BackupStatus.WAITING_FOR_WALS
    assert lacks == number
    assert catalog.settle(vault) == []


def test_a_backup_that_was_done_before_its_wal_was_read_is_not(vault: ServerVault) -> None:
    archive(vault, damaged=3)
    done = catalog.read(vault, ID)
    assert done.status is BackupStatus.DONE
    catalog.write(vault, done)
    refuse_damaged(vault, done)
    read_facts(vault)
    with pytest.raises(WalMissing, match="its WAL is damaged"):
        refuse_damaged(vault, done)
    assert catalog.read(vault, ID).status is BackupStatus.WAITING_FOR_WALS


def test_one_that_another_process_has_called_done_meanwhile_waits_again(vault: ServerVault) -> None:
    archive(vault, damaged=3)
    assert [each.id for each in catalog.settle(vault)] == [ID]
    read_facts(vault)
    with pytest.raises(WalMissing, match="its WAL is damaged"):
        refuse_damaged(vault, replace(catalog.read(vault, ID), status=BackupStatus.WAITING_FOR_WALS))
    assert catalog.read(vault, ID).status is BackupStatus.WAITING_FOR_WALS


def test_damage_is_said_of_a_backup_that_waits_too_and_of_one_with_corrupt_pages(vault: ServerVault) -> None:
    """Whatever else there is to say: it does not become DONE by what it waits for."""
    archive(vault, damaged=2, without=4)
    waits, fourth = catalog.read(vault, ID), Segment(1, 4)
    read_facts(vault)
    with pytest.raises(WalMissing, match="its WAL is damaged"):
        refuse_damaged(vault, waits, [fourth])
    put(vault, name(4), segments()[4])
    with pytest.raises(WalMissing, match="its WAL is damaged") as failed:
        refuse_damaged(vault, replace(waits, status=BackupStatus.DONE, corrupt_pages=("base/1/2",)))
    assert "also reported corrupt pages in base/1/2" in failed.value.detail
    assert catalog.read(vault, ID).status is BackupStatus.WAITING_FOR_WALS


def test_a_backup_that_only_waits_is_not_called_damaged(vault: ServerVault) -> None:
    archive(vault, without=3)
    read_facts(vault)
    refuse_damaged(vault, catalog.read(vault, ID), [Segment(1, 3)])


def test_the_next_backup_does_not_settle_one_whose_wal_nobody_has_read(vault: ServerVault) -> None:
    archive(vault, damaged=3)
    assert catalog.read(vault, ID).status is BackupStatus.DONE, "as long as nobody has read it"
    clean_up(vault)
    assert catalog.read(vault, ID).status is BackupStatus.WAITING_FOR_WALS


def test_it_waits_while_a_segment_is_missing(vault: ServerVault) -> None:
    archive(vault, without=3)
    assert states(vault) == (BackupStatus.WAITING_FOR_WALS, 3)


def test_damage_behind_its_end_is_none_of_it(vault: ServerVault) -> None:
    archive(vault, damaged=4)
    assert states(vault) == (BackupStatus.DONE, None)


def test_without_an_index_the_files_count(vault: ServerVault) -> None:
    archive(vault)
    read_facts(vault)
    wal_index.discard(vault)
    assert catalog.read(vault, ID).status is BackupStatus.DONE


@pytest.mark.parametrize("spoil", [
    lambda whole: flipped(whole, MIB // 2), lambda whole: whole[:MIB // 2].ljust(MIB, b"\0"),
    lambda whole: whole[:MIB // 2] + segments(7)[2][MIB // 2:], lambda whole: flipped(whole, 60)],
    ids=["a flipped byte", "torn", "an older file's rest", "in a record that began before"])
def test_a_whole_copy_takes_the_place_of_a_damaged_segment(vault: ServerVault, spoil: Callable[[bytes], bytes]) -> None:
    """Rule 11: what is damaged is not what the server wrote. It is kept aside, and nobody finds the segment absent."""
    archive(vault, without=3)
    whole = segments()[3]
    put(vault, name(3), spoil(whole))
    read_facts(vault)
    assert states(vault) == (BackupStatus.WAITING_FOR_WALS, 3)
    assert put(vault, name(3), whole).new
    assert fetch(vault, name(3)) == whole
    assert states(vault) == (BackupStatus.DONE, None)
    [(kept, reason)] = quarantined(vault).items()
    assert kept.startswith(name(3))
    assert "a whole copy arrived" in reason
    assert not put(vault, name(3), whole).new


@pytest.mark.parametrize("newcomer", [
    flipped(segments()[3], MIB // 4), segments(1)[3], segments()[3][:MIB // 2 + 9000].ljust(MIB, b"\0")],
    ids=["damaged earlier", "other WAL", "torn"])
def test_what_is_not_the_whole_copy_of_a_damaged_segment_is_refused(vault: ServerVault, newcomer: bytes) -> None:
    archive(vault, damaged=3)
    read_facts(vault)
    stored = fetch(vault, name(3))
    with pytest.raises(Rejected, match="other content"):
        put(vault, name(3), newcomer)
    assert fetch(vault, name(3)) == stored


def test_a_whole_segment_gives_way_to_nothing(vault: ServerVault) -> None:
    archive(vault)
    for newcomer in (flipped(segments()[3], MIB // 2), segments(1)[3]):
        with pytest.raises(Rejected, match="other content"):
            put(vault, name(3), newcomer)
    assert fetch(vault, name(3)) == segments()[3]


@pytest.mark.parametrize("damaged", [3, 4])
def test_damage_is_said_of_the_last_segment_too(vault: ServerVault, damaged: int) -> None:
    """A restore to the end of the WAL would lose what is behind it, without a word."""
    archive(vault, damaged=damaged)
    cluster = Identity(str(SYSTEM), MIB)
    with current(vault, cluster) as index:
        found = WalSearch(vault, index, cluster)
        [row] = [row for row in found.on_path(History(1, ())) if row.number == damaged]
        assert f"{name(damaged)} is damaged" in found.break_behind(History(1, ()), row)
