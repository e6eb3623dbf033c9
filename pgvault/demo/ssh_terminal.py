"""A command on a pseudo-terminal, for the sandbox's SSH host."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import struct
import termios
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import asyncssh

from pgvault.demo.account import Account

_BLOCK: Final = 32 << 10
# The first terminal that a session leader opens becomes its controlling terminal.
_AT: Final = ["/bin/sh", "-c", 'exec <"$0" >"$0" 2>&1; exec "$@"']


class AtTerminal:
    """Has the same interface as `Command` in ssh_host."""

    def __init__(self, channel: asyncssh.SSHServerChannel[bytes], process: asyncio.subprocess.Process, master: int,
                 slave: int) -> None:
        """Keep the slave open: before the command has opened it, and after it has ended, reads would fail."""
        self._channel, self._process, self._master, self._slave = channel, process, master, slave
        os.set_blocking(master, False)
        self.ended = asyncio.create_task(self._end())
        self.pause_output(False)

    @classmethod
    async def start(cls, argv: Sequence[str], channel: asyncssh.SSHServerChannel[bytes], account: Account, home: str,
                    environment: dict[str, str]) -> AtTerminal:
        master, slave = os.openpty()
        try:
            with suppress(PermissionError):
                os.fchown(slave, account.uid, account.gid)
            process = await asyncio.create_subprocess_exec(
                *_AT, os.ttyname(slave), *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
                cwd=home, env=environment | {"TERM": channel.get_terminal_type() or "vt100"}, start_new_session=True,
                **account.popen_options())
        except BaseException:
            os.close(master)
            os.close(slave)
            raise
        started = cls(channel, process, master, slave)
        started.resize(*channel.get_terminal_size()[:2])
        return started

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def feed(self, data: bytes) -> None:
        with suppress(OSError):
            os.write(self._master, data)

    def feed_eof(self) -> None:
        self.feed(b"\4")

    def pause_output(self, pause: bool) -> None:
        loop = asyncio.get_running_loop()
        if self._process.returncode is None:
            if pause:
                loop.remove_reader(self._master)
            else:
                loop.add_reader(self._master, self._read)

    def signal(self, number: int) -> None:
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def _read(self) -> bool:
        """Return whether there was output."""
        try:
            self._channel.write(os.read(self._master, _BLOCK))
        except BlockingIOError:
            return False
        return True

    async def _end(self) -> None:
        status = await self._process.wait()
        asyncio.get_running_loop().remove_reader(self._master)
        with suppress(OSError, asyncssh.Error):  # the client is gone
            while self._read():
                pass
            if status >= 0:
                self._channel.exit(status)
            else:
                self._channel.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))
        os.close(self._master)
        os.close(self._slave)
