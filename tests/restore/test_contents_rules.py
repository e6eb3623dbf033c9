"""What is read of a stored backup before a restore, and what is then sent: the rules, on a backup without a server."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO

import pytest
from support.restoring import NO_WAL, SPACE, SYSTEM, backup, box, plan
from support.stored import store

from pgvault.engine.restore.contents import (
    HELD_BACK,
    RECOVERY_END_COMMAND,
    RESTORE_COMMAND,
    RestoredCluster,
    recovery_settings,
    safe_settings,
    upstream_conninfo,
)
from pgvault.engine.restore.facts import check_facts
from pgvault.engine.restore.files import conf_files, plain_file, plain_run, read_small, run_length
from pgvault.engine.restore.fits import Cluster, Named, cluster_of
from pgvault.engine.restore.stream import BackupFile, Item, PackedFile, SmallFile
from pgvault.engine.restore.timelines import placeholders
from pgvault.io.probe_script import MARKER
from pgvault.model.backup import Backup, Tablespace
from pgvault.model.control_file import read_control_file
from pgvault.model.errors import Corrupt, NotFound
from pgvault.model.lsn import Lsn
from pgvault.model.replay import Limits
from pgvault.model.restore_plan import RestorePlan
from pgvault.model.target import AtLsn, TargetAction
from pgvault.vault.layout import ServerVault, Vault
from pgvault.vault.manifest import Manifest, ManifestWriter, StoredRun
from pgvault.vault.names import DatabaseName, Trait
from pgvault.vault.packs import FRAME_SIZE, PackReader
from pgvault.vault.recoveries import Recovery
from pgvault.vault.wal_archive import accept

NOISE = hashlib.shake_256(b"x").digest(3 * FRAME_SIZE + 100)
LARGE = bytes(FRAME_SIZE) + NOISE[:2 * FRAME_SIZE] + bytes(5)


def control(**limits: int) -> bytes:
    """A pg_control of version 18 with these limits."""
    content = bytearray(8192)
    struct.pack_into("<QI", content, 0, int(SYSTEM), 1800)
    struct.pack_into("<5i", content, 180, *(limits.get(name, 1) for name in (
        "connections", "workers", "senders", "prepared", "locks")))
    return bytes(content)


def server_manifest(*ranges: tuple[int, str, str]) -> bytes:
    """Of PostgreSQL, with its files before the ranges."""
    told = ",\n".join(f'{{ "Timeline": {line}, "Start-LSN": "{start}", "End-LSN": "{end}" }}'
                      for line, start, end in ranges)
    return NOISE + f'],\n"WAL-Ranges": [\n{told}\n],\n'.encode()


RANGE = (1, "0/2000028", "0/2000100")
FILES: dict[str, bytes | None] = {
    "base": None, "base/1": None, "base/1/2": LARGE, "PG_VERSION": b"17\n", "global": None,
    "global/pg_control": control(connections=60), "postgresql.conf": b"include_dir 'conf.d'\nport = 7\n",
    "postgresql.auto.conf": b"", "pg_hba.conf": b"", "conf.d": None, "conf.d/b.conf": b"", "conf.d/a.conf": b"",
    "conf.d/.c.conf": b"", "conf.d/sub": None, "conf.d/sub/d.conf": b"", "conf.d/e.txt": b"",
    "backup_manifest": server_manifest(RANGE), "tablespace_map": b"", "recovery.signal": b"",
    "standby.signal": b"", MARKER: b"", HELD_BACK: b"", "pgvault-recovery.log": b"", "pg_tblspc": None,
    "pg_tblspc/16400": None, "pg_tblspc/16400/PG_17": None, "pg_tblspc/16400/PG_17/1": b"xy", "pgvault_wal": None,
    "pgvault_wal/000000010000000000000001": b"", "pg_logical/replorigin_checkpoint": bytes(8 + 12 * 16)}


def named(writer: ManifestWriter) -> None:
    writer.add_databases([DatabaseName(5, "postgres"), DatabaseName(6, "shop")])
    writer.add_traits([Trait(5, "collate", "C"), Trait(6, "ctype", "de"), Trait(7, "library", "x"),
                       Trait(6, "subscription", "s"), Trait(6, "publication", "p"), Trait(6, "new kind", "n")])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> ServerVault:
    vault = Vault.open_or_create(tmp_path_factory.mktemp("contents") / "vault").server("main")
    vault.prepare()
    return vault


@pytest.fixture(scope="module")
def whole(server: ServerVault) -> Backup:
    return store(server, backup(), FILES, named)


@contextmanager
def opened(server: ServerVault, stored: Backup) -> Iterator[tuple[Manifest, PackReader]]:
    with Manifest(server, stored, check=True) as manifest, PackReader(server) as packs:
        yield manifest, packs


# Single files


def test_a_file_is_read_as_it_was_whatever_its_runs_are(server: ServerVault, whole: Backup) -> None:
    with opened(server, whole) as (manifest, packs):
        entry = manifest.find("base/1/2")
        assert entry is not None
        assert b"".join(plain_file(entry, manifest, packs)) == LARGE
        assert read_small("base/1/2", manifest, packs) == LARGE
        runs = list(manifest.runs(entry))
        assert [run_length(entry, run) for run in runs] == [FRAME_SIZE] * 3 + [5]
        assert read_small("PG_VERSION", manifest, packs) == b"17\n"
        assert read_small("base", manifest, packs) is None
        assert read_small("none", manifest, packs) is None


def test_a_run_that_is_not_what_was_backed_up_is_told_with_its_file(server: ServerVault, whole: Backup) -> None:
    with opened(server, whole) as (manifest, packs):
        entry, small = manifest.find("base/1/2"), manifest.find("PG_VERSION")
        assert entry is not None
        assert small is not None
        runs, [version] = list(manifest.runs(entry)), manifest.runs(small)
        short = StoredRun(2, version.frame, None)
        with pytest.raises(Corrupt) as lacking:
            plain_run(entry, short, packs)
        assert (lacking.value.message, lacking.value.detail) == (
            "base/1/2 is damaged in the backup", "Run 2 has 3 bytes instead of 1048576.")
        no_delta = StoredRun(1, runs[1].frame, version.frame)
        with pytest.raises(Corrupt) as delta:
            plain_run(entry, no_delta, packs)
        assert delta.value.message == "base/1/2 is damaged in the backup"
        assert delta.value.detail.endswith(".")
        assert len(delta.value.detail) > 5
        assert plain_run(entry, StoredRun(3, None, None), packs) == bytes(5)


def test_a_large_file_is_no_configuration(server: ServerVault) -> None:
    size = 16 << 20
    stored = store(server, backup(id="20261101T120100Z"), {"most": bytes(size), "more": bytes(size + 1)})
    with opened(server, stored) as (manifest, packs):
        assert read_small("most", manifest, packs) == bytes(size)
        with pytest.raises(NotFound) as failure:
            read_small("more", manifest, packs)
        assert (failure.value.message, failure.value.detail) == (
            "more is too large to be a configuration file", f"It has {size + 1} bytes.")


@pytest.mark.parametrize(("directory", "found"), [
    ("conf.d", ["conf.d/a.conf", "conf.d/b.conf"]), ("conf.d/", ["conf.d/a.conf", "conf.d/b.conf"]),
    ("conf.d/sub", ["conf.d/sub/d.conf"]), (".", ["pg_hba.conf", "postgresql.auto.conf", "postgresql.conf"]),
    ("base", []), ("none", None), ("PG_VERSION", None)])
def test_the_files_of_a_directory_that_are_included(server: ServerVault, whole: Backup, directory: str,
                                                    found: list[str] | None) -> None:
    with opened(server, whole) as (manifest, _):
        assert conf_files(directory.rstrip("/") if directory != "conf.d/" else "conf.d", manifest) == found


# The facts against the content


def judged(server: ServerVault, stored: Backup) -> tuple[str, str, str] | None:
    """What is said of facts that are not those of the content; None when they are."""
    with opened(server, stored) as (manifest, packs):
        try:
            check_facts(stored, manifest, packs)
        except Corrupt as error:
            return error.message, error.detail, error.hint
    return None


def damaged(detail: str, stored: Backup) -> tuple[str, str, str]:
    return (f"the facts of backup {stored.id} are damaged", f"{detail} (backup.toml).",
            "Restore from another backup, or bring the file back from a copy of the vault.")


@pytest.mark.parametrize(("changes", "told"), [
    ({}, ""),
    ({"begin_lsn": Lsn(0x2000060)}, "from 0/2000060 to 0/2000100 on timeline 1"),
    ({"end_lsn": Lsn(0x2000200)}, "from 0/2000028 to 0/2000200 on timeline 1"),
    ({"timeline": 2}, "from 0/2000028 to 0/2000100 on timeline 2"),
])  # fmt: skip
def test_positions_are_those_of_postgresqls_own_manifest(server: ServerVault, whole: Backup, changes: dict[str, object],
                                                         told: str) -> None:
    assert judged(server, replace(whole, **changes)) == (damaged(
        f"By PostgreSQL's own manifest its WAL is from 0/2000028 to 0/2000100; there it is {told}", whole)
        if told else None)


def test_a_tablespace_of_which_there_are_files_is_in_the_facts(server: ServerVault, whole: Backup) -> None:
    assert judged(server, replace(whole, tablespaces=())) == damaged(
        "The backup has files of tablespace 16400, which is not in it", whole)
    more = (*whole.tablespaces, Tablespace(9, "empty", "/mnt/empty"))
    assert judged(server, replace(whole, tablespaces=more)) is None


def test_several_ranges_are_one_and_no_manifest_says_nothing(server: ServerVault) -> None:
    ranges = ((2, "0/2000080", "0/2000100"), (1, "0/2000028", "0/2000080"))
    both = store(server, backup(id="20261101T120200Z"), {"backup_manifest": server_manifest(*ranges)})
    assert judged(server, both) is None
    assert judged(server, replace(both, timeline=2)) is None
    assert judged(server, replace(both, timeline=3)) is not None
    none = store(server, backup(id="20261101T120300Z"), {"PG_VERSION": b"17"})
    assert judged(server, replace(none, begin_lsn=Lsn(1))) is None


@pytest.mark.parametrize("before", [0, 20, 60, 100])
def test_the_ranges_may_lie_over_two_runs(server: ServerVault, before: int) -> None:
    ranges = server_manifest(RANGE)[len(NOISE):]
    stored = store(server, backup(id=f"20261101T12{10 + before // 10}00Z"),
                   {"backup_manifest": NOISE[:FRAME_SIZE - before] + ranges})
    assert judged(server, stored) is None
    assert judged(server, replace(stored, end_lsn=Lsn(5))) is not None


def test_what_a_cluster_needs_from_its_host(server: ServerVault, whole: Backup) -> None:
    with opened(server, whole) as (manifest, packs):
        found = cluster_of(manifest, packs, {"port": "7"}, "/srv/data")
    assert found == Cluster(
        read_control_file(control(connections=60)), {"port": "7"}, "/srv/data",
        (Named("postgres", "C"), Named("shop", "de")), (Named("7", "x"),), (Named("shop", "s"),),
        (Named("shop", "p"),))
    bare = store(server, backup(id="20261101T120400Z"), {"PG_VERSION": b"17"})
    with opened(server, bare) as (manifest, packs):
        assert cluster_of(manifest, packs, {}, "/d") == Cluster(None, {}, "/d")


# What is sent


def paths(items: Iterator[Item]) -> list[str]:
    return [item.path for item in items]


RECOVERY = Recovery(4, 1)


def cluster(server: ServerVault, stored: Backup, wanted: RestorePlan, recovery: Recovery = RECOVERY,
            ) -> tuple[list[Item], list[Item], list[Item]]:  # fmt: skip
    """Directories, files and what is last."""
    with opened(server, stored) as (manifest, _):
        restored = RestoredCluster(wanted, server, manifest, None, "", "J1", recovery)
        return list(restored.directories()), list(restored.files()), list(restored.last())


def test_everything_is_sent_once_and_what_makes_it_startable_last(server: ServerVault, whole: Backup) -> None:
    wanted = plan(tablespaces=(SPACE,), backup=whole, target=AtLsn(Lsn(0x3000000)))
    directories, files, last = cluster(server, whole, wanted)
    assert paths(iter(directories)) == ["base", "base/1", "global", "conf.d", "conf.d/sub", "pg_tblspc",
                                        "pg_tblspc/16400/PG_17", "pgvault_wal/.keep"]
    assert paths(iter(files)) == [
        "pgvault_wal/00000002.history", "pgvault_wal/00000003.history", "base/1/2", "PG_VERSION", "postgresql.conf",
        "pg_hba.conf", "conf.d/b.conf", "conf.d/a.conf", "conf.d/.c.conf", "conf.d/sub/d.conf", "conf.d/e.txt",
        "pg_tblspc/16400/PG_17/1", "pg_logical/replorigin_checkpoint"]
    assert paths(iter(last)) == ["postgresql.auto.conf", "recovery.signal", HELD_BACK]
    [auto, signal, held] = last
    assert isinstance(auto, SmallFile)
    assert b"# pgvault: restore of backup 20261101T120000Z of main, job J1\n" in auto.content
    assert signal == SmallFile("recovery.signal", b"")
    assert isinstance(held, BackupFile)
    assert held.entry.path == "global/pg_control"
    assert isinstance(directories[-1], SmallFile)
    assert isinstance(files[0], SmallFile)
    assert files[0].content == b"# pgvault: another recovery has this timeline\n"


def test_what_is_archived_is_no_placeholder(server: ServerVault, whole: Backup) -> None:
    text = b"1\t0/2000000\tno recovery target specified\n"
    accept(server, "00000003.history", BytesIO(text))
    need = replace(NO_WAL, histories=("00000003.history",))
    _, files, _ = cluster(server, whole, plan(backup=whole, target=AtLsn(Lsn(0x3000000)), wal=need))
    assert paths(iter(files))[:3] == ["pgvault_wal/00000002.history", "pgvault_wal/00000003.history", "base/1/2"]
    archived = files[1]
    assert isinstance(archived, PackedFile)
    assert b"".join(archived.plain()) == text


def test_a_standby_looks_for_the_latest_and_gets_no_placeholders(server: ServerVault, whole: Backup) -> None:
    _, files, last = cluster(server, whole, plan(standby=True, backup=whole))
    assert not [each for each in paths(iter(files)) if each.endswith(".history")]
    assert "standby.signal" in paths(iter(last))
    assert "recovery.signal" not in paths(iter(last))


def test_a_tablespace_inside_the_data_directory_is_a_directory_there(server: ServerVault, whole: Backup) -> None:
    inside = plan(tablespaces=(replace(SPACE, location=""),), backup=whole)
    directories, _, last = cluster(server, whole, inside)
    assert "pg_tblspc/16400" in paths(iter(directories))
    assert isinstance(last[0], SmallFile)
    assert b"allow_in_place_tablespaces = 'on'" in last[0].content


@pytest.mark.parametrize(("recovery", "histories", "names"), [
    (Recovery(2, 1), (), []), (Recovery(4, 1), (), ["00000002.history", "00000003.history"]),
    (Recovery(4, 1), ("00000002.history",), ["00000003.history"]), (Recovery(12, 10), (), ["0000000B.history"])])
def test_a_number_that_is_taken_has_a_history(recovery: Recovery, histories: tuple[str, ...],
                                              names: list[str]) -> None:
    assert placeholders(recovery, histories) == dict.fromkeys(
        names, b"# pgvault: another recovery has this timeline\n")


# The configuration


def test_how_it_is_to_recover() -> None:
    assert RESTORE_COMMAND == (
        'if [ -e "pgvault_wal/%f" ]; then cp "pgvault_wal/%f" "%p" || exit 200; '
        "elif [ -d pgvault_wal ] || [ -e standby.signal ]; then exit 1; else exit 200; fi")
    wanted = plan(target=AtLsn(Lsn(0x3000000)), action=TargetAction.PAUSE, timeline=3,
                  tablespaces=(replace(SPACE, location=""),), stop_replayed=True)
    assert list(recovery_settings(wanted.source, wanted.point, wanted.destination).items()) == [
        ("archive_mode", "off"), ("restore_command", RESTORE_COMMAND), ("recovery_end_command", RECOVERY_END_COMMAND),
        ("recovery_target_lsn", "0/3000000"), ("recovery_target_inclusive", "on"),
        ("recovery_target_action", "pause"), ("recovery_target_timeline", "3"), ("allow_in_place_tablespaces", "on")]


def values(server: ServerVault, stored: Backup, wanted: RestorePlan, upstream: str = "host=a",
           **host: object) -> dict[str, str]:  # fmt: skip
    with opened(server, stored) as (manifest, packs):
        safe = safe_settings(wanted.source, wanted.point, wanted.destination, manifest, packs,
                             box(**host) if host else None, upstream, "J1")
        return dict(safe.values)


def test_what_the_host_and_the_plan_ask_for_is_added(server: ServerVault, whole: Backup) -> None:
    own = values(server, whole, plan(backup=whole))
    assert own["port"] == "7"
    assert not {"primary_conninfo", "unix_socket_directories"} & own.keys()
    asked = values(server, whole, plan(backup=whole, standby=True), port=9, socket_directory="/run/x")
    assert (asked["port"], asked["unix_socket_directories"], asked["primary_conninfo"]) == ("9", "/run/x", "host=a")
    assert values(server, whole, plan(backup=whole, port=8), port=9)["port"] == "8"
    assert "primary_conninfo" not in values(server, whole, plan(backup=whole, standby=True), upstream="")
    assert "unix_socket_directories" not in values(server, whole, plan(backup=whole), port=9)


@pytest.mark.parametrize(("limits", "expected"), [
    (None, {"max_connections": None}),
    (Limits(120, 1, 1, 5, 1), {"max_connections": "120", "max_prepared_transactions": "5"}),
])  # fmt: skip
def test_the_limits_are_those_of_pg_control_and_of_the_wal(server: ServerVault, whole: Backup, limits: Limits | None,
                                                           expected: dict[str, str | None]) -> None:
    found = values(server, whole, plan(backup=whole, limits=limits))
    assert {name: found.get(name) for name in expected} == expected
    assert found["max_replication_slots"] == "12"
    small = store(server, backup(id=f"20261101T1205{10 + bool(limits)}Z"),
                  {**FILES, "global/pg_control": control(connections=300, prepared=2)})
    assert values(server, small, plan(limits=limits))["max_connections"] == "300"
    assert values(server, small, plan(limits=limits))["max_prepared_transactions"] == ("5" if limits else "2")
    bare = store(server, backup(id=f"20261101T1206{10 + bool(limits)}Z"), {"postgresql.conf": b""})
    assert values(server, bare, plan(limits=limits)).get("max_connections") == expected["max_connections"]


@pytest.mark.parametrize(("text", "told"), [
    ("host=a port=5 dbname=x application_name=p", "host='a' port='5'"),
    (r"host='a b' user='it\'s' sslmode=require", r"host='a b' user='it\'s' sslmode='require'"),
    (r"host=a user='back\\slash'", r"host='a' user='back\\slash'"),
])  # fmt: skip
def test_where_a_standby_connects(text: str, told: str) -> None:
    """Not to a database, and under no name of ours."""
    assert upstream_conninfo(text) == told
