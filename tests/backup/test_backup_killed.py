"""Case 18: a backup that is killed anywhere leaves the vault valid, and the next run cleans up by itself."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from station import NAME, Station, assert_nothing_runs, fill
from support.fleet import Fleet, Shape
from support.installation import installation
from support.postgres import Server

from pgvault.model.backup import Backup, BackupStatus
from pgvault.vault.packs import pack_names, read_footer

RUN, WAL, COPY = "pgvault.engine.backup.run:", "pgvault.engine.backup.wal:", "pgvault.engine.backup.copy:"
FRAMES, PACKS, BASE = "pgvault.vault.frames:FrameStore.", "pgvault.vault.packs:PackWriter.", "pgvault.io.base_backup:"
MANIFEST, CATALOG, STORE = "pgvault.vault.manifest:ManifestWriter.", "pgvault.vault.catalog:", "pgvault.store.local:"
SMALL_PACKS = {"set": "pgvault.vault.frames:PACK_SIZE", "to": 256 << 10}
UNFINISHED, COPIED = BackupStatus.FAILED, BackupStatus.DONE

POINTS = [
    (f"{RUN}clean_up", 1, "after", None),
    (f"{STORE}publish", 1, "before", None),
    (f"{STORE}publish", 1, "after", None),
    (f"{CATALOG}create", 1, "after", UNFINISHED),
    (f"{WAL}WalReservation.hold", 1, "after", UNFINISHED),
    (f"{FRAMES}__init__", 1, "after", UNFINISHED),
    (f"{MANIFEST}__init__", 1, "after", UNFINISHED),
    (f"{BASE}BaseBackup.start", 1, "after", UNFINISHED),
    (f"{PACKS}__init__", 1, "after", UNFINISHED),
    (f"{PACKS}add", 1, "after", UNFINISHED),
    (f"{PACKS}add", 4, "before", UNFINISHED),
    (f"{PACKS}publish", 1, "before", UNFINISHED),
    (f"{PACKS}publish", 1, "after", UNFINISHED),
    (f"{PACKS}publish", 3, "before", UNFINISHED),
    (f"{FRAMES}_wait", 3, "after", UNFINISHED),
    (f"{COPY}Copier.finish", 1, "before", UNFINISHED),
    (f"{FRAMES}flush", 1, "after", UNFINISHED),
    (f"{MANIFEST}index_paths", 1, "after", UNFINISHED),
    (f"{MANIFEST}publish", 1, "before", UNFINISHED),
    (f"{MANIFEST}publish", 1, "after", UNFINISHED),
    (f"{CATALOG}write", 1, "before", UNFINISHED),
    (f"{CATALOG}write", 1, "after", COPIED),
    (f"{WAL}accept", 1, "before", COPIED),
    (f"{WAL}accept", 1, "after", COPIED),
    (f"{CATALOG}write", 2, "before", COPIED),
    (f"{CATALOG}write", 2, "after", COPIED),
    ("pgvault.vault.wal_facts:_read_one", 1, "before", COPIED),
]


@pytest.fixture(scope="module")
def changing(fleet: Fleet) -> Iterator[Server]:
    server = fleet.make(installation(18), Shape(wal_segsize=1), {"wal_keep_size": "200MB"}).start()
    fill(server, "junk", 1)
    yield server
    fleet.remove(server)


@pytest.fixture(scope="module")
def here(changing: Server, module_directory: Path) -> Iterator[tuple[Station, Backup, str]]:
    """A vault that lives through all of it, with a backup from before."""
    station = Station(changing, module_directory / "vault", module_directory)
    older = station.take()
    yield station, older, station.contents(older).digest()
    station.close()


def assert_whole(here: Station) -> None:
    """Every pack is one and is known to the index, and every complete backup can be read to its last byte."""
    with closing(sqlite3.connect(here.vault.cache.frames)) as index:
        assert {name for (name,) in index.execute("SELECT name FROM pack")} == pack_names(here.vault)
    for name in pack_names(here.vault):
        assert list(read_footer(here.vault, name))
    for backup in here.backups()[-3:]:
        if backup.status.copied:
            contents = here.contents(backup)
            sizes = {entry.path: len(content) for entry, content in contents.files() if entry.path != "backup_manifest"}
            assert sizes == {path: size for path, (size, _) in contents.listed().items()}


@pytest.mark.parametrize(("place", "call", "when", "becomes"), POINTS,
                         ids=[f"{when}-{place.rpartition(':')[2]}-{call}" for place, call, when, _ in POINTS])
def test_killed(place: str, call: int, when: str, becomes: BackupStatus | None, changing: Server,
                here: tuple[Station, Backup, str]) -> None:  # fmt: skip
    """The dead run is not to be seen or is no finished backup; the next one finds no lock, and marks and cleans it."""
    station, older, digest = here
    known = {backup.id for backup in station.backups()}
    changing.sql("update junk set junk = decode(md5(random()::text || n), 'hex') || substr(junk, 17)")
    changing.sql("checkpoint")
    process = station.drive([SMALL_PACKS, {"at": place, "call": call, "when": when}], "backup", NAME)
    _, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, err
    left = [backup for backup in station.backups() if backup.id not in known]
    assert [backup.status for backup in left if backup.status is BackupStatus.DONE] in ([], [becomes])
    assert len(left) == (0 if becomes is None else 1)
    assert station.contents(older).digest() == digest
    assert_nothing_runs(changing)

    again = station.take()
    assert again.status is BackupStatus.DONE
    if left:
        settled = next(backup for backup in station.backups() if backup.id == left[0].id)
        assert settled.status in ((becomes,) if becomes is UNFINISHED else
                                  (BackupStatus.DONE, BackupStatus.WAITING_FOR_WALS))
        assert (settled.error != "") == (becomes is UNFINISHED)
        assert (station.vault.backups / settled.id / "manifest.sqlite").exists() == (becomes is COPIED)
    assert not [name for name in station.stored() if ".tmp-" in name and name.startswith(("packs", "backups"))]
    assert_whole(station)
    assert older.id in {backup.id for backup in station.backups()}


def test_killed_at_any_moment(changing: Server, station: Callable[..., Station]) -> None:
    """The same without knowing where: killed from outside in the middle of the copy."""
    here = station(changing)
    older = here.take()
    digest = here.contents(older).digest()
    process: subprocess.Popen[str] = here.start_slow()
    process.kill()
    process.communicate()
    assert [b.status for b in here.backups()] == [BackupStatus.DONE, BackupStatus.STARTED]
    assert here.contents(older).digest() == digest
    assert_nothing_runs(changing)
    here.backup()
    assert [b.status for b in here.backups()] == [BackupStatus.DONE, BackupStatus.FAILED, BackupStatus.DONE]
    assert here.backups()[1].error == "its process ended without reporting a result"
