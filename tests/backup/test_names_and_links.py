"""What is asked of a server beside the copy, the names of things and what is behind links, and what is said of what it
does not tell: the rules, on answers that are made up."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from made_sql import Answer, MadeSql, denied

from pgvault.engine.backup import linked, names
from pgvault.engine.backup.linked import Linked, Taken, read_linked
from pgvault.engine.backup.names import NameCollector
from pgvault.model.errors import Cancelled, Unreachable
from pgvault.model.event import Event, Level, Noted
from pgvault.vault.names import DatabaseName, RelationName, RoleName, Trait

MAIN, WISH = SimpleNamespace(name="main"), object()
MIB = 1 << 20


# Links


STAT, LIST, READ = "pg_stat_file", "pg_ls_dir", "pg_read_binary_file"


def files(there: Mapping[str, bytes | int | list[str] | Exception]) -> dict[str, dict[Any, Answer]]:
    """What a server says of these paths: a file's content or size, or what is in a directory, or how it fails."""
    stats: dict[Any, Answer] = {}
    for path, what in there.items():
        size = len(what) if isinstance(what, bytes) else what if isinstance(what, int) else 0
        stats[(path,)] = what if isinstance(what, Exception) else [(size, isinstance(what, list))]
    return {STAT: stats, LIST: {(path,): [(name,) for name in what] for path, what in there.items()
                                if isinstance(what, list)},
            READ: {(path,): [(what,)] for path, what in there.items() if isinstance(what, bytes)}}


def take(monkeypatch: pytest.MonkeyPatch, answers: Mapping[str, Any], *paths: str,
         log: str | None = "log") -> tuple[Taken, MadeSql]:  # fmt: skip
    sql = MadeSql({"log_directory": [(log,)] if log else [], **answers})
    monkeypatch.setattr(linked, "session", sql.session)
    return read_linked(MAIN, paths, WISH), sql  # type: ignore[arg-type]


@pytest.mark.parametrize(("there", "paths", "found", "left"), [
    ({"a.conf": b"x = 1"}, ["a.conf"], [("a.conf", b"x = 1")], []),
    ({"conf.d": ["a", "b"], "conf.d/a": b"1", "conf.d/b": b"2"}, ["conf.d"],
     [("conf.d", None), ("conf.d/a", b"1"), ("conf.d/b", b"2")], []),
    ({"pipe": 0}, ["pipe"], [], []),
    ({"big": MIB + 1}, ["big"], [], ["big (too large for configuration)"]),
    ({"x": denied("function pg_stat_file"), "y": b"2"}, ["x", "y"], [("y", b"2")],
     ["x (permission denied for function pg_stat_file)"]),
    ({"1": ["2"], "1/2": ["3"], "1/2/3": ["4"], "1/2/3/4": []}, ["1"],
     [("1", None), ("1/2", None), ("1/2/3", None)], ["1/2/3/4 (too large for configuration)"]),
    ({"log": b"1", "logs": b"2"}, ["log", "logs"], [("logs", b"2")], []),
    ({}, [".s.PGSQL.5432", ".s.PGSQL.5432.lock"], [], []),
])  # fmt: skip
def test_what_is_behind_links_is_taken_along(monkeypatch: pytest.MonkeyPatch, there: Mapping[str, Any],
                                             paths: list[str], found: list[tuple[str, bytes | None]],
                                             left: list[str]) -> None:
    """Not a server's logs and sockets, nor what is no configuration by its size or its depth."""
    taken, sql = take(monkeypatch, files(there), *paths)
    assert taken == Taken(tuple(Linked(*each) for each in found), tuple(left))
    assert sql.opened == ([(MAIN, "read the targets of links", {"seconds": 30.0, "cancelled": WISH})] if there else [])


def test_a_file_of_the_largest_size_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, _ = take(monkeypatch, files({"a": bytes(MIB)}), "a")
    assert taken == Taken((Linked("a", bytes(MIB)),), ())


def test_two_hundred_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    inside = [f"{number:03}" for number in range(201)]
    there = {"d": inside, **{f"d/{name}": b"x" for name in inside}, "e": ["f"]}
    taken, _ = take(monkeypatch, files(there), "d", "e", log=None)
    assert len(taken.found) == 200
    assert taken.left == ("d/199 (too large for configuration)", "d/200 (too large for configuration)",
                          "e (too large for configuration)")


def test_a_server_that_is_gone_leaves_what_it_did_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = files({"a": b"1"})
    answers[STAT][("b",)] = Unreachable("main is gone")
    taken, _ = take(monkeypatch, answers, "a", "b", "c")
    assert taken == Taken((Linked("a", b"1"),), ("b (main is gone)", "c (main is gone)"))
    cancelled = {STAT: {("a",): Cancelled("x")}}
    with pytest.raises(Cancelled):
        take(monkeypatch, cancelled, "a")


def test_a_session_that_broke_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    sql = MadeSql({STAT: psycopg.OperationalError("closed")})
    sql.broken = True
    monkeypatch.setattr(linked, "session", sql.session)
    with pytest.raises(psycopg.OperationalError):  # which a real session has words for
        read_linked(MAIN, ["a"], WISH)  # type: ignore[arg-type]


# Names


class Kept:
    """A manifest that keeps names in lists, or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self.failure: Exception | None = None
        self.databases: list[DatabaseName] = []
        self.roles: list[RoleName] = []
        self.traits: list[Trait] = []
        self.relations: list[RelationName] = []
        self.error = error

    def __getattr__(self, name: str) -> Any:
        def add(names: list[Any]) -> None:
            if self.error:
                raise self.error
            getattr(self, name.removeprefix("add_")).extend(names)
        return add


def answers(**changed: Answer | Mapping[Any, Answer]) -> dict[str, Any]:
    return {"datallowconn": [(5, "postgres", True, True), (6, "shop", True, False), (7, "shut", False, False)],
            "pg_roles": [(10, "joe")], "datcollate": [(5, "collate", "C")], "pg_publication": [("publication", "p")],
            "relisshared": [(1259, 1259)], "c.relkind::text": {(0, 5000): [(30000, 30001, "public", "t", "r")]},
            **changed}  # fmt: skip


def collect(monkeypatch: pytest.MonkeyPatch, sql: MadeSql, kept: Kept | None = None) -> tuple[Kept, list[Event], Any]:
    kept, events = kept or Kept(), []
    monkeypatch.setattr(names, "connect", sql.connect)
    with NameCollector(MAIN, kept) as collector:  # type: ignore[arg-type]
        collector.finish(events.append)
    return kept, events, collector


LATER = "; events in the WAL may have numbers instead of names, and it was not checked that every relation's file " \
        "arrived"


def texts(events: list[Event]) -> list[str]:
    assert all(isinstance(each, Noted) and (each.level, each.code) == (Level.WARNING, "no-names") for each in events)
    assert all(each.text.endswith(LATER) for each in events if isinstance(each, Noted))
    return [each.text.removesuffix(LATER) for each in events if isinstance(each, Noted)]


def test_the_names_of_all_that_can_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    sql = MadeSql(answers())
    kept, events, collector = collect(monkeypatch, sql)
    assert kept.databases == [DatabaseName(5, "postgres"), DatabaseName(6, "shop"), DatabaseName(7, "shut")]
    assert kept.roles == [RoleName(10, "joe")]
    assert kept.traits == [Trait(5, "collate", "C"), Trait(5, "publication", "p"), Trait(6, "publication", "p")]
    assert kept.relations == [RelationName(oid, 30000, 30001, "public", "t", "r") for oid in (5, 6)]
    assert collector.initial == {5: frozenset({(1259, 1259)}), 6: frozenset({(1259, 1259)})}
    assert collector.initial[5] is collector.initial[6]  # which is the same in nearly all databases
    assert events == []
    databases = [how["database"] for _, how in sql.opened]
    assert databases == [None] * 6 + ["shop"] * 3  # the one that the conninfo leads to needs no name
    assert {(how["seconds"], tuple(how["settings"].items())) for _, how in sql.opened} == {
        (10.0, (("statement_timeout", "3s"), ("lock_timeout", "2s")))}
    assert sql.closed == len(sql.opened)
    assert {kind for kind, _ in sql.loaders} == {"name", "text"}
    assert [loader(0).load(b"caf\xe9") for _, loader in sql.loaders[:1]] == ["caf\udce9"]
    assert not [query for query, _ in sql.asked if query.startswith("SET")]
    assert sql.opened[0][1]["cancelled"]()  # it is over, so that nobody waits for a server any more


def test_a_server_of_no_encoding_sends_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    sql = MadeSql(answers())
    sql.encoding = "SQL_ASCII"
    collect(monkeypatch, sql)
    assert [query for query, _ in sql.asked][:2] == ["SET client_encoding = 'SQL_ASCII'", sql.asked[1][0]]
    assert len([query for query, _ in sql.asked if query.startswith("SET")]) == len(sql.opened)


def test_many_relations_are_asked_for_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    page = [(oid, oid, "public", f"t{oid}", "r") for oid in range(30000, 35000)]
    sql = MadeSql(answers(**{"datallowconn": [(5, "postgres", True, True)], "c.relkind::text": {
        (0, 5000): page, (34999, 5000): [(40000, None, "", "v", "v")]}}))
    kept, _, _ = collect(monkeypatch, sql)
    assert len(kept.relations) == 5001
    assert kept.relations[-1] == RelationName(5, 40000, None, "", "v", "v")
    exact = MadeSql(answers(**{"datallowconn": [(5, "postgres", True, True)], "c.relkind::text": {
        (0, 5000): page, (34999, 5000): []}}))
    assert len(collect(monkeypatch, exact)[0].relations) == 5000


def test_what_cannot_be_asked_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = Unreachable("main cannot\nbe reached", detail="Nothing listens there.")
    kept, events, _ = collect(monkeypatch, MadeSql(answers(datallowconn=gone)))
    assert texts(events) == ["could not store the names: main cannot be reached. Nothing listens there"]
    assert kept.databases == []
    kept, events, _ = collect(monkeypatch, MadeSql(answers(pg_publication=denied("table\npg_proc"))))
    assert texts(events) == [f"could not store the names in database {name}: permission denied for table "
                             "pg_proc" for name in ("postgres", "shop")]
    assert kept.relations == []


def test_of_many_databases_the_first_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [(number, f"d{number}", True, False) for number in range(5)]
    _, events, _ = collect(monkeypatch, MadeSql(answers(datallowconn=many, pg_publication=denied("x"))))
    assert texts(events) == [*(f"could not store the names in database d{number}: permission denied for x"
                               for number in range(3)), "could not store the names in 2 more databases"]
    _, events, _ = collect(monkeypatch, MadeSql(answers(datallowconn=many[:3], pg_publication=denied("x"))))
    assert len(texts(events)) == 3


def test_a_manifest_that_does_not_keep_them_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless it is lost as a whole, which is told by who writes to it next."""
    _, events, _ = collect(monkeypatch, MadeSql(answers()), Kept(ValueError("no such table")))
    assert texts(events) == ["could not store the names: no such table"]
    lost = Kept(OSError("disk full"))
    lost.failure = lost.error
    sql = MadeSql(answers())
    _, events, collector = collect(monkeypatch, sql, lost)
    assert events == []
    assert len(sql.opened) == 3  # nothing of any database
    assert collector.initial == {}


def test_a_server_that_does_not_tell_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing more is kept, and nobody waits for it."""
    asked, go_on = threading.Event(), threading.Event()

    def connect(*server: Any, **how: Any) -> Any:
        asked.set()
        go_on.wait(60)
        raise Unreachable("too late")

    monkeypatch.setattr(names, "connect", connect)
    monkeypatch.setattr(names, "GRACE_SECONDS", 0.01)
    kept, events = Kept(), []
    with NameCollector(MAIN, kept) as collector:  # type: ignore[arg-type]
        assert asked.wait(60)
        collector.finish(events.append)
    assert texts(events) == ["the server did not return all names in time"]
    go_on.set()
