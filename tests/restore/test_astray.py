"""What a person reads of a restored server that does not arrive: the words, with the next step, and the whole of what
the rules make of its log."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from support.restoring import plan

from pgvault.config.schema import ServerConfig
from pgvault.engine.restore import ask, prove
from pgvault.engine.restore.arrival import (
    FOLLOWING,
    PAUSED,
    PROMOTED,
    SHUT_DOWN,
    Arrived,
    Astray,
    Goal,
    Report,
    assess_arrival,
)
from pgvault.engine.restore.astray import ended, not_following, stands_still, went_astray
from pgvault.engine.restore.observation import Observation, Process, observe_server, parse_observation
from pgvault.engine.restore.start import Started
from pgvault.engine.restore.watch import SURE_LOOKS, Watch
from pgvault.engine.restore.why_ended import cause_lines, next_step, why_closed
from pgvault.io.host import Host
from pgvault.io.local_host import LocalHost
from pgvault.model.errors import PgvaultError, WalMissing
from pgvault.model.lsn import Lsn
from pgvault.model.target import AtLsn, EndOfWal, Immediate, TargetAction

STOP, BEFORE = Lsn(0x3000100), Lsn(0x2000100)
PAUSE, PROMOTE, SHUTDOWN = TargetAction.PAUSE, TargetAction.PROMOTE, TargetAction.SHUTDOWN
RESUME = "See who paused it; SELECT pg_wal_replay_resume() makes it go on"


def watch(*log: str, control: dict[str, str] | None = None, **facts: Any) -> Watch:
    seen = Observation(log=log, control=control or {}, free=facts.pop("free", None),
                       processes=facts.pop("processes", ()))
    wanted = plan(stop_lsn=STOP, **facts.pop("plan", {}))
    return cast("Watch", SimpleNamespace(**{
        "plan": wanted, "directory": "/srv/data", "host": SimpleNamespace(description="box"), "observation": seen,
        "start": "pg_ctl start", "gave_up": "", "lsn": None, "is_refused": False, "is_silent": False,
        "refusal": "", "failures": [],
        **facts}))


def words(error: PgvaultError) -> tuple[str, str, str]:
    return error.message, error.detail, error.hint


HANDS_OFF = "Someone or something else did that; do not take the server in /srv/data for what was asked for."


@pytest.mark.parametrize(("seen", "found", "expected"), [
    (watch("FATAL:  a", "b"), Astray(PROMOTED, BEFORE), (
        "the restored server left recovery at 0/2000100, before the end of the archived WAL",
        "The archive reaches to 0/3000100. Its log says: FATAL:  a / b.",
        "Do not use the server in /srv/data. Look for what is missing: pgvault wal main")),
    (watch(plan={"target": AtLsn(STOP)}), Astray(PROMOTED, None), (
        "the restored server is promoted, not at the target, 0/3000100", "Its log says: nothing.", HANDS_OFF)),
    (watch(plan={"standby": True}), Astray(PROMOTED, BEFORE), (
        "the restored server is promoted at 0/2000100, which was not asked for", "Its log says: nothing.", HANDS_OFF)),
    (watch(plan={"target": AtLsn(STOP)}, free=9), Astray(SHUT_DOWN, BEFORE), (
        "the restored server is shut down at 0/2000100, not at the target, 0/3000100",
        "Its log says: nothing. No space left on device there.", HANDS_OFF)),
    (watch(), Astray(PAUSED, BEFORE, "max_connections must be 9", "Set it in {directory}/x"), (
        "the restored server is paused at 0/2000100, before the target, 0/3000100: max_connections must be 9",
        "Its log says: nothing.", "The restored files are complete. Set it in /srv/data/x.")),
    (watch(), Astray(PAUSED, None, "", "Go on"), (
        "the restored server is paused, not at the target, 0/3000100", "Its log says: nothing.",
        "The restored files are complete. Go on.")),
    (watch(plan={"standby": True}), Astray(PAUSED, BEFORE, "", "Go on"), (
        "the restored server is paused at 0/2000100", "Its log says: nothing.",
        "The restored files are complete. Go on.")),
])  # fmt: skip
def test_it_stopped_elsewhere(seen: Watch, found: Astray, expected: tuple[str, str, str]) -> None:
    error = went_astray(seen, found)
    assert words(error) == expected
    assert isinstance(error, WalMissing) is (found.state == PROMOTED and isinstance(seen.plan.point.target, EndOfWal)
                                             and not seen.plan.point.standby)


def test_where_the_target_is_nobody_knows() -> None:
    seen = watch()
    unknown = plan(stop_lsn=None)
    error = went_astray(cast("Watch", SimpleNamespace(**{**vars(seen), "plan": unknown})), Astray(PAUSED, BEFORE))
    assert error.message == "the restored server is paused at 0/2000100, before the target"


@pytest.mark.parametrize(("failures", "said"), [
    ([], "nothing of it"), (["FATAL:  a", "FATAL:  b", "FATAL:  c"], "FATAL:  b / FATAL:  c")])
def test_a_standby_that_does_not_follow(failures: list[str], said: str) -> None:
    assert words(not_following(watch(failures=failures))) == (
        "the standby on box does not follow the original server",
        f"It replayed all archived WAL and runs. Its log says: {said}.",
        "Make primary_conninfo in /srv/data/postgresql.auto.conf right and reload it, or let it reach the server: "
        "role, password (~/.pgpass), pg_hba.conf.")


STARTUP = (Process(5, " postgres: startup recovering 1 "),)


@pytest.mark.parametrize(("seen", "expected"), [
    (watch("FATAL:  a", lsn=BEFORE, processes=STARTUP), (
        "the restored server on box stands still at 0/2000100: nothing moved for 1 min 30 s",
        "It says that it does this: postgres: startup recovering 1. Its log says: FATAL:  a.",
        "The restored files are complete and the server runs on: look at /srv/data/pgvault-recovery.log there, and "
        "whether its storage answers.")),
    (watch(), (
        "the restored server on box stands still: nothing moved for 1 min 30 s", "Its log says: nothing.",
        "The restored files are complete and the server runs on: look at /srv/data/pgvault-recovery.log there, and "
        "whether its storage answers.")),
    (watch(is_refused=True, refusal="no pg_hba.conf entry", lsn=BEFORE, processes=STARTUP,
           control={"Database cluster state": "in production"}), (
        "could not log in to the restored server on box to see whether it has arrived",
        "It refused: no pg_hba.conf entry. Its files say that it is in production at 0/2000100, and do not show "
        "whether that is the target. It says that it does this: postgres: startup recovering 1.",
        "The restored files are complete and the server runs: look at it by hand, or let pgvault's role in "
        "(/srv/data/pg_hba.conf; conninfo of the host).")),
    (watch(is_refused=True, is_silent=True, refusal="no answer came in 30 seconds", lsn=BEFORE), (
        "the restored server on box stands still at 0/2000100: nothing moved for 1 min 30 s",
        "It does not answer: no answer came in 30 seconds. Its log says: nothing.",
        "The restored files are complete and the server runs on: look at /srv/data/pgvault-recovery.log there, and "
        "whether its storage answers.")),
    (watch(is_refused=True, refusal="no"), (
        "could not log in to the restored server on box to see whether it has arrived",
        "It refused: no. Its files say that it is in no known state, and do not show whether that is the target.",
        "The restored files are complete and the server runs: look at it by hand, or let pgvault's role in "
        "(/srv/data/pg_hba.conf; conninfo of the host).")),
])  # fmt: skip
def test_it_stands_still(seen: Watch, expected: tuple[str, str, str]) -> None:
    assert words(stands_still(seen, 89.6)) == expected


@pytest.mark.parametrize(("facts", "seconds"), [
    ({}, prove.SILENT_SECONDS), ({"is_refused": True}, prove.REFUSED_SECONDS),
    ({"is_refused": True, "is_silent": True}, prove.SILENT_SECONDS)])
def test_how_long_nothing_may_move(facts: dict[str, bool], seconds: float) -> None:
    assert prove._patience(watch(**facts)) == seconds


def test_a_server_that_does_not_answer_has_refused_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Deaf(ask.RestoredServer):
        async def _ask(self, sql: str) -> list[dict[str, Any]]:
            await asyncio.Event().wait()
            raise AssertionError

    monkeypatch.setattr(ask, "_ALL_WAYS_SECONDS", 0.01)
    with pytest.raises(ask.NotAnswered) as failed:
        asyncio.run(Deaf.__new__(Deaf).ask("SELECT 1"))
    assert failed.value.silent
    assert not ask.NotAnswered("no pg_hba.conf entry").silent


def test_it_ended() -> None:
    bad = watch('FATAL:  configuration file "x" contains errors')
    assert ended(bad, "did not start").hint == (
        "The restored files are complete. Correct that setting in /srv/data. Then start it: pg_ctl start")
    running = {"Database cluster state": "in archive recovery"}
    assert words(ended(watch("FATAL:  a", control=running), "did not start")) == (
        "the restored server on box did not start", "Its log says: FATAL:  a. Its state is in archive recovery.",
        "The restored files are complete. Look at /srv/data/pgvault-recovery.log there. Then start it: pg_ctl start")
    assert words(ended(watch(free=1), "ended")) == (
        "the restored server on box ended", "Its log says: nothing. No space left on device there. Its state is "
        "unknown.", "The restored files are complete. Free space on the host. Then start it: pg_ctl start")
    assert ended(watch(gave_up="pg_ctl ended with status 1: no"), "did not start").detail == (
        "Its log says: nothing. pg_ctl ended with status 1: no. Its state is unknown.")
    assert ended(watch("FATAL:  a", gave_up="pg_ctl ended with status 1: no"), "did not start").detail == (
        "Its log says: FATAL:  a. Its state is unknown.")


@pytest.mark.parametrize(("seen", "gave_up", "is_sure"), [
    (Observation(free=9), "", True), (Observation(), "pg_ctl ended with status 1: no", True),
    (Observation(log=("a",)), "", True),
    (Observation(free=9000), "", False), (Observation(alive=True, free=9), "", False)])
def test_what_did_not_start_is_not_waited_for(seen: Observation, gave_up: str, is_sure: bool) -> None:
    """On a full disk there is no log, and a start command may take a minute to bring a server."""
    host, server = cast("Host", SimpleNamespace(description="box")), ServerConfig(name="main", conninfo="")
    looking = Watch(host, None, server, plan(stop_lsn=STOP), Started("pg_ctl start", gave_up), "")
    looking.observation = seen
    told = [looking.how_it_ended() for _ in range(SURE_LOOKS)]
    assert told == [*[""] * (SURE_LOOKS - 1), "did not start" if is_sure else ""]


# The cause in a log


@pytest.mark.parametrize(("lines", "told"), [
    (["a", "b", "c", "d"], ["b", "c", "d"]),
    (["LOG:  x", "FATAL:  y"], ["FATAL:  y"]),
    (["FATAL:  first", "FATAL:  last", "DETAIL:  1", "HINT:  2", "HINT:  3"],
     ["FATAL:  first", "FATAL:  last", "DETAIL:  1", "HINT:  2"]),
    (["LOG:  could not a", "LOG:  invalid b", "WARNING:  c", "ERROR:  d", "PANIC:  e"],
     ["LOG:  invalid b", "WARNING:  c", "ERROR:  d", "PANIC:  e"]),
    (["LOG:  well", "\tof its query", "cp: no such file", "FATAL:  e"], ["cp: no such file", "FATAL:  e"]),
    (["2026-11-01 12:00:00 CET [1] FATAL:  e", "2026-11-01 12:00:00 CET [1] a line"],
     ["FATAL:  e", "2026-11-01 12:00:00 CET [1] a line"]),
    (["x", "LOG:  a", "LOG:  BLCKSZ 8192", "LOG:  b", "y"], ["LOG:  a", "LOG:  BLCKSZ 8192", "LOG:  b"]),
    (["LOG:  BLCKSZ 8192", "LOG:  b", "y"], ["LOG:  BLCKSZ 8192", "LOG:  b"]),
    (["2026-11-01 12:00:00 [1] LOG:  b"], ["LOG:  b"]),
])  # fmt: skip
def test_the_lines_that_tell_the_cause(lines: list[str], told: list[str]) -> None:
    assert cause_lines(lines) == told


def test_a_step_names_its_places() -> None:
    taken = 'lock file "/tmp/.s.PGSQL.5432.lock" already exists'
    step = next_step(["x", taken], directory="/d", start="run", log="/l")
    assert step == ("The restored files are complete. Another server has its port: stop that one, or set port in "
                    "/d/postgresql.auto.conf. Then start it: run")
    assert "built with ICU" in next_step(["it needs ICU", "more"], directory="/d", start="run", log="/l")
    assert next_step(["one", "No space left on device", "two"], directory="/d", start="run", log="/l") == (
        "The restored files are complete. Free space on the host. Then start it: run")


@pytest.mark.parametrize(("refusal", "step"), [
    ('lc_x setlocale() "a"', "Install that locale on the host (locale-gen or localedef) and restart the server, or "
                             "restore to a host that has it."),
    ("no ICU", "Use programs of PostgreSQL that were built with ICU, and the host's ICU libraries."),
    ("permission denied", ""), ("", ""),
])  # fmt: skip
def test_the_step_for_a_database_that_is_closed(refusal: str, step: str) -> None:
    assert why_closed(refusal) == step


# The rules of arrival, where words go with them


def test_what_the_plan_asks_for_is_the_goal() -> None:
    wanted = plan(action=PAUSE, stop_lsn=STOP, stop_replayed=True, target=Immediate())
    assert Goal.of(wanted) == Goal(PAUSE, False, STOP, True, True, True)
    assert Goal.of(plan(standby=True, stop_lsn=BEFORE)) == Goal(PROMOTE, True, BEFORE, False, True, False)
    assert Goal.of(plan(target=AtLsn(STOP), stop_lsn=STOP)) == Goal(PROMOTE, False, STOP, False, False, False)


def observation(state: str = "in archive recovery", *log: str, **facts: Any) -> Observation:
    control = {"Database cluster state": state}
    return Observation(**{"alive": True, "status": "ready", "control": control, "log": log, **facts})


@pytest.mark.parametrize(("goal", "report", "verdict"), [
    (Goal(stop=STOP), Report(False, STOP, timeline=2), Arrived(PROMOTED, STOP, 2)),
    (Goal(stop=STOP), Report(False, None, timeline=3), Arrived(PROMOTED, None, 3)),
    (Goal(stop=STOP, ends=True), Report(False, None, timeline=3), None),
    (Goal(PAUSE, stop=STOP), Report(True, STOP, paused=True), Arrived(PAUSED, STOP)),
    (Goal(PAUSE, stop=STOP), Report(True, None, paused=True), Astray(PAUSED, None, "", RESUME)),
    (Goal(stop=STOP), Report(True, BEFORE, asked_to_pause=True),
     Astray(PAUSED, BEFORE, "pg_wal_replay_pause() was called", RESUME)),
    (Goal(stop=STOP), Report(True, None, asked_to_pause=True),
     Astray(PAUSED, None, "pg_wal_replay_pause() was called", RESUME)),
    (Goal(PAUSE, stop=STOP), Report(True, STOP, asked_to_pause=True), None),
    (Goal(standby=True), Report(True, STOP, lag_bytes=3), Arrived(FOLLOWING, STOP)),
    (Goal(standby=True), Report(True, STOP), None),
    (Goal(standby=True), Report(False, STOP), Astray(PROMOTED, STOP)),
    (Goal(SHUTDOWN, stop=STOP), Report(False, STOP), Astray(PROMOTED, STOP)),
])  # fmt: skip
def test_by_what_the_server_says(goal: Goal, report: Report, verdict: object) -> None:
    assert assess_arrival(goal, observation(), report, refused=False) == verdict
    assert assess_arrival(goal, observation(), report, refused=True) == verdict


def test_where_the_server_does_not_say_where_it_left_its_history_does() -> None:
    branched = observation("in production", branch=(2, BEFORE))
    assert assess_arrival(Goal(stop=STOP), branched, Report(False, None, timeline=2),
                          refused=False) == Astray(PROMOTED, BEFORE)
    following = observation(processes=(Process(1, "postgres: walreceiver streaming 0/3000148"),))
    assert assess_arrival(Goal(standby=True), following, Report(True, STOP), refused=False) == Arrived(FOLLOWING, STOP)


SMALL = ("DETAIL:  max_connections = 20 is a lower setting than on the primary server, where its value was 60.",
         "DETAIL:  max_wal_senders = 2 is a lower setting than on the primary server, where its value was 5.",
         "DETAIL:  max_worker_processes = 9 is not a lower setting than 8.")


def test_settings_that_are_too_small_are_all_named_with_what_they_have_to_be() -> None:
    found = assess_arrival(Goal(stop=STOP), observation("in archive recovery", *SMALL), None, refused=True)
    assert found == Astray(PAUSED, None, "max_connections must be 60, max_wal_senders must be 5",
                           "Set max_connections = 60, max_wal_senders = 5 in {directory}/postgresql.auto.conf and "
                           "restart the server: replay then goes on")


@pytest.mark.parametrize(("goal", "seen", "refused", "verdict"), [
    (Goal(stop=STOP), observation("shut down"), True, None),
    (Goal(PAUSE, stop=STOP), observation("in archive recovery", "recovery stopping here"), False, None),
    (Goal(PAUSE, stop=STOP), observation("in archive recovery", "recovery stopping here"), True, Arrived(PAUSED, STOP)),
    (Goal(PAUSE, stop=STOP, is_immediate=True), observation(), True, Arrived(PAUSED, STOP)),
    (Goal(PAUSE, stop=STOP, is_immediate=True), observation(alive=False), True, None),
    (Goal(PAUSE, standby=True, stop=STOP), observation("in archive recovery", "recovery stopping here"), True, None),
    (Goal(PROMOTE, stop=STOP), observation("in archive recovery", "recovery stopping here"), True, None),
    (Goal(SHUTDOWN, stop=STOP), observation("shut down in recovery", "pausing at the end of recovery", alive=False),
     True, Arrived(SHUT_DOWN, STOP)),
    (Goal(SHUTDOWN, stop=STOP), observation("shut down", "recovery stopping", alive=False), True, None),
    (Goal(PAUSE), observation("in archive recovery", 'a "0/1"', 'b "0/1"'), True, None),
])  # fmt: skip
def test_by_what_is_seen_of_it(goal: Goal, seen: Observation, refused: bool, verdict: object) -> None:
    assert assess_arrival(goal, seen, None, refused=refused) == verdict


# What a look at the host tells


NO_ARGUMENTS = ("process=124 S 123 123 123 0 -1 4194560 211 0 0 0 7 5 9|t",)


@pytest.mark.parametrize(("records", "field", "value"), [
    (["postmaster.pid=1\n/d\n7\n5432\n\n0.0.0.0\n\nstarting"], "places", ("127.0.0.1",)),
    (["postmaster.pid=1\n/d\n7\n5432\n/tmp\n::\n\nready"], "places", ("/tmp", "::1")),
    (["postmaster.pid=1\n/d\n7\n5432\n/tmp\n10.0.0.1\n\nready"], "places", ("/tmp", "10.0.0.1")),
    (["postmaster.pid=1\n/d\n7\n5432\n/tmp\n*\n"], "status", ""),
    (["postmaster.pid=1\n/d\nx\n"], "started", None),
    (["postmaster.pid=1\n/d\n7\n5432x"], "port", None),
    (["postmaster.pid=1\n/d\n7\n5432x"], "started", 7),
    (["directory=/a=b"], "directory", "/a=b"),
    (["elsewhere=/var/log/x"], "elsewhere", "/var/log/x"),
    (["free=2048"], "free", 2048), ([], "free", None), (["free=x"], "free", None),
    ([], "alive", False), (["alive=yes"], "alive", True),
    (["control=a b:   c d  \nno pair\ne: f"], "control", {"a b": "c d", "e": "f"}),
    (["branch=pg_wal/0000000A.history 9\t0/3000000\tx"], "branch", (10, Lsn(0x3000000))),
    (["branch=pg_wal/0000000A.history 9 0/3000000"], "branch", (10, Lsn(0x3000000))),
    (["branch=0000000A.history 9 0/3000000"], "branch", (10, Lsn(0x3000000))),
    (["branch=pg_wal/0000000A.history 9"], "branch", None),
    (["branch=pg_wal/0000000A.history 9 x y"], "branch", None),
    (["branch=pg_wal/0000000X.history 9 0/3000000"], "branch", None),
    (list(NO_ARGUMENTS), "processes", (Process(124, "t", 12),)),
    (["process=124 |a|b"], "processes", (Process(124, "a|b", 0),)),
    (["process=x 1|t", "process=|t"], "processes", ()),
    (["log=a\nPostgreSQL 17.2 on x, compiled by y\nb\nPostgreSQL 18 (x), compiled by y\nc"], "log",
     ("PostgreSQL 18 (x), compiled by y", "c")),
])  # fmt: skip
def test_what_the_script_prints_is_read(records: list[str], field: str, value: object) -> None:
    assert getattr(parse_observation(records), field) == value


def test_where_nothing_is_printed_nothing_is_known() -> None:
    assert parse_observation([]) == Observation()
    assert parse_observation(["control=", "branch=", "postmaster.pid=", "process=", "log=", "free="]) == Observation()


@pytest.mark.parametrize(("seen", "signs"), [
    (Observation(), {""}),
    (observation(control={"Database cluster state": "s", "Latest checkpoint location": "0/1",
                    "Minimum recovery ending location": "0/2"}), {"s", "ready", "0/1", "0/2"}),
    (observation(processes=(Process(7, "postgres: startup recovering 000000010000000000000003", 25),
                      Process(8, "postgres: checkpointer", 9), Process(9, "postgres: walreceiver streaming 0/5", 99),
                      Process(10, "postgres: joe db idle", 99), Process(11, "postgres: startup waiting", 5))),
     {"in archive recovery", "ready", "", "postgres: startup recovering 000000010000000000000003", "7 2", "8 0",
      "postgres: walreceiver streaming 0/5", "11 0"}),
    (observation("s", "x 10.00 s, path: a", "y 1,50 s: b", "z"), {"s", "ready", "", "10.00 s, path: a", "1,50 s: b"}),
])  # fmt: skip
def test_the_signs_of_life(seen: Observation, signs: set[str]) -> None:
    assert seen.signs_of_life() == signs


def test_a_data_directory_without_a_server_shows_what_is_there(tmp_path: Path) -> None:
    """By the very script that looks at one."""
    data, aside = tmp_path / "data", tmp_path / "aside.log"
    (data / "pg_wal").mkdir(parents=True)
    (data / "log").mkdir()
    (data / "pg_wal/00000002.history").write_text("1\t0/2000000\tx\n")
    (data / "pg_wal/0000000A.history").write_text("1\t0/2000000\tx\n9\t0/3000000\tx\n")
    (data / "pgvault-recovery.log").write_bytes(b"caf\xe9\ntwo\n")
    (data / "current_logfiles").write_text("stderr log/x.log\n")
    (data / "log/x.log").write_text("three\n")
    (data / "postmaster.pid").write_text("2147483646\n/data\n7\n5433\n/run/pg\n*\n\nstopping\n")
    aside.write_text("beside\n" * 500)
    seen = asyncio.run(observe_server(LocalHost(), str(data), "", str(aside)))
    assert (seen.alive, seen.status, seen.started, seen.port) == (False, "stopping", 7, 5433)
    assert (seen.places, seen.directory) == (("/run/pg", "localhost"), str(data.resolve()))
    assert (seen.branch, seen.elsewhere) == ((10, Lsn(0x3000000)), str(aside))
    assert seen.log == ("caf\udce9", "two", *["beside"] * 400, "three")
    assert seen.free
    assert (seen.control, seen.processes) == ({}, ())
    assert asyncio.run(observe_server(LocalHost(), str(tmp_path / "none"), "")) == Observation()


def test_the_programs_that_are_named_tell_its_state(tmp_path: Path) -> None:
    program = tmp_path / "pg_controldata"
    program.write_text("#!/bin/sh\necho 'Database cluster state:   in production'\n")
    program.chmod(0o755)
    assert asyncio.run(observe_server(LocalHost(), str(tmp_path), str(tmp_path))).state == "in production"
