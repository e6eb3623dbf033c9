"""What is said of an expected table, whatever the restored server answers; and of its databases and transactions."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from made_server import Answers, MadeServer

from pgvault.engine.restore.arrival import FOLLOWING, PAUSED, PROMOTED, SHUT_DOWN
from pgvault.engine.restore.ask import NotAnswered, RestoredServer
from pgvault.engine.restore.condition import Closed, closed_databases, prepared_transactions, report_prepared
from pgvault.engine.restore.expect import COUNT_SECONDS, Found, Presence, find_expected
from pgvault.engine.restore.proof import Proof
from pgvault.model.event import Checked, Event
from pgvault.model.lsn import Lsn
from pgvault.model.prepared import Prepared
from pgvault.model.relation import RelationName

ORDERS = RelationName("shop", 'sch"ema', "Orders")
NAME = 'shop."sch""ema"."Orders"'
OPEN = {"pg_database": [{"allowed": True, "valid": True}]}
TABLE = {"oid": 16500, "kind": "r", "persistence": "p", "populated": True}
COUNT, PARTS, PLAN, HOLDERS = "count(*)", "WITH RECURSIVE", "EXPLAIN", "pg_locks"
DESCRIBE = "c.relpersistence"
PART, TOAST = {"schema": "a", "name": 'b"c', "toast": False}, {"schema": "pg_toast", "name": "t", "toast": True}
READ_PART, READ_TOAST = 'ONLY "a"."b""c"', 'ONLY "pg_toast"."t"'
THERE, MISSING, UNKNOWN = Presence.THERE, Presence.MISSING, Presence.UNKNOWN
LONG = "57014"
WELL: Answers = {PARTS: [PART, TOAST], DESCRIBE: [TABLE], COUNT: [{"rows": 3}], READ_PART: [], READ_TOAST: [],
                 PLAN: [{"Plan": {"Plan Rows": 1234.0}}]}  # fmt: skip


def look(*roles: Answers, server: MadeServer | None = None) -> tuple[Found, list[Event], MadeServer]:
    events: list[Event] = []
    there = server or MadeServer(OPEN, *roles)
    [found] = asyncio.run(find_expected([ORDERS], cast("RestoredServer", there), events.append))
    assert found.relation == ORDERS
    return found, events, there


def with_(**changed: Any) -> Answers:
    """The answers by the names of the questions above."""
    return {**WELL, **{globals()[question]: answer for question, answer in changed.items()}}


def facts(found: Found) -> tuple[Presence, int | None, bool, str, bool]:
    return found.presence, found.rows, found.exact, found.detail, found.locked_by_replay


# Its database


@pytest.mark.parametrize(("rows", "presence", "detail"), [
    ([], MISSING, "there is no such database"),
    ([{"allowed": True, "valid": False}], MISSING,
     "its database is invalid, as a DROP DATABASE leaves it that has begun"),
    ([{"allowed": False, "valid": False}], MISSING,
     "its database is invalid, as a DROP DATABASE leaves it that has begun"),
    ([{"allowed": False, "valid": True}], UNKNOWN, "its database takes no connections"),
])  # fmt: skip
def test_a_database_that_has_it_not(rows: list[dict[str, bool]], presence: Presence, detail: str) -> None:
    found, events, there = look(server=MadeServer({"WHERE datname = 'shop'": rows}, WELL))
    assert facts(found) == (presence, None, False, detail, False)
    assert [(each.check, each.outcome, each.detail) for each in events if isinstance(each, Checked)] == [
        (f"{NAME} is there", "failed", detail)]
    assert there.into == []


@pytest.mark.parametrize(("answer", "detail"), [
    (NotAnswered("the server is gone"), "the server is gone"), (TimeoutError(), "no answer came in time")])
def test_a_server_that_does_not_answer(answer: Exception, detail: str) -> None:
    found, _, _ = look(server=MadeServer({"pg_database": answer}))
    assert facts(found) == (UNKNOWN, None, False, detail, False)


# What it is


@pytest.mark.parametrize(("rows", "presence", "detail"), [
    ([], MISSING, "its database is there and has no such table"),
    ([{**TABLE, "kind": "v"}], THERE, "a view, which was looked up and not run"),
    ([{**TABLE, "kind": "f"}], THERE, "a foreign table, which was looked up and not read"),
    ([{**TABLE, "kind": "m", "populated": False}], THERE, "a materialized view without data"),
])  # fmt: skip
def test_what_has_no_rows_to_be_counted(rows: list[dict[str, object]], presence: Presence, detail: str) -> None:
    found, events, there = look({DESCRIBE: rows})
    assert facts(found) == (presence, None, False, detail, False)
    assert [(each.outcome, each.detail) for each in events if isinstance(each, Checked)] == [
        ("ok" if presence is THERE else "failed", detail)]
    assert there.into == ["shop"]
    assert "n.nspname = 'sch\"ema' AND c.relname = 'Orders'" in there.asked[-1][0]


def test_its_rows_are_counted_and_its_long_values_read() -> None:
    found, events, there = look(WELL)
    assert facts(found) == (THERE, 3, True, "", False)
    assert [(each.outcome, each.detail) for each in events if isinstance(each, Checked)] == [("ok", "3 rows")]
    statements = [sql for sql, _ in there.asked]
    assert ('SELECT count(*) AS rows FROM "sch""ema"."Orders"', COUNT_SECONDS) in there.asked
    assert any("SELECT 16500::oid" in sql for sql in statements)
    assert [sql for sql in statements if "ctid" in sql] == [
        "SELECT 1 AS one FROM ONLY \"pg_toast\".\"t\" WHERE ctid = '(0,1)'::tid"]


def test_what_takes_too_long_is_estimated_and_its_beginning_read() -> None:
    found, _, there = look(with_(COUNT=NotAnswered("canceled", LONG)))
    assert facts(found) == (THERE, 1234, False, "counting takes too long: the beginning was read", False)
    assert [sql for sql, _ in there.asked if "ctid" in sql] == [
        "SELECT 1 AS one FROM ONLY \"a\".\"b\"\"c\" WHERE ctid = '(0,1)'::tid",
        "SELECT 1 AS one FROM ONLY \"pg_toast\".\"t\" WHERE ctid = '(0,1)'::tid"]
    assert there.asked[-1][0] == 'EXPLAIN (FORMAT JSON) SELECT 1 FROM "sch""ema"."Orders"'


@pytest.mark.parametrize(("answers", "expected"), [
    (with_(READ_TOAST=NotAnswered("permission denied", "42501")),
     (THERE, 3, True, "its long values, which this role may not read by themselves, were not read")),
    (with_(DESCRIBE=[{**TABLE, "persistence": "u"}]),
     (THERE, 3, True, "an unlogged table, which recovery empties")),
    (with_(READ_TOAST=NotAnswered("could not open file", "58P01")),
     (MISSING, None, False, "its name is there, its rows cannot be read: could not open file")),
    (with_(COUNT=NotAnswered("could not open file", "58P01")),
     (MISSING, None, False, "its name is there, its rows cannot be read: could not open file")),
    (with_(COUNT=NotAnswered("not in recovery", "0A000")),
     (UNKNOWN, None, False, "its rows could not be read: not in recovery")),
    (with_(READ_TOAST=NotAnswered("canceled", LONG)), (UNKNOWN, None, False, "its rows could not be read: canceled")),
    (with_(COUNT=NotAnswered("denied", "42501")), (UNKNOWN, None, False, "denied")),
    (with_(COUNT=NotAnswered("the session was lost")), (UNKNOWN, None, False, "the session was lost")),
    (with_(COUNT=NotAnswered("c", LONG), READ_PART=NotAnswered("denied", "42501")), (UNKNOWN, None, False, "denied")),
])  # fmt: skip
def test_what_cannot_be_read_is_never_there(answers: Answers, expected: tuple[Presence, int | None, bool, str]) -> None:
    """Rule 41. A permission is a matter of the role, a cancelled query one of time, and the rest one of the table."""
    found, events, _ = look(answers)
    assert facts(found) == (*expected, False)
    assert [each.outcome for each in events if isinstance(each, Checked)] == [
        "ok" if expected[0] is THERE else "failed"]


# Who is asked


DENIED = with_(COUNT=NotAnswered("denied", "42501"))


@pytest.mark.parametrize(("roles", "expected"), [
    ((DENIED, WELL), (THERE, 3, True, "")),
    ((DENIED, with_(COUNT=NotAnswered("denied, too", "42501"))), (UNKNOWN, None, False, "denied")),
    ((with_(COUNT=NotAnswered("lost")), WELL), (UNKNOWN, None, False, "lost")),
    ((DENIED, with_(COUNT=NotAnswered("lost")), WELL), (UNKNOWN, None, False, "denied")),
    ((), (UNKNOWN, None, False, "nothing lets us in")),
])  # fmt: skip
def test_the_first_role_that_may_read_it_says(roles: tuple[Answers, ...],
                                              expected: tuple[Presence, int | None, bool, str]) -> None:
    assert facts(look(*roles)[0]) == (*expected, False)


@pytest.mark.parametrize(("holders", "detail", "by_replay"), [
    ([], "it is locked", False),
    ([{"gid": "a'b", "owner": "joe", "mode": "AccessExclusiveLock", "replays": True}],
     "the prepared transaction \"a'b\" of joe holds its AccessExclusiveLock", False),
    ([{"gid": None, "owner": None, "mode": "AccessExclusiveLock", "replays": True}],
     "a transaction of the original server that had not ended at the target holds its lock", True),
    ([{"gid": None, "owner": None, "mode": "AccessExclusiveLock", "replays": False}],
     "a session of the restored server holds its AccessExclusiveLock", False),
])  # fmt: skip
def test_who_holds_its_lock(holders: list[dict[str, object]], detail: str, by_replay: bool) -> None:
    found, _, there = look(with_(COUNT=NotAnswered("locked", "55P03"), HOLDERS=holders))
    assert facts(found) == (UNKNOWN, None, False, detail, by_replay)
    assert "l.relation = 16500::oid" in there.asked[-1][0]


# In words


@pytest.mark.parametrize(("found", "told"), [
    (Found(ORDERS, MISSING, detail="d"), f"{NAME} is missing: d"),
    (Found(ORDERS, UNKNOWN, detail="d"), f"{NAME} could not be looked for: d"),
    (Found(ORDERS, THERE, detail="a view"), f"{NAME} is there: a view"),
    (Found(ORDERS, THERE, 1, True), f"{NAME} is there with 1 row"),
    (Found(ORDERS, THERE, 0, True), f"{NAME} is there with 0 rows"),
    (Found(ORDERS, THERE, 7, False, "d"), f"{NAME} is there with about 7 rows (d)"),
])  # fmt: skip
def test_what_became_of_it_in_words(found: Found, told: str) -> None:
    assert str(found) == told


# Databases that nobody can open, transactions that nobody ended


def test_a_database_that_nobody_can_open_is_named_with_the_step() -> None:
    lost = 'could not access file "postgis-3": No such file or directory'
    there = MadeServer({"datallowconn": [{"name": "a"}, {"name": "b"}, {"name": "c"}]},
                       closed={"b": lost, "c": "Peer authentication failed"})  # fmt: skip
    events: list[Event] = []
    [closed] = asyncio.run(closed_databases(cast("RestoredServer", there), events.append))
    assert (closed.database, closed.reason) == ("b", lost)
    assert closed.step.startswith("Install that library on the host")
    assert str(closed) == f"database b cannot be opened: {lost}"
    assert [(each.check, each.outcome, each.detail, each.hint) for each in events if isinstance(each, Checked)] == [
        ("database b can be opened", "failed", lost, closed.step)]


@pytest.mark.parametrize("answer", [NotAnswered("x"), TimeoutError()])
def test_whether_databases_open_is_not_known_where_nobody_answers(answer: Exception) -> None:
    there = MadeServer({"datallowconn": answer})
    assert asyncio.run(closed_databases(cast("RestoredServer", there), lambda _: None)) == ()


WAITING = [{"gid": "g1", "owner": "joe", "database": "a", "prepared": 1_000_000},
           {"gid": "g2", "owner": "ann", "database": "b", "prepared": None},
           {"gid": "g3", "owner": "joe", "database": "a", "prepared": 2_000_000}]
LOCKED = [{"gid": "g1", "lock": "one"}, {"gid": "g3", "lock": "two"}, {"gid": "g1", "lock": "three"}]


def test_transactions_that_wait_are_told_with_their_locks() -> None:
    there = MadeServer({"pg_prepared_xacts": WAITING}, {"pg_locks": LOCKED})
    found = asyncio.run(prepared_transactions(cast("RestoredServer", there)))
    assert found is not None
    assert there.into == ["a", "b"]
    at = [datetime(1970, 1, 1, 0, 0, second, tzinfo=UTC) for second in (1, 2)]
    assert found == (Prepared("g1", "joe", "a", at[0], ("one", "three", "one", "three")),
                     Prepared("g2", "ann", "b", None, ()), Prepared("g3", "joe", "a", at[1], ("two", "two")))


@pytest.mark.parametrize("roles", [(), ({"pg_locks": NotAnswered("x")},)])
def test_their_locks_are_left_out_where_they_cannot_be_asked_for(roles: tuple[Answers, ...]) -> None:
    found = asyncio.run(prepared_transactions(cast("RestoredServer", MadeServer({"pg_prep": WAITING[:1]}, *roles))))
    assert found is not None
    assert [each.locks for each in found] == [()]


def test_whether_transactions_wait_is_not_known_where_nobody_answers() -> None:
    assert asyncio.run(prepared_transactions(cast("RestoredServer", MadeServer(NotAnswered("x"))))) is None


@pytest.mark.parametrize(("state", "first"), [
    (PROMOTED, ""), (PAUSED, "Once it is promoted. "), (SHUT_DOWN, "Once it is started and promoted. "),
    (FOLLOWING, "The original server ends it, here too. There: ")])
def test_when_one_can_be_ended(state: str, first: str) -> None:
    waits, events = Prepared("g1", "joe", "a"), []
    report_prepared((waits,), state, events.append)
    assert [(each.check, each.outcome, each.detail, each.hint) for each in events] == [
        ("prepared transactions", "warning", str(waits), f"{first}{waits.step}")]


# The proof


LACKS, HAS = Found(ORDERS, MISSING, detail="d"), Found(ORDERS, THERE, 1, True)
BEHIND_LOCK = Found(ORDERS, UNKNOWN, detail="locked", locked_by_replay=True)
BEHIND_PREPARED = Found(ORDERS, UNKNOWN, detail="locked", locked_by_prepared="g'1")
SHUT = Closed("b", "no locale", "Install it.")
PROVED = Proof(PAUSED, None, None, None, ())


@pytest.mark.parametrize(("proof", "told"), [
    (PROVED, "the server is paused"),
    (replace(PROVED, timeline=2, last_commit=datetime(2026, 11, 1, 12, tzinfo=UTC), lsn=Lsn(5)),
     "the server is paused, on timeline 2, last replayed commit 2026-11-01 12:00:00+00"),
    (replace(PROVED, lag_bytes=0), "the server is paused, 0 bytes behind the original server"),
    (replace(PROVED, lag_bytes=7, lag_seconds=1.25),
     "the server is paused, 7 bytes behind the original server (1.2 s)"),
    (replace(PROVED, refusal="x"),
     "the server is paused, by its files and its log, since it takes no login for the proof"),
    (replace(PROVED, expected=(HAS, LACKS), closed=(SHUT,), prepared=(Prepared("g", "o", "d"),)),
     f"the server is paused; {HAS}; {LACKS}; {SHUT}; {Prepared('g', 'o', 'd')}"),
])  # fmt: skip
def test_the_proof_in_words(proof: Proof, told: str) -> None:
    assert str(proof) == told


@pytest.mark.parametrize(("proof", "lacking", "step"), [
    (replace(PROVED, closed=(SHUT,), expected=(BEHIND_LOCK, HAS)), (SHUT, BEHIND_LOCK), "Install it."),
    (replace(PROVED, expected=(HAS, BEHIND_LOCK)), (BEHIND_LOCK,),
     "Open it: pgvault open J1 ends the recovery at this point, which rolls that transaction back and frees the lock."),
    (replace(PROVED, expected=(BEHIND_PREPARED,), prepared=(Prepared("f", "o", "d"), Prepared("g'1", "joe", "shop"))),
     (BEHIND_PREPARED,), "End the transaction there that holds the lock. In shop, as joe or a superuser: "
     "COMMIT PREPARED 'g''1' or ROLLBACK PREPARED 'g''1'."),
    (replace(PROVED, expected=(LACKS,)), (LACKS,),
     "Look there. If the target is after the loss or before the table was made, choose another one: pgvault restore "
     "main --choices shows what can be reached."),
])  # fmt: skip
def test_what_helps_where_something_is_lacking(proof: Proof, lacking: tuple[object, ...], step: str) -> None:
    assert proof.lacking == lacking
    assert proof.next_step("main", "J1") == step
