"""What is learnt on whether a server can listen on a host: the port, the sockets, and who has them."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from reaching import Reach, reach_local
from support.account import account
from support.postgres import Server, free_port

from pgvault.io.probe import Destination, probe_destination

pytestmark = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="this system has no /proc/net/tcp")


def probe(reach: Reach, port: int, *sockets: Path | str, built_in: bool = False, programs: Path | str = "/none",
          directory: Path | str = "/nowhere") -> Destination:
    async def act() -> Destination:
        async with await reach() as host:
            return await probe_destination(host, str(directory), (), str(programs), port=port,
                                           sockets=None if built_in else list(map(str, sockets)))

    return asyncio.run(act())


@contextmanager
def listening(family: socket.AddressFamily, address: str) -> Iterator[int]:
    port = free_port()
    with socket.socket(family) as held:
        if family is socket.AF_INET6:
            held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        held.bind((address, port))
        held.listen()
        yield port


def test_a_running_server_is_found_by_its_lock_and_by_its_port(reach: Reach, pg: Server, open_tmp: Path) -> None:
    seen = probe(reach, pg.port, pg.sockets, open_tmp, open_tmp / "missing")
    assert [(place.writable, place.taken_by) for place in seen.sockets] == [
        (True, f"{pg.process} of {pg.data}"), (True, ""), (False, "")]  # fmt: skip
    [found] = seen.listeners or ()
    assert (found.address, found.process) == ("0100007F", pg.process)


def test_nothing_is_found_where_nothing_listens(reach: Reach, open_tmp: Path) -> None:
    seen = probe(reach, free_port(), open_tmp)
    assert seen.listeners == ()
    assert seen.sockets[0].taken_by == ""


@pytest.mark.parametrize(("family", "address", "told"), [
    (socket.AF_INET, "0.0.0.0", "00000000"), (socket.AF_INET6, "::", "0" * 32),
    (socket.AF_INET6, "::1", f"{'0' * 24}01000000")])  # fmt: skip
def test_addresses_as_the_kernel_tells_them(family: socket.AddressFamily, address: str, told: str) -> None:
    with listening(family, address) as port:
        found = probe(reach_local, port).listeners or ()
    # Another test's server may have the same port of the other family.
    assert [each.address for each in found if each.process.startswith(f"process {os.getpid()} (")] == [told]


def test_a_port_of_another_user_is_told_with_the_user(reach_far: Reach) -> None:
    if account().is_me:
        pytest.skip("needs a login that is not the user of the tests")
    with listening(socket.AF_INET, "127.0.0.1") as port:
        [found] = probe(reach_far, port).listeners or ()
    assert found.process == "a process of user root"


def lock(directory: Path, port: int, text: str) -> Path:
    path = directory / f".s.PGSQL.{port}.lock"
    path.write_text(text)
    return path


def test_what_a_dead_server_left_is_no_obstacle(reach: Reach, open_tmp: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    lock(open_tmp, 5432, f"{gone.pid}\n/data\n")
    assert probe(reach, 5432, open_tmp).sockets[0].taken_by == ""


@pytest.mark.parametrize("text", ["", "\n", "x; touch oops\n"])
def test_a_lock_that_postgresql_does_not_understand_stops_it(open_tmp: Path, text: str) -> None:
    lock(open_tmp, 5432, text)
    assert probe(reach_local, 5432, open_tmp).sockets[0].taken_by == "a damaged lock file"


def test_a_lock_that_cannot_be_read_stops_postgresql(reach_far: Reach, open_tmp: Path) -> None:
    if account().is_me:
        pytest.skip("needs a login that is not the user of the tests")
    lock(open_tmp, 5432, f"{os.getpid()}\n/data\n").chmod(0o600)
    assert probe(reach_far, 5432, open_tmp).sockets[0].taken_by == "a server of another user"


def test_a_process_of_another_user_with_the_number_of_a_dead_server_is_no_obstacle(
    reach_far: Reach, open_tmp: Path
) -> None:
    """PostgreSQL itself takes it so: the file would not be ours to read, were its process another user's."""
    if account().is_me:
        pytest.skip("needs a login that is not the user of the tests")
    lock(open_tmp, 5432, f"{os.getpid()}\n/data\n").chmod(0o644)
    assert probe(reach_far, 5432, open_tmp).sockets[0].taken_by == ""


def test_where_the_configuration_names_no_directory_it_is_the_one_of_the_programs(pg: Server) -> None:
    seen = probe(reach_local, pg.port, built_in=True, programs=pg.installation.bin)
    table = subprocess.run([pg.installation.program("postgres"), "--describe-config"], capture_output=True, text=True)
    [line] = [each for each in table.stdout.splitlines() if each.startswith("unix_socket_directories\t")]
    assert seen.installations[0].socket_directories == (line.split("\t")[4],)
    assert [place.directory for place in seen.sockets] == [line.split("\t")[4]]
    assert probe(reach_local, pg.port, "/tmp", programs=pg.installation.bin).installations[0].socket_directories == ()


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox"])
def test_any_sh_gives_the_same_answers(shell: str, pg: Server, open_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    tools = open_tmp / "tools"
    tools.mkdir()
    for name in ("sh", "head", "ls", "cat", "df", "id", "uname", "ps", "stat", "nproc", "tar", "od", "grep"):
        (tools / name).symlink_to(program if shell == "busybox" or name == "sh" else str(shutil.which(name)))
    odd = open_tmp / "it's\na place"
    odd.mkdir()
    expected = probe(reach_local, pg.port, pg.sockets, odd)
    monkeypatch.setenv("PATH", str(tools))
    seen = probe(reach_local, pg.port, pg.sockets, odd)
    assert (seen.sockets, seen.listeners) == (expected.sockets, expected.listeners)
    assert seen.sockets[0].taken_by
    assert seen.sockets[1].directory == str(odd)


def test_without_a_port_nobody_looks(open_tmp: Path) -> None:
    async def act() -> Destination:
        async with await reach_local() as host:
            return await probe_destination(host, str(open_tmp))

    seen = asyncio.run(act())
    assert (seen.sockets, seen.listeners, seen.held_bytes) == ((), None, None)


def test_what_a_directory_holds_is_measured_when_asked(reach: Reach, open_tmp: Path) -> None:
    data = open_tmp / "it's data"
    data.mkdir()
    (data / "large").write_bytes(os.urandom(3 << 20))

    async def act() -> Destination:
        async with await reach() as host:
            return await probe_destination(host, str(data), measure=True)

    assert 3 << 20 <= (asyncio.run(act()).held_bytes or 0) < 4 << 20


def test_the_last_checkpoint_of_a_cluster_is_learnt(reach_far: Reach, own_server: Callable[..., Server],
                                                    major: int) -> None:
    server = own_server(major)
    server.sql("checkpoint")
    server.stop()
    seen = probe(reach_far, server.port, directory=server.data)
    assert seen.checkpoint_at is not None
    told = server.controldata()["Time of latest checkpoint"]
    assert seen.checkpoint_at.timestamp() == time.mktime(time.strptime(told, "%a %b %d %H:%M:%S %Y"))
