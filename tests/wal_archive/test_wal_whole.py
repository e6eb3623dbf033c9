"""A backup is DONE only when its WAL is there and whole: the list of backups and `pgvault wal` say the same of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from making_wal import MIB, new_vault, put
from wal.wal_writer import SYSTEM, Writer

from pgvault.engine.backup.run import refuse_damaged
from pgvault.engine.wal_status import wal_status
from pgvault.model.backup import Backup, BackupStatus
from pgvault.model.errors import WalMissing
from pgvault.model.lsn import Lsn
from pgvault.vault import catalog, wal_index
from pgvault.vault.layout import ServerVault
from pgvault.vault.wal_facts import read_facts

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
    writer = Writer(2 << 20)
    while writer.at < (5 << 20) - 8192:
        writer.append(bytes(1000))
    for start, data in writer.segments():
        number, content = start >> 20, bytearray(data)
        if number == damaged:
            content[MIB // 2] ^= 1
        if number != without:
            put(server, f"0000000100000000{number:08X}", bytes(content))


def states(server: ServerVault) -> tuple[BackupStatus, int | None]:
    """What the catalogue says, and which segment it lacks by the survey."""
    lacks = wal_status(server).survey.lacking(ID)
    return catalog.read(server, ID).status, lacks and lacks.number


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
