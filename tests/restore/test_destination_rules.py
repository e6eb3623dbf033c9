"""What must hold at a destination before anything is written there, and what a person reads when it does not: the rules
alone, on what a look has seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.restoring import MIB, SPACE, box, destination, place, plan

from pgvault.config.schema import HostConfig
from pgvault.engine.restore.directory_state import read_directory_state
from pgvault.engine.restore.preconditions import destination_conditions, room
from pgvault.io.probe import Contents, Destination, Installation, Postmaster
from pgvault.io.probe_listening import SocketPlace
from pgvault.model.check import Outcome
from pgvault.model.restore_plan import Listening, Precondition, RestorePlan, Room
from pgvault.store.keys import Key, Kind
from pgvault.store.memory import MemoryStore
from pgvault.vault.layout import Vault

OK, WARNING, FAILED = Outcome.OK, Outcome.WARNING, Outcome.FAILED
MISSING, EMPTY, POPULATED = Contents.MISSING, Contents.EMPTY, Contents.POPULATED
SEGMENT = 16 * MIB
NO_SERVERS = Vault(Path("/nowhere"), MemoryStore(Path("/nowhere")))
NO_SERVERS.store.put(Key(Kind.VAULT), b"format = 1\n")


def conditions(there: Destination, wanted: RestorePlan, host: HostConfig | None = None) -> dict[str, Precondition]:
    """By their names, of which none is there twice."""
    state = read_directory_state(there, NO_SERVERS, wanted.server)
    found = destination_conditions(there, state, wanted, host)
    assert len({each.name for each in found}) == len(found)
    return {each.name: each for each in found}


def one(name: str, there: Destination, wanted: RestorePlan | None = None,
        host: HostConfig | None = None) -> Precondition:  # fmt: skip
    return conditions(there, wanted or plan(), host)[name]


def test_a_destination_that_is_fit_for_everything() -> None:
    there = destination(place("/srv/data", MISSING, nearest="/srv"))
    assert list(conditions(there, plan(listens=Listening(5432, ("localhost",), None))).values()) == [
        Precondition("running server", OK, "none there"),
        Precondition("directory", OK, "missing, will be made"),
        Precondition("right to write", OK, "as postgres, who will own the files"),
        Precondition("space", OK, "100.0 GiB free for 1.0 GiB"),
        Precondition("programs of PostgreSQL 17", OK, "17.2 in /pg17/bin"),
        Precondition("tar", OK, "zstd too: stored data goes over as it is"),
        Precondition("port 5432", OK, "free"),
    ]


# A server that runs there


PG = Postmaster(88, True, "postgres", None, 5432, "")
RUNS = "/srv/data/postmaster.pid names process 88 (postgres), which runs."


@pytest.mark.parametrize(("installations", "version", "host", "command"), [
    ((Installation("/pg17/bin", "17.2", True),), "17", None, "/pg17/bin/pg_ctl stop -D /srv/data"),
    ((Installation("/pg16/bin", "16.1", True), Installation("/pg17/bin", "17.2", True)), "17", None,
     "/pg17/bin/pg_ctl stop -D /srv/data"),
    ((Installation("/pg16/bin", "16.1", True), Installation("/pg17/bin", "17.2", False)), "17", None,
     "/pg16/bin/pg_ctl stop -D /srv/data"),
    ((), "17", None, "pg_ctl stop -D /srv/data"),
    ((), "17", box(), "pg_ctl stop -D /srv/data"),
    ((), "17", box(data_directory="/srv/data/", stop_command="systemctl stop postgresql"), "systemctl stop postgresql"),
    ((), "17", box(data_directory="/srv/other", stop_command="systemctl stop postgresql"), "pg_ctl stop -D /srv/data"),
    ((), "17", box(stop_command="systemctl stop postgresql"), "pg_ctl stop -D /srv/data"),
])  # fmt: skip
def test_a_server_that_runs_is_stopped_first_with_the_programs_of_its_own_version(
        installations: tuple[Installation, ...], version: str, host: HostConfig | None, command: str) -> None:
    there = destination(place("/srv/data", POPULATED, "PG_VERSION"), postmaster=PG, installations=installations,
                        pg_version=version, has_cluster=True)
    assert one("running server", there, host=host) == Precondition(
        "running server", FAILED, RUNS, f"Stop it first, on that host: {command}")


@pytest.mark.parametrize(("host", "command"), [
    (box(start_command="start"), "start"), (box(start_command="start", data_directory="/other"), None),
    (box(start_command="start", data_directory="/srv/data"), "start")])
def test_a_start_command_is_for_the_hosts_own_directory(host: HostConfig, command: str | None) -> None:
    assert host.start_command_for("/srv/data") == command


def test_what_a_dead_server_left_is_no_running_server() -> None:
    there = destination(postmaster=replace(PG, alive=False))
    assert one("running server", there) == Precondition("running server", OK, "none there")


# The directory


ANOTHER = "Choose another directory."
OVERWRITE = "Choose another directory; or have it renamed out of the way: --overwrite /srv/data"


@pytest.mark.parametrize(("there", "expected"), [
    (destination(place("/srv/a\nb")), (FAILED, "'/srv/a\\nb' has control characters; PostgreSQL keeps it in a file of "
                                               "lines.", ANOTHER)),
    (destination(place("/")), (FAILED, "The root directory cannot be one.", ANOTHER)),
    (destination(place(contents=Contents.NOT_A_DIRECTORY)), (FAILED, "/srv/data is not a directory.", ANOTHER)),
    (destination(place(contents=Contents.UNREADABLE)), (FAILED, "/srv/data cannot be read.", ANOTHER)),
    (destination(place(within="/srv")), (
        FAILED, "/srv/data lies inside the data directory /srv of another cluster.",
        "Choose a directory outside it: what a server finds among its files it may remove or back up.")),
    (destination(place(contents=MISSING)), (OK, "missing, will be made", "")),
    (destination(place()), (OK, "empty", "")),
    (destination(place("/srv/data", POPULATED, "lost+found")), (OK, "empty", "")),
    (destination(place("/srv/data", POPULATED, "base"), incomplete_restore="J1"),
     (OK, "what the incomplete restore J1 left will be removed", "")),
    (destination(place("/srv/data", POPULATED, "a", "b")), (FAILED, "/srv/data holds a, b.", OVERWRITE)),
    (destination(place("/srv/data", POPULATED, "PG_VERSION"), has_cluster=True, pg_version="16",
                 system_identifier="5"), (
        FAILED, "/srv/data holds the cluster of PostgreSQL 16, NOT a copy of main: it is a cluster that this vault "
                "does not know (system identifier 5).", OVERWRITE)),
])  # fmt: skip
def test_what_the_directory_may_hold(there: Destination, expected: tuple[Outcome, str, str]) -> None:
    assert one("directory", there) == Precondition("directory", *expected)


@pytest.mark.parametrize(("facts", "expected"), [
    ({}, (OK, "what is there will be renamed, and kept until you remove it", "")),
    ({"mounted_on": "/mnt/data"}, (
        FAILED, "/mnt/data is a mount point, which cannot be renamed.",
        "Move what is in it to another place and restore without --overwrite; or restore to a directory below it: "
        "/mnt/data/data")),
    ({"can_be_renamed": False}, (
        FAILED, "/mnt/data cannot be renamed: we may not write to /mnt.",
        "Give us the right to write to /mnt; or move what is there away as the user that may, and restore without "
        "--overwrite.")),
])  # fmt: skip
def test_what_is_overwritten_has_to_be_such_as_can_be_renamed(facts: dict[str, object],
                                                             expected: tuple[Outcome, str, str]) -> None:
    there = destination(place("/srv/data", POPULATED, "PG_VERSION", real_path="/mnt/data", **facts), has_cluster=True)
    assert one("directory", there, plan(sets_aside=True)) == Precondition("directory", *expected)


# Who we are there


AS_POSTGRES = "as postgres, who will own the files"


@pytest.mark.parametrize(("there", "start", "expected"), [
    (destination(), True, ("right to write", OK, AS_POSTGRES, "")),
    (destination(place(contents=MISSING, owner_uid=0, owner="root")), True, ("right to write", OK, AS_POSTGRES, "")),
    (destination(place(owner_uid=5, owner="joe")), True, (
        "right to write", FAILED, "/srv/data belongs to joe, and we are postgres there.",
        "On that host: chown postgres /srv/data")),
    (destination(place(writable=False)), True, (
        "right to write", FAILED, "postgres may not write to /srv/data.", "Make it writable, or choose another.")),
    (destination(place(contents=MISSING, writable=False, nearest="/srv")), True, (
        "right to write", FAILED, "postgres may not write to /srv.", "Make it writable, or choose another.")),
    (destination(uid=0, user="root"), True, (
        "user root", FAILED, "PostgreSQL does not run as root.",
        'Log in as the user that runs the server: ssh = "postgres@..."; or add --no-start.')),
    (destination(uid=0, user="root"), False, (
        "right to write", FAILED, "/srv/data belongs to postgres, and we are root there.",
        "Log in as postgres, or choose a directory that is not there yet.")),
    (destination(place(contents=MISSING, real_path="/mnt/a b"), place("/srv/fast", real_path="/mnt/fast"), uid=0,
                 user="root"), False, (
        "right to write", WARNING, "root will own the files, and PostgreSQL does not run as root.",
        "Give them to the user that runs the server before you start it, on that host: "
        "chown -R postgres: '/mnt/a b' /mnt/fast")),
])  # fmt: skip
def test_who_may_write_there(there: Destination, start: bool, expected: tuple[str, Outcome, str, str]) -> None:
    spaces = (SPACE,) * len(there.tablespaces)
    assert one(expected[0], there, plan(start=start, tablespaces=spaces)) == Precondition(*expected)


# Room


@given(sizes=st.lists(st.tuples(st.integers(0, 1 << 40), st.sampled_from(["a", "b"])), max_size=4),
       data=st.sampled_from(["a", "b"]), free=st.none() | st.integers(0, 1 << 41), left=st.integers(0, 1 << 30))
def test_needs_on_one_file_system_add_up(sizes: list[tuple[int, str]], data: str, free: int | None, left: int) -> None:
    """With three segments for recovery on that of the data directory; what an incomplete restore left comes free."""
    spaces = tuple(replace(SPACE, location=f"/srv/{at}", size_bytes=each) for at, (each, _) in enumerate(sizes))
    places = [place(f"/srv/{at}", file_system=system, mounted_on=system, free_bytes=free, left_bytes=left)
              for at, (_, system) in enumerate(sizes)]
    there = destination(place(file_system=data, mounted_on=data, free_bytes=free, left_bytes=left), *places)
    total = sum(each for each, _ in sizes) + 100 * MIB
    found = room(there, plan(tablespaces=spaces).destination, total, SEGMENT)
    assert sum(each.needed for each in found) == total + 3 * SEGMENT
    assert found[0].path == "/srv/data"
    on = {each.mounted_on: each for each in found}
    for system in {data, *(system for _, system in sizes)}:
        in_spaces = [each for each, where in sizes if where == system]
        assert on[system].needed == sum(in_spaces) + (100 * MIB + 3 * SEGMENT if system == data else 0)
        count = len(in_spaces) + (system == data)
        assert on[system].free == (None if free is None else free + count * left)


def test_too_little_room_names_the_file_system_and_how_much_is_lacking() -> None:
    spaces = (replace(SPACE, size_bytes=300 * MIB),)
    there = destination(place(free_bytes=748 * MIB), place("/srv/fast", file_system="8:2", mounted_on="/fast",
                                                           free_bytes=200 * MIB))
    wanted = plan(bytes_to_write=1000 * MIB, tablespaces=spaces)
    assert room(there, wanted.destination, 1000 * MIB, SEGMENT) == (Room("/srv/data", "/srv", 748 * MIB, 748 * MIB),
                                            Room("/srv/fast", "/fast", 300 * MIB, 200 * MIB))
    assert one("space", there, wanted) == Precondition(
        "space", FAILED, "/srv/fast needs 300.0 MiB and /fast has 200.0 MiB free (100.0 MiB too few).",
        "Free space there, or choose another directory.")
    enough = replace(there, tablespaces=(replace(there.tablespaces[0], free_bytes=None),))
    assert one("space", enough, wanted) == Precondition(
        "space", OK, "748.0 MiB free for 748.0 MiB, an unknown amount free for 300.0 MiB")


# Programs


FIX = "Install PostgreSQL 17 there, or set bin_directory for the host."


@pytest.mark.parametrize(("installations", "start", "expected"), [
    ((Installation("/a", "16.1", True), Installation("/b", "17.2", True), Installation("/c", "17.3", True)), True,
     (OK, "17.2 in /b", "")),
    ((Installation("/a", "16.1", True), Installation("/b", "15.9", True)), False,
     (FAILED, "Found: 16.1 in /a, 15.9 in /b.", FIX)),
    ((), True, (FAILED, "Found: none.", FIX)),
    ((), False, (WARNING, "Found: none.", FIX)),
])  # fmt: skip
def test_the_programs_have_to_be_of_the_backups_major(installations: tuple[Installation, ...], start: bool,
                                                      expected: tuple[Outcome, str, str]) -> None:
    """Files alone can be restored to a host that has no PostgreSQL, but not beside another one unawares."""
    there = destination(installations=installations)
    name = "programs of PostgreSQL 17"
    assert one(name, there, plan(start=start)) == Precondition(name, *expected)


@pytest.mark.parametrize(("tar", "zstd", "expected"), [
    (None, "1.5", (FAILED, "The host has no tar.", "Install tar there.")),
    ("tar", None, (OK, "no zstd: data is unpacked here and goes over plain", "")),
    ("tar", "1.5", (OK, "zstd too: stored data goes over as it is", "")),
])  # fmt: skip
def test_the_programs_that_unpack(tar: str | None, zstd: str | None, expected: tuple[Outcome, str, str]) -> None:
    assert one("tar", destination(tar=tar, zstd=zstd)) == Precondition("tar", *expected)


# Where it will listen


TAKEN = destination(sockets=(SocketPlace("/run/pg", True, "process 9 (postgres) of /x"),))


@pytest.mark.parametrize(("host", "outcome"), [
    (None, FAILED), (box(), FAILED), (box(start_command="systemctl start pg"), WARNING)])
def test_a_port_that_is_taken_stops_what_pgvault_starts_itself(host: HostConfig | None, outcome: Outcome) -> None:
    """A command of the host's own may make it listen elsewhere."""
    listens = Listening(5432, ("localhost",), None)
    assert one("port 5432", TAKEN, plan(listens=listens), host).outcome is outcome
    for wanted in (plan(listens=listens, start=False), plan(listens=None)):
        assert "port 5432" not in conditions(TAKEN, wanted, host)
