"""Feeding a command on a host: backpressure, its early end, a full disk, a lost connection."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import os
import signal
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from reaching import Reach, reach_ssh
from support.ssh import SshHost, start_ssh_host

import pgvault.io.host
from pgvault.io.host import Sink
from pgvault.model.errors import NoSpace, PgvaultError, Refused, Unreachable

BLOCK = os.urandom(1 << 20)
PROMPTLY = 15.0


def tar_of(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


async def feed(sink: Sink, *blocks: bytes) -> None:
    for block in blocks:
        await sink.write(block)
    await sink.finish()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PROMPTLY
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_is_written_arrives_in_order_whatever_the_sizes(reach: Reach, open_tmp: Path):
    pieces = [BLOCK[:size] for size in (1, 65535, 65536, 65537, 1 << 20, 0, 3)]
    target = open_tmp / "it's here"

    async def act() -> None:
        async with await reach() as host, await host.open_sink(["dd", f"of={target}", "bs=65536"], into="x") as sink:
            for piece in pieces:
                buffer = bytearray(piece)
                await sink.write(memoryview(buffer))
                buffer[:] = bytes(len(buffer))  # the caller may reuse its buffer at once
            await sink.finish()

    asyncio.run(act())
    assert hashlib.sha256(target.read_bytes()).digest() == hashlib.sha256(b"".join(pieces)).digest()


@pytest.mark.parametrize("size", [0, 4 << 20])
def test_a_command_that_takes_nothing_any_more_is_given_up(reach: Reach, monkeypatch: pytest.MonkeyPatch, size: int):
    """As tar does on storage that hangs: be it while it is fed, or when all was sent."""
    async def act() -> None:
        async with await reach() as host, await host.open_sink(["sleep", "600"], into="/srv/data") as sink:
            monkeypatch.setattr(pgvault.io.host, "SILENT_SECONDS", 0.3)
            await feed(sink, bytes(size))

    with pytest.raises(PgvaultError, match="accepted no data for /srv/data"):
        asyncio.run(asyncio.wait_for(act(), PROMPTLY))


def test_a_slow_command_holds_the_writer_back(reach: Reach, open_tmp: Path):
    """Memory stays bounded: a command that does not read stops the writer after what pipes and windows hold."""
    sent = 0

    async def act() -> None:
        nonlocal sent
        async with await reach() as host:
            fifo = str(open_tmp / "go")
            await host.must_run(["mkfifo", fifo], doing="make a fifo")
            script = 'read go < "$1"; exec wc -c > "$2"'
            async with await host.open_sink(
                    ["sh", "-c", script, "slow", fifo, str(open_tmp / "count")], into="x") as sink:

                async def send() -> None:
                    nonlocal sent
                    for _ in range(64):
                        await sink.write(BLOCK)
                        sent += len(BLOCK)

                sending = asyncio.create_task(send())
                before = -1
                while before != sent:  # until the writer stands still
                    before = sent
                    await asyncio.sleep(0.3)
                assert not sending.done()
                await host.must_run(["sh", "-c", 'echo go > "$1"', "go", fifo], doing="let it go")
                await sending
                await sink.finish()

    asyncio.run(act())
    assert int((open_tmp / "count").read_text()) == sent == 64 << 20


def test_a_command_that_ends_early_stops_the_writer_with_its_own_words(reach: Reach):
    async def act() -> None:
        async with await reach() as host:
            script = "head -c 100000 >/dev/null; echo 'the shelf broke' >&2; exit 9"
            async with await host.open_sink(["sh", "-c", script], into="/srv/x") as sink:
                with pytest.raises(PgvaultError, match="could not write to /srv/x") as failure:
                    await feed(sink, *[BLOCK] * 1000)
            assert "exit status 9" in failure.value.message
            assert "the shelf broke" in failure.value.detail

    asyncio.run(asyncio.wait_for(act(), PROMPTLY))


def test_a_command_that_ends_well_before_the_end_is_no_success(reach: Reach):
    async def act() -> None:
        async with await reach() as host, await host.open_sink(["true"], into="x") as sink:
            with pytest.raises(PgvaultError, match="ended before everything was sent"):
                await feed(sink, *[BLOCK] * 1000)

    asyncio.run(asyncio.wait_for(act(), PROMPTLY))


def test_a_command_that_fails_at_the_end_fails_finish(reach: Reach):
    async def act() -> None:
        async with await reach() as host:
            async with await host.open_sink(["sh", "-c", "cat >/dev/null; exit 5"], into="x") as sink:
                await sink.write(b"data")
                with pytest.raises(PgvaultError, match="exit status 5"):
                    await sink.finish()
            async with await host.open_sink(["no-such-program"], into="x") as sink:
                with pytest.raises(Refused, match="a program is missing"):
                    await sink.finish()

    asyncio.run(act())


def test_a_failure_in_the_middle_of_a_pipeline_is_not_hidden(reach: Reach, open_tmp: Path):
    async def act() -> None:
        async with await reach() as host:
            stages = ["zstd", "-dcq"], ["tar", "-xf", "-", "-C", str(open_tmp)]
            async with await host.open_sink(*stages, into=str(open_tmp)) as sink:
                with pytest.raises(PgvaultError, match="could not write to"):
                    await feed(sink, b"this is no frame of zstd")

    asyncio.run(act())


def test_a_full_disk_is_told_with_path_and_free_space(reach: Reach, small_disk: Path):
    """Rule 32."""
    archive = tar_of(**{"base/1": BLOCK, "base/2": BLOCK * 8})

    async def act() -> None:
        async with await reach() as host:
            async with await host.open_sink(["tar", "-xf", "-", "-C", str(small_disk)], into=str(small_disk)) as sink:
                with pytest.raises(NoSpace) as failure:
                    await feed(sink, archive)
            assert str(small_disk) in failure.value.message
            assert "bytes are free" in failure.value.detail
            assert "base/2" in failure.value.detail

    asyncio.run(act())


def test_abort_kills_the_command_before_it_takes_the_part_for_the_whole(reach: Reach, open_tmp: Path):
    script = 'echo $$ > "$1.pid"; cat > "$1.part" && mv "$1.part" "$1"'
    started = open_tmp / "whole.pid"

    async def act() -> None:
        async with await reach() as host:
            async with await host.open_sink(["sh", "-c", script, "take", str(open_tmp / "whole")], into="x") as sink:
                await sink.write(BLOCK)
                await asyncio.to_thread(wait_until, lambda: started.exists() and bool(started.read_text()))
            assert (await host.run(["true"])).status == 0

    asyncio.run(act())
    assert not (open_tmp / "whole").exists()
    pid = int(started.read_text())
    wait_until(lambda: not Path(f"/proc/{pid}").exists())
    assert not (open_tmp / "whole").exists()


def test_cancelling_a_writer_leaves_nothing_running(reach: Reach, open_tmp: Path):
    async def act() -> None:
        async with await reach() as host:

            async def send() -> None:
                script = 'echo $$ > "$1"; exec sleep 1000'
                async with await host.open_sink(["sh", "-c", script, "stall", str(open_tmp / "pid")], into="x") as sink:
                    while True:
                        await sink.write(BLOCK)

            with pytest.raises(TimeoutError):
                await asyncio.wait_for(send(), 1)

    asyncio.run(act())
    pid = int((open_tmp / "pid").read_text())
    wait_until(lambda: not Path(f"/proc/{pid}").exists())


def children_of(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


def cut_connections(there: SshHost) -> None:
    """What serves the logins dies at once: sshd's children, or the whole of the asyncssh server."""
    victims = children_of(there.process.pid) if there.flavour == "openssh" else [there.process.pid]
    assert victims
    for session in victims:
        for pid in [*children_of(session), session]:
            with contextlib.suppress(ProcessLookupError):  # it ended when its parent did
                os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("flavour", ["openssh", "asyncssh"])
def test_a_connection_cut_in_mid_write_is_told_promptly(flavour: str):
    there = start_ssh_host(flavour)

    async def act() -> None:
        async with await reach_ssh(there)() as host:
            async with await host.open_sink(["sh", "-c", "cat >/dev/null"], into="/dev/null") as sink:
                for _ in range(4):
                    await sink.write(BLOCK)
                cut_connections(there)
                with pytest.raises(Unreachable, match="lost the connection to far") as failure:
                    await feed(sink, *[BLOCK] * 1000)
                assert failure.value.hint
            with pytest.raises(Unreachable, match="lost the connection"):
                await host.run(["true"])

    try:
        asyncio.run(asyncio.wait_for(act(), PROMPTLY))
    finally:
        there.close()


@pytest.mark.parametrize("flavour", ["openssh", "asyncssh"])
def test_a_connection_cut_in_mid_answer_is_no_short_answer(flavour: str, open_tmp: Path):
    begun = open_tmp / "begun"
    there = start_ssh_host(flavour)

    async def act() -> None:
        async with await reach_ssh(there)() as host:
            async with asyncio.TaskGroup() as group:
                script = 'echo half; : > "$1"; while [ -e "$1" ]; do sleep 0.1; done'  # nobody is left to end it
                asking = group.create_task(ask(host.run_script(script, str(begun))))
                await asyncio.to_thread(wait_until, begun.exists)
                cut_connections(there)
            # Where the script was killed before its connection, that is what comes: no good end either.
            answer: Any = asking.result()
            assert isinstance(answer, Unreachable) or answer.status == 128 + signal.SIGKILL

    async def ask(answer: object) -> object:
        try:
            return await answer
        except Unreachable as lost:
            return lost

    try:
        asyncio.run(asyncio.wait_for(act(), PROMPTLY))
    finally:
        there.close()
