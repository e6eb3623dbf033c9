"""Where a restored server listens, who is in its way, and why one that ended did: the pure rules."""

from __future__ import annotations

import pytest

from pgvault.engine.restore.listening import listens_on, takes
from pgvault.engine.restore.why_ended import next_step, said_of_it
from pgvault.model.restore_plan import Listening

LOOPBACK, LOOPBACK_6 = "0100007F", f"{'0' * 24}01000000"
EVERY, EVERY_6 = "0" * 8, "0" * 32
TEN = "0100000A"
"""10.0.0.1"""
MAPPED = "0000000000000000FFFF00000100007F"


@pytest.mark.parametrize(("values", "expected"), [
    ({}, Listening(5432, ("localhost",), None)),
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
    said = said_of_it([ZONED + line if not line.startswith(("HINT", "DETAIL", "cp")) else line for line in log])
    assert len(said) == told
    assert all(line in log for line in said)
    hint = next_step(said, directory="/data", start="pg_ctl start -D /data", log="/data/log")
    assert step in hint
    assert hint.endswith("start it: pg_ctl start -D /data")
