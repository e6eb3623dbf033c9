"""What is learnt about a destination before anything is written there: rules 22 and 29, case 29."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from reaching import Reach, reach_local
from support.account import account
from support.postgres import Server

from pgvault.io.host import Completed, Host
from pgvault.io.probe import Contents, Destination, probe_destination
from pgvault.io.probe_script import MARKER
from pgvault.model.errors import PgvaultError, Refused


def probe(reach: Reach, *places: Path | str, programs: Path | str = "") -> Destination:
    async def act() -> Destination:
        async with await reach() as host:
            directory, *tablespaces = map(str, places)
            return await probe_destination(host, directory, tablespaces, str(programs))

    return asyncio.run(act())


@pytest.mark.parametrize("name", ["plain", "a b", "it's \"a\"", "line\nbreak\n", "-rf *", "$(touch x)", "ü=漢", "[x]?"])
def test_a_missing_directory_is_judged_by_its_nearest_parent(reach: Reach, open_tmp: Path, name: str):
    """Rule 31: a name is only ever a name."""
    parent = open_tmp / name
    parent.mkdir(mode=0o777)
    parent.chmod(0o777)
    (open_tmp / "link").symlink_to(parent)
    wanted = open_tmp / "link" / name / "data"
    place = probe(reach, wanted).directory
    assert (place.path, place.contents, place.nearest) == (str(wanted), Contents.MISSING, str(open_tmp / "link"))
    assert place.real_path == str(parent / name / "data")
    assert place.writable
    assert sorted(os.listdir(open_tmp)) == sorted([name, "link"])


@pytest.mark.parametrize("name", ["plain", "it's\n\"a\" *", " "])
def test_contents_are_told_apart(reach: Reach, open_tmp: Path, name: str):
    empty, populated, hidden, file, dangling = (open_tmp / f"{name}{n}" for n in range(5))
    for directory in (empty, populated, hidden):
        directory.mkdir()
    for n in range(9):
        (populated / f"{name} {n}").touch()
    (hidden / "..x").touch()
    file.touch()
    dangling.symlink_to("nowhere")
    seen = probe(reach, empty, populated, hidden, file, dangling, "/")
    assert [place.contents for place in (seen.directory, *seen.tablespaces)] == [
        Contents.EMPTY, Contents.POPULATED, Contents.POPULATED, Contents.NOT_A_DIRECTORY, Contents.NOT_A_DIRECTORY,
        Contents.POPULATED]  # fmt: skip
    assert seen.tablespaces[0].entries == tuple(f"{name} {n}" for n in range(5))
    assert seen.tablespaces[1].entries == ("..x",)
    assert os.listdir(empty) == []


def test_rights_and_owners_are_those_of_the_login(reach_far: Reach, open_tmp: Path):
    if account().is_me:
        pytest.skip("needs a login that is not the user of the tests")
    ours, theirs, closed = open_tmp / "ours", open_tmp / "theirs", open_tmp / "closed"
    for directory, mode in ((ours, 0o700), (theirs, 0o755), (closed, 0o700)):
        directory.mkdir()
        directory.chmod(mode)
    account().own(ours)
    seen = probe(reach_far, ours, theirs, closed, closed / "deep" / "data")
    assert (seen.uid, seen.user) == (account().uid, account().name)
    assert (seen.directory.writable, seen.directory.owner_uid, seen.directory.owner) == (
        True, account().uid, account().name)  # fmt: skip
    in_theirs, in_closed, below_closed = seen.tablespaces
    assert (in_theirs.writable, in_theirs.owner_uid, in_theirs.contents) == (False, os.geteuid(), Contents.EMPTY)
    assert (in_closed.writable, in_closed.contents) == (False, Contents.UNREADABLE)
    assert (below_closed.writable, below_closed.nearest) == (False, str(closed))


def test_space_and_file_systems(reach: Reach, small_disk: Path, open_tmp: Path):
    seen = probe(reach, small_disk / "data", small_disk / "space", open_tmp / "elsewhere")
    on_disk, elsewhere = seen.tablespaces
    assert seen.directory.mounted_on == str(small_disk)
    assert seen.directory.free_bytes == on_disk.free_bytes == 2 << 20
    assert seen.directory.file_system == on_disk.file_system != elsewhere.file_system
    assert elsewhere.free_bytes is not None
    assert abs(elsewhere.free_bytes - shutil.disk_usage(open_tmp).free) < 1 << 30


def test_a_file_system_mounted_read_only_is_not_writable(reach: Reach, small_disk: Path):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert not probe(reach, small_disk / "data").directory.writable


def test_a_running_server_is_seen_alive_and_a_dead_one_is_not(own_server: Callable[..., Server]):
    server = own_server()
    seen = probe(reach_local, server.data)
    assert seen.pg_version == str(server.major)
    assert seen.postmaster is not None
    assert seen.postmaster.alive
    assert f"process {seen.postmaster.pid} ({seen.postmaster.program})" == server.process
    assert (seen.postmaster.port, seen.postmaster.socket_directory) == (server.port, str(server.sockets))
    first_line = (server.data / "postmaster.pid").read_text().splitlines()[0]
    assert seen.postmaster.pid == int(first_line)


def test_a_postmaster_pid_of_any_shape(reach: Reach, open_tmp: Path):
    data = open_tmp / "data"
    data.mkdir()
    gone = subprocess.Popen(["true"])
    gone.wait()
    for text, pid, alive in [
        (f"{gone.pid}\n/data\n", gone.pid, False), (f"{os.getpid()}\n", os.getpid(), True),
        (f"-{os.getpid()}\n", os.getpid(), True), ("", None, False), ("0; touch x\n", None, False),
        ("99999999999999999999\n", 99999999999999999999, False),
    ]:  # fmt: skip
        (data / "postmaster.pid").write_text(text)
        found = probe(reach, data).postmaster
        assert found is not None
        assert (found.pid, found.alive) == (pid, alive)


def test_a_process_of_another_user_counts_as_alive(reach_far: Reach, open_tmp: Path):
    if account().is_me:
        pytest.skip("needs a login that is not the user of the tests")
    sleeping = subprocess.Popen(["sleep", "1000"])
    try:
        (open_tmp / "postmaster.pid").write_text(f"{sleeping.pid}\n")
        found = probe(reach_far, open_tmp).postmaster
        assert found is not None
        assert found.alive
        assert found.program == "sleep"
    finally:
        sleeping.send_signal(signal.SIGKILL)
        sleeping.wait()


# Whose cluster it is

SYSTEM = 7_300_000_000_000_000_001
CONTROL = struct.pack("<QI", SYSTEM, 1300) + bytes(8180)
"""As global/pg_control begins: src/include/catalog/pg_control.h; the version behind the identifier is small."""


def write_control(data: Path, content: bytes) -> Path:
    path = data / "global" / "pg_control"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_real_clusters_system_identifier_is_learnt(reach_far: Reach, pg: Server, open_tmp: Path):
    seen = probe(reach_far, pg.data)
    assert (seen.has_cluster, seen.system_identifier) == (True, str(pg.system_identifier()))
    seen = probe(reach_far, open_tmp)
    assert (seen.has_cluster, seen.system_identifier) == (False, None)


@pytest.mark.parametrize(("content", "expected"), [
    (CONTROL[:12], str(SYSTEM)), (struct.pack(">QI", SYSTEM, 1700), str(SYSTEM)),
    (struct.pack("<QI", (1 << 64) - 1, 1800), str((1 << 64) - 1)), (CONTROL[:11], None), (CONTROL[:8], None),
    (b"", None), (bytes(8192), None), (b"\n" * 8192, None), (struct.pack("<QI", 0, 1300), None),
    (struct.pack("<QI", SYSTEM, 0), None),
], ids=["whole", "of the other byte order", "largest", "cut in the version", "cut behind the identifier", "empty",
        "zeros", "garbage", "no identifier", "no version"])  # fmt: skip
def test_a_damaged_pg_control_leaves_the_identifier_unknown(open_tmp: Path, content: bytes, expected: str | None):
    write_control(open_tmp, content)
    seen = probe(reach_local, open_tmp)
    assert (seen.has_cluster, seen.system_identifier) == (True, expected)


def test_a_cluster_without_its_pg_control_is_one_all_the_same(reach: Reach, open_tmp: Path):
    (open_tmp / "PG_VERSION").write_text("15\n")
    assert (probe(reach, open_tmp).has_cluster, probe(reach, open_tmp).system_identifier) == (True, None)


def test_a_pg_control_that_cannot_be_read(reach_far: Reach, open_tmp: Path):
    if account().is_me:
        pytest.skip("needs a login that is not the user of the tests")
    write_control(open_tmp, CONTROL).chmod(0)
    seen = probe(reach_far, open_tmp)
    assert (seen.has_cluster, seen.system_identifier) == (True, None)


@pytest.mark.parametrize(("od", "expected"), [
    ("cat >/dev/null; printf '           %s  \\n' '01  00  5A  AC  52  CF  4E  65  14  05  00  00' ''", str(SYSTEM)),
    ("echo 'od: unknown option -- A' >&2; exit 2", None), ("printf '0000000 053 120'", None), ("printf 'zz yy'", None),
    (None, None),
], ids=["many blanks", "without options", "octal", "nonsense", "none at all"])  # fmt: skip
def test_an_odd_od(open_tmp: Path, monkeypatch: pytest.MonkeyPatch, od: str | None, expected: str | None):
    """What a host's od cannot tell stays unknown, and the rest is learnt all the same."""
    tools = open_tmp / "tools"
    tools.mkdir()
    for name in ("sh", "head", "ls", "cat", "df", "id", "uname", "ps", "stat", "nproc", "tar"):
        (tools / name).symlink_to(str(shutil.which(name)))
    if od is not None:
        (tools / "od").write_text(f"#!/bin/sh\n{od}\n")
        (tools / "od").chmod(0o755)
    data = open_tmp / "data"
    data.mkdir()
    write_control(data, CONTROL)
    monkeypatch.setenv("PATH", str(tools))
    seen = probe(reach_local, data)
    assert (seen.has_cluster, seen.system_identifier) == (True, expected)
    assert seen.directory.contents is Contents.POPULATED
    assert seen.tar is not None


def test_an_incomplete_restore_is_found_by_its_mark(reach: Reach, open_tmp: Path):
    """Rule 24."""
    assert probe(reach, open_tmp).incomplete_restore is None
    (open_tmp / MARKER).write_text("20261123T070000Z-restore-1\n")
    assert probe(reach, open_tmp).incomplete_restore == "20261123T070000Z-restore-1"


def test_programs_are_looked_for_where_the_configuration_says(reach: Reach, pg: Server, open_tmp: Path):
    programs = pg.installation.bin
    seen = probe(reach, open_tmp, programs=programs)
    assert [found.directory for found in seen.installations] == [str(programs)]
    assert (seen.installations[0].major, seen.installations[0].has_pg_ctl) == (pg.major, True)
    assert probe(reach, open_tmp, programs=open_tmp / "none").installations == ()


def test_the_machine_is_described(reach: Reach, open_tmp: Path):
    seen = probe(reach, open_tmp)
    assert seen.system == os.uname().sysname
    assert seen.processors == os.cpu_count()
    assert seen.tar == subprocess.run(["tar", "--version"], capture_output=True, text=True).stdout.splitlines()[0]
    assert (seen.zstd is None) == (shutil.which("zstd") is None)


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox"])
def test_any_sh_with_its_own_tools_gives_the_same_answers(
        shell: str, open_tmp: Path, monkeypatch: pytest.MonkeyPatch):
    """Case 35: a destination that has only sh, without GNU's programs and without zstd."""
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    tools = open_tmp / "tools"
    tools.mkdir()
    for name in ("sh", "head", "ls", "cat", "df", "id", "uname", "ps", "stat", "nproc", "awk", "mv", "chmod", "wc",
                 "sync", "rm", "tar", "od"):  # fmt: skip
        (tools / name).symlink_to(program if shell == "busybox" or name == "sh" else str(shutil.which(name)))
    place = open_tmp / "it's\na place"
    place.mkdir()
    (place / "x y").touch()
    (place / "postmaster.pid").write_text(f"{os.getpid()}\n")
    write_control(place, CONTROL)
    expected = probe(reach_local, place, open_tmp / "missing")
    monkeypatch.setenv("PATH", str(tools))
    seen = probe(reach_local, place, open_tmp / "missing")
    assert replace(seen.directory, free_bytes=0) == replace(expected.directory, free_bytes=0)
    assert abs((seen.directory.free_bytes or 0) - (expected.directory.free_bytes or 0)) < 1 << 28
    assert seen.directory.contents is Contents.POPULATED
    assert seen.directory.entries == ("global", "postmaster.pid", "x y")
    assert seen.system_identifier == expected.system_identifier == str(SYSTEM)
    assert seen.tablespaces[0].contents is Contents.MISSING
    assert seen.tablespaces[0].real_path == str(open_tmp / "missing")
    assert seen.postmaster == expected.postmaster
    assert (seen.system, seen.processors, seen.uid, seen.user) == (
        expected.system, expected.processors, expected.uid, expected.user)  # fmt: skip
    assert seen.tar is not None
    assert seen.zstd is None

    async def act() -> None:
        async with await reach_local() as host:
            await host.write_file(str(place / "new"), b"data\n", 0o640)
            assert await host.read_file(str(place / "new")) == b"data\n"
            assert await host.free_bytes(str(open_tmp / "missing")) is not None

    asyncio.run(act())


def test_a_path_that_is_not_absolute_is_refused(reach: Reach):
    with pytest.raises(Refused, match="not an absolute path"):
        probe(reach, "data")


def test_a_host_that_cannot_answer_is_an_error_not_an_empty_answer(open_tmp: Path):
    class Broken(Host):
        """Answers with the beginning of the truth."""

        description = "broken"

        async def run_script(self, script: str, *arguments: str, **options: object) -> Completed:
            return Completed(1, b"system=Linux\0uid=0\0", "sh: out of memory")

        async def _start(self, *_: object, **__: object):
            raise NotImplementedError

        forward_socket = _start
        interact = _start
        close = _start

    with pytest.raises(PgvaultError, match="could not examine /data on broken"):
        asyncio.run(probe_destination(Broken("broken"), "/data"))


def test_the_probe_changes_nothing(reach: Reach, open_tmp: Path):
    """Rule 22: refuse before writing."""
    place = open_tmp / "data"
    place.mkdir()
    before = place.stat(), open_tmp.stat()
    probe(reach, place, open_tmp / "missing")
    after = place.stat(), open_tmp.stat()
    assert [stat.st_mtime_ns for stat in before] == [stat.st_mtime_ns for stat in after]
    assert sys.platform != "linux" or os.listdir(open_tmp) == ["data"]
