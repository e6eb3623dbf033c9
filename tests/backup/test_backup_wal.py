"""A backup is DONE only when its WAL is in the archive: who brings it, and what happens when nobody does."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from station import COPYING, NAME, Station, finish
from support.fleet import Fleet, Shape
from support.installation import installation
from support.objects import backup_directory
from support.postgres import Server, wait_until

from pgvault.engine.backup import wal as backup_wal
from pgvault.model.backup import Backup, BackupStatus
from pgvault.model.lsn import Lsn
from pgvault.vault import wal_index
from pgvault.vault.layout import ServerVault
from pgvault.vault.wal_archive import Accepted
from pgvault.vault.wal_facts import unread
from pgvault.vault.wal_whole import missing_wal

MIB = 1 << 20
PATIENCE = "pgvault.engine.backup.wal:PATIENCE_SECONDS"


@pytest.fixture(scope="module")
def poor(fleet: Fleet) -> Iterator[Server]:
    """A server with one WAL sender and no slots, that archives nothing: it can be copied, and no more."""
    server = fleet.make(installation(18), Shape(wal_segsize=1), {"max_wal_senders": 1, "max_replication_slots": 0})
    server.configure({"wal_keep_size": "500MB"})
    server.start()
    yield server
    fleet.remove(server)


def waiting_backup(here: Station) -> tuple[Backup, str]:
    """One that is left WAITING_FOR_WALS, and what was said."""
    _, err = finish(here.drive([{"set": PATIENCE, "to": 0.1}], "backup", NAME), 9)
    return here.newest(), err


def segments(backup: Backup) -> list[str]:
    first, last = backup.begin_segment, backup.end_segment
    return [type(first)(first.timeline, number).name(MIB) for number in range(first.number, last.number + 1)]


def bring(here: Station, name: str) -> None:
    """What rsync or cp does on behalf of the server."""
    here.vault.spool.incoming.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(here.server.wal / name, here.vault.spool.incoming / name)


def archived(here: Station, backup: Backup) -> bool:
    return not missing_wal(here.vault, backup)


def is_copied(here: Station) -> bool:
    return any(backup.status.copied for backup in here.backups())


@pytest.fixture(params=[0, 0o077])
def any_umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def modes(directory: Path) -> dict[str, int]:
    """Of the files and of the directories in a vault, those that others may use."""
    return {str(path.relative_to(directory)): path.lstat().st_mode & 0o777 for path in directory.rglob("*")
            if path.lstat().st_mode & 0o777 != (0o700 if path.is_dir() else 0o600)}


@pytest.mark.usefixtures("any_umask")
def test_the_backup_fetches_its_own_wal(small: Server, station: Callable[..., Station],
                                        monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 5: no receiver runs and nothing archives; the backup holds the WAL with a slot and brings it itself.

    What it writes on the way, and all that it leaves, is its owner's alone.
    """
    here = station(small)
    assert small.scalar("show archive_mode") == "off"
    spooled: list[int] = []
    accept = backup_wal.accept

    def watched(server: ServerVault, name: str, source: BinaryIO, **options: Any) -> Accepted:
        spooled.append(os.fstat(source.fileno()).st_mode & 0o777)
        return accept(server, name, source, **options)

    monkeypatch.setattr(backup_wal, "accept", watched)
    backup = here.take()
    assert set(spooled) == {0o600}
    assert backup.status is BackupStatus.DONE
    assert archived(here, backup)
    name = segments(backup)[-1]
    assert here.run("get-wal", NAME, name).stdout == (small.wal / name).read_bytes()
    (here.vault.spool.incoming / "stray").touch(0o600)
    here.run("archive-wal", NAME, check=1)
    here.backup()
    assert modes(here.home) == {}


def test_the_wal_of_a_long_backup_is_kept(small: Server, station: Callable[..., Station]) -> None:
    """Rule 5: checkpoints during the copy would have the server remove segments that the backup needs."""
    here = station(small)
    process = here.start("backup", NAME, "--bwlimit", "6MB")
    wait_until(lambda: small.sql(COPYING))
    for _ in range(3):
        for _ in range(4):
            small.switch_wal()
        small.sql("checkpoint")
    finish(process, 0)
    backup = here.newest()
    assert len(segments(backup)) > 12
    assert backup.status is BackupStatus.DONE
    assert archived(here, backup)


def test_a_server_that_ends_idle_sessions(own_server: Callable[..., Server], station: Callable[..., Station]) -> None:
    """The slot's session says nothing while the files are copied, and has to be there when they are."""
    server = own_server(18, wal_segsize=1, settings={"idle_session_timeout": "500ms"})
    here = station(server)
    done = here.backup("--bwlimit", "8MB")
    assert here.newest().status is BackupStatus.DONE
    assert "temporary replication slot" not in done.stderr
    assert "could not fetch" not in done.stderr


def test_nobody_brings_the_wal(poor: Server, station: Callable[..., Station]) -> None:
    """Case 22, rule 5: exit 9, WAITING_FOR_WALS, the missing segment named; DONE when it comes, whoever asks."""
    here = station(poor)
    backup, err = waiting_backup(here)
    missing = segments(backup)
    assert backup.status is BackupStatus.WAITING_FOR_WALS
    assert "could not create a temporary replication slot" in err
    assert f"waiting for the server to archive {missing[0]}" in err
    assert f"Missing: {missing[0]}" in err
    for name in missing:
        bring(here, name)
    done = here.run("archive-wal", NAME)
    assert f"{backup.id} is DONE" in done.stderr
    assert here.newest().status is BackupStatus.DONE
    assert 'status = "DONE"' in (backup_directory(here.vault, backup.id) / "backup.toml").read_text()


def test_wal_that_came_by_another_way(poor: Server, station: Callable[..., Station]) -> None:
    """DONE is what the archive says: put-wal knows nothing of backups, and every reader sees it at once."""
    here = station(poor)
    backup, _ = waiting_backup(here)
    for name in segments(backup):
        assert here.newest().status is BackupStatus.WAITING_FOR_WALS
        here.run("put-wal", NAME, name, input=(poor.wal / name).read_bytes())
    assert here.newest().status is BackupStatus.DONE
    assert here.run("show-backup", NAME, backup.id, "--format", "json").json()["status"] == "DONE"
    after, _ = waiting_backup(here)
    assert after.status is BackupStatus.WAITING_FOR_WALS
    assert 'status = "DONE"' in (backup_directory(here.vault, backup.id) / "backup.toml").read_text()


def test_a_hole_below_a_later_segment(poor: Server, station: Callable[..., Station]) -> None:
    """Case 22: the last segment is there, one before it is not; the backup says which, and waits."""
    here = station(poor)
    process = here.drive([{"set": PATIENCE, "to": 2}], "backup", NAME, "--bwlimit", "10MB")
    wait_until(lambda: poor.sql(COPYING))
    poor.switch_wal()
    poor.switch_wal()
    wait_until(lambda: is_copied(here))
    first, hole, *rest = segments(here.newest())
    assert rest
    for name in (first, *rest):
        bring(here, name)
    _, err = finish(process, 9)
    assert f"Missing: {hole}." in err
    assert here.newest().status is BackupStatus.WAITING_FOR_WALS
    bring(here, hole)
    here.run("archive-wal", NAME)
    assert here.newest().status is BackupStatus.DONE


def test_the_wal_comes_while_the_backup_waits(poor: Server, station: Callable[..., Station]) -> None:
    here = station(poor)
    process = here.drive([{"set": PATIENCE, "to": 60}], "backup", NAME)
    wait_until(lambda: process.poll() is not None or is_copied(here))
    for name in segments(here.newest()):
        bring(here, name)
    finish(process, 0)
    assert here.newest().status is BackupStatus.DONE


def test_cancelled_while_it_waits(poor: Server, station: Callable[..., Station]) -> None:
    """What was copied is kept: it becomes DONE when the WAL comes."""
    here = station(poor)
    process = here.start("backup", NAME)
    wait_until(lambda: process.poll() is not None or is_copied(here))
    process.terminate()
    _, err = finish(process, 130)
    backup = here.newest()
    assert "becomes DONE when its WAL arrives" in err
    assert backup.status is BackupStatus.WAITING_FOR_WALS
    for name in segments(backup):
        bring(here, name)
    here.run("archive-wal", NAME)
    assert here.newest().status is BackupStatus.DONE


def test_the_end_lies_on_a_segments_border(small: Server, station: Callable[..., Station]) -> None:
    """Case 21, rule 5: a backup that ends exactly where a segment does needs that segment and not the next."""
    here = station(small)
    for _ in range(5):  # another record may slip in before the last one
        process = here.start("backup", NAME, "--bwlimit", "8MB")
        wait_until(lambda: small.sql(COPYING))
        leave_room(small, 40)
        finish(process, 0)
        backup = here.newest()
        if backup.end_lsn % MIB == 0:
            break
    assert backup.end_lsn % MIB == 0, "the backup's last record did not end the segment"
    assert backup.end_segment.number == backup.end_lsn // MIB - 1
    assert backup.status is BackupStatus.DONE
    assert archived(here, backup)


def leave_room(server: Server, rest: int) -> None:
    """Write WAL until so many bytes are left in the segment; a backup's last record takes 40."""
    with server.connect() as session:
        def room() -> int:
            text = session.execute("select pg_current_wal_insert_lsn()::text").fetchone()[0]
            return -Lsn.parse(text) % MIB

        def write(size: int) -> None:
            session.execute("select pg_logical_emit_message(false, '', repeat('x', %s))", (size,))

        while room() > 16384:
            write(min(room() - 12000, 200_000))
        while room() > 8192 - 24:  # into the last page
            write(3000)
        while (left := room() - rest) > 250:
            write(min(left - 240, 3000))
        write(left - 51)  # header 24 + 2, message 24 + 1, and what it says; all a multiple of 8
        assert room() == rest, (left, room())


def test_the_archived_wal_is_read_before_somebody_restores(small: Server, station: Callable[..., Station]) -> None:
    here = station(small)
    _, err = finish(here.drive([{"set": "pgvault.engine.progress:_WORTH_REPORTING", "to": 0}], "backup", NAME), 0)
    assert "read WAL" in err
    with wal_index.reading(here.vault) as index:
        assert list(index.files("segment"))
        assert unread(index) == 0


def test_a_backup_is_done_although_its_wal_cannot_be_read(small: Server, station: Callable[..., Station]) -> None:
    here = station(small)
    damage = [{"set": "pgvault.vault.wal_facts:_UNREAD", "to": "SELECT count(*) FROM nothing"}]
    _, err = finish(here.drive(damage, "backup", NAME), 0)
    assert f"warning: backup {here.newest().id} is DONE, but not all of the archived WAL could be read: " in err
    assert "warning: Nothing is lost" in err
    assert here.newest().status is BackupStatus.DONE
