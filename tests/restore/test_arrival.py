"""Whether a restored server has arrived: the pure rules, over what can be seen of it."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

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
    restarts_too_often,
    too_small,
)
from pgvault.engine.restore.astray import ended
from pgvault.engine.restore.observation import Observation, Process, of_this_run, parse_observation
from pgvault.engine.restore.watch import Watch
from pgvault.engine.restore.why_ended import cause_lines, next_step, why_closed
from pgvault.model.lsn import Lsn
from pgvault.model.target import TargetAction

STOP = Lsn(0x3000100)
PAUSE, PROMOTE, SHUTDOWN = TargetAction.PAUSE, TargetAction.PROMOTE, TargetAction.SHUTDOWN
RECOVERING = {"Database cluster state": "in archive recovery"}
POSITIONS = st.integers(0, 4 * 8192).map(lambda at: Lsn(0x3000000 + 8 * at))


def observation(state: str = "in archive recovery", *, alive: bool = True, log: tuple[str, ...] = (),
                status: str = "ready", titles: tuple[str, ...] = (), branch: tuple[int, Lsn] | None = None,
                **control: str) -> Observation:
    written = {"Database cluster state": state, **{name.replace("_", " "): value for name, value in control.items()}}
    return Observation(alive=alive, status=status, control=written, log=log, branch=branch,
                       processes=tuple(Process(100 + at, title) for at, title in enumerate(titles)))


# Positions


@given(stop=POSITIONS, at=POSITIONS, replayed=st.booleans())
def test_a_record_at_the_target_is_replayed_or_not_as_was_asked(stop: Lsn, at: Lsn, replayed: bool) -> None:
    goal = Goal(stop=stop, replayed=replayed)
    if replayed:
        assert goal.is_reached_at(at) == (at > stop)
    elif at >= stop:
        assert goal.is_reached_at(at)
    else:  # nothing but a page's header may lie between
        assert goal.is_reached_at(at) <= (stop - at <= 40 and stop // 8192 == at // 8192 and at % 8192 <= 40)


@pytest.mark.parametrize(("stop", "at", "reached"), [
    (0x3002018, 0x3002000, True),  # the record begins behind the header of the page at whose beginning the last ended
    (0x3000028, 0x3000000, True),  # a segment's first page has a long header
    (0x3002018, 0x3001FE0, False),  # there is room for a whole record
    (0x3000100, 0x30000E0, False),
])  # fmt: skip
def test_a_page_header_is_no_wal(stop: int, at: int, reached: bool) -> None:
    assert Goal(stop=Lsn(stop)).is_reached_at(Lsn(at)) is reached
    assert Goal(stop=Lsn(stop), replayed=True, ends=True).is_reached_at(Lsn(at)) is reached


# By SQL


@pytest.mark.parametrize(("action", "standby", "in_recovery", "paused", "reached"),
                         list(itertools.product(TargetAction, *[[False, True]] * 4)))
def test_each_state_and_each_goal(action: TargetAction, standby: bool, in_recovery: bool, paused: bool,
                                  reached: bool) -> None:
    """It is an arrival only in the state that was asked for, at the target."""
    goal = Goal(action, standby, None if standby else STOP)
    at = Lsn(STOP + 64) if reached or standby else Lsn(STOP - 64)
    report = Report(in_recovery, at, paused=paused and in_recovery, timeline=None if in_recovery else 2,
                    lag_bytes=0 if standby and in_recovery else None)
    verdict = assess_arrival(goal, observation(), report, refused=False)
    if standby:
        expected: object = Astray if paused or not in_recovery else FOLLOWING
    elif not in_recovery:
        expected = PROMOTED if action is PROMOTE and reached else Astray
    elif paused:
        expected = PAUSED if action is PAUSE and reached else Astray
    else:
        expected = None
    assert (verdict.state if isinstance(verdict, Arrived) else verdict and type(verdict)) == expected


def test_a_pause_before_the_target_has_its_reason_from_pg_control() -> None:
    seen = Observation(alive=True, status="ready", control={**RECOVERING, "max_connections setting": "60",
                                                      "max_prepared_xacts setting": "10",
                                                      "max_wal_senders setting": "5"})
    limits = {"max_connections": 60, "max_prepared_transactions": 0, "max_wal_senders": 10}
    verdict = assess_arrival(Goal(PAUSE, stop=STOP), seen, Report(True, Lsn(STOP - 8), paused=True, limits=limits),
                    refused=False)
    assert isinstance(verdict, Astray)
    assert verdict.reason == "max_prepared_transactions must be 10"
    assert "max_prepared_transactions = 10 in {directory}/postgresql.auto.conf" in verdict.step
    by_hand = assess_arrival(Goal(stop=STOP), seen,
                             Report(True, Lsn(STOP - 8), paused=True, limits={"max_connections": 99}), refused=False)
    assert isinstance(by_hand, Astray)
    assert by_hand.reason == "pg_wal_replay_pause() was called"
    assert "pg_wal_replay_resume()" in by_hand.step


@pytest.mark.parametrize(("goal", "at", "astray"), [
    (Goal(stop=STOP), STOP - 64, True), (Goal(PAUSE, stop=STOP), STOP - 64, True), (Goal(standby=True), STOP, False),
    (Goal(PAUSE, stop=STOP), STOP, False),  # so it is for a moment before it pauses at its target
])  # fmt: skip
def test_a_pause_that_was_asked_for_is_one(goal: Goal, at: int, astray: bool) -> None:
    """The record or the file that replay is at may take long, and nothing is replayed behind it."""
    verdict = assess_arrival(goal, observation(), Report(True, Lsn(at), asked_to_pause=True), refused=False)
    assert isinstance(verdict, Astray) is astray
    assert verdict is None or isinstance(verdict, Astray)


@pytest.mark.parametrize("line", [
    "DETAIL:  max_connections = 20 is a lower setting than on the primary server, where its value was 60.",
    "FATAL:  hot standby is not possible because max_connections = 20 is a lower setting than on the master server "
    "(its value was 60)",
    "DETAIL:  max_connections = 20 ist eine niedrigere Einstellung als auf dem Primärserver, wo der Wert 60 war.",
])  # fmt: skip
def test_a_setting_that_is_too_small_is_read_from_a_log_in_any_language(line: str) -> None:
    assert too_small(observation(log=(line,)), {}) == {"max_connections": 60}
    verdict = assess_arrival(Goal(stop=STOP), observation(log=(line,)), None, refused=True)
    assert isinstance(verdict, Astray)
    assert verdict.reason == "max_connections must be 60"


# Without a login


def test_without_sql_nothing_is_judged_while_it_may_still_let_us_in() -> None:
    assert assess_arrival(Goal(), observation("in production", branch=(2, STOP)), None, refused=False) is None


@pytest.mark.parametrize(("branch", "verdict"), [
    ((2, STOP), Arrived(PROMOTED, STOP, 2)), ((2, Lsn(STOP - 64)), Astray(PROMOTED, Lsn(STOP - 64))), (None, None)])
def test_a_promotion_is_proven_by_pg_control_and_the_new_history(branch: tuple[int, Lsn] | None,
                                                                 verdict: object) -> None:
    goal = Goal(stop=STOP, replayed=True, ends=True)
    assert assess_arrival(goal, observation("in production", branch=branch), None, refused=True) == verdict


BEGAN = 'LOG:  starting point-in-time recovery to WAL location (LSN) "0/3000100"'
BEGAN_19 = 'LOG:  starting point-in-time recovery to WAL location (LSN) "0/03000100"'
STOPPED = 'LOG:  Wiederherstellung beendet vor WAL-Position (LSN) »0/3000100«'
CONSISTENT = "LOG:  consistent recovery state reached at 0/3000100"


@pytest.mark.parametrize(("log", "shows"), [
    ((BEGAN,), False), ((BEGAN, CONSISTENT), False), ((BEGAN, STOPPED), True), ((BEGAN_19, STOPPED), True),
    ((BEGAN, "LOG:  recovery stopping before commit of transaction 7"), True),
    ((BEGAN, "LOG:  recovery has paused"), False),  # so it says of every pause
])  # fmt: skip
def test_a_pause_is_proven_by_the_log(log: tuple[str, ...], shows: bool) -> None:
    verdict = assess_arrival(Goal(PAUSE, stop=STOP), observation(log=log), None, refused=True)
    assert verdict == (Arrived(PAUSED, STOP) if shows else None)


PAUSED_HERE = "TIPP:  Führen Sie pg_wal_replay_resume() aus um fortzufahren."


@pytest.mark.parametrize(("goal", "titles", "expected"), [
    (Goal(stop=STOP), (), Astray), (Goal(SHUTDOWN, stop=STOP), (), Astray), (Goal(standby=True), (), Astray),
    (Goal(PAUSE, stop=STOP), (), type(None)),  # at the target or before it: nothing tells
    (Goal(standby=True), ("postgres: walreceiver streaming 0/3000148",), Arrived),
])  # fmt: skip
def test_a_pause_is_read_from_a_log_in_any_language(goal: Goal, titles: tuple[str, ...], expected: type) -> None:
    verdict = assess_arrival(goal, observation(log=(BEGAN, "LOG:  Wiederherstellung wurde pausiert", PAUSED_HERE),
                                         titles=titles), None, refused=True)
    assert type(verdict) is expected


def test_the_end_of_the_backup_is_reached_when_it_takes_logins() -> None:
    goal = Goal(PAUSE, stop=STOP, replayed=True, ends=True, is_immediate=True)
    assert assess_arrival(goal, observation(), None, refused=True) == Arrived(PAUSED, STOP)
    assert assess_arrival(goal, observation(status="starting"), None, refused=True) is None


@pytest.mark.parametrize(("title", "verdict"), [
    ("postgres: 15/main: walreceiver streaming 0/3000148", Arrived(FOLLOWING, Lsn(0x3000148))),
    ("postgres: walreceiver ", None), ("postgres: startup recovering 000000010000000000000003", None)])
def test_a_standby_is_proven_by_its_receiver(title: str, verdict: object) -> None:
    assert assess_arrival(Goal(standby=True), observation(titles=(title,)), None, refused=True) == verdict


@pytest.mark.parametrize(("control", "log", "verdict"), [
    ({"Minimum_recovery_ending_location": "0/3000100"}, (), Arrived(SHUT_DOWN, STOP)),
    ({"Minimum_recovery_ending_location": "0/2000100"}, (BEGAN, STOPPED), Arrived(SHUT_DOWN, STOP)),
    ({"Minimum_recovery_ending_location": "0/2000100"}, (BEGAN,), Astray(SHUT_DOWN, Lsn(0x2000100))),
    ({"Minimum_recovery_ending_location": "0/03000100", "Backup_start_location": "0/00000000"}, (),  # 19 writes so
     Arrived(SHUT_DOWN, STOP)),
    ({"Minimum_recovery_ending_location": "0/3000100", "Backup_start_location": "0/2000028"}, (),
     Astray(SHUT_DOWN, None)),
])  # fmt: skip
def test_a_shutdown_counts_at_the_target(control: dict[str, str], log: tuple[str, ...], verdict: object) -> None:
    ended = observation("shut down in recovery", alive=False, log=log, **control)
    assert assess_arrival(Goal(SHUTDOWN, stop=STOP), ended, None, refused=False) == verdict
    assert assess_arrival(Goal(PROMOTE, stop=STOP), ended, None, refused=False) is None


# What moves, and what only repeats itself


def test_a_refused_login_and_a_lost_connection_move_nothing() -> None:
    before = observation(titles=("postgres: startup recovering 000000010000000000000003",))
    failing = observation(titles=("postgres: startup recovering 000000010000000000000003", "postgres: walreceiver "),
                    log=("FATAL:  password authentication failed", "FATAL:  could not connect to the primary server"))
    assert failing.signs_of_life() <= before.signs_of_life()


@pytest.mark.parametrize("later", [
    observation(titles=("postgres: startup recovering 000000010000000000000004",)),
    observation(titles=("postgres: walreceiver streaming 0/4000000",)),
    observation(Minimum_recovery_ending_location="0/4000000"), observation(status="starting"),
    observation("in production"),
    observation(log=("LOG:  syncing data directory (fsync), elapsed time: 10.00 s, current path: ./base/5/1259",)),
    Observation(alive=True, status="ready", control=RECOVERING, processes=(Process(100, "postgres: startup", 10),)),
])  # fmt: skip
def test_what_moves(later: Observation) -> None:
    assert later.signs_of_life() - observation(titles=("postgres: startup",)).signs_of_life()


def test_a_server_that_starts_again_and_again() -> None:
    assert not restarts_too_often([5, 5, 5, 9, 9, 12])
    assert restarts_too_often([5, 9, 9, 12, 15])


# What the script shows


def test_what_the_host_prints_is_read() -> None:
    seen = parse_observation([
        "directory=/data", "control=Database cluster state:               in archive recovery\n"
        "Latest checkpoint's NextXID:          0:735",
        "branch=pg_wal/0000000A.history 9\t0/3000000\tno recovery target",
        "postmaster.pid=123\n/data\n1700000000\n5433\n@/run/pg\n*\n 5433001 0\nready   \n",
        "process=124 S 123 123 123 0 -1 4194560 211 0 0 0 7 5 0|postgres: startup recovering 00000001000000000000000A",
        "process=125 |postgres: walreceiver streaming 0/5000000", "process=|", "alive=yes", "elsewhere=/var/log/x",
        "log=old\nLOG:  starting PostgreSQL 15.18 (Debian) on x86_64, compiled by gcc\nnew", "end=yes"])
    assert (seen.alive, seen.status, seen.started, seen.port) == (True, "ready", 1700000000, 5433)
    assert seen.places == ("@/run/pg", "localhost")
    assert (seen.state, seen.branch) == ("in archive recovery", (10, Lsn(0x3000000)))
    assert (seen.replayer, seen.streams_from) == (124, Lsn(0x5000000))
    assert seen.processes[0].ticks == 12
    assert seen.log == ("LOG:  starting PostgreSQL 15.18 (Debian) on x86_64, compiled by gcc", "new")


@given(st.lists(st.text(max_size=40), max_size=12))
@example(["²"] * 12)  # a digit, and no decimal number
def test_whatever_a_host_prints_does_no_harm(records: list[str]) -> None:
    keys = ("control=", "branch=", "postmaster.pid=", "process=", "log=", "")
    seen = parse_observation([key + record for key, record in zip(itertools.cycle(keys), records, strict=False)])
    for goal in (Goal(), Goal(PAUSE, stop=STOP), Goal(standby=True), Goal(SHUTDOWN, stop=STOP)):
        assert not isinstance(assess_arrival(goal, seen, None, refused=True), Arrived)
    seen.signs_of_life()


def test_a_log_without_a_start_is_all_of_this_run() -> None:
    assert of_this_run(["a", "b"]) == ("a", "b")


@pytest.mark.parametrize(("free", "full"), [("12", True), ("4096", False), ("", False)])
def test_a_full_disk_is_named_where_the_log_says_nothing(free: str, full: bool) -> None:
    """A server that cannot write its log does not say why it did not start."""
    seen = parse_observation([f"free={free}", "control=Database cluster state:               in production"])
    watch = cast("Watch", SimpleNamespace(
        observation=seen, host=SimpleNamespace(description="far"), directory="/d", start="start",
        gave_up=""))
    told = ended(watch, "did not start")
    assert ("No space left on device there." in told.detail) is full
    assert ("Free space on the host." in told.hint) is full


# Why it ended, why a database is closed: in any language


@pytest.mark.parametrize(("line", "step"), [
    ('DETAIL:  Die Datenbank wurde mit LC_COLLATE »fy_NL.UTF-8« initialisiert, was von setlocale() nicht erkannt wird.',
     "Install that locale"),
    ('LOG:  ungültiger Wert für Parameter "lc_monetary": "fy_NL"', "Install that locale"),
    ("DETAIL:  Der Datenbank-Cluster wurde mit BLCKSZ 16384 initialisiert, aber der Server mit BLCKSZ 8192 kompiliert.",
     "built with other sizes"),
    ("FATAL:  ICU is not supported in this build", "built with ICU"),
    ("FATAL:  WAL was generated with wal_level=minimal, cannot continue recovering", "choose a target before it"),
])  # fmt: skip
def test_the_reason_is_known_by_what_no_language_changes(line: str, step: str) -> None:
    said = cause_lines(["LOG:  x", line, "LOG:  das Datenbanksystem ist heruntergefahren"])
    assert line in said
    assert step in next_step(said, directory="/d", start="start", log="/l")


@pytest.mark.parametrize(("refusal", "closed"), [
    ('FATAL:  database locale is incompatible with operating system DETAIL:  The database was initialized with '
     'LC_COLLATE "fy_NL.UTF-8", which is not recognized by setlocale().', True),
    ('FATAL:  database "shop" does not exist DETAIL:  The database subdirectory "base/16384" is missing.', True),
    ('FATAL:  could not access file "auto_x": No such file or directory', True),
    ('FATAL:  Passwort-Authentifizierung für Benutzer »pgv« fehlgeschlagen', False),
    ('FATAL:  Peer authentication failed for user "pgvault"', False),
    ('FATAL:  permission denied for database "shop" DETAIL:  User does not have CONNECT privilege.', False),
    ("FATAL:  sorry, too many clients already", False),
])  # fmt: skip
def test_a_login_that_is_refused_is_no_closed_database(refusal: str, closed: bool) -> None:
    assert bool(why_closed(refusal)) is closed
