"""What the host's programs say of a cluster becomes a condition of its restore: pure rules."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest

from pgvault.engine.restore import fits
from pgvault.engine.restore.fits import Cluster, Named, fit_conditions
from pgvault.io.programs import ProgramsSay
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
WELL = ProgramsSay(8192, 8192, False, (), (), (), "")


def conditions(monkeypatch: pytest.MonkeyPatch, say: ProgramsSay, cluster: Cluster = CLUSTER, *,
               is_certain: bool = True) -> dict[str, Precondition]:  # fmt: skip
    async def answer(_host: object, programs: str, **asked) -> ProgramsSay:
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
    unknown = conditions(monkeypatch, ProgramsSay(None, None, None, (), (), (), ""), replace(CLUSTER, control=None))
    assert {each.outcome for name, each in unknown.items() if name != "subscriptions"} == {Outcome.OK}
