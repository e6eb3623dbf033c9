"""Commands and small files on a host: the same on this machine and behind either ssh server."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pytest
from reaching import Reach, reach_ssh
from support.account import account
from support.postgres import Server
from support.ssh import start_ssh_host

from pgvault.config.address import SshAddress
from pgvault.io.hosts import open_host
from pgvault.io.local_host import LocalHost
from pgvault.model.errors import NoSpace, NotFound, PgvaultError, Refused, Unreachable
from pgvault.model.event import CommandRan

HOSTILE = ["a b", "it's", 'say "x"', "line\nbreak", "$HOME `id` $(id)", "!back\\slash", "*", "-rf", "", "ü 漢"]


def test_arguments_input_output_and_status_pass_unchanged(reach: Reach):
    async def act() -> None:
        async with await reach() as host:
            done = await host.run(["printf", r"%s\0", *HOSTILE])
            assert done.stdout.decode().split("\0")[:-1] == HOSTILE
            data = bytes(range(256)) * 4096
            assert (await host.run(["cat"], input=data)).stdout == data
            done = await host.run_script("cat; echo \"$1\" >&2; exit 7", "it's", input=b"x\0y")
            assert (done.status, done.stdout, done.stderr) == (7, b"x\0y", "it's")
            assert (await host.run(["sh", "-c", "kill -9 $$"])).status == 137
            missing = await host.run(["no-such-program"])
            assert missing.status in (126, 127)  # 126 where the PATH has a directory that is closed to us
            assert "no-such-program" in missing.stderr

    asyncio.run(act())


def test_many_commands_share_one_login(reach_far: Reach):
    async def act() -> None:
        async with await reach_far() as host:
            done = await asyncio.gather(*(host.run(["printf", "%d", str(n)]) for n in range(9)))
            assert [each.stdout for each in done] == [b"%d" % n for n in range(9)]
            # SSH_CONNECTION names the client's port: one port, one login
            ports = {(await host.run_script('echo "$SSH_CONNECTION"')).stdout for _ in range(3)}
            assert len(ports) == 1

    asyncio.run(act())


def test_a_command_that_takes_too_long_is_killed(reach: Reach, open_tmp: Path):
    async def act() -> None:
        async with await reach() as host:
            with pytest.raises(PgvaultError, match=r"did not end within 0\.5 s"):
                await host.run_script('echo $$ > "$1"; sleep 1000', str(open_tmp / "pid"), timeout=0.5)
            assert (await host.run(["true"])).status == 0

    asyncio.run(act())
    pid = int((open_tmp / "pid").read_text())
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not Path(f"/proc/{pid}").exists()


def test_a_start_command_is_over_although_its_server_holds_the_output(reach: Reach, request: pytest.FixtureRequest):
    if "asyncssh" in request.node.name:
        pytest.skip("the tests' asyncssh server tells the status only when the output ends")

    async def act() -> None:
        async with await reach() as host:
            done = await host.run_shell("echo starting; sleep 30 & echo $!", timeout=20)
            words = done.stdout.split()
            assert (done.status, words[0]) == (0, b"starting")
            # it still runs: a server is left alone
            assert (await host.run(["kill", words[1].decode()])).status == 0

    asyncio.run(act())


def test_commands_are_reported_without_secrets(reach: Reach):
    """Rule 31: secrets never reach an event."""
    seen: list[CommandRan] = []

    async def act() -> None:
        async with await reach(on_command=seen.append) as host:
            await host.run_shell("PGPASSWORD=hunter2 true")
            await host.run(["false"])

    asyncio.run(act())
    assert [(event.command, event.status) for event in seen] == [("sh -c 'PGPASSWORD=*** true'", 0), ("false", 1)]
    assert all(event.seconds >= 0 and event.host in ("here", "far") for event in seen)


@pytest.mark.parametrize("name", ["plain", "it's a \"name\"\n$(touch x)", "-dash"])
def test_a_file_is_written_as_a_whole_and_read_back(reach: Reach, open_tmp: Path, name: str):
    path, data = open_tmp / name, bytes(range(256)) * 300

    async def act() -> None:
        async with await reach() as host:
            await host.write_file(str(path), b"first", 0o644)
            await host.write_file(str(path), data, 0o640)
            assert await host.read_file(str(path)) == data

    asyncio.run(act())
    assert path.stat().st_mode & 0o777 == 0o640
    assert os.listdir(open_tmp) == [name]


def test_a_file_that_cannot_be_read_or_written_says_why(reach: Reach, open_tmp: Path):
    (open_tmp / "directory").mkdir()

    async def act() -> None:
        async with await reach() as host:
            with pytest.raises(NotFound, match="does not exist"):
                await host.read_file(str(open_tmp / "absent"))
            with pytest.raises(Refused, match="is a directory"):
                await host.write_file(str(open_tmp / "directory"), b"x")
            with pytest.raises(PgvaultError, match="could not write"):
                await host.write_file(str(open_tmp / "absent" / "file"), b"x")

    asyncio.run(act())


def test_a_file_that_we_may_not_touch_is_refused(reach_far: Reach, open_tmp: Path):
    if account().is_me:
        pytest.skip("needs a login that is not the user of the tests")
    (open_tmp / "secret").write_text("x")
    (open_tmp / "secret").chmod(0o600)
    (open_tmp / "closed").mkdir(mode=0o700)

    async def act() -> None:
        async with await reach_far() as host:
            with pytest.raises(Refused, match="permission denied"):
                await host.read_file(str(open_tmp / "secret"))
            with pytest.raises(Refused, match="permission denied"):
                await host.write_file(str(open_tmp / "closed" / "file"), b"x")

    asyncio.run(act())


def test_a_full_disk_names_the_path_and_what_is_free_and_keeps_the_old_file(reach: Reach, small_disk: Path):
    """Rule 32."""
    path = small_disk / "postgresql.auto.conf"

    async def act() -> None:
        async with await reach() as host:
            await host.write_file(str(path), b"old")
            with pytest.raises(NoSpace) as failure:
                await host.write_file(str(path), bytes(4 << 20))
            assert str(path) in str(failure.value)
            assert "bytes are free" in failure.value.detail
            assert await host.read_file(str(path)) == b"old"

    asyncio.run(act())
    assert os.listdir(small_disk) == [path.name]


NOISE = """echo '*** welcome, root password is x ***'; printf 'no newline'; echo 'stty: not a tty' >&2; """


@pytest.mark.parametrize("profile", [NOISE, NOISE + "cd /; HOME=/nonexistent; export HOME; "])
def test_a_profile_that_prints_does_not_confuse(profile: str):
    """Case 35: banner, noisy profile, other home."""
    there = start_ssh_host("openssh")
    try:
        key = (there.directory / "id.pub").read_text()
        forced = profile.replace("\\", "\\\\").replace('"', '\\"') + 'exec sh -c \\"$SSH_ORIGINAL_COMMAND\\"'
        (there.directory / "authorized_keys").write_text(f'command="{forced}" {key}')

        async def act() -> None:
            async with await reach_ssh(there)() as host:
                done = await host.run(["sh", "-c", "cat; echo error >&2; exit 3"], input=b"data")
                assert (done.status, done.stdout, done.stderr) == (3, b"data", "error")

        asyncio.run(act())
    finally:
        there.close()


def test_a_login_without_a_shell_is_one_clear_error():
    there = start_ssh_host("openssh")
    try:
        key = (there.directory / "id.pub").read_text()
        (there.directory / "authorized_keys").write_text(f'command="echo This account is closed." {key}')

        async def act() -> None:
            async with await reach_ssh(there)() as host:
                with pytest.raises(Unreachable, match="does not run commands") as failure:
                    await host.run(["true"])
                assert "This account is closed." in failure.value.detail

        asyncio.run(act())
    finally:
        there.close()


def test_a_server_behind_the_host_is_reached_by_socket_and_by_tcp(reach: Reach, pg: Server):
    import psycopg

    def ask(host: str, port: int) -> tuple[object, ...] | None:
        with psycopg.connect(host=host, port=port, dbname="postgres", user="postgres") as connection:
            return connection.execute("SELECT pg_postmaster_start_time()").fetchone()

    async def act() -> None:
        async with await reach() as host:
            answers = set()
            for listening in (str(pg.sockets), "127.0.0.1"):
                async with host.forward_socket(listening, pg.port) as address:
                    answers.add(await asyncio.to_thread(ask, address.host, address.port))
                    ours = address.host not in (listening,)
                assert not (ours and Path(address.host).exists())
            assert len(answers) == 1

    asyncio.run(act())


@pytest.mark.parametrize(("at", "setting"), [("socket", "AllowStreamLocalForwarding"), ("tcp", "AllowTcpForwarding")])
def test_a_host_that_forwards_nothing_is_reported_with_its_setting(pg: Server, at: str, setting: str) -> None:
    import psycopg

    async def act() -> None:
        where = str(pg.sockets) if at == "socket" else "127.0.0.1"
        async with await reach_ssh(there)() as host, host.forward_socket(where, pg.port) as address:
            await psycopg.AsyncConnection.connect(host=address.host, port=address.port, user="postgres")

    there = start_ssh_host("openssh", first=("DisableForwarding yes",))
    try:
        with pytest.raises(Unreachable, match=f"DisableForwarding or {setting} no") as failed:
            asyncio.run(act())
        assert "psql" in failed.value.hint
    finally:
        there.close()


def test_asyncssh_is_loaded_only_for_a_remote_host():
    import subprocess
    import sys

    code = ("import asyncio, sys; from pgvault.io.hosts import open_host\n"
            "asyncio.run(open_host('here', None)); sys.exit('asyncssh' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_an_address_of_ssh_is_taken_as_it_is():
    async def act() -> None:
        with pytest.raises(Unreachable, match="could not log in"):
            await open_host("far", SshAddress("127.0.0.1", "nobody", 1))

    asyncio.run(act())


def test_the_time_in_which_a_command_waits_for_its_turn_is_not_its_own() -> None:
    """A server that allows few sessions has it wait as long as streams take, and those may take hours."""
    class Busy(LocalHost):
        async def _start(self, *args: Any, **options: Any) -> Any:
            await asyncio.sleep(1.1)
            return await super()._start(*args, **options)

    assert asyncio.run(Busy("here").run(["echo", "in"], timeout=1.0)).stdout == b"in\n"
