"""What of a backup is found to be lacking, by what the server's catalogues say: the rules, on made-up answers."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping
from copy import copy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from made_sql import MadeSql, denied

from pgvault.config.schema import ServerConfig
from pgvault.engine.backup import completeness
from pgvault.engine.backup.completeness import (
    Cluster,
    Comparison,
    Database,
    fail_skipped,
    read_cluster,
    transaction_files,
)
from pgvault.engine.backup.failure import FAILURES, backup_error
from pgvault.engine.backup.plan import plan_backup
from pgvault.io.base_backup import NEXT_STEP
from pgvault.model.backup_plan import BackupPlan
from pgvault.model.errors import Cancelled, Incomplete, NoSpace, PgvaultError, Refused
from pgvault.vault.layout import Vault
from pgvault.vault.manifest import Entry, Kind, ManifestWriter
from pgvault.vault.names import RelationName

MAIN, WISH = SimpleNamespace(name="main"), object()
VERSION = "PG_18_202506291"
SEGMENT = 1 << 20
AT = datetime(2026, 1, 1, tzinfo=UTC)
POSTGRES, SHOP, AWAY = Database(5, "postgres", 1663), Database(20000, "shop", 1663), Database(20001, "away", 17000)
BEFORE = Cluster(VERSION, {each.oid: each for each in (POSTGRES, SHOP, AWAY)},
                 {1663: "pg_default", 1664: "pg_global", 17000: "fast"}, "777", SEGMENT, AT,
                 frozenset({("global/1214", " of pg_shdepend"), ("pg_xact/0001", ""), ("pg_xact/0002", "")}))
WHOLE = ("PG_VERSION", "global/pg_control", "global/pg_filenode.map", "global/1214", "pg_xact/0001", "pg_xact/0002",
         "base/5/PG_VERSION", "base/5/pg_filenode.map",
         "base/20000/PG_VERSION", "base/20000/pg_filenode.map", f"pg_tblspc/17000/{VERSION}",
         f"pg_tblspc/17000/{VERSION}/20001/PG_VERSION", f"pg_tblspc/17000/{VERSION}/20001/pg_filenode.map")
NOTHING: Mapping[int, Collection[tuple[int, int]]] = {}


@pytest.fixture
def manifest(tmp_path: Path) -> Iterator[Callable[..., ManifestWriter]]:
    """Makes the list of what arrived, all that has to be there without what is named, and the names that are kept."""
    made: list[ManifestWriter] = []

    def make(*without: str, files: Mapping[str, int] | None = None,
             relations: Collection[RelationName] = ()) -> ManifestWriter:  # fmt: skip
        vault = Vault.open_or_create(tmp_path / "vault").server("main")
        (vault.backups / "20260101T000000Z").mkdir(parents=True, exist_ok=True)
        writer = ManifestWriter(vault, "20260101T000000Z")
        for path, size in {**{path: 1 for path in WHOLE if path not in without}, **(files or {})}.items():
            writer.add(Entry(writer.next_id(), path, Kind.FILE, size, 0o600, 1, 0))
        writer.add_relations(relations)
        writer.index_paths()
        made.append(writer)
        return writer

    yield make
    for each in made:
        each.abandon()


def compare(monkeypatch: pytest.MonkeyPatch, arrived: ManifestWriter, *, sql: MadeSql | None = None,
            after: Cluster = BEFORE, initial: Mapping[int, Collection[tuple[int, int]]] = NOTHING,
            before: Cluster = BEFORE) -> Comparison:  # fmt: skip
    monkeypatch.setattr(completeness, "connect", (sql or MadeSql({})).connect)
    return Comparison(MAIN, before, after, arrived, initial)  # type: ignore[arg-type]


def lacking(comparison: Comparison) -> str:
    with pytest.raises(Incomplete) as failure:
        comparison.fail_lacking(WISH)  # type: ignore[arg-type]
    error = failure.value
    assert error.detail == "PostgreSQL did not send it: the file or directory is missing on the server."
    assert error.hint == ("Search for it there, and check the server's log. Older backups may still have it: "
                          "pgvault list-backups main")
    assert error.message.startswith("the backup of main lacks ")
    return error.message.removeprefix("the backup of main lacks ")


# The cluster's own files


def test_a_whole_backup_lacks_nothing_and_nobody_is_asked(monkeypatch: pytest.MonkeyPatch,
                                                         manifest: Callable[..., ManifestWriter]) -> None:
    sql = MadeSql({})
    comparison = compare(monkeypatch, manifest(), sql=sql)
    comparison.fail_lacking(WISH)  # type: ignore[arg-type]
    assert (sql.opened, comparison.not_compared) == ([], [])


@pytest.mark.parametrize(("without", "told"), [
    ("PG_VERSION", "PG_VERSION"), ("global/pg_control", "global/pg_control"),
    ("global/pg_filenode.map", "global/pg_filenode.map"), ("global/1214", "global/1214 of pg_shdepend"),
    ("pg_xact/0002", "pg_xact/0002"),
    (f"pg_tblspc/17000/{VERSION}", f"pg_tblspc/17000/{VERSION} of tablespace fast"),
    ("base/5/PG_VERSION", "base/5/PG_VERSION of database postgres"),
    ("base/20000/pg_filenode.map", "base/20000/pg_filenode.map of database shop"),
    (f"pg_tblspc/17000/{VERSION}/20001/PG_VERSION", f"pg_tblspc/17000/{VERSION}/20001/PG_VERSION of database away"),
])  # fmt: skip
def test_each_of_them_is_missed_by_name(monkeypatch: pytest.MonkeyPatch, manifest: Callable[..., ManifestWriter],
                                        without: str, told: str) -> None:
    assert lacking(compare(monkeypatch, manifest(without))) == told


def test_of_many_the_first_are_named(monkeypatch: pytest.MonkeyPatch, manifest: Callable[..., ManifestWriter]) -> None:
    assert lacking(compare(monkeypatch, manifest(*WHOLE))) == (
        "PG_VERSION, global/pg_control, global/pg_filenode.map, global/1214 of pg_shdepend, pg_xact/0001 and 8 more")


@pytest.mark.parametrize(("after", "told"), [
    (replace(BEFORE, databases={5: POSTGRES, 20000: SHOP}), [f"pg_tblspc/17000/{VERSION} of tablespace fast"]),
    (replace(BEFORE, databases={5: POSTGRES, 20000: SHOP, 20001: replace(AWAY, tablespace=1663)}),
     [f"pg_tblspc/17000/{VERSION} of tablespace fast"]),
    (replace(BEFORE, tablespaces={1663: "pg_default", 1664: "pg_global"}),
     [f"pg_tblspc/17000/{VERSION}/20001/PG_VERSION of database away"]),
    (replace(BEFORE, databases={}, tablespaces={}), None),
])  # fmt: skip
def test_what_went_away_or_moved_meanwhile_is_the_wals(
        monkeypatch: pytest.MonkeyPatch, manifest: Callable[..., ManifestWriter], after: Cluster,
        told: list[str] | None) -> None:  # fmt: skip
    arrived = manifest(f"pg_tblspc/17000/{VERSION}", f"pg_tblspc/17000/{VERSION}/20001/PG_VERSION")
    comparison = compare(monkeypatch, arrived, after=after)
    if told is None:
        comparison.fail_lacking(WISH)  # type: ignore[arg-type]
    else:
        assert lacking(comparison).split(", ") == told


# Relations


GOODS = RelationName(20000, 30000, 30001, "public", "goods", "r")
FAR = RelationName(20000, 30002, 30003, "public", "far", "r")
STILL, CUT = "age(c.xmin)", "pg_filenode_relation"


@pytest.mark.parametrize(("files", "still", "told"), [
    ({}, [(30000,)], "the file 30001 of public.goods in database shop"),
    ({}, [(30002,), (30000,)], "the file 30001 of public.goods in database shop, the file 30003 of public.far in "
                               "database shop"),
    ({f"pg_tblspc/17000/{VERSION}/20000/30001": 1}, [(30002,)], "the file 30003 of public.far in database shop"),
])  # fmt: skip
def test_a_relation_that_is_still_where_it_was_is_missed(
        monkeypatch: pytest.MonkeyPatch, manifest: Callable[..., ManifestWriter], files: dict[str, int],
        still: list[tuple[int]], told: str) -> None:  # fmt: skip
    sql = MadeSql({STILL: still})
    assert lacking(compare(monkeypatch, manifest(files=files, relations=[GOODS, FAR]), sql=sql)) == told
    assert sql.opened == [(MAIN, {"database": "shop", "cancelled": WISH})]
    assert sql.closed == 1
    lost = [each for each in (GOODS, FAR) if not any(path.endswith(str(each.number)) for path in files)]
    assert [values for query, values in sql.asked] == [
        ([each.oid for each in lost], [each.number for each in lost], "777")]


def test_one_that_has_been_changed_since_is_the_wals(monkeypatch: pytest.MonkeyPatch,
                                                     manifest: Callable[..., ManifestWriter]) -> None:
    comparison = compare(monkeypatch, manifest(relations=[GOODS]), sql=MadeSql({STILL: []}))
    comparison.fail_lacking(WISH)  # type: ignore[arg-type]
    assert comparison.not_compared == []


@pytest.mark.parametrize(("arrived", "told"), [
    ({}, "the file 1259 of pg_catalog.1259 in database shop"), ({"base/20000/1259": 1}, None),
    ({"base/20000/1259_init": 1}, None), ({"base/5/1259": 1}, "the file 1259 of pg_catalog.1259 in database shop")])
def test_an_initial_file_of_the_system_is_missed(
        monkeypatch: pytest.MonkeyPatch, manifest: Callable[..., ManifestWriter], arrived: dict[str, int],
        told: str | None) -> None:  # fmt: skip
    comparison = compare(monkeypatch, manifest(files=arrived), sql=MadeSql({STILL: [(1259,)]}),
                         initial={20000: [(1259, 1259)], 99: [(1, 1)]})
    if told is None:
        comparison.fail_lacking(WISH)  # type: ignore[arg-type]
    else:
        assert lacking(comparison) == told


def test_a_cut_relation_is_missed_in_the_database_that_has_it(monkeypatch: pytest.MonkeyPatch,
                                                             manifest: Callable[..., ManifestWriter]) -> None:
    place = f"pg_tblspc/17000/{VERSION}/20001"
    arrived = manifest(files={"base/20000/40000": SEGMENT, f"{place}/40001": SEGMENT, f"{place}/40001.2": 5})
    sql = MadeSql({CUT: [("its/path.1", "public", "big")]})
    assert lacking(compare(monkeypatch, arrived, sql=sql)) == (
        "its/path.1 of public.big in database shop, its/path.1 of public.big in database away")
    assert [values for query, values in sql.asked] == [
        ([1663], [40000], ["base/20000/40000.1"], [SEGMENT], [False]),
        ([17000], [40001], [f"{place}/40001.1"], [SEGMENT], [True])]
    assert [how["database"] for _, how in sql.opened] == ["shop", "away"]


def test_more_relations_than_are_asked_for_at_once(monkeypatch: pytest.MonkeyPatch,
                                                   manifest: Callable[..., ManifestWriter]) -> None:
    many = [RelationName(20000, oid, oid, "public", f"t{oid}", "r") for oid in range(30000, 31500)]
    sql = MadeSql({STILL: [(31400,)]})
    assert lacking(compare(monkeypatch, manifest(relations=many), sql=sql)) == (
        "the file 31400 of public.t31400 in database shop")
    assert [len(values[0]) for _, values in sql.asked] == [1000, 500]


def test_what_cannot_be_asked_is_told_and_no_lack(monkeypatch: pytest.MonkeyPatch,
                                                  manifest: Callable[..., ManifestWriter]) -> None:
    away = GOODS._replace(database=20001)
    sql = MadeSql({STILL: denied("database shop")})
    comparison = compare(monkeypatch, manifest(relations=[GOODS, away]), sql=sql)
    comparison.fail_lacking(WISH)  # type: ignore[arg-type]
    assert comparison.not_compared == [
        f"the relations of database {name}: could not examine its relations again: permission denied for database shop"
        for name in ("shop", "away")]
    assert sql.closed == 2


@pytest.mark.parametrize("error", [Cancelled("cancelled")])
def test_who_cancels_is_not_told_that_something_could_not_be_compared(
        monkeypatch: pytest.MonkeyPatch, manifest: Callable[..., ManifestWriter], error: Exception) -> None:
    comparison = compare(monkeypatch, manifest(relations=[GOODS]), sql=MadeSql({STILL: error}))
    with pytest.raises(Cancelled):
        comparison.fail_lacking(WISH)  # type: ignore[arg-type]


# What PostgreSQL says that it leaves out


@pytest.mark.parametrize(("paths", "told"), [
    (["base/5"], "base/5"), (["a.conf", "global/1", "pg_xact", "pg_hba.conf"], "global/1, pg_xact"),
    ([f"base/{number}" for number in range(7)], "base/0, base/1, base/2, base/3, base/4 and 2 more"),
    (["a.conf"], None), ([], None)])
def test_data_that_is_left_out_fails_the_backup(paths: list[str], told: str | None) -> None:
    if told is None:
        fail_skipped("main", paths)
        return
    with pytest.raises(Incomplete) as failure:
        fail_skipped("main", paths)
    assert (failure.value.message, failure.value.detail, failure.value.hint) == (
        f"the backup of main would lack {told}",
        "It is a symbolic link or another special file. PostgreSQL skips those in a base backup, except the links of "
        "tablespaces and of pg_wal.",
        "Stop PostgreSQL, move the link's target back into the data directory, or make it a "
        "tablespace; then run the backup again.")


def test_which_databases_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    sql = MadeSql({"pg_control_system": [(202506291, "777", SEGMENT, AT)],
                   "relisshared": [("global/1214", " of pg_shdepend")],
                   "pg_control_checkpoint": [(3 << 20, 1 << 20, 8192)], "FROM pg_database": [
        (5, "postgres", 1663), (20000, "shop", 1663), (20001, "away", 17000)],
        "FROM pg_tablespace": [(1663, "pg_default"), (1664, "pg_global"), (17000, "fast")]})
    monkeypatch.setattr(completeness, "session", sql.session)
    assert read_cluster(MAIN, WISH) == BEFORE  # type: ignore[arg-type]
    assert sql.opened == [(MAIN, "list the databases", {"cancelled": WISH})]


@pytest.mark.parametrize(("following", "oldest", "block_size", "files"), [
    (750, 722, 8192, ["0000"]), (1 << 20, 3, 8192, ["0000"]), ((1 << 20) + 1, 3, 8192, ["0000", "0001"]),
    (750, (1 << 32) - (1 << 20), 8192, ["0FFF", "0000"]), (1 << 22, 1 << 22, 8192, []),
    (1 << 20, 3, 4096, ["0000", "0001"])])
def test_where_the_states_of_transactions_are(following: int, oldest: int, block_size: int, files: list[str]) -> None:
    assert list(transaction_files(following, oldest, block_size)) == [f"pg_xact/{each}" for each in files]


def test_what_lasted_is_what_both_looks_saw(monkeypatch: pytest.MonkeyPatch,
                                            manifest: Callable[..., ManifestWriter]) -> None:
    after = replace(BEFORE, lasting=frozenset({("pg_xact/0002", ""), ("pg_xact/0003", "")}))
    compare(monkeypatch, manifest("pg_xact/0001", "global/1214"), after=after).fail_lacking(WISH)  # type: ignore[arg-type]


@pytest.mark.parametrize("error", [
    'could not open file "base/5/1259": No such file or directory',
    "konnte Datei »base/5/1259« nicht öffnen: Datei oder Verzeichnis nicht gefunden"])
def test_a_file_that_the_server_does_not_find_either_is_missed(
        monkeypatch: pytest.MonkeyPatch, manifest: Callable[..., ManifestWriter], error: str) -> None:
    monkeypatch.setattr(completeness, "connect", MadeSql({}).connect)
    comparison = Comparison(MAIN, BEFORE, BEFORE, manifest(), NOTHING, [error])  # type: ignore[arg-type]
    assert lacking(comparison) == "base/5/1259"
    there = Comparison(MAIN, BEFORE, BEFORE, manifest(files={"base/5/1259": 1}), NOTHING, [error])  # type: ignore[arg-type]
    there.fail_lacking(WISH)  # type: ignore[arg-type]


# Plans and failures


HOME = Vault(Path("/vault")).server("main")


def sqlite_error(code: int) -> Exception:
    error = sqlite3.OperationalError("it is so")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(("error", "kind", "message", "detail", "hint"), [
    (denied("x"), Refused, "could not copy the cluster: permission denied for x",
     "The role lacks a privilege on main.", "Find the missing privilege, and its GRANT: pgvault check main"),
    (OSError(28, "No space left on device"), NoSpace, "could not store the backup: no space left",
     "The file system of /vault/main is full.",
     "Free space there, or move the directory to a larger file system, and run this again."),
    (OSError(5, "Input/output error", "/vault/main/pack"), PgvaultError,
     "could not store the backup: Input/output error", "Path: /vault/main/pack.", ""),
    (sqlite_error(13), NoSpace, "could not store the backup: no space left",
     "The file system of /vault/main is full.",
     "Free space there, or move the directory to a larger file system, and run this again."),
    (sqlite_error(19 | 6 << 8), PgvaultError, "the server sent an invalid base backup",
     "It contains two files of the same name.", NEXT_STEP),
    (sqlite_error(10 | 3 << 8), PgvaultError,
     "could not store the backup: a database of the vault is not writable",
     "SQLite reports for a database in /vault/main: it is so.",
     "Check the disk and the system's log, then run the backup again."),
])  # fmt: skip
def test_what_went_wrong_in_words(error: Exception, kind: type[PgvaultError], message: str, detail: str,
                                  hint: str) -> None:
    assert isinstance(error, FAILURES)
    found = backup_error(copy(error), HOME)  # which may get a path
    assert (type(found), found.message, found.detail, found.hint) == (kind, message, detail, hint)


def test_an_error_of_our_own_is_told_as_it_is() -> None:
    own = Incomplete("x")
    assert backup_error(own, HOME) is own
    without_code = backup_error(sqlite3.Error("odd"), HOME)
    assert without_code.message == "could not store the backup: a database of the vault is not writable"
    assert psycopg.Error in FAILURES


@pytest.mark.parametrize(("asked", "expected"), [
    ({}, {}),
    ({"name": "n", "full": True, "immediate_checkpoint": False, "workers": 7, "bandwidth_limit": 9, "wait_lock": True},
     {"name": "n", "full": True, "immediate_checkpoint": False, "workers": 7, "bandwidth_limit": 9, "wait_lock": True}),
    ({"workers": 0, "bandwidth_limit": 0}, {}),
])  # fmt: skip
def test_a_plan_is_what_was_asked_for_and_else_what_is_configured(asked: dict[str, Any],
                                                                  expected: dict[str, Any]) -> None:
    server = ServerConfig(name="main", conninfo="host=x", immediate_checkpoint=True, parallel_jobs=3,
                          bandwidth_limit=1 << 20, compression_level=5, basebackup_retry_times=2,
                          basebackup_retry_sleep=timedelta(seconds=45))
    assert plan_backup(server, **asked) == BackupPlan(**{
        "server": "main", "immediate_checkpoint": True, "workers": 3, "bandwidth_limit": 1 << 20,
        "compression_level": 5, "retry_times": 2, "retry_seconds": 45.0, **expected})
