"""Where a restored server listens, who is in its way, and why one that ended did: the pure rules."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.restoring import destination

from pgvault.engine.restore.listening import listening_conditions, listens_on, socket_directories, takes
from pgvault.engine.restore.why_ended import cause_lines, next_step
from pgvault.io.probe import Destination, Installation
from pgvault.io.probe_listening import Listener, SocketPlace
from pgvault.model.check import Outcome
from pgvault.model.restore_plan import Listening, Precondition

OK, FAILED = Outcome.OK, Outcome.FAILED
LOOPBACK, LOOPBACK_6 = "0100007F", f"{'0' * 24}01000000"
EVERY, EVERY_6 = "0" * 8, "0" * 32
TEN = "0100000A"
"""10.0.0.1"""
MAPPED = "0000000000000000FFFF00000100007F"


@pytest.mark.parametrize(("values", "expected"), [
    ({}, Listening(5432, ("localhost",), None)),
    ({"port": " 5433 "}, Listening(5433, ("localhost",), None)),
    ({"port": "x"}, Listening(5432, ("localhost",), None)),
    ({"port": "\u0665"}, Listening(5432, ("localhost",), None)),
    ({"port": "5433", "listen_addresses": "*", "unix_socket_directories": "/tmp"}, Listening(5433, ("*",), ("/tmp",))),
    ({"listen_addresses": "", "unix_socket_directories": ""}, Listening(5432, (), ())),
    ({"listen_addresses": " 10.0.0.1 ,::1", "unix_socket_directories": '/run/pg, "/tmp/a, ""b"""'},
     Listening(5432, ("10.0.0.1", "::1"), ("/run/pg", '/tmp/a, "b"'))),
])  # fmt: skip
def test_where_it_listens_is_what_its_settings_say(values: dict[str, str], expected: Listening) -> None:
    assert listens_on(values) == expected


@pytest.mark.parametrize(("wanted", "taken", "free"), [
    ("*", [LOOPBACK, LOOPBACK_6, TEN, EVERY, EVERY_6], []),
    ("0.0.0.0", [LOOPBACK, TEN, EVERY, EVERY_6], [LOOPBACK_6]),
    ("::", [LOOPBACK_6, EVERY_6], [LOOPBACK, EVERY]),
    ("localhost", [LOOPBACK, LOOPBACK_6, EVERY, EVERY_6, MAPPED, "7F000001"], [TEN]),
    ("127.0.0.1", [LOOPBACK, EVERY, EVERY_6, MAPPED], [LOOPBACK_6, TEN]),
    ("10.0.0.1", [TEN, EVERY, EVERY_6], [LOOPBACK, LOOPBACK_6]),
    ("fe80::1%eth0", ["000080FE000000000000000001000000", EVERY_6], [EVERY, LOOPBACK_6]),
    ("db1.example.com", [EVERY, EVERY_6], [LOOPBACK, TEN]),
])  # fmt: skip
def test_who_is_in_the_way_of_an_address(wanted: str, taken: list[str], free: list[str]) -> None:
    assert [address for address in taken if not takes(address, wanted)] == []
    assert [address for address in free if takes(address, wanted)] == []


ZONED = "2026-11-25 01:23:56.187 CET [25138] "


@pytest.mark.parametrize(("log", "told", "step"), [
    (["LOG:  starting PostgreSQL 17.2 on x86_64", 'LOG:  could not bind IPv4 address "127.0.0.1": Address already in '
      "use", "HINT:  Is another postmaster running?", "FATAL:  could not create any TCP/IP sockets",
      "LOG:  database system is shut down"], 3, "Another server has its port"),
    (['LOG:  could not bind IPv4 address "192.0.2.1": Cannot assign requested address',
      "WARNING:  could not create listen socket for \"192.0.2.1\"", "FATAL:  could not create any TCP/IP sockets"], 3,
     "This host has no such address: set listen_addresses"),
    (['FATAL:  could not access file "timescaledb": No such file or directory'], 1, "Install that library"),
    (['LOG:  unrecognized configuration parameter "x" in file "postgresql.conf" line 3',
      'FATAL:  configuration file "postgresql.conf" contains errors'], 2, "Correct that setting"),
    (["FATAL:  recovery aborted because of insufficient parameter settings",
      "DETAIL:  max_connections = 10 is a lower setting than on the primary server"], 2, "Raise the setting"),
    (["LOG:  redo starts at 0/2000028", "cp: error writing 'pg_wal/RECOVERYXLOG': No space left on device",
      'FATAL:  could not restore file "000000010000000000000008" from archive: child process exited with exit code 200',
      "LOG:  database system is shut down"], 2, "Free space on the host"),
    (["FATAL:  could not map anonymous shared memory: Cannot allocate memory"], 1, "too little memory"),
    (["FATAL:  something that nobody has thought of"], 1, "Look at /data/log there"),
    (["LOG:  listening", "LOG:  redo starts"], 2, "Look at /data/log there"),
    ([], 0, "Look at /data/log there"),
])  # fmt: skip
def test_the_cause_and_the_step_that_fits(log: list[str], told: int, step: str) -> None:
    said = cause_lines([ZONED + line if not line.startswith(("HINT", "DETAIL", "cp")) else line for line in log])
    assert len(said) == told
    assert all(line in log for line in said)
    hint = next_step(said, directory="/data", start="pg_ctl start -D /data", log="/data/log")
    assert step in hint
    assert hint.endswith("start it: pg_ctl start -D /data")


# What must hold at the destination


NAMED = Listening(5432, ("localhost",), ("/run/a", "@abstract", "sockets", "/run/b"))
UNNAMED = replace(NAMED, socket_directories=None)
PROCESS = "process 9 (postgres) of /x"
ANOTHER = "Have the restored server listen on another one: --port PORT; or stop that one first."


@pytest.mark.parametrize(("listening", "directories"), [
    (NAMED, ("/run/a", "/run/b")), (UNNAMED, None), (replace(NAMED, socket_directories=()), ())])
def test_which_directories_can_be_looked_into(listening: Listening, directories: tuple[str, ...] | None) -> None:
    """Not an abstract one, nor one below a data directory that is not there."""
    assert socket_directories(listening) == directories


@pytest.mark.parametrize(("there", "listening", "expected"), [
    (destination(), NAMED, [("port 5432", OK, "free", "")]),
    (destination(listeners=None), NAMED,
     [("port 5432", OK, "its sockets are free; the host does not report what has the TCP port", "")]),
    (destination(listeners=None), replace(NAMED, addresses=()), [("port 5432", OK, "free", "")]),
    (destination(sockets=(SocketPlace("/run/a", True, ""), SocketPlace("/run/b", True, PROCESS))), NAMED,
     [("port 5432", FAILED, "Process 9 (postgres) of /x has the socket for it in /run/b.", ANOTHER)]),
    (destination(sockets=(SocketPlace("/run/a", False, "a lock file that is damaged"),)), NAMED,
     [("port 5432", FAILED, "A lock file that is damaged has the socket for it in /run/a.",
       "Have the restored server listen on another one: --port PORT; or remove that file.")]),
    (destination(sockets=(SocketPlace("/run/c", False, PROCESS),)), NAMED, [("port 5432", OK, "free", "")]),
    (destination(sockets=(SocketPlace("/run/pg", True, PROCESS),)), UNNAMED,
     [("port 5432", FAILED, "Process 9 (postgres) of /x has the socket for it in /run/pg.", ANOTHER)]),
    (destination(sockets=(SocketPlace("/run/pg", True, PROCESS),), installations=()), UNNAMED,
     [("port 5432", OK, "free", "")]),
    (destination(listeners=(Listener(TEN, "process 7 (x)"), Listener(LOOPBACK_6, "process 8 (y)"))), NAMED,
     [("port 5432", FAILED, "Process 8 (y) listens there.", ANOTHER)]),
    (destination(listeners=(Listener(TEN, "process 7 (x)"),)), replace(NAMED, addresses=("::1", "10.0.0.1")),
     [("port 5432", FAILED, "Process 7 (x) listens there.", ANOTHER)]),
    (destination(sockets=(SocketPlace("/run/a", False, ""), SocketPlace("/run/b", False, ""))), NAMED,
     [("port 5432", OK, "free", ""),
      ("socket directory", FAILED, "/run/a, /run/b: missing, or we may not write there; the restored server makes its "
       "socket in it.", "Make it there; or name another one for the host: socket_directory.")]),
])  # fmt: skip
def test_who_has_its_port_and_whether_it_can_make_its_sockets(
        there: Destination, listening: Listening, expected: list[tuple[str, Outcome, str, str]]) -> None:
    """What a start command of the host's own does is not known: then it is a warning."""
    assert list(listening_conditions(there, listening, 17, by_command=False)) == [
        Precondition(*each) for each in expected]
    assert list(listening_conditions(there, listening, 17, by_command=True)) == [
        Precondition(name, Outcome.WARNING if outcome is FAILED else outcome, detail, fix)
        for name, outcome, detail, fix in expected]


def test_the_sockets_are_those_of_the_programs_of_the_backups_major() -> None:
    there = destination(installations=(Installation("/pg16", "16.1", True, ("/run/old",)),
                                       Installation("/pg17", "17.1", True, ("/run/new",))),
                        sockets=(SocketPlace("/run/old", True, PROCESS),))  # fmt: skip
    assert [each.outcome for major in (16, 17)
            for each in listening_conditions(there, UNNAMED, major, by_command=False)] == [FAILED, OK]
