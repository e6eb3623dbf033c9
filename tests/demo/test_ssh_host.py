"""The sandbox's SSH host carries bytes whole, whatever the pace of the two ends."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from support.postgres import Server

from pgvault.config.address import SshAddress
from pgvault.demo.account import server_account
from pgvault.demo.standby import StandbyHost
from pgvault.io.host import Host
from pgvault.io.hosts import open_host
from pgvault.model.errors import Unreachable


@pytest.fixture
def standby(open_tmp: Path) -> Iterator[tuple[StandbyHost, SshAddress]]:
    home = server_account().own(_directory(open_tmp / "home"))
    host = StandbyHost(open_tmp / "ssh", home, _directory(open_tmp / "sockets"), server_account())
    port = host.start()
    yield host, SshAddress("127.0.0.1", "postgres", port)
    host.stop()


def _directory(path: Path) -> Path:
    path.mkdir()
    return path


async def _login(host: StandbyHost, address: SshAddress) -> Host:
    return await open_host("standby", address, identity_file=host.identity_file, known_hosts=host.known_hosts)


def test_streams_arrive_whole_at_a_reader_that_is_slow(standby: tuple[StandbyHost, SshAddress]) -> None:
    async def send(host: Host, number: int, home: Path) -> None:
        digest, chance = hashlib.sha256(), random.Random(number)
        script = f"sleep 0.1; cat | {{ sleep 0.0{number}; sha256sum; }} > {home}/sum{number}"
        async with await host.open_sink(["sh", "-c", script], into="nowhere") as sink:
            for _ in range(80):
                block = chance.randbytes(chance.choice((100, 4096, 70_000, 256 << 10, 1 << 20)))
                digest.update(block)
                await sink.write(block)
                await asyncio.sleep(chance.random() * 0.005)
            await sink.finish()
        assert (home / f"sum{number}").read_text().split()[0] == digest.hexdigest()

    async def story() -> None:
        async with await _login(*standby) as host, asyncio.TaskGroup() as group:
            for number in range(1, 9):
                group.create_task(send(host, number, standby[0].home))

    asyncio.run(story())


def test_output_comes_whole_before_the_end(standby: tuple[StandbyHost, SshAddress]) -> None:
    """Status, signal and both outputs, also of what is larger than any buffer."""
    async def story() -> None:
        async with await _login(*standby) as host:
            done = await host.run(["sh", "-c", "head -c 20000000 /dev/zero; echo end >&2; exit 3"])
            assert (done.status, len(done.stdout), done.stderr) == (3, 20_000_000, "end")
            assert (await host.run(["sh", "-c", "kill -9 $$"])).status == 137
            assert (await host.run(["id", "-u"])).stdout.strip() == str(server_account().uid).encode()

    asyncio.run(story())


def test_it_lets_in_no_other_key_and_leads_nowhere_else(
        standby: tuple[StandbyHost, SshAddress], open_tmp: Path, pg: Server) -> None:
    """A login with another name fails; a server outside of the sandbox is not reached through it."""
    host, address = standby

    async def story() -> None:
        with pytest.raises(Unreachable):
            await _login(host, SshAddress(address.host, "root", address.port))
        async with await _login(host, address) as reached, \
                reached.forward_socket(str(pg.sockets), pg.port) as there:
            with pytest.raises(psycopg.OperationalError):
                await psycopg.AsyncConnection.connect(host=there.host, port=there.port, user="postgres")

    asyncio.run(story())
