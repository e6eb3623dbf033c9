"""The vault's file system fills up: exit 10, in words, nothing lost, and all is well once there is space."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from station import Station, assert_nothing_runs, fill
from support.fleet import Fleet, Shape
from support.installation import installation
from support.postgres import Server

from pgvault.model.backup import BackupStatus

KIB = 1 << 10


@pytest.fixture(scope="module")
def growing(fleet: Fleet) -> Iterator[Server]:
    server = fleet.make(installation(18), Shape(wal_segsize=1)).start()
    yield server
    fleet.remove(server)


def leave(place: Path, kibibytes: int) -> Path:
    """Take all the space but so much."""
    filler = place / "filler"
    free = os.statvfs(place)
    size = free.f_bavail * free.f_frsize - kibibytes * KIB
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, size)
    return filler


def test_the_vault_is_full(growing: Server, station: Callable[..., Station], tmpfs: Callable[[int], Path]) -> None:
    """Rule 32: wherever the space ends, in a pack, a manifest, an index or a journal."""
    place = tmpfs(48)
    here = station(growing, place / "vault")
    older = here.take()
    digest = here.contents(older).digest()
    fill(growing, "junk", 6)
    for kibibytes in (0, 64, 200, 350, 600, 1500, 4000, 6500):
        filler = leave(place, kibibytes)
        told = here.backup(check=10)
        assert "no space left" in told.stderr
        assert str(place) in told.stderr, told.stderr
        assert "hint: Free space there" in told.stderr
        assert "internal" not in told.stderr
        assert "Traceback" not in told.stderr
        assert here.contents(older).digest() == digest
        assert_nothing_runs(growing)
        assert not list(here.vault.packs.glob(".*")), "a half pack keeps the disk full"
        filler.unlink()
    assert not [b for b in here.backups() if b.status is BackupStatus.DONE and b.id != older.id]
    assert any(b.status is BackupStatus.FAILED and "no space left" in b.error for b in here.backups())
    here.backup()
    assert here.newest().status is BackupStatus.DONE
    contents = here.contents(here.newest())
    assert len(dict(contents.listed())) == len(contents.entries()) - sum(
        e.kind.value != "file" for e in contents.entries()) - 1
    assert contents.digest()
    assert not [b for b in here.backups() if b.status is BackupStatus.STARTED]
    assert here.contents(older).digest() == digest


def test_full_while_the_wal_is_fetched(growing: Server, station: Callable[..., Station],
                                       tmpfs: Callable[[int], Path]) -> None:  # fmt: skip
    """What was copied is not lost: it waits for its WAL."""
    place = tmpfs(16)
    here = station(growing, place / "vault")
    here.take()
    leave(place, 900)
    told = here.backup(check=10)
    assert "no space left" in told.stderr
    assert str(place) in told.stderr
    assert here.newest().status is BackupStatus.WAITING_FOR_WALS
