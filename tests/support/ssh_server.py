"""An SSH host made of asyncssh: a program for machines without OpenSSH's server, and a second opinion beside it.

    python ssh_server.py --host-key FILE --authorized-keys FILE --user NAME [--port N]

It listens on 127.0.0.1, prints `listening PORT` and serves until it is told to end (SIGTERM). Commands run
under /bin/sh as the user that started it; SFTP and forwarding are served too, as OpenSSH does unless told otherwise.
One difference is meant: a command whose client is gone is killed, where OpenSSH leaves it to notice.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import pwd
import signal
from asyncio.subprocess import PIPE

import asyncssh

CHUNK = 256 * 1024


class Gate(asyncssh.SSHServer):
    """Lets in the one user, with a key that is on the list."""

    def __init__(self, user: str, keys: asyncssh.SSHAuthorizedKeys) -> None:
        self._user = user
        self._keys = keys

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn

    def begin_auth(self, username: str) -> bool:
        if username == self._user:
            self._connection.set_authorized_keys(self._keys)
        return True

    def connection_requested(self, *_: object) -> bool:
        return True

    def unix_connection_requested(self, *_: object) -> bool:
        return True


async def pump_in(process: asyncssh.SSHServerProcess[bytes], child: asyncio.subprocess.Process) -> None:
    """The client's bytes to the command, and its signals to the command's process group."""
    assert child.stdin is not None
    with contextlib.suppress(OSError, asyncssh.Error):  # the command reads no more, or the client is gone
        while not process.stdin.at_eof():
            try:
                child.stdin.write(await process.stdin.read(CHUNK))
                await child.stdin.drain()
            except asyncssh.SignalReceived as received:
                os.killpg(child.pid, signal.Signals[f"SIG{received.signal}"])
            except (asyncssh.BreakReceived, asyncssh.TerminalSizeChanged):
                continue
    child.stdin.close()


async def pump_out(source: asyncio.StreamReader | None, sink: asyncssh.SSHWriter[bytes]) -> None:
    assert source is not None
    while data := await source.read(CHUNK):
        sink.write(data)
        await sink.drain()


async def converse(process: asyncssh.SSHServerProcess[bytes], child: asyncio.subprocess.Process) -> int:
    """Join the streams until the command has closed its own; returns its status, negative for a signal."""
    feeding = asyncio.create_task(pump_in(process, child))
    try:
        await asyncio.gather(pump_out(child.stdout, process.stdout), pump_out(child.stderr, process.stderr))
        return await child.wait()
    finally:
        feeding.cancel()


async def serve_command(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Run what the client asked for and pass on how it ended."""
    me = pwd.getpwuid(os.getuid())
    home = me.pw_dir if os.path.isdir(me.pw_dir) else "/"
    environment = {"HOME": home, "USER": me.pw_name, "LOGNAME": me.pw_name, "SHELL": "/bin/sh"}
    child = await asyncio.create_subprocess_exec(
        "/bin/sh", *(["-c", process.command] if process.command else []), stdin=PIPE, stdout=PIPE, stderr=PIPE,
        cwd=home, env={**environment, "PATH": os.environ.get("PATH", os.defpath)}, start_new_session=True,
    )  # fmt: skip
    work = asyncio.create_task(converse(process, child))
    gone = asyncio.create_task(process.wait_closed())
    try:
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            status = work.result()
            if status >= 0:
                process.exit(status)
            else:
                process.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))
    except (asyncssh.Error, OSError):
        pass  # the client went away in the middle of its output
    finally:
        work.cancel()
        gone.cancel()
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            await child.wait()


async def serve(options: argparse.Namespace) -> None:
    host_key = asyncssh.read_private_key(options.host_key)
    keys = asyncssh.read_authorized_keys(options.authorized_keys)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    listener = await asyncssh.listen(
        "127.0.0.1", options.port, server_factory=lambda: Gate(options.user, keys), server_host_keys=[host_key],
        process_factory=serve_command, sftp_factory=True, encoding=None,
    )  # fmt: skip
    async with listener:
        print(f"listening {listener.get_port()}", flush=True)
        await ended.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="An SSH host on loopback, for tests.")
    parser.add_argument("--host-key", required=True)
    parser.add_argument("--authorized-keys", required=True)
    parser.add_argument("--user", required=True, help="the only user name that is let in")
    parser.add_argument("--port", type=int, default=0)
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
