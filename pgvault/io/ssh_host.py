"""A machine behind ssh as a `Host`: one login for a whole operation, one channel for each command.

This is imported only when needed: asyncssh takes a quarter of a second to load.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, cast

import asyncssh

from pgvault.config.address import SshAddress
from pgvault.io.host import Host, OnCommand, SocketAddress
from pgvault.io.quoting import for_login_shell, join
from pgvault.io.ssh_failure import cannot_connect, connection_lost, no_answer, no_channel, no_terminal, not_forwarded
from pgvault.io.ssh_forwarding import Forwarding
from pgvault.io.ssh_process import SshProcess
from pgvault.io.ssh_trust import Trust
from pgvault.io.terminal import draw, lend_terminal, terminal_size
from pgvault.model.errors import Unreachable

CONNECT_TIMEOUT: Final = 20.0
"""Seconds for name lookup, connection and login together."""

_CIPHERS: Final = "^aes128-gcm@openssh.com,aes256-gcm@openssh.com"
"""Moved to the front: three times as fast as chacha20 on processors with AES instructions."""
_BLOCK: Final = 32 << 10
_KEEPALIVE: Final[dict[str, Any]] = {"keepalive_interval": 15, "keepalive_count_max": 4}

_SESSION_SECONDS: Final = 60.0
"""Seconds in which a server must begin a command."""
_ROOM_SECONDS, _ROOM_POLL = 3.0, 0.1
"""How long a server may still count a command after its end, and how often it is asked for a free session meanwhile."""

asyncssh.set_log_level("CRITICAL")  # it would log commands with their arguments


class SshHost(Host):
    def __init__(self, name: str, where: str, connection: asyncssh.SSHClientConnection, *,
                 on_command: OnCommand | None = None) -> None:
        super().__init__(name, on_command=on_command)
        self._where, self._connection = where, connection
        self._marker = f"pgvault-{secrets.token_hex(8)}"
        self._running: set[asyncio.Task[None]] = set()
        """One task for each command whose channel is open."""
        self._opening = asyncio.Lock()
        self._last_end = -_ROOM_SECONDS

    @classmethod
    async def connect(cls, address: SshAddress, *, name: str = "", identity_file: Path | None = None,
                      known_hosts: Path | None = None, connect_timeout: float = CONNECT_TIMEOUT,
                      on_command: OnCommand | None = None) -> SshHost:
        """Log in like ssh, with the user's ~/.ssh/config, agent and keys. Unreachable says why that failed."""
        where = f"{name} ({address})" if name and name != address.host else str(address)
        if identity_file and not identity_file.is_file():
            raise Unreachable(f"could not log in to {where}: no identity file",
                              detail=f"The file {identity_file} does not exist.", hint="Correct identity_file.")
        trust = None
        try:
            settings = _settings(address, identity_file, connect_timeout)
            configured = asyncssh.SSHClientConnectionOptions(**settings)
            if configured.config.get("Ciphers") is None:
                settings["encryption_algs"] = _CIPHERS
            trust = Trust([known_hosts] if known_hosts else cast("list[str]", configured.known_hosts or []))
            connection = await asyncssh.connect(**settings, known_hosts=trust.lookup, client_factory=trust.client)
        except (OSError, ValueError, asyncssh.Error) as error:  # ValueError: a wrong name, key or file
            if trust and trust.known and isinstance(error, (asyncssh.KeyExchangeFailed, asyncssh.ConnectionLost,
                                                            ConnectionError)):
                await _see_host_key(settings, trust)
            distrusted = trust.explain(where) if trust else None
            raise distrusted or cannot_connect(error, where, _login(address, identity_file)) from error
        return cls(name or address.host, where, connection, on_command=on_command)

    @property
    def description(self) -> str:
        return self._where

    async def _start(self, argv: Sequence[str], *, plain: bool, stdout_limit: int) -> SshProcess:
        command = f"exec {join(argv)}" if plain else f"LC_ALL=C; export LC_ALL; exec {join(argv)}"
        async with self._opening:
            while True:
                process, running = SshProcess(self._where, self._marker, stdout_limit), set(self._running)
                try:
                    async with asyncio.timeout(_SESSION_SECONDS):
                        await self._open_session(process, command)
                except asyncssh.ChannelOpenError as error:
                    if self._connection.is_closed():
                        raise connection_lost(error, self._where) from error
                    if not await self._has_room_again(running):
                        raise no_channel(error, self._where) from error
                except TimeoutError:
                    raise no_answer(self._where, _SESSION_SECONDS) from None
                except (OSError, asyncssh.Error) as error:
                    raise connection_lost(error, self._where) from error
                else:
                    self._running.add(task := asyncio.create_task(process.wait_gone()))
                    task.add_done_callback(self._ended)
                    return process

    async def _open_session(self, process: SshProcess, command: str) -> None:
        await self._connection.create_session(lambda: process, for_login_shell(command, self._marker), encoding=None,
                                              request_pty=False)

    async def interact(self, argv: Sequence[str]) -> int:
        columns, lines = terminal_size()
        try:
            process = await self._connection.create_process(
                for_login_shell(f"exec {join(argv)}"), encoding=None, request_pty="force",
                term_type=os.environ.get("TERM") or "vt100", term_size=(columns, lines, 0, 0))
        except (OSError, asyncssh.Error) as error:
            if self._connection.is_closed():
                raise connection_lost(error, self._where) from error
            raise no_terminal(error, self._where) from error
        with lend_terminal(process.stdin.write, process.change_terminal_size):
            while data := await process.stdout.read(_BLOCK):
                draw(data)
        await process.wait_closed()
        if process.exit_status is None:
            raise connection_lost(None, self._where)
        return process.exit_status

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._last_end = time.monotonic()

    async def _has_room_again(self, running: set[asyncio.Task[None]]) -> bool:
        """Wait for a free session if the server's MaxSessions is reached; False if none of our commands is running."""
        if running:
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            return True
        await asyncio.sleep(_ROOM_POLL)
        return time.monotonic() - self._last_end < _ROOM_SECONDS

    @asynccontextmanager
    async def forward_socket(self, host: str, port: int) -> AsyncIterator[SocketAddress]:
        directory = tempfile.mkdtemp(prefix="pgvault-")  # only this user may enter it
        try:
            forwarding = Forwarding(self._connection, host, port)
            await forwarding.listen(f"{directory}/.s.PGSQL.{port}")
            try:
                yield SocketAddress(directory, port)
            except Exception as error:
                if forwarding.refusal is not None:
                    raise not_forwarded(forwarding.refusal, self._where, host) from error
                raise
            finally:
                await forwarding.close()
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    async def close(self) -> None:
        self._connection.close()
        with suppress(TimeoutError, OSError, asyncssh.Error):
            await asyncio.wait_for(self._connection.wait_closed(), 5)


def _settings(address: SshAddress, identity_file: Path | None, connect_timeout: float) -> dict[str, Any]:
    """Return asyncssh's options. Everything else comes from ~/.ssh/config."""
    settings: dict[str, Any] = {"host": address.host, "config": (), "connect_timeout": connect_timeout,
                                "compression_algs": None, "ignore_encrypted": True, **_KEEPALIVE}
    if address.user:
        settings["username"] = address.user
    if address.port:
        settings["port"] = address.port
    if identity_file:
        settings["client_keys"] = [str(identity_file)]
    return settings


async def _see_host_key(settings: dict[str, Any], trust: Trust) -> None:
    """Ask for a key of any type, since a host without the known type just hangs up, which explains nothing."""
    with suppress(OSError, ValueError, asyncssh.Error):
        connection = await asyncssh.connect(**settings, known_hosts=trust.lookup, client_factory=trust.client,
                                            server_host_key_algs="default")
        connection.abort()


def _login(address: SshAddress, identity_file: Path | None) -> str:
    """Return the command that a person would type to try the same login."""
    identity = ["-i", str(identity_file)] if identity_file else []
    port = ["-p", str(address.port)] if address.port else []
    host = f"{address.user}@{address.host}" if address.user else address.host
    return join(["ssh", *identity, *port, host, "true"])
