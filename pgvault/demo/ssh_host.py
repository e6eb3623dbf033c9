"""The sandbox's SSH host: a program that listens on loopback and admits clients with the sandbox's key.

    python -m pgvault.demo.ssh_host --keys DIR --home DIR --sockets DIR --user NAME --uid N --gid N

Commands run under /bin/sh as the given user, who may differ from the one that runs this. Forwarding leads to this
machine's loopback and to Unix sockets in `--sockets`, nowhere else. The program writes its port and process id to
`listening` beside its keys, and holds a lock on that file while it lives. It ends at SIGTERM, with all commands, or
when that file is gone.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import os
import signal
from asyncio import SubprocessTransport
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, cast

import asyncssh

from pgvault.demo.account import Account
from pgvault.demo.ssh_terminal import AtTerminal

LOGIN: Final = "postgres"
"""The only accepted user name."""
LISTENING: Final = "listening"
_WINDOW: Final = 8 << 20
_LINGER: Final = 1.0
"""Seconds to wait for the output of a command that has ended; a server that it started may hold the pipe open."""
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


class Command(asyncio.SubprocessProtocol):
    """A running command, connected to the channel that requested it."""

    _transport: SubprocessTransport

    def __init__(self, channel: asyncssh.SSHServerChannel[bytes], running: set[Command | AtTerminal]) -> None:
        self._channel, self._running = channel, running
        self._over = self._paused = self._quiet = self._full = False
        running.add(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self._quiet = False
        if not self._over:
            self._channel.write(data, asyncssh.EXTENDED_DATA_STDERR if fd == 2 else None)

    def pause_writing(self) -> None:
        self._full = True
        self._channel.pause_reading()

    def resume_writing(self) -> None:
        """Resume later: asyncio's pipe, which calls this, loses what is written and closed before it returns."""
        self._full = False
        asyncio.get_running_loop().call_soon(self._resume_reading)

    def _resume_reading(self) -> None:
        if not self._full:
            self._channel.resume_reading()

    def process_exited(self) -> None:
        if self._quiet and not self._paused:
            self._finish()
        elif not self._over:
            self._quiet = True
            asyncio.get_running_loop().call_later(_LINGER, self.process_exited)

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish()

    def _finish(self) -> None:
        if not self._over:
            self._over = True
            self._running.discard(self)
            status = self._transport.get_returncode() or 0
            with suppress(OSError, asyncssh.Error):  # the client is gone
                if status >= 0:
                    self._channel.exit(status)
                else:
                    self._channel.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))
            self._transport.close()

    def feed(self, data: bytes) -> None:
        self._stdin.write(data)

    def feed_eof(self) -> None:
        self._stdin.close()

    @property
    def _stdin(self) -> asyncio.WriteTransport:
        return cast("asyncio.WriteTransport", self._transport.get_pipe_transport(0))

    def pause_output(self, pause: bool) -> None:
        self._paused = pause
        for fd in (1, 2):
            pipe = cast("asyncio.ReadTransport | None", self._transport.get_pipe_transport(fd))
            if pipe and not pipe.is_closing():
                (pipe.pause_reading if pause else pipe.resume_reading)()

    def signal(self, number: int) -> None:
        """Signal the command and all its children, except a server in a session of its own."""
        if self._transport.get_returncode() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._transport.get_pid(), number)


class Session(asyncssh.SSHServerSession[bytes]):
    """One channel: starts what the client requests, and ends it when the client is gone."""

    def __init__(self, host: SshHost) -> None:
        self._host = host
        self._argv = ["/bin/sh"]
        self._command: Command | AtTerminal | None = None
        self._early: list[bytes | None] = []
        """Input that came before the command ran; None is the end of the input."""

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        self._channel = chan

    def pty_requested(self, term_type: str, term_size: object, term_modes: object) -> bool:
        return True

    def terminal_size_changed(self, width: int, height: int, pixwidth: int, pixheight: int) -> None:
        if isinstance(self._command, AtTerminal):
            self._command.resize(width, height)

    def shell_requested(self) -> bool:
        return True

    def exec_requested(self, command: str) -> bool:
        self._argv += ["-c", command]
        return True

    def session_started(self) -> None:
        self._starting = asyncio.create_task(self._start())

    async def _start(self) -> None:
        try:
            command = await self._host.start(self._argv, self._channel)
        except OSError as error:
            self._channel.write_stderr(f"{error}\n".encode())
            self._channel.exit(127)
            return
        self._command = command
        for data in self._early:
            self._feed(command, data)
        if self._channel.is_closing():
            command.signal(signal.SIGKILL)

    def data_received(self, data: bytes, datatype: int | None) -> None:
        self._take(data)

    def eof_received(self) -> bool:
        self._take(None)
        return True  # the output is still to come

    def _take(self, data: bytes | None) -> None:
        if self._command:
            self._feed(self._command, data)
        else:
            self._early.append(data)

    @staticmethod
    def _feed(command: Command | AtTerminal, data: bytes | None) -> None:
        if data is None:
            command.feed_eof()
        else:
            command.feed(data)

    def signal_received(self, signal_name: str) -> None:
        if self._command and (number := getattr(signal, f"SIG{signal_name}", None)):
            self._command.signal(number)

    def pause_writing(self) -> None:
        if self._command:
            self._command.pause_output(True)

    def resume_writing(self) -> None:
        if self._command:
            self._command.pause_output(False)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._command:
            self._command.signal(signal.SIGKILL)


class Gate(asyncssh.SSHServer):
    """Admits the one user with a listed key. asyncssh offers only keys if nothing else is defined here."""

    def __init__(self, host: SshHost) -> None:
        self._host = host

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn

    def begin_auth(self, username: str) -> bool:
        if username == LOGIN:
            self._connection.set_authorized_keys(self._host.authorized_keys)
        return True

    def session_requested(self) -> Any:
        channel = self._connection.create_server_channel(encoding=None, window=_WINDOW)
        return channel, Session(self._host)

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
        return dest_host in _LOOPBACK

    def unix_connection_requested(self, dest_path: str) -> bool:
        return Path(os.path.realpath(dest_path)).is_relative_to(self._host.sockets)


class SshHost:
    """What all connections share: the keys, the account and home of commands, and the running commands."""

    def __init__(self, keys: Path, home: Path, sockets: Path, account: Account) -> None:
        self.sockets = Path(os.path.realpath(sockets))
        self.authorized_keys = asyncssh.read_authorized_keys(str(keys / "authorized_keys"))
        self._keys, self._home, self._account = keys, home, account
        self._running: set[Command | AtTerminal] = set()

    async def start(self, argv: list[str], channel: asyncssh.SSHServerChannel[bytes]) -> Command | AtTerminal:
        if channel.get_terminal_type() is not None:
            at = await AtTerminal.start(argv, channel, self._account, str(self._home),
                                        self._account.environment(self._home))
            self._running.add(at)
            at.ended.add_done_callback(lambda _: self._running.discard(at))
            return at
        _, command = await asyncio.get_running_loop().subprocess_exec(
            lambda: Command(channel, self._running), *argv, cwd=self._home,
            env=self._account.environment(self._home), start_new_session=True, **self._account.popen_options())
        return command

    async def serve(self) -> None:
        ended = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
        listener = await asyncssh.listen(
            "127.0.0.1", 0, server_factory=lambda: Gate(self), server_host_keys=[str(self._keys / "host_key")],
            compression_algs=None, line_editor=False)
        listening = self._announce(listener.get_port())
        while listening.exists() and not ended.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), 2)
        listener.close()
        for command in self._running:
            command.signal(signal.SIGKILL)

    def _announce(self, port: int) -> Path:
        """Write the port to a file, which is locked before it gets its name and until this process ends."""
        final, temporary = self._keys / LISTENING, self._keys / f".{LISTENING}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.write(descriptor, f"{port} {os.getpid()}\n".encode())
        temporary.rename(final)
        return final


def main() -> None:
    parser = argparse.ArgumentParser(description="The SSH host of the demonstration's sandbox.")
    for name in ("--keys", "--home", "--sockets"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--user", required=True)
    parser.add_argument("--uid", type=int, required=True)
    parser.add_argument("--gid", type=int, required=True)
    options = parser.parse_args()
    account = Account(options.user, options.uid, options.gid)
    asyncssh.set_log_level("ERROR")
    asyncio.run(SshHost(options.keys, options.home, options.sockets, account).serve())


if __name__ == "__main__":
    main()
