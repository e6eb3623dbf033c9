"""The WAL receiver: streams a server's WAL into the vault while it runs.

What is reported to the server as flushed is on disk here, in `streaming/` or in the archive, so the server can remove
its own copy. The receiver follows reconnections, restarts and promotions. If the server no longer has the next WAL, the
gap is reported, and streaming continues after it. It blocks by design: one thread waits for the socket and for `Stop`.
"""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import closing, suppress

from pgvault.config.schema import ServerConfig
from pgvault.engine.receive_session import Ending, Session
from pgvault.io.postgres import Connection, connect
from pgvault.model.errors import Cancelled, ConfigError, Locked, PgvaultError, Refused, WalRemoved, from_os_error
from pgvault.model.event import Emit, Level, Noted
from pgvault.store.leases import Concern
from pgvault.vault.layout import ServerVault, Vault

RETRY_SECONDS = (1.0, 2.0, 5.0, 10.0)
"""The pauses before the first, second, ... retry after a failure; the last one repeats."""
SHUTDOWN_SECONDS = 10.0
"""A server that ended the stream by itself is shutting down. Immediate reconnections could delay it."""
STOP_SECONDS = 60.0


class Stop:
    """A request to stop that a waiting thread notices at once. `set` may be called from a signal handler."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.is_set = False

    def set(self) -> None:
        self.is_set = True
        with suppress(BlockingIOError):
            os.write(self._write, b"x")

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when the request is set."""
        return self._read

    def wait(self, seconds: float) -> None:
        select.select([self._read], [], [], seconds)

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)


def receive(server: ServerConfig, vault: ServerVault, stop: Stop, *, emit: Emit) -> None:
    """Receive until `stop` is set. Raises errors that a retry cannot correct: another cluster, a wrong configuration,
    Locked."""
    vault.prepare()
    with vault.leases.hold(Concern.RECEIVE):
        receiver = _Receiver(server, vault, stop, emit)
        while not stop.is_set:
            stop.wait(receiver.run_once())


def stop_running(vault: ServerVault) -> bool:
    """Ask the receiver on this machine to stop, and wait for its end. Return false if none runs."""
    try:
        with vault.leases.hold(Concern.RECEIVE):
            return False
    except Locked as locked:
        held = vault.leases.held(Concern.RECEIVE)
        if held is None or held.holder is None or held.holder.host != os.uname().nodename:
            raise Refused("the receiver does not run on this machine", detail=locked.detail,
                          hint="Stop it on its own machine.") from None
        with suppress(ProcessLookupError):
            os.kill(held.holder.process, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline:
        try:
            with vault.leases.hold(Concern.RECEIVE):
                return True
        except Locked:
            time.sleep(0.05)
    raise PgvaultError(f"the receiver did not stop within {STOP_SECONDS:.0f} seconds",
                       detail=f"It is process {held.holder.process}.")


class _Receiver:
    """State that outlives one connection: number of failures, what was reported already, where the server has no
    WAL."""

    def __init__(self, server: ServerConfig, vault: ServerVault, stop: Stop, emit: Emit) -> None:
        self._server, self._vault, self._stop, self._emit = server, vault, stop, emit
        self._failures = 0
        self._last_reported = ""
        self._not_before = 0

    def run_once(self) -> float:
        """Use one connection to its end. Return how long to wait before the next one, in seconds."""
        try:
            Vault.open(self._vault.home.parent).refuse_other()  # another file system may be mounted by now
            with closing(self._connect()) as connection:
                session = Session(self._server, self._vault, connection, self._stop, self._emit, self._not_before)
                try:
                    return self._ended(session.run())
                except WalRemoved as error:
                    self._not_before = session.skip_removed(error)
                    return 0.0
                finally:
                    if session.received:
                        self._failures, self._last_reported = 0, ""
                    session.close()
        except (ConfigError, Refused, Locked):
            raise
        except Cancelled:
            return 0.0
        except OSError as error:
            return self._failed(from_os_error(error, f"receive WAL of {self._server.name}"))
        except PgvaultError as error:
            return self._failed(error)

    def _connect(self) -> Connection:
        return connect(self._server, replication=True, cancelled=lambda: self._stop.is_set)

    def _ended(self, ending: Ending) -> float:
        if ending is Ending.STOPPED:
            return 0.0
        self._emit(Noted(f"{self._server.name} ended the stream: it is shutting down", code="server-shutdown"))
        return SHUTDOWN_SECONDS

    def _failed(self, error: PgvaultError) -> float:
        """Report the error once, not at every retry."""
        if error.message != self._last_reported:
            self._last_reported = error.message
            self._emit(Noted(f"{' '.join(str(error).split())}; retrying", Level.WARNING, error.code))
        self._failures += 1
        return RETRY_SECONDS[min(self._failures, len(RETRY_SECONDS)) - 1]
