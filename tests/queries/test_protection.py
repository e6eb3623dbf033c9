"""A server's protection as it is read from a real vault, and the stamp that tells when to read it again."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from shelf import SIZE, Shelf, at, made_backup
from support.account import account

from pgvault.config.schema import ServerConfig
from pgvault.engine.overview import protection, stamp
from pgvault.engine.protection import STUCK
from pgvault.model.backup import BackupStatus
from pgvault.model.lsn import Lsn
from pgvault.model.protection import Protection, ProtectionState
from pgvault.model.window import instant
from pgvault.store.files import make_directory
from pgvault.store.keys import Kind
from pgvault.store.leases import Concern
from pgvault.vault import wal_index
from pgvault.vault.layout import ServerVault

SERVER = ServerConfig(name="main", conninfo="host=nowhere", last_backup_maximum_age=timedelta(days=1))


def looked(shelf: Shelf, now: datetime | None = None) -> Protection:
    return protection(SERVER, shelf.home, now or at(2))


def test_all_that_is_shown_of_a_sound_server(shelf: Shelf, vault: ServerVault) -> None:
    backup = made_backup(at(1, 13), segment=2)
    shelf.put(backup)
    shelf.archive(1, 2, 6, stored=1000)
    commit = int(at(1, 20).timestamp()) * 1_000_000
    with wal_index.writing(vault) as index:
        index.connection.execute("INSERT INTO facts (timeline, number, joined, latest) VALUES (1, 6, 1, ?)", (commit,))
        index.connection.execute("UPDATE file SET accepted_at = ?", (commit,))
    (vault.packs / "a.pack").write_bytes(bytes(700))
    found = looked(shelf)
    assert (found.state, found.reason, found.reasons) == (ProtectionState.OK, "", ())
    assert (found.last_backup, found.backup_count, found.gaps, found.receiver) == (backup, 1, (), None)
    assert found.window
    assert (found.window.until_lsn, found.window.backups) == (Lsn(7 * SIZE), (backup.id,))
    assert found.latest == found.window.until_time == instant(commit)
    assert found.stored_bytes == 5 * 1000 + 700
    (vault.packs / "b.pack").write_bytes(bytes(30))
    assert looked(shelf).stored_bytes == 5 * 1000 + 730


def test_a_gap_is_shown_and_fails(shelf: Shelf, vault: ServerVault) -> None:
    shelf.put(made_backup(at(1, 13), segment=2))
    shelf.archive(1, 2, 4)
    shelf.archive(1, 7, 8)
    found = looked(shelf)
    assert found.state is ProtectionState.FAILED
    assert [gap.missing for gap in found.gaps] == [2]


def test_a_backup_without_any_archived_wal_protects_nothing(shelf: Shelf, vault: ServerVault) -> None:
    shelf.put(made_backup(at(1, 13)))
    found = looked(shelf)
    assert (found.state, found.backup_count, found.last_backup) == (ProtectionState.FAILED, 0, None)


def test_a_server_of_which_nothing_is_there_yet(shelf: Shelf) -> None:
    shelf.server("other")
    assert looked(shelf).reasons == ("no backup was taken yet",)


def test_a_vault_that_is_not_there_is_unknown(shelf: Shelf) -> None:
    """Its disk may not be mounted: it is not called empty."""
    found = looked(shelf)
    assert (found.state, found.reason) == (ProtectionState.UNKNOWN, f"there is no vault in {shelf.home}")
    assert (found.last_backup, found.window, found.stored_bytes) == (None, None, None)


def test_an_index_that_cannot_be_used_is_unknown_while_backups_are_still_shown(
        shelf: Shelf, vault: ServerVault) -> None:
    backup = made_backup(at(1, 13))
    shelf.put(backup)
    shelf.archive(1, 2, 4)
    vault.cache.wal.write_bytes(b"no database" * 100)
    found = looked(shelf)
    assert (found.state, found.last_backup, found.stored_bytes) == (ProtectionState.UNKNOWN, backup, None)
    assert "cannot be used" in found.reason


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_directory_that_may_not_be_read_is_unknown(shelf: Shelf, vault: ServerVault) -> None:
    vault.backups.chmod(0)
    try:
        assert looked(shelf).state is ProtectionState.UNKNOWN
    finally:
        vault.backups.chmod(0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has vaults of others")
def test_the_vault_of_somebody_else_is_unknown(shelf: Shelf, vault: ServerVault) -> None:
    account().own(shelf.home)
    if shelf.home.stat().st_uid == os.geteuid():
        pytest.skip("the tests' account is root itself")
    assert looked(shelf).reason == f"the vault in {shelf.home} belongs to another user"


def test_a_receiver_and_what_one_left_behind(shelf: Shelf, vault: ServerVault) -> None:
    shelf.put(made_backup(at(1, 13), segment=2))
    shelf.archive(1, 2, 4)
    begun = vault.spool.streaming / "000000010000000000000005.partial"
    begun.write_bytes(b"x")
    now = datetime.now(UTC)
    with vault.leases.hold(Concern.RECEIVE):
        found = looked(shelf, now)
        assert found.receiver
        assert found.receiver.startswith(f"process {os.getpid()} on ")
    assert "the receiver has not run for 20 min 00 s" not in looked(shelf, now).reasons
    left = (now - timedelta(minutes=20)).timestamp()
    os.utime(begun, (left, left))
    assert "the receiver has not run for 20 min 00 s" in looked(shelf, now).reasons
    shelf.archive(1, 5, 5)
    assert not any("receiver" in reason for reason in looked(shelf, now).reasons)


def test_when_a_receiver_last_heard_is_told_by_its_lock(shelf: Shelf, vault: ServerVault) -> None:
    shelf.put(made_backup(at(1, 13), segment=2))
    shelf.archive(1, 2, 4)
    now = datetime.now(UTC)
    with vault.leases.hold(Concern.RECEIVE):
        assert looked(shelf, now).unheard is None
        long_ago = (now - timedelta(minutes=5)).timestamp()
        os.utime(vault.locks / "receive.lock", (long_ago, long_ago))
        found = looked(shelf, now)
        assert "the receiver has received nothing from main for 5 min 00 s" in found.reasons
        assert found.unheard
        vault.leases.renew(Concern.RECEIVE)
        assert looked(shelf, now).unheard is None
    os.utime(vault.locks / "receive.lock", (0, 0))
    assert looked(shelf, now).unheard is None, "nobody receives"


def test_a_vault_that_was_there_is_not_written_to_where_it_is_not(shelf: Shelf, vault: ServerVault) -> None:
    assert looked(shelf).refusal == ""
    shelf.home.rename(shelf.home.with_name("elsewhere"))
    shelf.home.mkdir()
    found = looked(shelf)
    assert found.state is ProtectionState.UNKNOWN
    assert found.refusal == found.reason == f"the vault in {shelf.home} is not there"


def test_files_that_wait_are_told_of_by_when_they_came(shelf: Shelf, vault: ServerVault) -> None:
    """rsync keeps the server's own times, which may be days old."""
    shelf.put(made_backup(at(1, 13), segment=2))
    shelf.archive(1, 2, 4)
    waiting = vault.spool.incoming / "000000010000000000000005"
    waiting.write_bytes(b"x")
    os.utime(waiting, (0, 0))
    assert not any("waits" in reason for reason in looked(shelf, datetime.now(UTC)).reasons)
    assert "1 WAL file waits to be archived" in looked(shelf, datetime.now(UTC) + 2 * STUCK).reasons


def test_a_begun_backup_that_nobody_is_at_work_on(shelf: Shelf, vault: ServerVault) -> None:
    shelf.put(made_backup(at(1, 13), segment=2), made_backup(at(1, 14), segment=3, status=BackupStatus.STARTED))
    shelf.archive(1, 2, 4)
    told = "the last attempt at a backup ended without reporting a result"
    assert told in looked(shelf).reasons
    with vault.leases.hold(Concern.BACKUP):
        assert told not in looked(shelf).reasons


def test_looking_changes_nothing_but_the_cache(shelf: Shelf, vault: ServerVault) -> None:
    shelf.put(made_backup(at(1, 13), segment=2))
    shelf.archive(1, 2, 4)

    def files() -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in vault.home.rglob("*") if path.name != "catalog.cache"}

    before, seen = stamp(SERVER, shelf.home), files()
    looked(shelf)
    assert stamp(SERVER, shelf.home) == before
    assert {name: at for name, at in files().items() if name in seen} == seen


def _backup_comes(shelf: Shelf) -> None:
    shelf.put(made_backup(at(3)))


def _backup_fails(shelf: Shelf) -> None:
    shelf.put(replace(made_backup(at(1, 13)), status=BackupStatus.FAILED))


def _backup_goes(shelf: Shelf) -> None:
    store, key = shelf.server().store, shelf.server().key(Kind.BACKUP, made_backup(at(1, 13)).id)
    store.delete(key)


def _file_waits(shelf: Shelf) -> None:
    (shelf.server().spool.incoming / "000000010000000000000005").write_bytes(b"x")


def _index_goes(shelf: Shelf) -> None:
    shelf.server().cache.wal.unlink()


@pytest.mark.parametrize("act", [
    _backup_comes, _backup_fails, _backup_goes, _file_waits, _index_goes, lambda shelf: shelf.archive(1, 5, 5)])
def test_the_stamp_changes_with_whatever_happens(
        shelf: Shelf, vault: ServerVault, act: Callable[[Shelf], None]) -> None:
    shelf.put(made_backup(at(1, 13)), made_backup(at(2)))
    shelf.archive(1, 2, 4)
    before = stamp(SERVER, shelf.home)
    assert stamp(SERVER, shelf.home) == before
    act(shelf)
    assert stamp(SERVER, shelf.home) != before


def test_the_stamp_tells_who_receives_even_if_it_was_killed(shelf: Shelf, vault: ServerVault) -> None:
    """The kernel frees its lock and leaves its file as it was."""
    before = stamp(SERVER, shelf.home)
    with vault.leases.hold(Concern.RECEIVE):
        signed = (vault.locks / "receive.lock").read_bytes()
        running = stamp(SERVER, shelf.home)
    make_directory(vault.locks)
    (vault.locks / "receive.lock").write_bytes(signed)
    assert running not in (before, stamp(SERVER, shelf.home))


def test_the_stamp_of_nothing_is_no_error(shelf: Shelf) -> None:
    assert stamp(SERVER, shelf.home) == stamp(SERVER, shelf.home)


def test_the_end_of_a_backup_that_could_not_write_it_down_is_seen(shelf: Shelf, vault: ServerVault) -> None:
    """On a full disk its facts stay as they are; its lease ends."""
    shelf.put(made_backup(at(1), status=BackupStatus.STARTED))
    with vault.leases.hold(Concern.BACKUP):
        running = stamp(SERVER, shelf.home)
    assert stamp(SERVER, shelf.home) != running


def test_what_is_not_well_is_read_again_though_its_stamp_is_the_same(shelf: Shelf, vault: ServerVault) -> None:
    shelf.put(made_backup(at(1)))
    shelf.archive(1, 2, 6)
    facts = vault.home / "backups" / made_backup(at(1)).id / "backup.toml"
    whole = facts.read_bytes()
    facts.write_bytes(b"?")
    broken, seen = looked(shelf, at(1, 13)), stamp(SERVER, shelf.home)
    facts.write_bytes(whole)
    assert stamp(SERVER, shelf.home) == seen
    assert not broken.is_doubtful(at(1, 13))
    assert broken.is_doubtful(at(1, 13) + timedelta(minutes=1))
    assert not replace(broken, state=ProtectionState.OK).is_doubtful(at(1, 14))
