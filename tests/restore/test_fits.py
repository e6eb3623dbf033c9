"""What the host's programs say of a cluster becomes a condition of its restore: pure rules."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest

from pgvault.engine.restore import fits
from pgvault.engine.restore.fits import Cluster, Named, fit_conditions
from pgvault.io.programs import ProgramAnswers
from pgvault.model.check import Outcome
from pgvault.model.control_file import ControlFile
from pgvault.model.restore_plan import Precondition

CLUSTER = Cluster(
    ControlFile(7, False, block_size=8192, wal_block_size=8192),
    {"shared_preload_libraries": "pg_stat_statements, $libdir/auto_explain.so", "hba_file": "/etc/pg/hba.conf",
     "ssl": "on", "ssl_cert_file": "/data/server.crt", "ssl_key_file": "/etc/ssl/key", "port": "5433",
     "x.password": "S3cret", "primary_conninfo": "password=S3cret"}, "/data",
    (Named("app", "de_DE.UTF-8"), Named("postgres", "C.UTF-8")), (Named("app", "$libdir/postgis-3"),),
    (Named("app", "s"),), (Named("app", "p"),))  # fmt: skip
WELL = ProgramAnswers(8192, 8192, False, (), (), (), "")


def conditions(monkeypatch: pytest.MonkeyPatch, say: ProgramAnswers, cluster: Cluster = CLUSTER, *,
               is_certain: bool = True) -> dict[str, Precondition]:  # fmt: skip
    async def answer(_host: object, programs: str, **asked) -> ProgramAnswers:
        assert programs == "/pg/bin"
        assert asked["locales"] == ["C.UTF-8", "de_DE.UTF-8"]
        assert asked["libraries"] == ["pg_stat_statements", "auto_explain", "postgis-3"]
        assert asked["files"] == ["/etc/pg/hba.conf", "/etc/ssl/key"]
        assert "S3cret" not in str(asked["settings"])
        assert asked["settings"]["port"] == "5433"
        return say

    monkeypatch.setattr(fits, "ask_programs", answer)
    there = SimpleNamespace(installations=[SimpleNamespace(major=17, directory="/pg/bin")])
    found = asyncio.run(fit_conditions(None, there, cluster, 17, is_certain=is_certain))  # type: ignore[arg-type]
    return {each.name: each for each in found}


def test_a_host_that_has_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    found = conditions(monkeypatch, WELL)
    assert {name: each.outcome for name, each in found.items()} == {
        "locale": Outcome.OK, "subscriptions": Outcome.WARNING, "publications": Outcome.OK}  # fmt: skip
    assert "s (database app)" in found["subscriptions"].detail


@pytest.mark.parametrize(("lacks", "name", "named"), [
    ({"block_size": 4096}, "page size", "8192"), ({"wal_block_size": 4096}, "WAL page size", "4096"),
    ({"is_big_endian": True}, "byte order", "byte order"),
    ({"locales": ("de_DE.UTF-8",)}, "locale", "de_DE.UTF-8 (database app)"),
    ({"libraries": ("auto_explain",)}, "preloaded libraries", "auto_explain"),
    ({"files": ("/etc/pg/hba.conf",)}, "files of the configuration", "hba_file = /etc/pg/hba.conf"),
    ({"refused": 'unrecognized configuration parameter "x"'}, "configuration", 'parameter "x"'),
])  # fmt: skip
def test_what_it_lacks_is_a_condition_that_fails(monkeypatch: pytest.MonkeyPatch, lacks: dict[str, object], name: str,
                                                 named: str) -> None:
    """Only a warning where another program may be the one that runs it, or none at all."""
    say = replace(WELL, **lacks)
    certain, uncertain = conditions(monkeypatch, say), conditions(monkeypatch, say, is_certain=False)
    assert (certain[name].outcome, uncertain[name].outcome) == (Outcome.FAILED, Outcome.WARNING)
    assert named in certain[name].detail
    assert certain[name].fix


def test_a_library_of_functions_is_a_warning_and_what_is_not_known_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = conditions(monkeypatch, replace(WELL, libraries=("postgis-3",)))
    assert found["libraries of extensions"].outcome is Outcome.WARNING
    unknown = conditions(monkeypatch, ProgramAnswers(None, None, None, (), (), (), ""), replace(CLUSTER, control=None))
    assert {each.outcome for name, each in unknown.items() if name != "subscriptions"} == {Outcome.OK}


# Word by word


PACKAGES = "Install their packages on that host."


@pytest.mark.parametrize(("say", "expected"), [
    (replace(WELL, block_size=4096, wal_block_size=16384), [
        Precondition("page size", Outcome.FAILED, "The cluster's is 8192 bytes, that of the programs there 4096.",
                     "Install PostgreSQL with the same sizes there, or choose another host."),
        Precondition("WAL page size", Outcome.FAILED, "The cluster's is 8192 bytes, that of the programs there 16384.",
                     "Install PostgreSQL with the same sizes there, or choose another host.")]),
    (replace(WELL, is_big_endian=True), [
        Precondition("byte order", Outcome.FAILED, "The cluster was made on processors with the other byte order.",
                     "Choose a host of the original's architecture, or move data by pg_dump.")]),
    (replace(WELL, locales=("de_DE.UTF-8", "C.UTF-8")), [
        Precondition("locale", Outcome.FAILED, "The host lacks C.UTF-8 (database postgres), de_DE.UTF-8 (database app):"
                     " a database cannot be opened without its locale.",
                     "Generate it on that host (Debian: dpkg-reconfigure locales; elsewhere: localedef).")]),
    (replace(WELL, refused="x = 1 refused, password=S3cret"), [
        Precondition("configuration", Outcome.FAILED,
                     "The programs there do not take it: x = 1 refused, password=***.",
                     "Install there what the setting needs; or restore with --no-start and correct it in the restored "
                     "files.")]),
    (replace(WELL, files=("/etc/pg/hba.conf", "/etc/ssl/key")), [
        Precondition("files of the configuration", Outcome.FAILED, "Missing there, or not to be read: hba_file = "
                     "/etc/pg/hba.conf, ssl_key_file = /etc/ssl/key.",
                     "Put them there; or restore with --no-start and correct the settings.")]),
    (replace(WELL, libraries=("auto_explain", "pg_stat_statements", "postgis-3")), [
        Precondition("preloaded libraries", Outcome.FAILED, "Not installed there: pg_stat_statements, auto_explain; "
                     "the server does not start without them.", PACKAGES),
        Precondition("libraries of extensions", Outcome.WARNING, "Not installed there: postgis-3 (database app); what "
                     "uses them fails.", PACKAGES)]),
])  # fmt: skip
def test_what_a_person_reads(monkeypatch: pytest.MonkeyPatch, say: ProgramAnswers,
                             expected: list[Precondition]) -> None:
    found = conditions(monkeypatch, say)
    always = ("locale", "subscriptions", "publications")
    assert [each for name, each in found.items() if name not in always or each in expected] == expected


REPLICATION = [
    Precondition("subscriptions", Outcome.WARNING, "s (database app): the copy receives nothing "
                 "(max_logical_replication_workers = 0), or it would take the changes in the original's place.",
                 "In a copy, DROP SUBSCRIPTION after ALTER SUBSCRIPTION ... SET (slot_name = NONE). In place of the "
                 "original: ALTER SYSTEM RESET max_logical_replication_workers, and restart."),
    Precondition("publications", Outcome.OK, "p (database app); a backup has no slots, so no subscriber continues from "
                                             "the copy")]


def test_replication_is_told_of_whatever_programs_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    there = SimpleNamespace(installations=[SimpleNamespace(major=16, directory="/pg/bin")])
    found = asyncio.run(fit_conditions(None, there, CLUSTER, 17, is_certain=True))  # type: ignore[arg-type]
    assert list(found) == REPLICATION
    well = conditions(monkeypatch, WELL)
    assert list(well.values()) == [Precondition("locale", Outcome.OK, "C.UTF-8, de_DE.UTF-8"), *REPLICATION]
    silent = asyncio.run(fit_conditions(  # type: ignore[arg-type]
        None, there, replace(CLUSTER, subscriptions=(), publications=()), 17, is_certain=True))
    assert silent == ()


def asked_of(monkeypatch: pytest.MonkeyPatch, cluster: Cluster) -> dict[str, object]:
    """What the programs are asked about a cluster."""
    asked: dict[str, object] = {}

    async def answer(_host: object, _programs: str, **questions: object) -> ProgramAnswers:
        asked.update(questions)
        return replace(WELL, libraries=("x", "y"))

    monkeypatch.setattr(fits, "ask_programs", answer)
    there = SimpleNamespace(installations=[SimpleNamespace(major=17, directory="/pg/bin")])
    found = asyncio.run(fit_conditions(None, there, cluster, 17, is_certain=True))  # type: ignore[arg-type]
    return {**asked, "conditions": [(each.name, each.detail) for each in found]}


BARE = Cluster(None, {}, "/data")


@pytest.mark.parametrize(("values", "files"), [
    ({}, []), ({"hba_file": "/data/hba"}, []), ({"hba_file": "/data2/hba"}, ["/data2/hba"]), ({"hba_file": "hba"}, []),
    ({"ssl": "off", "ssl_key_file": "/k"}, []), ({"ssl_key_file": "/k"}, []),
    ({"ssl": "True", "ssl_key_file": "/k", "ssl_ca_file": "/a", "ssl_cert_file": "/c"}, ["/c", "/k", "/a"]),
    ({"ssl": "yes", "ssl_key_file": "/k"}, ["/k"]), ({"ssl": "1", "ssl_key_file": "/k"}, ["/k"]),
])  # fmt: skip
def test_which_files_are_asked_for(monkeypatch: pytest.MonkeyPatch, values: dict[str, str], files: list[str]) -> None:
    """Those outside the data directory, of SSL only where it is on."""
    assert asked_of(monkeypatch, replace(BARE, values=values))["files"] == files


def test_which_settings_are_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not what names a library's own, holds a secret, or says where the configuration is."""
    never = dict.fromkeys(("include", "include_if_exists", "include_dir", "config_file", "data_directory"), "/x")
    values = {"work_mem": "4MB", "x.y": "1", "ssl_passphrase_command": "echo S3cret", **never}
    assert asked_of(monkeypatch, replace(BARE, values=values))["settings"] == {"work_mem": "4MB"}


@pytest.mark.parametrize(("values", "libraries", "asked", "told"), [
    ({}, ("$libdir/y",), ["y"], [("libraries of extensions", "Not installed there: y (database app); what uses them "
                                                             "fails.")]),
    ({"shared_preload_libraries": "x, $libdir/z.so"}, ("x", "y.so", "/opt/lib/w.so"), ["x", "z", "/opt/lib/w.so", "y"],
     [("preloaded libraries", "Not installed there: x; the server does not start without them."),
      ("libraries of extensions", "Not installed there: y (database app); what uses them fails.")]),
    ({"shared_preload_libraries": '"x"'}, (), ["x"], [
        ("preloaded libraries", "Not installed there: x; the server does not start without them.")]),
    ({"shared_preload_libraries": "x", "dynamic_library_path": "/opt"}, ("q",), [], []),
])  # fmt: skip
def test_which_libraries_are_asked_for(monkeypatch: pytest.MonkeyPatch, values: dict[str, str],
                                       libraries: tuple[str, ...], asked: list[str],
                                       told: list[tuple[str, str]]) -> None:
    """None where a path of the site's own says where they are looked for."""
    cluster = replace(BARE, values=values, libraries=tuple(Named("app", each) for each in libraries))
    found = asked_of(monkeypatch, cluster)
    assert (found["libraries"], found["conditions"]) == (asked, told)


def test_of_many_the_first_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    five = tuple(Named("d", f"p{number}") for number in range(5))
    for more, told in ((five, ""), ((*five, Named("d", "q")), " and 1 more")):
        [found] = asked_of(monkeypatch, replace(BARE, publications=more))["conditions"]  # type: ignore[misc]
        assert found[1].startswith(f"{', '.join(map(str, five))}{told}; a backup")
