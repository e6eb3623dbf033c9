"""A machine that pgvault acts on, locally or over ssh: runs and feeds commands, reads and writes small files.

Everything that pgvault does on a host goes through a `Host`. The two kinds (`LocalHost`, `SshHost`) differ only in how
they start a process. Every command goes through `sh` on both, so statuses and messages are the same too.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from pgvault.io import host_scripts as scripts
from pgvault.io.host_failure import command_failed
from pgvault.io.process import TAIL, Process
from pgvault.io.quoting import pipeline, shown
from pgvault.model.errors import NotFound, PgvaultError, Refused, Unreachable
from pgvault.model.event import CommandRan

OUTPUT_LIMIT: Final = 64 << 20
"""Largest output of a command in bytes. A host that prints more is not answering the question."""
FILE_LIMIT: Final = 16 << 20
"""Largest file in bytes that `read_file` reads: it is for configuration and control files."""
LINGER: Final = 2.0
"""Seconds to wait for the output of an ended start command; a server that it started may hold the pipe open."""

SILENT_SECONDS = 600.0
"""How long a command may read nothing of its input. Then the host's storage hangs, though the connection lives."""
_AT_ONCE: Final = 256 << 10

OnCommand = Callable[[CommandRan], None]


@dataclass(frozen=True, slots=True)
class Completed:
    status: int
    """0..255; 128 + n if signal n killed the command, 127 if there is no such program."""
    stdout: bytes
    stderr: str


@dataclass(frozen=True, slots=True)
class SocketAddress:
    """Where libpq on this machine finds a server: its `host` (a directory if it begins with a slash) and `port`."""

    host: str
    port: int


class Host(ABC):
    """Use as `async with`, or call `close()` at the end. All methods raise Unreachable if the host is lost."""

    def __init__(self, name: str, *, on_command: OnCommand | None = None) -> None:
        self.name = name
        self.on_command = on_command

    @property
    @abstractmethod
    def description(self) -> str:
        """The host in a message: "standby1 (postgres@10.0.0.2)" or "this machine"."""

    @abstractmethod
    async def _start(self, argv: Sequence[str], *, plain: bool, stdout_limit: int) -> Process:
        """Start a command. Unless `plain`, its messages are in English (LC_ALL=C), since they are parsed."""

    @abstractmethod
    async def interact(self, argv: Sequence[str]) -> int:
        """Run an interactive program at this process's terminal and return its status. Refused if the host allocates no
        terminal."""

    @abstractmethod
    def forward_socket(self, host: str, port: int) -> AbstractAsyncContextManager[SocketAddress]:
        """Open a local address for the PostgreSQL server that listens at `host`, `port` on that host.

        `host` is as in libpq: a directory of Unix sockets, or a name or address for TCP. This event loop serves the
        forwarded connection: connect with psycopg's async connection or in a thread, never in the loop itself. If the
        body fails because the connection was not forwarded, Unreachable gives that reason.
        """

    @abstractmethod
    async def close(self) -> None: ...

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        traceback: TracebackType | None) -> None:
        await self.close()

    async def run(self, argv: Sequence[str], *, input: bytes = b"", timeout: float = 60.0) -> Completed:
        """Run a command to its end. A nonzero status is no error here; PgvaultError after `timeout` seconds."""
        return await self._run(argv, input=input, timeout=timeout)

    async def must_run(self, argv: Sequence[str], *, doing: str, path: str = "", input: bytes = b"",
                       timeout: float = 60.0) -> bytes:
        """Do the same as `run`, but raise an error if it fails: "could not `doing`", about `path`. Returns its
        output."""
        done = await self.run(argv, input=input, timeout=timeout)
        if done.status:
            raise command_failed(self.description, argv, done.status, done.stderr, doing=doing, path=path)
        return done.stdout

    async def run_script(self, script: str, *arguments: str, input: bytes = b"", timeout: float = 60.0) -> Completed:
        """Run a fixed script of POSIX sh. The arguments are its $1, $2, ..., never part of its text.

        Reports show the script's first line, a comment.
        """
        return await self.run(["sh", "-c", script, "pgvault", *arguments], input=input, timeout=timeout)

    async def run_shell(self, command: str, *, timeout: float = 60.0) -> Completed:
        """Run a line that the user configured, such as a start_command, in sh and in the host's own locale.

        It ends when the command itself has ended, even if a server that it started holds its output open.
        """
        return await self._run(["sh", "-c", command], timeout=timeout, plain=True, linger=LINGER)

    async def open_sink(self, *stages: Sequence[str], into: str) -> Sink:
        """Start a command, or several joined by pipes, to be fed. `into` is the path it writes to, for messages."""
        argv = list(stages[0]) if len(stages) == 1 else ["sh", "-c", pipeline(stages)]
        return Sink(self, argv, into, await self._start(argv, plain=False, stdout_limit=TAIL))

    async def read_file(self, path: str) -> bytes:
        """Return the bytes of a small file. NotFound, Refused if it may not be read, PgvaultError above FILE_LIMIT."""
        done = await self.run_script(scripts.READ_FILE, path, str(FILE_LIMIT + 1))
        if done.status == scripts.ABSENT:
            raise NotFound(f"{path} does not exist on {self.description}")
        if done.status:
            raise command_failed(self.description, ["read"], done.status, done.stderr, doing=f"read {path}", path=path)
        if len(done.stdout) > FILE_LIMIT:
            raise PgvaultError(f"{path} on {self.description} is too large to read",
                               detail=f"It is larger than {FILE_LIMIT >> 20} MiB.")
        return done.stdout

    async def write_file(self, path: str, data: bytes, mode: int = 0o600) -> None:
        """Create or replace a file atomically: written under another name, flushed, renamed."""
        done = await self.run_script(scripts.WRITE_FILE, path, f"{mode:o}", str(len(data)), input=data)
        if done.status == scripts.IS_DIRECTORY:
            raise Refused(f"{path} on {self.description} is a directory, not a file")
        if done.status:
            raise command_failed(self.description, ["write"], done.status, done.stderr, doing=f"write {path}",
                                 path=path, free=await self.free_bytes(path))

    async def free_bytes(self, path: str) -> int | None:
        """Return the bytes an ordinary user may still write to the file system of `path`, existing or not; None if
        unknown."""
        with suppress(PgvaultError):
            done = await self.run_script(scripts.FREE_BYTES, path, timeout=10)
            if not done.status and done.stdout.strip().isdigit():
                return int(done.stdout) * 1024
        return None

    async def _run(self, argv: Sequence[str], *, timeout: float, input: bytes = b"", plain: bool = False,
                   linger: float | None = None) -> Completed:
        started, process, status, over = time.monotonic(), None, -1, False
        try:
            # The command may have to wait for our other commands on that host.
            process = await self._start(argv, plain=plain, stdout_limit=OUTPUT_LIMIT)
            async with asyncio.timeout(timeout):
                with suppress(BrokenPipeError):
                    await process.write(input)
                process.write_eof()
                status = await process.wait_exit()
                try:
                    await asyncio.wait_for(process.wait_closed(), linger)
                except TimeoutError:
                    process.discard()
            over = True
        except TimeoutError:
            raise PgvaultError(f"a command on {self.description} did not end within {timeout:g} s",
                               detail=f"The command was: {shown(argv)}",
                               hint="See whether the host is overloaded or its storage hangs.") from None
        finally:
            if process is not None and not over:
                await process.kill()
            self.report(argv, started, status)
        if process.stdout.dropped:
            raise PgvaultError(f"a command on {self.description} printed more than {OUTPUT_LIMIT >> 20} MiB",
                               detail=f"The command was: {shown(argv)}")
        return Completed(status, bytes(process.stdout.data), process.stderr.text())

    def report(self, argv: Sequence[str], started: float, status: int) -> None:
        """Report a command that began at `started` on the monotonic clock; status -1 means that it was interrupted."""
        if self.on_command:
            self.on_command(CommandRan(self.name, shown(argv), round(time.monotonic() - started, 3), status))


@asynccontextmanager
async def _patience(host: str, into: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(SILENT_SECONDS):
            yield
    except TimeoutError:
        raise PgvaultError(f"{host} accepted no data for {into} for {SILENT_SECONDS:.0f} seconds",
                           detail="The connection is up, but the writing program waits.",
                           hint="See whether its storage hangs, then run this again.") from None


class Sink:
    """A running command that is fed. Only `finish()` completes it: leaving the scope without it aborts the command."""

    def __init__(self, host: Host, argv: Sequence[str], into: str, process: Process) -> None:
        self._host, self._argv, self._into, self._process = host, argv, into, process
        self._started, self._over = time.monotonic(), False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        traceback: TracebackType | None) -> None:
        await self.abort()

    async def write(self, data: bytes | memoryview) -> None:
        """Send `data`, which may be reused afterwards. Waits while the command is slower.

        Raises as soon as the command ends, with its error message, since a good command does not end before `finish`;
        and if it reads nothing any more.
        """
        view = memoryview(data).cast("B")
        try:
            for start in range(0, len(view), _AT_ONCE):
                async with _patience(self._host.description, self._into):
                    await self._process.write(view[start:start + _AT_ONCE])
        except BrokenPipeError:
            raise await self._ended_early() from None

    async def finish(self) -> None:
        """Close the command's input and wait for its end. Raises its failure, NoSpace for a full disk."""
        self._process.write_eof()
        try:
            async with _patience(self._host.description, self._into):
                status = await self._process.wait_exit()
                await self._process.wait_closed()
        except BaseException:
            await self.abort()
            raise
        self._end(status)
        if status:
            raise await self._failure(status)

    async def abort(self) -> None:
        """Kill the command, unless it has ended. What it has written so far is incomplete."""
        if not self._over:
            self._end(-1)
            await self._process.kill()

    def _end(self, status: int) -> None:
        self._over = True
        self._host.report(self._argv, self._started, status)

    async def _ended_early(self) -> PgvaultError:
        """Return the error of a command that reads no more input, so that it is about to end. Its status and messages
        may still be on the way.
        """
        try:
            async with asyncio.timeout(10):
                status = await self._process.wait_exit()
                await self._process.wait_closed()
        except TimeoutError:
            await self.abort()
            return PgvaultError(f"{self._argv[0]} on {self._host.description} stopped reading",
                                detail=self._process.stderr.text())
        except Unreachable as lost:
            self._end(-1)
            return lost
        self._end(status)
        if status:
            return await self._failure(status)
        return PgvaultError(f"{self._argv[0]} on {self._host.description} ended before everything was sent",
                            detail=self._process.stderr.text())

    async def _failure(self, status: int) -> PgvaultError:
        return command_failed(self._host.description, self._argv, status, self._process.stderr.text(),
                              doing=f"write to {self._into}", path=self._into,
                              free=await self._host.free_bytes(self._into))
